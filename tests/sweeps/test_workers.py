"""Workers of a sweep, and one run over two processes: real processes, killed by real signals."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.conftest import write_tiny_npz
from tests.runs.test_resume import environment
from vae_jax.errors import Stopped
from vae_jax.runs import folder
from vae_jax.runs.load import load_progress
from vae_jax.sweeps import launch
from vae_jax.sweeps.plan import runs_in

REPOSITORY = Path(__file__).parents[2]
CONFIG = """
from configs import smoke


def get_config():
    config = smoke.get_config()
    config.dataset.name = "arrays"
    config.dataset.path = {npz!r}
    config.dataset.validation_size = 50
    config.training.batch_size = 20
    config.training.num_epochs = 20
    config.log.every_steps = 6
    return config


def sweep(hyper):
    return hyper.product(
        [
            hyper.sweep("model.encoder.widths", ((6,), (7,), (8,))),
            hyper.sweep("objective.beta", (1, 2)),
        ]
    )
"""
SWEEP = [sys.executable, "-m", "vae_jax", "sweep"]
PROGRAMS = 3
ROWS = PROGRAMS * 20 * (2 + 1) * 4  # epochs, train and validation rows an epoch, lanes


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    at = tmp_path_factory.mktemp("sweep")
    path = at / "sweep_config.py"
    path.write_text(CONFIG.format(npz=str(write_tiny_npz(at / "tiny.npz"))))
    return path


def started(config, workdir, *more):
    # A group of its own, so that all of its processes can be killed together.
    return subprocess.Popen(
        [*SWEEP, f"--config={config}", f"--workdir={workdir}", *more],
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def completed(config, workdir, *more) -> str:
    process = started(config, workdir, *more)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def rows_so_far(workdir) -> int:
    paths = workdir.glob(f"programs/*/{folder.METRICS}")
    return sum(path.read_bytes().count(b"\n") for path in paths)


def killed_after(process, workdir, rows: int, delay: float) -> None:
    """Kills the process and all of its children, without a word."""
    while process.poll() is None and rows_so_far(workdir) < rows:
        time.sleep(0.002)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output, output


def outcome(workdir):
    """What must be the same to the bit: records, and every array of the last checkpoints."""
    arrays = []
    for run in runs_in(workdir):
        progress = load_progress(run)._replace(wall_seconds=0)
        arrays += [leaf.tobytes() for leaf in map(np.asarray, jax.tree.leaves(progress))]
    results = (workdir / folder.RESULTS).read_text().splitlines()
    return (
        (workdir / folder.METRICS).read_bytes(),
        (workdir / folder.LANES).read_bytes(),
        (workdir / folder.SWEEP).read_bytes(),
        [line for line in results if "wall_seconds" not in line],
        arrays,
    )


@pytest.fixture(scope="module")
def uninterrupted(config):
    workdir = config.parent / "whole"
    completed(config, workdir)
    assert rows_so_far(workdir) == ROWS
    return outcome(workdir)


def kill_at_random_moments(config, workdir, kills: int, seed: int) -> None:
    moments = random.Random(seed)
    for i, target in enumerate(sorted(moments.randrange(ROWS + 1) for _ in range(kills))):
        # One worker, or two and the one that started them.
        more = ("--launcher=local", "--workers=2") if i % 2 else ()
        start = 4.0 if rows_so_far(workdir) >= target else 0.2
        process = started(config, workdir, *more)
        killed_after(process, workdir, target, moments.random() * start)
    completed(config, workdir)


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_bit_for_bit_the_same(
    config, tmp_path, uninterrupted
):
    kill_at_random_moments(config, tmp_path / "killed", kills=3, seed=0)
    assert outcome(tmp_path / "killed") == uninterrupted


@pytest.mark.slow
def test_a_sweep_killed_at_ten_random_moments(config, tmp_path, monkeypatch):
    """The program as users have it, with the compiler's optimisations."""
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)
    completed(config, tmp_path / "whole")
    kill_at_random_moments(config, tmp_path / "killed", kills=10, seed=1)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_workers_share_the_programs_and_one_takes_over_what_another_leaves(
    config, tmp_path, uninterrupted
):
    workdir = tmp_path / "shared"
    first = started(config, workdir)
    while not (workdir / folder.SWEEP).exists():
        time.sleep(0.01)
    # The others need no config: they join the sweep in the folder.
    others = [
        subprocess.Popen(
            [*SWEEP, f"--workdir={workdir}", "--worker"],
            cwd=REPOSITORY,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    killed_after(first, workdir, ROWS // 6, 0)
    outputs = [other.communicate(timeout=300)[0] for other in others]
    assert [other.returncode for other in others] == [0, 0], outputs
    done = [line for output in outputs for line in output.splitlines() if " done: " in line]
    assert len({line.split()[1] for line in done}) == len(done) >= PROGRAMS - 1
    assert not any("test set of" in output for output in outputs)
    assert "test set of" in completed(config, workdir)
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
def test_a_repeated_sweep_compiles_nothing(config, tmp_path, monkeypatch):
    """And what was compiled ahead is what the calls want: each program is there once."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    short = "--config.training.num_epochs=1"
    completed(config, tmp_path / "first", short)
    kept = {path.name for path in cache.iterdir() if path.name.endswith("-cache")}
    for name in ("train_lanes", "init_lanes"):
        assert sum(path.startswith(f"jit_{name}-") for path in kept) == PROGRAMS, name
    completed(config, tmp_path / "second", short)
    assert {path.name for path in cache.iterdir() if path.name.endswith("-cache")} == kept


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_asked_to_stop_workers_save_and_the_same_command_goes_on(
    config, tmp_path, uninterrupted, number
):
    workdir = tmp_path / "stopped"
    process = started(config, workdir, "--launcher=local", "--workers=2")
    while rows_so_far(workdir) < ROWS // 4:
        time.sleep(0.002)
    if number == signal.SIGINT:  # as Ctrl-C does, to all processes of the terminal
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "stopped and saved at step" in output, output
    assert "Traceback" not in output, output
    assert "the workers were stopped and have saved" in output
    kept = rows_so_far(workdir)
    assert kept < ROWS
    completed(config, workdir)
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
def test_jobs_of_a_cluster(config, tmp_path, uninterrupted, monkeypatch):
    """submitit's local executor in the place of SLURM."""
    workdir = tmp_path / "jobs"
    assert completed(config, workdir, "--dry_run")
    assert not workdir.exists()
    process = started(config, workdir)
    killed_after(process, workdir, 1, 0)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(REPOSITORY)
    slurm = launch.Slurm(partition=None, minutes=5, gpus=0)
    launch.launch_slurm(workdir, 2, slurm, cluster="local")
    logs = "".join(path.read_text() for path in (workdir / "slurm").glob("*_log.out"))
    assert logs.count(" done: ") == PROGRAMS
    completed(config, workdir)
    assert outcome(workdir) == uninterrupted


def test_a_job_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    slurm = launch.Slurm(partition=None, minutes=5, gpus=0)
    with pytest.raises(
        Stopped, match=r"1 of 1 jobs did not end well; what they said is in .*slurm"
    ):
        launch.launch_slurm(tmp_path, 1, slurm, cluster="local")
    logs = "".join(path.read_text() for path in (tmp_path / "slurm").glob("*_log.err"))
    assert "holds no sweep" in logs


def test_each_worker_gets_its_share_of_the_gpus():
    def visible(workers, gpus):
        environments = [launch.worker_environment({}, i, workers, gpus) for i in range(workers)]
        return [e.get("CUDA_VISIBLE_DEVICES") for e in environments], environments[0]

    assert visible(2, []) == ([None, None], {})
    assert visible(2, ["0", "1", "2"])[0] == ["0,2", "1"]
    shares, first = visible(3, ["0", "1"])
    assert shares == ["0", "1", "0"]
    assert first["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"


def in_two_processes(npz, workdir, *more):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vae_jax", "train", "--config=configs/smoke.py",
        f"--workdir={workdir}", "--config.dataset.name=arrays", f"--config.dataset.path={npz}",
        "--config.dataset.validation_size=50", "--config.training.batch_size=20",
        "--config.training.num_epochs=12", "--config.training.seeds=0,1,2", *more,
    ]  # fmt: skip
    several = [f"--coordinator=localhost:{port}", "--num_processes=2"]
    flags = os.environ | {
        "PYTHONUNBUFFERED": "1",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    return [
        subprocess.Popen(
            [*command, *several, f"--process_id={i}"],
            cwd=REPOSITORY, env=flags, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for i in range(2)
    ], (command, flags | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"})  # fmt: skip


def records(workdir):
    results = (workdir / folder.RESULTS).read_text().splitlines()
    return (
        (workdir / folder.METRICS).read_bytes(),
        [line for line in results if "wall_seconds" not in line],
    )


@pytest.mark.slow
def test_one_run_over_two_processes_is_the_run_of_one(tiny_npz, tmp_path):
    """The same devices, half of them in each process; stopped in the middle by a signal to one."""
    workdir = tmp_path / "two"
    both, (command, environment_of_one) = in_two_processes(tiny_npz, workdir)
    rows = workdir / folder.METRICS
    while both[0].poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") > 12):
        time.sleep(0.002)
    both[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [1, 1], outputs
    assert "stopped and saved at step" in outputs[0]

    both, _ = in_two_processes(tiny_npz, workdir)
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "resuming at step" in outputs[0]
    assert "resuming" not in outputs[1]

    alone = [word.replace(str(workdir), str(tmp_path / "one")) for word in command]
    subprocess.run(alone, cwd=REPOSITORY, env=environment_of_one, check=True, capture_output=True)
    assert records(workdir) == records(tmp_path / "one")


@pytest.mark.slow
def test_a_batch_over_two_processes(tiny_npz, tmp_path):
    both, (command, environment_of_one) = in_two_processes(
        tiny_npz, tmp_path / "two", "--config.training.data_devices=4"
    )
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    alone = [word.replace(str(tmp_path / "two"), str(tmp_path / "one")) for word in command]
    subprocess.run(alone, cwd=REPOSITORY, env=environment_of_one, check=True, capture_output=True)
    a, b = (folder.read_json(tmp_path / name / folder.RESULTS) for name in ("one", "two"))
    for one, two in zip(a["lanes"], b["lanes"], strict=True):
        assert one["elbo"] == pytest.approx(two["elbo"], rel=1e-4)

"""Sweeps on Dask clusters: real processes, killed by real signals."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.small.processes import (
    PROGRAMS,
    ROWS,
    completed,
    outcome,
    output_of,
    rows_so_far,
    started,
    sweeping,
    wait_for_rows,
)
from vae_jax.cli import main as cli
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.sweeps import cluster, tasks
from vae_jax.sweeps.cluster import Cluster, refuse_without_dask, worker_environment
from vae_jax.sweeps.owner import Taken, owned, release

LOCAL = ("--launcher=local", "--workers=2")


def workers_of(process) -> list[psutil.Process]:
    """The worker processes below a command or a `dask worker`."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [p for p in below if "spawn_main" in " ".join(p.cmdline())]


@pytest.mark.slow
def test_a_program_goes_on_where_a_killed_worker_left_it(config, tmp_path, uninterrupted):
    workdir = tmp_path / "sweep"
    process = sweeping(config, workdir, *LOCAL)
    wait_for_rows(process, workdir, ROWS // 3)
    workers_of(process)[0].kill()
    output = output_of(process)
    assert "dashboard http://127.0.0.1:" in output
    assert output.count(" done: ") == PROGRAMS
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_workers_save_and_the_same_command_goes_on(
    config, tmp_path, uninterrupted, number
):
    workdir = tmp_path / "stopped"
    process = sweeping(config, workdir, *LOCAL)
    wait_for_rows(process, workdir, ROWS // 4)
    if number == signal.SIGINT:  # as Ctrl-C does, to all processes of the terminal
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert "the workers were stopped and have saved" in output_of(process, code=1)
    kept = rows_so_far(workdir)
    assert kept < ROWS
    completed(config, workdir)
    assert outcome(workdir) == uninterrupted


class Running:
    """A scheduler and its workers, as a cluster's administrator starts them."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        options = ["--host=127.0.0.1", f"--port={port}", "--dashboard-address=127.0.0.1:0"]
        self.processes: list = []
        # A worker that says nothing for five seconds counts as dead.
        self.start("scheduler", *options, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="5s")

    def start(self, what, *options, **environment):
        command = [sys.executable, "-m", "dask", what, *options]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            self.processes.append(started(command))
        return self.processes[-1]

    def worker(self, **environment):
        options = ("--nthreads=1", "--memory-limit=0", "--death-timeout=60")
        return self.start("worker", self.address, *options, **environment)

    def end(self):
        for process in self.processes:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()
            process.communicate()


@pytest.fixture
def running(monkeypatch):
    made = Running()
    yield made
    made.end()


@pytest.mark.slow
def test_workers_that_come_late_and_clients_that_are_killed(
    config, tmp_path, uninterrupted, running
):
    workdir = tmp_path / "sweep"
    first = sweeping(config, workdir, f"--scheduler={running.address}")
    time.sleep(3)  # it waits for a worker
    assert first.poll() is None
    running.worker()
    wait_for_rows(first, workdir, ROWS // 4)
    first.kill()
    first.communicate()
    second = sweeping(config, workdir, f"--scheduler={running.address}")
    running.worker()
    output = output_of(second)
    assert "test set of" in output
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
def test_a_hung_worker_loses_its_program_and_does_no_harm(config, tmp_path, uninterrupted, running):
    """A frozen process is not dead: it may wake up when another has its program."""
    workdir = tmp_path / "sweep"
    frozen = running.worker()
    process = sweeping(config, workdir, f"--scheduler={running.address}")
    wait_for_rows(process, workdir, ROWS // 4)
    (child,) = workers_of(frozen)
    child.suspend()
    running.worker()
    assert output_of(process).count(" done: ") == PROGRAMS
    with contextlib.suppress(psutil.NoSuchProcess):  # its nanny may have ended it
        child.resume()
    time.sleep(3)
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
def test_a_lost_scheduler_is_one_line(config, tmp_path, uninterrupted, running):
    workdir = tmp_path / "sweep"
    running.worker()
    process = sweeping(config, workdir, f"--scheduler={running.address}")
    wait_for_rows(process, workdir, ROWS // 4)
    running.processes[0].kill()
    output = output_of(process, code=1)
    assert "was lost; the same command goes on from there" in output
    completed(config, workdir)
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
def test_workers_that_can_t_train_are_left_out(config, tmp_path, uninterrupted, running):
    """One has another version of this code."""
    other = tmp_path / "other"
    shutil.copytree("vae_jax", other / "vae_jax", ignore=shutil.ignore_patterns("configs"))
    shutil.copytree("configs", other / "vae_jax" / "configs")
    with open(other / "vae_jax" / "words.py", "a") as file:
        file.write("# another version\n")
    running.worker(PYTHONPATH=str(other), PYTHONSAFEPATH="1")
    workdir = tmp_path / "sweep"
    process = sweeping(config, workdir, f"--scheduler={running.address}")
    output = output_of(process, code=2)
    assert "is left out: it has vae_jax" in output
    assert "no worker can train this sweep" in output
    assert rows_so_far(workdir) == 0
    running.worker()
    assert "test set of" in completed(config, workdir, f"--scheduler={running.address}")
    assert outcome(workdir) == uninterrupted


@pytest.mark.slow
def test_jobs_of_a_batch_scheduler(config, tmp_path, uninterrupted, monkeypatch):
    """A stand-in of SLURM that runs the scripts that it gets on this machine."""
    scripts = {
        "sbatch": (
            'cp "${@: -1}" "$JOBS/$$.sh"\nsetsid bash "$JOBS/$$.sh" > "$JOBS/$$.log" 2>&1 &\n'
            'echo "Submitted batch job $!"\n'
        ),
        "scancel": 'for job in "$@"; do kill -- -"$job" 2>/dev/null; done\n',
    }
    (tmp_path / "bin").mkdir()
    (tmp_path / "jobs").mkdir()
    for name, script in scripts.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{script}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
    workdir = tmp_path / "sweep"
    output = completed(
        config, workdir, "--launcher=slurm", "--workers=2", "--partition=short", "--minutes=90"
    )
    assert output.count(" done: ") == PROGRAMS
    asked = "".join(path.read_text() for path in (tmp_path / "jobs").glob("*.sh"))
    assert "#SBATCH -p short" in asked
    assert "#SBATCH -t 01:30:00" in asked
    assert outcome(workdir) == uninterrupted


def test_the_last_task_that_began_is_the_one_that_writes(tmp_path):
    with owned(tmp_path) as first:
        assert not first.wants_stop()
        with owned(tmp_path) as second:
            assert not second.wants_stop()
            with pytest.raises(Taken, match=r"another process trains in .*"):
                first.wants_stop()
            release(tmp_path)
            assert second.wants_stop()
    release(tmp_path / "nobody")
    with owned(tmp_path):
        assert (tmp_path / folder.OWNER).exists()
    assert not (tmp_path / folder.OWNER).exists()


def test_only_workers_that_train_count_as_hung(monkeypatch):
    """And what another sweep says is not of this one."""
    restarted = []
    own = tasks.Tasks.__new__(tasks.Tasks)
    own.workdir, own.heard, own.futures = Path("a"), {}, {"000": None, "001": None}
    own.client = SimpleNamespace(
        status="running", restart_workers=lambda names, **_: restarted.extend(names)
    )

    def message(program, step, workdir="a", **more):
        base = {"workdir": workdir, "program": program, "worker": f"w{program}", "pid": 1}
        return 0.0, base | {"step": step, "total_steps": 9, "said": ""} | more

    for event in (message("000", 5), message("001", 9), message("002", 1, workdir="b")):
        own.hear(event)
    assert own.heard.keys() == {"000", "001"}
    own.look_after_the_others()
    assert restarted == []
    monkeypatch.setattr(tasks, "SILENCE", -1)
    own.look_after_the_others()
    own.look_after_the_others()
    assert restarted == ["w000"]
    assert own.status() == "program 001: step 9 of 9; 1 waiting"


def test_each_worker_gets_its_share_of_the_gpus():
    def visible(workers, gpus):
        environments = [worker_environment({}, i, workers, gpus) for i in range(workers)]
        return [e.get("CUDA_VISIBLE_DEVICES") for e in environments], environments[0]

    assert visible(2, []) == ([None, None], {})
    assert visible(2, ["0", "1", "2"])[0] == ["0,2", "1"]
    shares, first = visible(3, ["0", "1"])
    assert shares == ["0", "1", "0"]
    assert first["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"


def test_every_launcher_is_one_that_there_is(monkeypatch):
    assert set(cli.LAUNCHERS) == {"local", "dask", *cluster.SCHEDULERS}
    monkeypatch.setattr("shutil.which", lambda name: None)
    for name, (_, submit) in cluster.SCHEDULERS.items():
        with pytest.raises(UserError, match=rf"can't submit jobs \(no {submit}\)"):
            refuse_without_dask(Cluster(name, 1))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs distributed: pip install bokeh dask-jobq"):
        refuse_without_dask(Cluster("local", 1))


def test_no_scheduler_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    for scheduler in ("tcp://127.0.0.1:9", "nonsense://x"):
        with (
            pytest.raises(UserError, match=rf"--scheduler={scheduler}: no Dask scheduler answers"),
            cluster.connected(Cluster("dask", 1, scheduler)),
        ):
            pass

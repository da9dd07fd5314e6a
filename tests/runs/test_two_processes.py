"""One run over two processes: real ones, stopped by a real signal."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.small.processes import REPOSITORY
from vae_jax.folders import folder


def of_one(npz, workdir, *more):
    """The command of a run, and an environment in which it has four devices."""
    command = [
        sys.executable, "-m", "vae_jax", "train", "--config=configs/smoke.py",
        f"--workdir={workdir}", "--config.dataset.name=arrays", f"--config.dataset.path={npz}",
        "--config.dataset.validation_size=50", "--config.training.batch_size=20",
        "--config.training.num_epochs=12", "--config.training.seeds=0,1,2", *more,
    ]  # fmt: skip
    return command, with_devices(4)


def with_devices(number):
    flags = f"--xla_force_host_platform_device_count={number}"
    return os.environ | {"PYTHONUNBUFFERED": "1", "XLA_FLAGS": flags}


def in_two_processes(npz, workdir, *more):
    """The same run, started over two processes of two devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command, _ = of_one(npz, workdir, *more)
    several = [f"--coordinator=localhost:{port}", "--num_processes=2"]
    return [started([*command, *several, f"--process_id={i}"], with_devices(2)) for i in range(2)]


def started(command, environment):
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop_in_the_middle(process, workdir, number):
    """Sends a signal to a process, once the run has written some rows."""
    rows = workdir / folder.METRICS
    while process.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") > 12):
        time.sleep(0.002)
    process.send_signal(number)


def records(workdir):
    results = (workdir / folder.RESULTS).read_text().splitlines()
    return (
        (workdir / folder.METRICS).read_bytes(),
        [line for line in results if "wall_seconds" not in line],
    )


def records_of_one(npz, workdir, *more):
    """The records of the run in one process, uninterrupted."""
    command, environment = of_one(npz, workdir, *more)
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    return records(workdir)


@pytest.mark.slow
def test_one_run_over_two_processes_is_the_run_of_one(tiny_npz, tmp_path):
    """The same devices, half of them in each process; stopped in the middle by a signal to one."""
    workdir = tmp_path / "two"
    both = in_two_processes(tiny_npz, workdir)
    stop_in_the_middle(both[1], workdir, signal.SIGTERM)
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [1, 1], outputs
    assert "stopped and saved at step" in outputs[0]

    both = in_two_processes(tiny_npz, workdir)
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "resuming at step" in outputs[0]
    assert "resuming" not in outputs[1]
    assert records(workdir) == records_of_one(tiny_npz, tmp_path / "one")


@pytest.mark.slow
def test_a_preempted_run_of_one_process_goes_on_in_two(tiny_npz, tmp_path):
    workdir = tmp_path / "run"
    alone = started(*of_one(tiny_npz, workdir))
    stop_in_the_middle(alone, workdir, signal.SIGUSR1)
    output = alone.communicate(timeout=120)[0]
    assert alone.returncode == 1, output

    both = in_two_processes(tiny_npz, workdir)
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "resuming at step" in outputs[0]
    assert records(workdir) == records_of_one(tiny_npz, tmp_path / "one")


@pytest.mark.slow
def test_a_batch_over_two_processes(tiny_npz, tmp_path):
    more = "--config.training.data_devices=4"
    both = in_two_processes(tiny_npz, tmp_path / "two", more)
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    records_of_one(tiny_npz, tmp_path / "one", more)
    a, b = (folder.read_json(tmp_path / name / folder.RESULTS) for name in ("one", "two"))
    for one, two in zip(a["lanes"], b["lanes"], strict=True):
        assert one["elbo"] == pytest.approx(two["elbo"], rel=1e-4)

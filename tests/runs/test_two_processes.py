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

"""What only Linux has is not needed: macOS has none of it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vae_jax
from benchmarks import machine
from vae_jax import memory
from vae_jax.devices import pool, setup
from vae_jax.devices.pool import compute_in_batches, cores, keep_threads_free

ROOT = Path(vae_jax.__file__).parents[1]
# Of Python's own documentation: available on Linux, and not on macOS.
LINUX_ONLY = {
    "sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "sched_setscheduler",
    "sched_param", "sched_getparam", "SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO",
    "O_TMPFILE", "O_PATH", "O_DIRECT", "memfd_create", "eventfd", "pidfd_open", "fdatasync",
    "posix_fadvise", "posix_fallocate", "copy_file_range", "splice", "getrandom", "unshare",
    "setns", "getxattr", "setxattr", "listxattr", "removexattr", "getresuid", "setresuid",
    "prlimit", "epoll", "sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGPWR", "SIGSTKFLT",
}  # fmt: skip
ALLOWED = {"vae_jax/devices/pool.py"}  # asks whether they are there


def test_no_other_file_uses_what_only_linux_has():
    found = []
    for folder in ("vae_jax", "benchmarks", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            names = {
                n.attr
                for n in ast.walk(ast.parse(path.read_text()))
                if isinstance(n, ast.Attribute)
            }
            at = str(path.relative_to(ROOT))
            found += [(at, name) for name in names & LINUX_ONLY if at not in ALLOWED]
    assert not found


@pytest.mark.parametrize("name", sorted(name for name in LINUX_ONLY if hasattr(os, name)))
def test_each_may_be_missing(name, monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "")
    monkeypatch.delattr(os, name)
    assert cores() >= 1
    keep_threads_free(3)
    assert int(os.environ["PJRT_NPROC"]) >= 3 + pool.SPARE_THREADS
    compute_in_batches()
    setup.use_cores()
    assert memory.host_memory() > 0


def test_without_affinity_all_cores_of_the_machine_are_taken(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def fails(error):
    def call(*_):
        raise error

    return call


def test_memory_that_the_system_does_not_tell(monkeypatch):
    for error in (ValueError("unrecognized configuration name"), OSError()):
        monkeypatch.setattr(os, "sysconf", fails(error))
        assert memory.machine_memory() == memory.UNTOLD_BYTES
    monkeypatch.setattr(os, "sysconf", lambda name: -1)
    assert memory.machine_memory() == memory.UNTOLD_BYTES
    monkeypatch.delattr(os, "sysconf")
    assert 0 < memory.host_memory() <= memory.UNTOLD_BYTES


def test_without_proc_and_sys(monkeypatch):
    """macOS has neither."""
    monkeypatch.setattr(Path, "read_text", fails(FileNotFoundError()))
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    assert memory.host_memory() == memory.machine_memory()
    assert pool.pool_threads.__wrapped__() is None
    assert isinstance(machine.processor(), str)


def test_peak_memory_is_in_the_units_of_the_system(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert machine.peak_megabytes(2_048) == 2
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.peak_megabytes(2_097_152) == 2


WITHOUT_IT = f"""
import os, select, signal, sys
for name in {sorted(LINUX_ONLY)}:
    for module in (os, select, signal):
        if hasattr(module, name):
            delattr(module, name)
if hasattr(os, "process_cpu_count"):  # on Linux it asks for the affinity, elsewhere it is this
    os.process_cpu_count = os.cpu_count
"""

MAC = f"""
{WITHOUT_IT}
from benchmarks import machine, sweep
from vae_jax.devices.setup import use_cores
use_cores()
import jax
print(jax.device_count(), machine.machine()["cores"], os.environ.get("PJRT_NPROC"))
"""


def test_a_process_starts_without_all_of_it():
    left = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}
    said = subprocess.run(
        [sys.executable, "-c", MAC], env=left, capture_output=True, text=True, cwd=ROOT
    )
    n = os.cpu_count()
    threads = n + pool.SPARE_THREADS if n > 1 else None
    assert said.stdout.split() == [str(n), str(n), str(threads)], said.stderr


@pytest.mark.slow
def test_a_run_is_trained_without_all_of_it(tiny_npz, tmp_path):
    """From the first import to the results; the folder's lock and the watchdog are Unix's own."""
    arguments = [
        "train", "--config=smoke", f"--workdir={tmp_path / 'run'}", "--config.dataset.name=arrays",
        f"--config.dataset.path={tiny_npz}", "--config.dataset.validation_size=10",
        "--config.training.batch_size=10", "--config.training.num_epochs=1",
    ]  # fmt: skip
    code = f"{WITHOUT_IT}\nfrom vae_jax.__main__ import run\nsys.exit(run())"
    said = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert said.returncode == 0, said.stderr
    assert "lanes in 1 program" in said.stdout
    assert (tmp_path / "run" / "results.json").exists()

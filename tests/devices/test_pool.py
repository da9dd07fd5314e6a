"""XLA's pool has more threads than programs that run at a time."""

import os
import subprocess
import sys

import jax
import pytest

from vae_jax.devices import pool
from vae_jax.devices.lanes import layout
from vae_jax.devices.pool import SPARE_THREADS, keep_threads_free, pool_threads, usable_devices

STARTED = (
    "from vae_jax.devices.setup import use_cores; use_cores(); use_cores(); import jax;"
    "from vae_jax.devices.pool import pool_threads; print(jax.device_count(), pool_threads())"
)
LATE = (
    "import jax; jax.config.update('jax_num_cpu_devices', 5); jax.devices();"
    "from vae_jax.devices.setup import use_cores; use_cores();"
    "from vae_jax.devices.pool import pool_threads; from vae_jax.devices.lanes import layout;"
    "print(layout(9).mesh.devices.size, pool_threads())"
)


def numbers(code, **environment):
    names = ("PJRT_NPROC", "NPROC", "XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
    left = {name: value for name, value in os.environ.items() if name not in names}
    shown = subprocess.check_output([sys.executable, "-c", code], env=left | environment, text=True)
    return tuple(map(int, shown.split()))


@pytest.mark.parametrize(
    ("environment", "devices", "threads"),
    [
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}, 4, 6),
        ({"JAX_NUM_CPU_DEVICES": "2", "PJRT_NPROC": "70", "NPROC": "1"}, 2, 70),
    ],
)
@pytest.mark.slow
def test_the_pool_has_spare_threads(environment, devices, threads):
    assert numbers(STARTED, **environment) == (devices, max(threads, pool.cores()))


def test_all_cores_are_devices():
    cores = pool.cores()
    threads = cores + SPARE_THREADS if cores > 1 else 1
    assert numbers(STARTED) == (cores, threads)


def test_fewer_devices_are_used_where_jax_was_started_with_a_small_pool():
    devices, threads = numbers(LATE)
    assert devices == min(5, max(1, threads - SPARE_THREADS))


def test_devices_are_left_out_where_threads_are_few(monkeypatch):
    assert usable_devices() == jax.device_count() == 8
    for threads, rows in ((None, 8), (8, 6), (4, 2), (2, 1)):
        monkeypatch.setattr(pool, "pool_threads", lambda threads=threads: threads)
        assert layout(20).mesh.devices.shape == (rows, 1)
    assert layout(20, data_devices=4).mesh.devices.shape == (1, 4)


def test_the_user_s_number_of_threads_is_kept_where_it_is_enough(monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "20")
    keep_threads_free(8)
    assert os.environ["PJRT_NPROC"] == "20"
    keep_threads_free(30)
    assert os.environ["PJRT_NPROC"] == "32"
    assert pool_threads() >= 10  # of this process: tests/conftest.py

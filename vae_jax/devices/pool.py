"""XLA's pool of threads on a CPU: it must have more threads than programs that run at a time.

All CPU devices share one pool. The thread that computes a device's program does not look at its
queue of tasks until the program ends, and the programs leave tasks there that nobody waits for.
When all threads compute programs, a queue fills up (1,024 tasks). Then Eigen, which multiplies
XLA's matrices, runs a task at once that it wanted to run later, and overwrites operands that it
still needs: large products are wrong, in silence (docs/wrong_products.md). A thread that is free
empties the queues of the others.
"""

import contextlib
import functools
import os
from pathlib import Path

import jax

# Programs over several devices run one after another, and so do those on the same device. So the
# pool computes at most one program on each device and, beside it, one on the first device alone.
SPARE_THREADS = 2

THREAD = "tf_XLAEigen"  # the name of the pool's threads on Linux


def cores() -> int:
    """The cores that this process may use; all of the machine where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_threads_free(devices: int) -> None:
    """Makes the pool SPARE_THREADS larger than the number of CPU devices, before jax creates it."""
    setting = os.environ.get("PJRT_NPROC") or os.environ.get("NPROC") or ""
    threads = int(setting) if setting.isdecimal() else cores()
    os.environ["PJRT_NPROC"] = str(max(threads, devices + SPARE_THREADS))


def compute_in_batches() -> None:
    """Asks the system that a thread which wakes up does not interrupt those that compute.

    There are more threads than cores, so it would, at every task. For this thread and those that
    it starts. Where the system has no such setting, or the user chose another, nothing changes.
    """
    with contextlib.suppress(OSError, AttributeError):  # not on macOS, or not allowed
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@functools.cache
def pool_threads() -> int | None:
    """The number of threads of the pool; None where the system does not tell."""
    jax.devices()  # the pool is there
    threads = 0
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            threads += name.read_text().startswith(THREAD)
    return threads or None


def usable_devices() -> int:
    """How many devices may compute programs at a time.

    On a CPU fewer than there are, if jax was started by others, with a pool that is too small.
    """
    devices = jax.devices()
    threads = pool_threads() if devices[0].platform == "cpu" else None
    if threads is None or jax.process_count() > 1 or len(devices) == 1:
        return len(devices)
    return min(len(devices), max(1, threads - SPARE_THREADS))

"""SIGUSR1, by which a batch scheduler says that a job's time ends: save, stop, and run it again."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from vae_jax.errors import tell

SIGNAL = signal.SIGUSR1
SECONDS = 30  # that scontrol may take

asked = threading.Event()


@contextlib.contextmanager
def requeued() -> Iterator[None]:
    """In this context, SIGUSR1 stops what runs as SIGTERM does, and at the end SLURM is asked to
    queue its job again.

    In other threads than the main one, and where SIGUSR1 is handled by others, all stays as it is.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(SIGNAL) is not signal.SIG_DFL:
        yield
        return
    asked.clear()
    signal.signal(SIGNAL, stop)
    try:
        yield
    finally:
        signal.signal(SIGNAL, signal.SIG_DFL)
        requeue()


def stop(number: int, frame: Any) -> None:
    """Stops a training as SIGTERM does; what has nothing to save is interrupted."""
    asked.set()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGTERM)


def requeue() -> None:
    """Asks SLURM to queue this process's job again, if SIGUSR1 came and it is the first of one."""
    job = os.environ.get("SLURM_JOB_ID")
    if not (asked.is_set() and job and os.environ.get("SLURM_PROCID", "0") == "0"):
        return
    asked.clear()
    command = ["scontrol", "requeue", job]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        tell(f"the job was not queued again: {' '.join(command)}: {error}")
    else:
        tell(f"SLURM queues job {job} again")

"""Which process trains a program: the last that began.

A worker that was taken for dead, and is not, leaves the folder to its successor. Locks can't do
that: not every network file system keeps them.
"""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from vae_jax import files
from vae_jax.folders.folder import OWNER
from vae_jax.runs.observer import Observer

NONE = "none"  # the content of OWNER if no process may write there


class Taken(Exception):
    """Another process trains the program now."""


@contextlib.contextmanager
def owned(workdir: Path) -> Iterator[Observer]:
    """Makes this process the one that trains in the folder.

    The observer's wants_stop() says whether `release` was called, and raises Taken if another
    process has the folder.
    """
    path, token = workdir / OWNER, uuid.uuid4().hex
    files.write_text(path, token)

    def wants_stop() -> bool:
        holder = path.read_text() if path.exists() else NONE
        if holder not in (token, NONE):
            raise Taken(f"another process trains in {workdir}")
        return holder == NONE

    yield Observer(wants_stop=wants_stop)
    if path.exists() and path.read_text() == token:
        path.unlink()


def release(workdir: Path) -> None:
    """Asks the process that trains in the folder to save and stop, if there is one."""
    if (workdir / OWNER).exists():
        files.write_text(workdir / OWNER, NONE)

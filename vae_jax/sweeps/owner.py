"""Which process trains a program: the last that began.

A worker that was taken for dead, and is not, leaves the folder to its successor. Locks can't do
that: not every network file system keeps them.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from vae_jax.runs import folder

OWNER = ".owner"  # in a program's folder: the token of the process that may write there
NONE = "none"  # its content if none may


class Taken(Exception):
    """Another process trains the program now."""


@contextlib.contextmanager
def owned(at: Path) -> Iterator[Callable[[], bool]]:
    """Makes this process the one that trains in the folder; gives wants_stop().

    That says whether `release` was called, and raises Taken if another process has the folder.
    """
    path, token = at / OWNER, uuid.uuid4().hex
    folder.write_text(path, token)

    def wants_stop() -> bool:
        there = path.read_text() if path.exists() else NONE
        if there not in (token, NONE):
            raise Taken(f"another process trains in {at}")
        return there == NONE

    yield wants_stop
    if path.exists() and path.read_text() == token:
        path.unlink()


def release(at: Path) -> None:
    """Asks the process that trains in the folder to save and stop, if there is one."""
    if (at / OWNER).exists():
        folder.write_text(at / OWNER, NONE)

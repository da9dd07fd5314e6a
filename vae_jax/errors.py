"""The exceptions that the command line reports in one line."""

import contextlib
import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from vae_jax.words import as_one_line

Member = TypeVar("Member")


class UserError(Exception):
    """A mistake by the user: one line that says what is wrong and how to correct it.

    The command line prints it without a traceback and exits with code 2. IPython, and so a
    notebook, prints it without a traceback too.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback."""
        return [as_one_line(f"{type(self).__name__}: {self}")]


class Unreadable(UserError):
    """The data are not where the config says, or can't be read."""


class Stopped(Exception):
    """A run was asked to stop, and has saved its state; the same command continues it."""


class Failed(Exception):
    """Some programs of a sweep raised exceptions; the others have finished."""


def tell(message: object) -> None:
    """Writes one line on stderr, without control characters, cut where it is long."""
    print(as_one_line(f"vae-jax: {message}"), file=sys.stderr, flush=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """In this context, an error of the operating system that names no file names this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def choose(table: Mapping[str, Member], name: str, key: str) -> Member:
    """`table[name]`, where `name` is what the user wrote under the config key `key`.

    Raises:
      UserError: an unknown name; the message has the most similar name, and all known ones.
    """
    if name not in table:
        likely = difflib.get_close_matches(name[:200], list(table), n=1)
        meant = f"did you mean {likely[0]!r}? " if likely else ""
        raise UserError(
            f"{key} = {name[:200]!r} is unknown; {meant}there are: {', '.join(sorted(table))}"
        )
    return table[name]

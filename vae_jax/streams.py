"""The streams and the paths of the process, as a command needs them."""

import codecs
import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from vae_jax.errors import UserError
from vae_jax.words import CONTROL, printable


def silence(stream: TextIO) -> None:
    """Discards what the stream still holds, which Python would write at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepare(arguments: Sequence[str]) -> None:
    """Makes the process independent of the user's encoding and of the current folder's files.

    Raises:
      UserError: an argument or the current folder has a name that is not UTF-8, or one with control
        characters; the current folder is gone.
    """
    # A closed stream is None; what is printed there is lost, and nothing else.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    codecs.register_error("plain", plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")
    sys.stdout = Printable(sys.stdout)
    try:
        folder = os.getcwd()
    except OSError as error:
        raise UserError("the current folder is not there any more; change to another") from error
    for name in (*arguments, folder):
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            readable = name.encode(errors="backslashreplace").decode()
            raise UserError(f"{readable} is not UTF-8, and files could not be named so; rename it")
        if CONTROL.search(name) or set(name) & {"\n", "\r", "\t"}:
            raise UserError(f"{name!r} has a control character, such as a line break; rename it")
    # Config files import others of the current folder. It comes last, to hide no library. Where the
    # user names none, it may be a run folder of someone else, whose files are not imported.
    wanted = any(re.match("--?config", argument) for argument in arguments)
    others = (entry for entry in sys.path if entry not in ("", folder))
    sys.path[:] = [*others, *([folder] if wanted else [])]


class Printable:
    """A stream that a text reaches without its control characters."""

    def __init__(self, stream: "TextIO | Printable"):
        self.stream: TextIO = stream.stream if isinstance(stream, Printable) else stream

    def write(self, text: str) -> int:
        return self.stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def plainly(error: UnicodeError) -> tuple[str, int]:
    """The replacement for letters that the encoding of a stream lacks."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join({"±": "+-"}.get(letter, "?") for letter in letters), error.end

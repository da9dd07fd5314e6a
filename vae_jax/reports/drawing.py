"""Draws a figure, or warns that it can't be drawn: no result is lost by a figure."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vae_jax.errors import tell

LONGEST = 150  # bytes of a file's name, without its ending; most file systems take 255


def drawn(function: Callable[..., None], path: Path, *arguments: Any, **named: Any) -> list[Path]:
    """Calls function(path, *arguments, **named); returns [path], or [] with a line on stderr."""
    return [path] * attempted(f"figure {path}", function, path, *arguments, **named)


def attempted(what: str, function: Callable[..., None], *arguments: Any, **named: Any) -> bool:
    """Calls the function; False if it raised, with a line on stderr that says `what` and why."""
    try:
        function(*arguments, **named)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        tell(f"{what} could not be drawn: {reason}")
        return False
    return True


def writable(workdir: Path) -> bool:
    """Whether figures can be written there; False with a line on stderr."""
    if os.access(workdir, os.W_OK | os.X_OK):
        return True
    tell(f"no figures are drawn: {workdir} can't be written")
    return False


def file_name(stem: str) -> str:
    """The name of a figure: without slashes, and cut where it is too long for a file system."""
    stem = stem.replace("/", "-").replace("\0", "-")
    if len(stem.encode()) > LONGEST:
        start = stem.encode()[:LONGEST].decode(errors="ignore")
        stem = f"{start}_{zlib.crc32(stem.encode()):08x}"
    return f"{stem}.png"

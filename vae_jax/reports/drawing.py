"""Draws a figure, or warns that it can't be drawn: no result is lost by a figure."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vae_jax.errors import tell
from vae_jax.figures import style
from vae_jax.sections.declare import Values
from vae_jax.words import reason

LONGEST = 150  # bytes of a file's name, without its ending; most file systems take 255


def files_of(values: Values) -> style.Files:
    """How the figures of a config are written."""
    return style.Files(values["log.figure_format"], values["log.figure_dpi"])


def draw_or_tell(
    function: Callable[..., None], path: Path, *arguments: Any, **named: Any
) -> list[Path]:
    """Calls function(path, *arguments, **named); returns the figure's file, of several formats the
    first; or [] with a line on stderr."""
    file = style.paths(path)[0]
    return [file] * attempt(f"figure {file}", function, path, *arguments, **named)


def attempt(what: str, function: Callable[..., None], *arguments: Any, **named: Any) -> bool:
    """Calls the function; False if it raised, with a line on stderr that says `what` and why."""
    try:
        function(*arguments, **named)
    except Exception as error:
        tell(f"{what} could not be drawn: {reason(error)}")
        return False
    return True


def writable(workdir: Path) -> bool:
    """Whether figures can be written there; False with a line on stderr."""
    if os.access(workdir, os.W_OK | os.X_OK):
        return True
    tell(f"no figures are drawn: {workdir} can't be written")
    return False


def file_name(stem: str) -> str:
    """The name of a figure's PNG: without slashes, and cut if it is too long for a file system."""
    stem = stem.replace("/", "-").replace("\0", "-")
    if len(stem.encode()) > LONGEST:
        start = stem.encode()[:LONGEST].decode(errors="ignore")
        stem = f"{start}_{zlib.crc32(stem.encode()):08x}"
    return f"{stem}.png"

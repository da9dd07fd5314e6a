"""Files that are written completely or not at all."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vae_jax.errors import naming


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which gets the name `path` at the end of the context.

    It has a temporary name until then, and keeps it if the context raises.

    Raises:
      OSError: it can't be written; the error names `path`.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path):
        with open_anew(temporary) as file:
            yield file
        os.replace(temporary, path)


def open_anew(path: Path) -> BinaryIO:
    """A new file of that name, for writing; what has the name is removed, and no link followed."""
    path.unlink(missing_ok=True)
    return open(path, "xb")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes these bytes, and nothing else."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes the text, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Writes strict JSON (no NaN), indented."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes the arrays by their names, compressed."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def user_cache() -> Path | None:
    """The user's folder of what can be made again; None: there is none that can be written."""
    try:  # without HOME and an entry of the user, Path.home() raises RuntimeError
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "vae_jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def or_none(value: float) -> float | None:
    """The value as a float, or None if it is not finite: JSON has no NaN."""
    return float(value) if math.isfinite(value) else None

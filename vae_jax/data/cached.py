"""Folders of .npy files in the user's cache folder: what is slow to read, made once."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vae_jax import files
from vae_jax.errors import UserError

FOLDER = "images"  # of the cache
STALE_SECONDS = 86_400  # since a writing that was killed

T = TypeVar("T")


def made_once(
    key: str, what: str, read: Callable[[Path], T | None], write: Callable[[Path], None]
) -> T:
    """What `read` finds in the folder of this key, which `write` fills unless it is there.

    The folder has all of its files or is not there.

    Args:
      what: is made, for the user, such as "decoding 3 images".
      read: what a folder holds; None: it is damaged, or is not there.
      write: writes the files into an empty folder.

    Raises:
      UserError: there is no cache folder, or it can't be written.
    """
    top = files.user_cache()
    if top is None:
        raise UserError(
            "images that stay on disk are decoded into the user's cache folder, and there is "
            "none that can be written; set XDG_CACHE_HOME to a folder"
        )
    into = top / FOLDER / key
    found = read(into)
    if found is None:
        shutil.rmtree(into, ignore_errors=True)  # damaged
        print(f"{what} once, into {into}", flush=True)
        with whole_folder(into) as temporary:
            write(temporary)
        found = read(into)
    if found is None:
        raise UserError(f"{into} can't be read just after it was written; is its disk in order?")
    return found


@contextlib.contextmanager
def whole_folder(into: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name at the end, if all went well.

    Raises:
      UserError: it can't be written.
    """
    temporary = into.with_name(f".{into.name}.{os.getpid()}.tmp")
    try:
        into.parent.mkdir(exist_ok=True)
        for old in into.parent.glob(".*.tmp"):
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        with contextlib.suppress(OSError):  # another process was faster: the same files
            os.replace(temporary, into)
    except OSError as error:
        raise UserError(
            f"the decoded images can't be written to {into.parent} ({error.strerror}); make room, "
            "or set XDG_CACHE_HOME to another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_full_disk(into: Path, needed: int, what: str) -> None:
    """Raises UserError if the disk of the cache has no room for so many bytes."""
    if needed > (free := shutil.disk_usage(into).free):
        raise UserError(
            f"{what} are decoded into {into.parent}, which takes {needed / 1e9:,.1f} GB, and its "
            f"disk has {free / 1e9:,.1f} GB; set XDG_CACHE_HOME to a folder on another"
        )


def write_header(file: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """The beginning of an .npy file."""
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)

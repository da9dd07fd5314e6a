"""The verb cache: what is kept in the user's cache folder, and its removal."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vae_jax.errors import UserError
from vae_jax.files import user_cache
from vae_jax.words import aligned, count

PROGRAMS = "programs"
# {name: what it is}. Compiled programs are the files of the cache folder itself.
KEPT = {
    PROGRAMS: "compiled programs",
    "images": "decoded images of datasets that stay on disk",
    "facts": "what took a pass over all images of a dataset, such as their mean",
    "broken": "which image files can't be read",
}
ALL = "all"


class Kept(NamedTuple):
    """What the cache has of one kind."""

    paths: list[Path]  # files, and folders
    files: int
    size: int  # bytes


def kept_of(top: Path, name: str) -> Kept:
    """What the cache has of a kind of KEPT."""
    if name == PROGRAMS:
        paths = [path for path in top.iterdir() if path.is_file()]
    else:
        paths = sorted((top / name).iterdir()) if (top / name).is_dir() else []
    sizes = [size for path in paths for size in sizes_in(path)]
    return Kept(paths, len(sizes), sum(sizes))


def sizes_in(path: Path) -> list[int]:
    """The bytes of a file, or of each file of a folder; of links, nothing."""
    if path.is_symlink():
        return []
    if path.is_file():
        return [path.stat().st_size]
    return [
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
    ]


def cache(remove: str | None) -> None:
    """Prints what the cache has; `remove`: the kind that is removed first, or ALL.

    Raises:
      UserError: there is no cache folder, or something can't be removed.
    """
    top = user_cache()
    if top is None:
        raise UserError("there is no cache folder that can be written; set XDG_CACHE_HOME to one")
    if remove is not None:
        clear(top, list(KEPT) if remove == ALL else [remove])
    rows: list[Sequence[str]] = [(str(top), "files", "MB", "")]
    for name, what in KEPT.items():
        kept = kept_of(top, name)
        rows.append((name, f"{kept.files:,}", f"{kept.size / 1e6:,.1f}", what))
    print("\n".join(aligned(rows, left={0, 3})))


def clear(top: Path, names: Sequence[str]) -> None:
    """Removes what the cache has of these kinds, and says how much it was."""
    for name in names:
        kept = kept_of(top, name)
        for path in kept.paths:
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"{path} can't be removed ({error.strerror})") from error
        if kept.files:
            size = f"{kept.size / 1e6:,.1f} MB"
            print(f"removed: {count(kept.files, 'file')} of {name}, {size}")

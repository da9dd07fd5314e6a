"""Image files that can't be read: which of many are broken is found once, and kept."""

import contextlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vae_jax import files
from vae_jax.data.own.decoded import key_of
from vae_jax.data.own.pixels import far_too_large_is_an_error, open_in_a_thread
from vae_jax.errors import Unreadable, UserError

REFUSE, SKIP = "refuse", "skip"
BROKEN = {
    REFUSE: "the run does not begin, and the file is named",
    SKIP: "it is left out, and counted in the first lines",
}


def is_broken(path: Path) -> bool:
    """Whether an image file can't be decoded."""
    try:
        with open_in_a_thread(path) as image:
            image.load()
    except Unreadable:
        return True
    return False


def broken_files(folder: Path, paths: Sequence[Path]) -> set[Path]:
    """The files that can't be decoded, by decoding all; kept by their names, sizes and times."""
    top = files.user_cache()
    kept = None if top is None else top / "broken" / f"{key_of(folder, paths, 0, ())}.json"
    if kept is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, IndexError):
            return {paths[i] for i in json.loads(kept.read_text())}
    with far_too_large_is_an_error(), ThreadPoolExecutor() as pool:
        places = [i for i, broken in enumerate(pool.map(is_broken, paths)) if broken]
    if kept is not None:
        with contextlib.suppress(OSError, UserError):  # a full disk: not kept
            kept.parent.mkdir(exist_ok=True)
            files.write_text(kept, json.dumps(places))
    return {paths[i] for i in places}

"""The user's own images, from an .npz file."""

import zipfile
import zlib

import numpy as np

from vae_jax.data.source import Source, checked_source
from vae_jax.errors import UserError

REQUIRED = ("train_images", "test_images")
OPTIONAL = ("train_labels", "test_labels")

# The errors that zipfile and zlib raise for damaged archives.
BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, NotImplementedError)


def load(path: str) -> Source:
    """Reads `train_images`, `test_images` and, if they exist, `train_labels`, `test_labels`.

    Images are [n, height, width] or [n, height, width, channels], uint8 or floats in [0, 1];
    labels are integers [n].

    Raises:
      UserError: the file can't be read, an array is missing, or a shape, type or range is wrong.
    """
    if not path:
        raise UserError("dataset.path is empty; dataset.name = 'arrays' needs the path of an .npz")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
            found = {name: npz[name] for name in (*REQUIRED, *OPTIONAL) if name in npz.files}
            names = ", ".join(npz.files)
    except (OSError, ValueError, EOFError, TypeError, *BAD_ARCHIVE) as error:
        raise UserError(f"{path} can't be read as an .npz ({error})") from error
    for name in REQUIRED:
        if name not in found:
            raise UserError(
                f"{path} has no array {name!r} (it has: {names}); it should have "
                f"{', '.join(REQUIRED)} and may have {', '.join(OPTIONAL)}"
            )
    return checked_source(
        found["train_images"],
        found.get("train_labels"),
        found["test_images"],
        found.get("test_labels"),
        name=path,
    )

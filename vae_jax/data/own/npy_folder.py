"""The user's own images, from a folder of .npy files."""

from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.data.in_memory import said_of_memory, stays_in_memory
from vae_jax.data.source import Source, checked_source
from vae_jax.data.stored import open_stored
from vae_jax.errors import Unreadable, UserError
from vae_jax.words import as_name, reason

TRAIN, TEST = "train_images", "test_images"


def is_one(path: str | Path) -> bool:
    """Whether a folder is one of .npy files."""
    return any((Path(path) / f"{name}.npy").exists() for name in (TRAIN, TEST))


def load(path: str | Path, choice: str, identity: str = "") -> Source:
    """Reads `train_images.npy`, `test_images.npy` and, if they are there, `train_labels.npy`,
    `test_labels.npy` and those of `covariates`: arrays as `arrays.load` has them.

    Args:
      choice: of in_memory.IN_MEMORY, or AUTO. Of images that stay on disk, those of the training
        set do.
      identity: of the training images, in place of what is made of the file's name, size and time.

    Raises:
      UserError: a file is missing or damaged; a shape, type or range is wrong.
    """
    folder = Path(path)
    for name in (TRAIN, TEST):
        if not (folder / f"{name}.npy").is_file():
            raise UserError(
                f"{folder} has no {name}.npy; a folder of .npy files should have {TRAIN}.npy and "
                f"{TEST}.npy, and may have train_labels.npy, test_labels.npy and covariates"
            )
    stored = open_stored(folder / f"{TRAIN}.npy", TRAIN, identity)
    kept = stays_in_memory(choice, stored.nbytes)
    source = checked_source(
        read_npy(folder, TRAIN) if kept else stored,
        read_npy(folder, "train_labels"),
        read_npy(folder, TEST),
        read_npy(folder, "test_labels"),
        name=str(folder),
        train_covariates=read_npy(folder, "train_covariates"),
        test_covariates=read_npy(folder, "test_covariates"),
    )
    note = said_of_memory(choice, stored.nbytes, str(folder))
    return source._replace(name=as_name(folder.name), notes=(note,))


def read_npy(folder: Path, name: str) -> Any:
    """The array of a file; None: there is no such file.

    Raises:
      Unreadable: it can't be read as an .npy.
    """
    path = folder / f"{name}.npy"
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)  # not an .npz, nor pickled objects
            file.seek(0)
            return np.load(file, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds for a damaged file
        raise Unreadable(f"{path} can't be read as an .npy ({reason(error)})") from error

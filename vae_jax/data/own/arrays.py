"""The user's own images or vectors, from an .npz file."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.data.covariates import rows_of
from vae_jax.data.labels import as_labels
from vae_jax.data.own.matrix import SPARSE, load_sparse
from vae_jax.data.source import Source, as_array, checked_source
from vae_jax.errors import Unreadable, UserError
from vae_jax.words import reason

REQUIRED = ("train_images", "test_images")
OPTIONAL = ("train_labels", "test_labels", "train_covariates", "test_covariates")

# How to make an .npz of one array.
TO_NPZ = (
    "it should be an .npz with training and test images: images = numpy.load({path!r}); "
    "numpy.savez('mine.npz', train_images=images[:-100], test_images=images[-100:])"
)

GIVEN = "data.npz"  # in a run folder: the images that were given as arrays
LIKELY = 0.8  # how similar two names are, of which one is a misspelt other


def load(path: str) -> Source:
    """Reads `train_images`, `test_images` and, if they exist, `train_labels`, `test_labels`,
    `train_covariates`, `test_covariates`.

    Images are [n, height, width] or [n, height, width, channels], uint8 or floats in [0, 1];
    vectors are [n, d], and may be counts too; labels [n] are integers, or names, and so are
    covariates, [n] or [n, c]. A sparse matrix of scipy is one of vectors.

    Raises:
      UserError: the file can't be read, an array is missing, or a shape, type or range is wrong.
    """
    if path.endswith(".npy"):
        raise UserError(f"{path} holds one array; {TO_NPZ.format(path=path)}")
    if not path:
        raise UserError(
            "dataset.path is empty; dataset.name = 'arrays' needs the path of a folder of image "
            "files, or of an .npz"
        )
    if not Path(path).is_file():  # a pipe would never end
        what = "is no file" if Path(path).exists() else "does not exist"
        raise Unreadable(
            f"{path} {what}; --config.dataset.path should be a folder of image files, or an .npz"
        )
    arrays, names = read(path)
    if SPARSE.issubset(names) and not arrays:
        return load_sparse(path)
    ours = (*REQUIRED, *OPTIONAL)
    absent = [name for name in ours if name not in arrays]
    for name in absent:
        likely = difflib.get_close_matches(name, set(names) - set(ours), n=1, cutoff=LIKELY)
        if name in REQUIRED or likely:
            hint = f"; {likely[0]!r} is nearly that" if likely else ""
            raise UserError(
                f"{path} has no array {name!r} (it has: {', '.join(names)}){hint}; it should have "
                f"{', '.join(REQUIRED)} and may have {', '.join(OPTIONAL)}"
            )
    others = [name for name in names if name not in ours]
    source = checked_source(
        arrays["train_images"],
        arrays.get("train_labels"),
        arrays["test_images"],
        arrays.get("test_labels"),
        name=path,
        train_covariates=arrays.get("train_covariates"),
        test_covariates=arrays.get("test_covariates"),
    )
    notes = (f"left out: the arrays {', '.join(others)}",) if others else ()
    return source._replace(name=name_of(Path(path)), notes=notes)


def name_of(path: Path) -> str:
    """What the dataset of a file is called: as the run, if these are the arrays given to it."""
    path = path.absolute()
    return path.parent.name if path.name == GIVEN and path.parent.name else path.name


def checked_split(
    images: Any,
    labels: Any = None,
    test_images: Any = None,
    test_labels: Any = None,
    covariates: Any = None,
    test_covariates: Any = None,
) -> dict[str, np.ndarray]:
    """The arrays of an .npz as `load` reads it, from arrays in memory.

    Without test images, the last tenth of the images is the test set.

    Raises:
      UserError: a shape, type or range is wrong.
    """
    images = as_array(images, "images")
    labels = None if labels is None else as_labels(labels, "labels")
    covariates = None if covariates is None else rows_of(covariates, "covariates")
    if test_covariates is not None:
        test_covariates = rows_of(test_covariates, "test_covariates")
    if test_images is None:
        for name, of_test in (("labels", test_labels), ("covariates", test_covariates)):
            if of_test is not None:
                raise UserError(f"there are test_{name}, and no test_images")
        if images.ndim < 2 or len(images) < 2:
            raise UserError(
                f"the images have shape {images.shape}; they should be (n, height, width) or "
                "(n, height, width, channels), or vectors (n, d), at least two"
            )
        if labels is not None and labels.shape != images.shape[:1]:
            raise UserError(
                f"the labels have shape {labels.shape}, and there are {len(images):,} images; "
                "give one label an image"
            )
        if covariates is not None and len(covariates) != len(images):
            raise UserError(
                f"there are {len(covariates):,} rows of covariates, and {len(images):,} images; "
                "give one row an image"
            )
        last = max(1, len(images) // 10)
        images, test_images = images[:-last], images[-last:]
        if labels is not None:
            labels, test_labels = labels[:-last], labels[-last:]
        if covariates is not None:
            covariates, test_covariates = covariates[:-last], covariates[-last:]
    given = {
        "train_images": images,
        "train_labels": labels,
        "test_images": as_array(test_images, "test_images"),
        "test_labels": None if test_labels is None else as_labels(test_labels, "test_labels"),
        "train_covariates": covariates,
        "test_covariates": test_covariates,
    }
    checked_source(**given, name="images")
    return {name: array for name, array in given.items() if array is not None}


def begins_as_zip(path: str) -> bool:
    """Whether the file begins as an .npz does, damaged or not."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return True  # what is wrong is another thing


def read(
    path: str, ours: Sequence[str] = (*REQUIRED, *OPTIONAL)
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an .npz that have one of our names, and all names in it.

    Raises:
      Unreadable: it can't be read, or one of these is no array.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
            arrays = {name: npz[name] for name in ours if name in npz.files}
            names = list(npz.files)
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} in it is no array")
    except Exception as error:  # numpy, zipfile and zlib raise many kinds for a damaged file
        if not begins_as_zip(path):  # numpy takes it for pickled objects
            raise Unreadable(
                f"{path} can't be read as an .npz: it is none; image files are read by the path of "
                "their folder"
            ) from error
        raise Unreadable(f"{path} can't be read as an .npz ({reason(error)})") from error
    return arrays, names

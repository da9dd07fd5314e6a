"""Other images than those of a run's dataset, on which its lanes can be measured."""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.counts import is_counts
from vae_jax.data.covariates import named_rows, rows_of
from vae_jax.data.dataset import TEST, Dataset, Split, binarized_once, in_range
from vae_jax.data.labels import as_labels, classes_of
from vae_jax.data.own.arrays import read
from vae_jax.data.own.image_files import read_folder, set_folders
from vae_jax.data.own.matrix import SPARSE, all_rows, opened_h5ad, read_sparse
from vae_jax.data.own.npy_folder import read_npy
from vae_jax.data.shapes import is_vector
from vae_jax.data.source import as_array, checked_images, is_binary
from vae_jax.data.units import in_units
from vae_jax.errors import Unreadable, UserError
from vae_jax.words import as_name, count

SETS = (("test_images", "test_labels", "test_covariates"), ("images", "labels", "covariates"))
NAMES = sum(SETS, ())  # of arrays in an .npz
IMAGES = tuple(names[0] for names in SETS)
LONGEST = 40  # letters of a name
NEARLY = 0.01  # of a level, by which floats that are levels may differ from it


class Others(NamedTuple):
    """Images as they were given."""

    name: str
    images: np.ndarray  # [n, height, width] or [n, height, width, channels]
    labels: Any  # [n]; None: none
    must_have_labels: bool = False  # the user named them: all are to be known
    covariates: np.ndarray | None = None  # [n, c], texts

    @property
    def checksum(self) -> str:
        """The sha256 of the images and the labels: equal only if both are."""
        images = self.images if self.images.ndim > 3 else self.images[..., None]
        digest = hashlib.sha256(f"{images.dtype.str}{images.shape}".encode())
        digest.update(np.ascontiguousarray(images).data)
        if self.labels is not None:
            digest.update("\n".join(map(str, self.labels)).encode())
        if self.covariates is not None:
            digest.update(repr(self.covariates.tolist()).encode())
        return digest.hexdigest()

    @property
    def folder_name(self) -> str:
        """A name for a folder of what is measured on them."""
        plain = re.sub(r"[^\w.-]+", "_", self.name.removesuffix(".npz"))[:LONGEST].strip("._-")
        return f"{plain or 'images'}_{self.checksum[:8]}"


def given(images: Any, labels: Any = None, covariates: Any = None) -> Others:
    """Images, and perhaps labels and covariates, that are arrays or lists.

    Raises:
      UserError: they can't be made arrays; there are not as many labels as images.
    """
    images = as_array(images, "images")
    if covariates is not None:
        covariates = rows_of(covariates, "covariates")
        if len(covariates) != len(images):
            raise UserError(
                f"there are {len(covariates):,} rows of covariates, and {len(images):,} images; "
                "give one row an image"
            )
    if labels is None:
        return Others("images", images, None, covariates=covariates)
    labels = as_labels(labels, "labels")
    if labels.shape != images.shape[:1]:
        raise UserError(
            f"labels have shape {labels.shape}, and images {images.shape}; give one label an image"
        )
    return Others("images", images, labels, must_have_labels=True, covariates=covariates)


def from_path(
    path: Path,
    size: Sequence[int],
    image_shape: tuple[int, int, int],
    layer: str = "",
    labels: str = "",
    covariates: Sequence[str] = (),
) -> Others:
    """The images of a folder of image files or of .npy files, or of an .npz.

    A folder with sets gives its test set; without one, its validation set. Its subfolders are the
    classes. An .npz gives `test_images` and `test_labels`, or `images` and `labels`, as does a
    folder of .npy files; that of a sparse matrix gives all its rows, as does an .h5ad.

    Args:
      size: (height, width) that image files are cut to; (): they are taken as they are.
      image_shape: of the run's own images.
      layer, labels, covariates: of an .h5ad.

    Raises:
      UserError: there is nothing, or it can't be read.
    """
    if path.is_dir() and any((path / f"{name}.npy").exists() for name in IMAGES):
        arrays = {name: read_npy(path, name) for name in NAMES}
        return named({n: own for n, own in arrays.items() if own is not None}, path, list(arrays))
    if path.is_dir():
        sets = set_folders(path)
        folder = sets.get("test", sets.get("validation", path))
        height, width, _ = image_shape
        content = read_folder(folder, size, f"{height} x {width}, as the model's are")
        return Others(as_name(path.absolute().name), content.images, content.labels)
    if path.suffix == ".h5ad":
        matrix, own = opened_h5ad(str(path), layer, labels, covariates)
        name = as_name(path.name)
        return Others(name, all_rows(matrix), own.labels, covariates=own.covariates)
    if path.suffix == ".npy":
        raise Unreadable(
            f"{path} holds one array; give an .npz: numpy.savez('mine.npz', images=images)"
        )
    if not path.is_file():
        what = "is no file and no folder" if path.exists() else "does not exist"
        raise Unreadable(f"{path} {what}; give an .npz, or a folder of image files")
    arrays, names = read(str(path), NAMES)
    if SPARSE.issubset(names) and not arrays:
        return named({"images": read_sparse(str(path))}, path, names)
    return named(arrays, path, names)


def named(arrays: dict[str, np.ndarray], path: Path, names: list[str]) -> Others:
    """The images and labels among the arrays of a file, or of a folder.

    Raises:
      UserError: there are no images; `names`: what there is.
    """
    for images, *beside in SETS:
        if images in arrays:
            return given(arrays[images], *map(arrays.get, beside))._replace(
                name=as_name(path.name), must_have_labels=False
            )
    raise UserError(
        f"{path} has no array 'test_images' or 'images' (it has: {', '.join(names)}); it may have "
        "'test_labels' or 'labels' too"
    )


def on_others(data: Dataset, others: Others, support: str, *, reads_labels: bool) -> Dataset:
    """The dataset with others as its test set: scaled and binarised as its own test set is.

    Args:
      support: of the likelihood.
      reads_labels: whether the model needs the labels.

    Raises:
      UserError: images of another shape or in other units; labels that the model needs, or that
        the user named, are missing or are no classes of the run.
    """
    what = f"the images of {others.name}" if others.name != "images" else "the images"
    binarization = data.identity["binarization"]
    images = in_shape(checked_images(others.images, what), data.image_shape, what)
    assert data.units is not None  # of a dataset whose images are there
    narrow = support if binarization == "none" else "binary"
    images = as_stored(in_units(images, data.units, what, narrow), data.train.images.dtype)
    if support in ("levels", "counts") and images.dtype.kind == "f":
        raise UserError(
            f"{what} are floats that are no levels, and the likelihood is one of whole numbers, 0 "
            "to 255; give uint8, or levels / 255"
        )
    flat = images.reshape(len(images), math.prod(data.image_shape))
    conditions = None
    if data.covariates and reads_labels:
        conditions = given_conditions(data, others)
    reads_labels = reads_labels and not data.covariates
    labels, notes = labels_of(data, others, reads_labels=reads_labels)
    test = binarized_once(flat, binarization, data.identity["binarization_seed"], TEST)
    return data._replace(
        test=Split(test, labels, None, conditions),
        binary=data.binary and is_binary(test),
        in_unit=data.in_unit and in_range(test),
        identity=data.identity
        | {
            "name": others.name,
            "checksum": others.checksum,
            "test_size": len(test),
            "trained_on": data.identity["name"],
        },
        notes=notes,
    )


def in_shape(images: np.ndarray, shape: tuple[int, int, int], what: str) -> np.ndarray:
    """Images [n, height, width, channels] in the shape of the run's own; grey ones in colour too.

    Raises:
      UserError: they have another shape.
    """
    height, width, channels = shape
    if images.shape[1:] == (height, width, 1):
        return np.repeat(images, channels, axis=-1)
    if images.shape[1:] != shape:
        if is_vector(images.shape[1:]):
            raise UserError(
                f"{what} are vectors of {images.shape[2]} values, and the model is of {height} x "
                f"{width} pixels and {count(channels, 'channel')}; give images of those"
            )
        these, right = (
            f"{height} x {width} pixels and {count(channels, 'channel')}"
            for height, width, channels in (images.shape[1:], shape)
        )
        raise UserError(f"{what} have {these}, and the model is of {right}; give images of those")
    return images


def as_stored(images: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Images of uint8 or float32 in this type, where that is exact: 255 is 1; counts stay so."""
    if images.dtype == dtype or is_counts(dtype):
        return images
    if dtype != np.uint8:
        return images.astype(np.float32) / np.float32(255)
    levels = np.rint(255 * images)
    near = np.abs(255 * images - levels).max() < NEARLY
    exact = near and levels.min() >= 0 and levels.max() <= 255
    return levels.astype(np.uint8) if exact else images


def given_conditions(data: Dataset, others: Others) -> np.ndarray:
    """The conditions [n] that the covariates name."""
    names = ", ".join(covariate.name for covariate in data.covariates)
    if others.covariates is None:
        raise UserError(
            f"the model reads covariates ({names}), and the images have none; give them"
        )
    rows = named_rows(others.covariates)
    return classes_of(rows, len(rows), data.given_names).astype(np.int64)


def labels_of(
    data: Dataset, others: Others, *, reads_labels: bool
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The classes [n] of the run that the labels name, and a sentence if they are left out.

    They are left out if the run does not know them, does not need them, and the user did not name
    them.
    """
    if others.labels is None:
        if reads_labels:
            raise UserError("the model reads labels, and the images have none; give one an image")
        return None, ()
    names = data.class_names or tuple(map(str, range(data.num_classes)))
    try:
        if not names:
            raise UserError("the run was trained without labels")
        return classes_of(others.labels, len(others.labels), names).astype(np.int64), ()
    except UserError as error:
        if reads_labels or others.must_have_labels:
            raise
        return None, (f"the labels of {others.name} are left out: {error}",)

"""The arguments of a trained model's methods, as people have them: checked, and converted."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from vae_jax.data import binarization
from vae_jax.data.covariates import BETWEEN, named_rows
from vae_jax.data.labels import as_labels, classes_of
from vae_jax.data.shapes import is_vector
from vae_jax.data.source import as_array, checked_images
from vae_jax.data.units import Units, in_units
from vae_jax.errors import UserError
from vae_jax.runs.run import Run
from vae_jax.sections.checks import number
from vae_jax.views.profiles import profiles
from vae_jax.words import count, reason

Labels = ArrayLike | None  # as they are given, [n]
Classes = np.ndarray | None  # 0, 1, ... [n]; None: the model reads none
BATCH = 1_000  # images at a time; but for the noise of `codes`, results do not depend on it


def floats(given: ArrayLike, name: str) -> np.ndarray:
    """Numbers as float32.

    Raises:
      UserError: they are no numbers, or not finite.
    """
    array = as_array(given, name)
    try:
        if array.dtype.kind not in "biufO":
            raise TypeError(f"they are {array.dtype}")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} should be numbers ({reason(error)})") from error
    if not np.isfinite(array).all():
        raise UserError(f"{name} should be finite numbers; some are NaN or infinite")
    return array


def codes_of(given: ArrayLike, latent_size: int) -> tuple[np.ndarray, bool]:
    """Codes [n, l], and whether it was one [l].

    Raises:
      UserError: another shape, or values that are no finite numbers.
    """
    z = floats(given, "codes")
    single = z.ndim == 1
    z = z[None] if single else z
    if z.ndim != 2 or z.shape[1] != latent_size or not len(z):
        raise UserError(f"codes have shape {np.shape(given)}; they should be (n, {latent_size})")
    return z, single


def batch_of(images: ArrayLike, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, bool]:
    """Images [n, height, width] or [n, height, width, channels], and whether it was one without n.

    Flat images [n, d] get their shape; vectors may be one [d].

    Raises:
      UserError: another shape than the training images have.
    """
    given = as_array(images, "images")
    height, width, channels = image_shape
    wanted: list[tuple[int, ...]] = [image_shape]
    wanted += [(height, width)] * (channels == 1) + [(width,)] * is_vector(image_shape)
    single = given.shape in wanted
    batch = given[None] if single else given
    if batch.ndim == 2 and batch.shape[1] == height * width * channels:
        batch = batch.reshape(len(batch), *wanted[-1])
    if batch.shape[1:] not in wanted or not len(batch):
        shape = ", ".join(map(str, wanted[-1]))
        raise UserError(f"images have shape {given.shape}; they should be (n, {shape})")
    return batch, single


def known_units(units: Units | None, support: str) -> Units | None:
    """The units of the training images, and what the likelihood's support says without them.

    None: nothing is known (an earlier version's run of real numbers, without its images).
    """
    if units is None and support != "real":
        return Units("", 0.0, 1.0, 0.0, binary=False)
    return units


def scaled(batch: np.ndarray, units: Units | None, support: str) -> np.ndarray:
    """Images as x [n, d], scaled as at training.

    Raises:
      UserError: another type than the training images have, or other units.
    """
    array = checked_images(batch, "images")
    if units is not None:
        array = in_units(array, units, "images", support)
    elif array.dtype == bool:
        array = array.astype(np.float32)
    return binarization.scaled(array.reshape(len(array), -1)).astype(np.float32, copy=False)


def pictures(
    images: ArrayLike, image_shape: tuple[int, int, int], units: Units | None
) -> np.ndarray:
    """Images as [n, height, width, channels] floats, 0 to 1; of vectors, their profiles.

    Floats may go beyond the units, as those of a model do; grey levels that were made floats may
    not.

    Raises:
      UserError: another shape or type than the training images have, or other units.
    """
    batch, _ = batch_of(images, image_shape)
    levels = batch.dtype.kind == "f" and batch.max() > 1 and not (batch % 1).any()
    if batch.dtype.kind != "f" or (levels and units is not None and units.kind != "real"):
        batch = scaled(batch, units, "real")
    if is_vector(image_shape):
        return profiles(batch.reshape(len(batch), -1), units)
    return np.clip(batch.astype(np.float32).reshape(-1, *image_shape), 0, 1)


def temperatures(given: ArrayLike, layers: int) -> np.ndarray:
    """A temperature for each layer [layers], of one number or as many.

    Raises:
      UserError: other numbers of them, or one below 0.
    """
    factors = floats(given, "temperature")
    if factors.shape not in ((), (layers,)):
        raise UserError(f"temperature should be a number, or {count(layers, 'number')}")
    for factor in factors.ravel():
        number(0)("temperature", factor)
    return np.broadcast_to(factors, (layers,))


def known_classes(labels: Labels, n: int, class_names: tuple[str, ...] | None) -> Classes:
    """The classes [n]; `class_names` None: the model reads none.

    Of data with covariates, labels are rows of these [n, c], or the names of conditions [n].

    Raises:
      UserError: labels that it does not read, or none, or others.
    """
    if class_names is None:
        if labels is not None:
            raise UserError("this model reads no labels; leave them out")
        return None
    rows = named_rows(labels)
    if class_names and BETWEEN in class_names[0] and not are_names(rows):
        row = ", ".join(class_names[0].split(BETWEEN))
        raise UserError(f"this model reads covariates: give labels=, a row an image, as ({row})")
    if labels is None:
        raise UserError("this model reads labels: give labels=, one an image")
    return classes_of(rows, n, class_names)


def are_names(labels: Labels) -> bool:
    """Whether labels are texts: numbers would name one of several covariates, or the label."""
    return labels is not None and as_labels(labels, "labels").dtype.kind == "U"


def in_shape(image_shape: tuple[int, int, int], x: ArrayLike) -> np.ndarray:
    """Rows [n, d] as images; those of one channel without its axis, and vectors as they are."""
    height, width, channels = image_shape
    shape: tuple[int, ...] = (height, width) if channels == 1 else image_shape
    shape = (width,) if is_vector(image_shape) else shape
    return np.asarray(x).reshape(len(np.asarray(x)), *shape)


def in_batches(function: Callable, rows: np.ndarray, y: Classes) -> Any:
    """What the function gives of all rows: an array, or a tree of arrays."""
    parts = [
        function(rows[i : i + BATCH], None if y is None else y[i : i + BATCH])
        for i in range(0, len(rows), BATCH)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def refuse_lines(what: str, run: Run) -> None:
    """Refuses what moves z along lines where z is discrete."""
    model = run.config.model
    if model.has_discrete_z(run.data):
        raise UserError(
            f"{what} moves z along lines, and z of {model.named()} is discrete; "
            "`vae-jax report --html` shows what it means"
        )

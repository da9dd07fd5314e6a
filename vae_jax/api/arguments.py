"""The arguments of a trained model's methods, as people have them: checked, and converted."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from vae_jax.checks import written
from vae_jax.data.binarization import scale
from vae_jax.data.labels import as_labels, is_whole
from vae_jax.data.source import as_array, checked_images
from vae_jax.data.units import Units, in_units
from vae_jax.errors import UserError

MOST_NAMES = 8  # of classes in a message


def floats(given: Any, name: str) -> np.ndarray:
    """Numbers as float32.

    Raises:
      UserError: they are no numbers, or not finite.
    """
    found = as_array(given, name)
    try:
        if found.dtype.kind not in "biufO":
            raise TypeError(f"they are {found.dtype}")
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} should be numbers ({' '.join(str(error).split())})") from error
    if not np.isfinite(found).all():
        raise UserError(f"{name} should be finite numbers; some are NaN or infinite")
    return found


def codes_of(given: Any, latent_size: int) -> tuple[np.ndarray, bool]:
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


def batch_of(images: Any, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, bool]:
    """Images [n, height, width] or [n, height, width, channels], and whether it was one without n.

    Flat images [n, d] get their shape.

    Raises:
      UserError: another shape than the training images have.
    """
    given = as_array(images, "images")
    height, width, channels = image_shape
    wanted = [image_shape] + [(height, width)] * (channels == 1)
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
    found = checked_images(batch, "images")
    if units is not None:
        found = in_units(found, units, "images", support)
    elif found.dtype == bool:
        found = found.astype(np.float32)
    return np.asarray(scale(jnp.asarray(found.reshape(len(found), -1))))


def pictures(images: Any, image_shape: tuple[int, int, int], units: Units | None) -> np.ndarray:
    """Images as [n, height, width, channels] floats, 0 to 1.

    Floats may go beyond the units, as those of a model do; grey levels that were made floats may
    not.

    Raises:
      UserError: another shape or type than the training images have, or other units.
    """
    batch, _ = batch_of(images, image_shape)
    levels = batch.dtype.kind == "f" and batch.max() > 1 and not (batch % 1).any()
    if batch.dtype.kind != "f" or (levels and units is not None and units.kind != "real"):
        batch = scaled(batch, units, "real")
    return np.clip(batch.astype(np.float32).reshape(-1, *image_shape), 0, 1)


def classes_of(labels: Any, n: int, class_names: tuple[str, ...]) -> np.ndarray:
    """The classes [n] that labels name: 0, 1, ... in the order of `class_names`.

    Numbers are those that were given at training: where all names are whole numbers, they are
    these; else the classes.

    Raises:
      UserError: another number of labels, or one that the model was not trained on.
    """
    given = as_labels(labels, "labels")
    given = given[None] if given.ndim == 0 and n == 1 else given
    if given.shape != (n,):
        raise UserError(
            f"labels are {given.dtype} of shape {given.shape}; they should be whole numbers or "
            f"names of shape ({n},)"
        )
    numbered = all(map(is_whole, class_names))
    known: dict[Any, int] = {
        int(name) if numbered else i: i for i, name in enumerate(class_names)
    } | {name: i for i, name in enumerate(class_names)}
    for label in dict.fromkeys(given.tolist()):
        if label not in known:
            more = ", ..." * (len(class_names) > MOST_NAMES)
            raise UserError(
                f"label {written(label)} is no class that the model was trained on; they are "
                f"{', '.join(class_names[:MOST_NAMES])}{more}"
            )
    return np.array([known[label] for label in given.tolist()], np.int32)

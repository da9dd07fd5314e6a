"""Raw images and labels, before splitting and binarisation."""

import hashlib
from typing import NamedTuple

import numpy as np

from vae_jax.errors import UserError

BLOCK = 500  # images
COLOURS = (1, 3, 4)  # usual numbers of channels


class Source(NamedTuple):
    """Images [n, height, width, channels], uint8 or float32; labels [n] or None."""

    name: str  # the name in results
    train_images: np.ndarray
    train_labels: np.ndarray | None
    test_images: np.ndarray
    test_labels: np.ndarray | None
    train_factors: np.ndarray | None = None  # [n, f]: whole numbers that made each image
    test_factors: np.ndarray | None = None
    class_names: tuple[str, ...] = ()  # of the labels 0, 1, ...; (): not known


class Unreadable(UserError):
    """The data are not where the config says, or can't be read."""


def kind(source: Source) -> str:
    """What the pixels are: "binary" (0 or 1), "levels" (uint8) or "real"."""
    if all(map(is_binary, (source.train_images, source.test_images))):
        return "binary"
    return "levels" if source.train_images.dtype == np.uint8 else "real"


def is_binary(images: np.ndarray) -> bool:
    """Whether every scaled value is exactly 0 or 1."""
    one = 255 if images.dtype == np.uint8 else 1
    blocks = range(0, len(images), BLOCK)  # of grey images, the first says enough
    return all(np.isin(images[i : i + BLOCK], (0, one)).all() for i in blocks)


def checksum(source: Source) -> str:
    """The sha256 of every array's type, shape and bytes; equal only for equal sources."""
    digest = hashlib.sha256()
    for array in source[1:7]:
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def checked_images(images: np.ndarray, where: str) -> np.ndarray:
    """`images` as [n, height, width, channels], uint8 or float32.

    Booleans become 0 and 255.

    Raises:
      UserError: another shape or type, or a value that is not finite in float32; `where` names the
        array.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise UserError(
            f"{where} has shape {images.shape}; it should be (n, height, width) or "
            "(n, height, width, channels), none of them zero"
        )
    if images.shape[-1] > max(COLOURS) and images.shape[1] in COLOURS:
        raise UserError(
            f"{where} has shape {images.shape}, which looks like (n, channels, height, width); it "
            "should be (n, height, width, channels): images.transpose(0, 2, 3, 1)"
        )
    if images.dtype == bool:
        return np.where(images, 255, 0).astype(np.uint8)
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        span = "" if images.dtype.kind not in "iu" else f", {images.min()} to {images.max()}"
        raise UserError(
            f"{where} holds {images.dtype}{span}; it should hold uint8, 0 to 255 "
            "(images.astype(numpy.uint8)), or floats"
        )
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise UserError(
            f"{where} holds NaN or infinite values; it should hold numbers, finite in float32"
        )
    return images


def numbered(
    train_labels: np.ndarray | None, test_labels: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[str, ...]]:
    """Names as numbers, in alphabetical order, and the names; () where labels are numbers."""
    given = [np.asarray(own) for own in (train_labels, test_labels) if own is not None]
    if not given or any(own.dtype.kind not in "US" for own in given):
        return train_labels, test_labels, ()
    names = np.unique(np.concatenate([own.astype(str).ravel() for own in given]))

    def number(labels):
        return None if labels is None else np.searchsorted(names, labels.astype(str))

    return number(train_labels), number(test_labels), tuple(map(str, names))


def checked_labels(labels: np.ndarray | None, num_examples: int, where: str) -> np.ndarray | None:
    """`labels` as int64 [num_examples], or None where there are none.

    Raises:
      UserError: another shape, or labels that are not whole numbers.
    """
    if labels is None:
        return None
    whole = labels.dtype.kind in "iub" or (
        labels.dtype.kind == "f" and np.isfinite(labels).all() and not (labels % 1).any()
    )
    if labels.shape != (num_examples,) or not whole:
        raise UserError(
            f"{where} is {labels.dtype} of shape {labels.shape}; it should be integers of shape "
            f"({num_examples},), one a training image or one a test image"
        )
    return labels.astype(np.int64)


def checked_source(
    train_images: np.ndarray,
    train_labels: np.ndarray | None,
    test_images: np.ndarray,
    test_labels: np.ndarray | None,
    name: str,
) -> Source:
    """A Source of arrays from outside, each checked; errors name the source.

    uint8 images of 0 and 1 are binary: they become 0 and 255. Labels that are names become numbers,
    in alphabetical order.
    """
    train_images = checked_images(train_images, f"{name}: train_images")
    test_images = checked_images(test_images, f"{name}: test_images")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(
            f"{name}: train_images are {train_images.shape[1:]} and test_images "
            f"{test_images.shape[1:]}; both should have one (height, width, channels)"
        )
    if train_images.dtype != test_images.dtype:
        raise UserError(
            f"{name}: train_images are {train_images.dtype} and test_images "
            f"{test_images.dtype}; both should have one type"
        )
    if train_images.dtype == np.uint8 and max(train_images.max(), test_images.max()) == 1:
        train_images, test_images = 255 * train_images, 255 * test_images
    train_labels, test_labels, class_names = numbered(train_labels, test_labels)
    return Source(
        name,
        train_images,
        checked_labels(train_labels, len(train_images), f"{name}: train_labels"),
        test_images,
        checked_labels(test_labels, len(test_images), f"{name}: test_labels"),
        class_names=class_names,
    )

"""Raw images and labels, before splitting and binarisation."""

import hashlib
from typing import NamedTuple

import numpy as np

from vae_jax.errors import UserError


class Source(NamedTuple):
    """Images [n, height, width, channels], uint8 or float32; labels [n] or None."""

    name: str  # the name in results
    train_images: np.ndarray
    train_labels: np.ndarray | None
    test_images: np.ndarray
    test_labels: np.ndarray | None
    train_factors: np.ndarray | None = None  # [n, f]: whole numbers that made each image
    test_factors: np.ndarray | None = None


def checksum(source: Source) -> str:
    """The sha256 of every array's type, shape and bytes; equal only for equal sources."""
    digest = hashlib.sha256()
    for array in source[1:]:
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def checked_images(images: np.ndarray, where: str) -> np.ndarray:
    """`images` as [n, height, width, channels], uint8 or float32.

    Raises:
      UserError: another shape or type, or a value that is not finite; `where` names the array.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise UserError(
            f"{where} has shape {images.shape}; it should be (n, height, width) or "
            "(n, height, width, channels), none of them zero"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{where} holds {images.dtype}; it should hold uint8 (0 to 255) or floats")
    if not np.isfinite(images).all():
        raise UserError(f"{where} holds NaN or infinite values; it should hold numbers")
    return images.astype(np.float32)


def checked_labels(labels: np.ndarray | None, num_examples: int, where: str) -> np.ndarray | None:
    """`labels` as int64 [num_examples], or None where there are none.

    Raises:
      UserError: another shape, or labels that are not whole numbers.
    """
    if labels is None:
        return None
    if labels.shape != (num_examples,) or not np.issubdtype(labels.dtype, np.integer):
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
    """A Source of arrays from outside, each checked; errors name the source."""
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
    return Source(
        name,
        train_images,
        checked_labels(train_labels, len(train_images), f"{name}: train_labels"),
        test_images,
        checked_labels(test_labels, len(test_images), f"{name}: test_labels"),
    )

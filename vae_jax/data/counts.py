"""Counts: whole numbers 0, 1, 2, ... of any size, in vectors. A model sees them as they are.

uint8 are no counts, but levels: 255 is 1.
"""

from typing import Any

import numpy as np

from vae_jax.data.shapes import is_vector
from vae_jax.errors import UserError

MOST_COUNT = 2**24  # float32 holds the whole numbers up to it
SMALL = np.dtype(np.uint16)
LARGE = np.dtype(np.int32)


def is_counts(dtype: Any) -> bool:
    """Whether numbers of this type are counts."""
    return np.dtype(dtype).kind in "iu" and dtype != np.uint8


def as_counts(images: np.ndarray, where: str) -> np.ndarray:
    """Whole numbers as uint16, or as int32 where some are greater; `where` names them.

    Raises:
      UserError: they are no vectors, or some are below 0 or above MOST_COUNT.
    """
    refuse_no_counts(images, where)
    return images.astype(SMALL if images.max() <= np.iinfo(SMALL).max else LARGE)


def stored_type(on_disk: np.dtype) -> np.dtype:
    """The type that whole numbers of a file are read as."""
    return SMALL if on_disk.kind == "u" and on_disk.itemsize == SMALL.itemsize else LARGE


def log_totals(rows: np.ndarray) -> np.ndarray:
    """The log of the total of each row [n, d] -> [n]; of a row of zeros, that of 1."""
    return np.log(np.maximum(rows.sum(axis=1, dtype=np.float64), 1))


def refuse_no_counts(images: Any, where: str) -> None:
    """Raises UserError if whole numbers, in memory or stored, are no counts."""
    low, high = images.min(), images.max()
    if not is_vector(images.shape[1:]):
        how = " (images.astype(numpy.uint8))" if 0 <= low <= high <= 255 else ""
        raise UserError(
            f"{where} holds {images.dtype}, {low} to {high}; it should hold uint8, 0 to 255{how}, "
            "or floats; counts should be vectors (n, d)"
        )
    if low < 0 or high > MOST_COUNT:
        raise UserError(
            f"{where} holds {images.dtype}, {low} to {high}; counts should be from 0 to "
            f"{MOST_COUNT:,}, and real numbers floats"
        )


def in_one_type(one: Any, other: Any) -> tuple[Any, Any]:
    """Two arrays in one type, if both are counts; those of 0 and 1 alone are booleans.

    A stored array stays as it is, and the other follows.
    """
    if not (is_counts(one.dtype) and is_counts(other.dtype)):
        return one, other
    if isinstance(one, np.ndarray):
        if max(one.max(), other.max()) <= 1:
            return one.astype(bool), other.astype(bool)
        dtype = np.promote_types(one.dtype, other.dtype)
        one = one.astype(dtype, copy=False)
    return one, other.astype(one.dtype)

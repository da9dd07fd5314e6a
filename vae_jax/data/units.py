"""The units of images: what the numbers of those that a model was trained on mean.

The same function takes images at training and afterwards, so that the very images that trained a
model are the same to it later, and images in other units are refused.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.counts import LARGE, MOST_COUNT, SMALL, is_counts
from vae_jax.data.stored import Images, Stored
from vae_jax.errors import UserError
from vae_jax.words import page

BLOCK = 500  # images
DARK = 32  # uint8 images whose greatest value is below are taken for those of another scale
SLACK = 0.25  # beyond 0 to 1, of floats such as reconstructions and images with noise


class Units(NamedTuple):
    """What the images of a source were, before they were scaled to x."""

    dtype: str  # "bool", "uint8", "float32"; of counts "uint16" or "int32"
    low: float
    high: float
    darkest: float  # the least maximum of an image that is not all 0
    binary: bool  # two values: 0 and 1, 0 and 255, or booleans

    @property
    def kind(self) -> str:
        """What they are.

        "bits": 0 and 1, in uint8 or as booleans; "levels": uint8, 255 is 1; "counts": whole numbers
        of another type; "unit": floats in 0 to 1; "real": floats beyond.
        """
        if self.dtype == "bool" or (self.dtype == "uint8" and self.high == 1):
            return "bits"
        if self.dtype == "uint8":
            return "levels"
        if self.dtype in (SMALL.name, LARGE.name):
            return "counts"
        return "unit" if self.low >= 0 and self.high <= 1 else "real"

    def __str__(self) -> str:
        if self.dtype == "bool":
            return "booleans"
        if self.kind == "counts":
            return f"counts, {self.low:.0f} to {self.high:.0f}"
        numbers = {"uint8": "uint8", "float32": "floats"}.get(self.dtype, "images")
        return f"{numbers}, {self.low:.4g} {'or' if self.binary else 'to'} {self.high:.4g}"


# What is right for each kind.
RIGHT = {
    "bits": "give uint8 of 0 and 1, booleans, or floats from 0 to 1",
    "levels": "give uint8, 0 to 255, or floats from 0 to 1 (of grey levels: images / 255)",
    "unit": "give floats from 0 to 1, or uint8, 0 to 255",
    "real": "give floats in those units",
    "counts": "give whole numbers from 0 upwards",
}


def units_of(train_images: Images, test_images: np.ndarray) -> Units:
    """The units of two sets of images of one type: booleans, uint8, floats or counts."""
    parts = [train_images, test_images]
    found = [extremes(part) for part in parts]
    dtype, high = train_images.dtype, max(own.high for own in found)
    darkest = min(own.darkest for own in found)
    one = 255 if dtype == np.uint8 and high != 1 else 1
    return Units(
        dtype=dtype.name,
        low=min(own.low for own in found),
        high=high,
        darkest=darkest if darkest < math.inf else 0.0,
        binary=all(has_two_values(part, one) for part in parts),
    )


class Extremes(NamedTuple):
    """Of images: the least and the greatest value, and the least maximum of one that is lit."""

    low: float
    high: float
    darkest: float  # inf: none is


def extremes(images: Images) -> Extremes:
    """The extremes of images, in memory or stored."""
    if isinstance(images, Stored):
        return Extremes(*images.facts[:3])
    highest = images.reshape(len(images), -1).max(axis=1).astype(float)
    lit = highest[highest > 0]
    return Extremes(
        float(images.min()), float(highest.max()), float(lit.min()) if len(lit) else math.inf
    )


def has_two_values(images: Images, one: float) -> bool:
    """Whether every value is exactly 0 or `one`: 1 or 255."""
    if isinstance(images, Stored):
        return images.facts.bits if one == 1 else images.facts.ends
    if images.dtype == bool:
        return True
    blocks = (images[i : i + BLOCK] for i in range(0, len(images), BLOCK))
    return all(((block == 0) | (block == one)).all() for block in blocks)  # of grey, the first says


def are_whole(images: Images) -> bool:
    """Whether every value is a whole number."""
    if isinstance(images, Stored):
        return images.facts.whole
    return images.dtype.kind != "f" or not (images % 1).any()


def from_record(units: Any) -> Units | None:
    """The units as a run folder holds them; None: an earlier version, which does not."""
    if units is None:
        return None
    try:
        entry = Units(**units)
        return Units(
            str(entry.dtype),
            float(entry.low),
            float(entry.high),
            float(entry.darkest),
            bool(entry.binary),
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"the run folder's entry `units` is damaged ({error})") from error


def in_units(images: Any, units: Units, where: str, support: str = "real") -> Any:
    """Images of that source, or in its units, as they are stored: uint8, 255 is 1; float32; counts.

    Args:
      images: booleans, uint8, floats or counts; in memory, or stored, and those stay so.
      support: of the likelihood; "binary" and "unit" take no value beyond 0 to 1.

    Raises:
      UserError: they are in other units.
    """
    if is_counts(images.dtype) and units.kind == "bits" and images.size and images.max() <= 1:
        images = images.astype(bool)
    if images.size and not fits(images, units, support):
        numbers = {"float32": "floats"}.get(images.dtype.name, images.dtype.name)
        low, high = images.min(), images.max()
        span = "" if images.dtype == bool else f", {low:.4g} to {high:.4g}"
        raise UserError(
            f"{where} are {numbers}{span}, and the model was trained on {units}; "
            f"{RIGHT[units.kind]}: {page('troubles#other-units')}"
        )
    if isinstance(images, Stored):  # training images, which the units are of
        return images.of_bits() if units.kind == "bits" else images
    if units.kind == "counts":
        return images if images.dtype == units.dtype else images.astype(LARGE)
    if images.dtype == bool:
        return np.where(images, 255, 0).astype(np.uint8)
    as_bits = images.dtype == np.uint8 and units.binary and images.size and images.max() <= 1
    return 255 * images if as_bits else images


def fits(images: np.ndarray, units: Units, support: str) -> bool:
    """Whether images may be in these units."""
    low, high = images.min(), images.max()
    if units.kind == "counts":
        return bool(images.dtype != bool and low >= 0 and high <= MOST_COUNT and are_whole(images))
    if is_counts(images.dtype):
        return False
    if images.dtype.kind == "f":
        least, most = float_range(units, support)
        return bool(least <= low and high <= most)
    if units.kind == "real":  # what is white there?
        return False
    if images.dtype == bool or (units.binary and high <= 1):
        return True
    if units.kind == "bits":
        return has_two_values(images, 255)  # as a run stores them
    darkest = units.darkest * (1 if units.dtype == "uint8" else 254.99)  # of rounded floats
    return support == "counts" or high == 0 or high >= min(DARK, darkest)


def float_range(units: Units, support: str) -> tuple[float, float]:
    """The least and the greatest float of images in these units, or nearly so."""
    if units.kind == "real":
        span = units.high - units.low
        return units.low - span, units.high + span
    if support == "counts" and units.kind == "levels":
        return 0.0, 2 * units.high / 255
    slack = 0.0 if support in ("binary", "unit") else SLACK
    return -slack, 1 + slack

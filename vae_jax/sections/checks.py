"""Checks of config values.

A check is called as check(key, value). It returns the value, converted to one type, or raises
UserError with a one-line message.
"""

import itertools
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.errors import UserError, choose

Check = Callable[[str, Any], Any]


MOST = 2**31 - 1  # of whole numbers: an int32
WIDEST = 100_000  # of layers and images
MOST_LANES = 100_000  # of a run
LARGEST = float(np.finfo(np.float32).max)


def wrong(key: str, value: Any, right: str) -> UserError:
    """The error of a value, with what would be right."""
    return UserError(f"{key} = {written(value)} should be {right}")


def written(value: Any) -> str:
    """The value in one line, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write numbers of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]}..."


def no_effect(key: str, value: Any, by: str, nothing: str = "0") -> tuple[str, str]:
    """The key, and the message that its value has no effect while the key `by` is `nothing`."""
    return key, (
        f"{key} = {written(value)} has no effect while {by} is {nothing}; leave it out, or set {by}"
    )


def plain(value: Any) -> Any:
    """A number, a flag or a list of numpy as one of Python; anything else unchanged."""
    if isinstance(value, np.floating):
        return float(str(value))  # 0.1 in float32 is 0.1
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def whole(low: int, high: int = MOST) -> Check:
    """A whole number from low to high."""

    def check(key: str, value: Any) -> int:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise wrong(key, value, f"a whole number, at least {low}")
        if value > high:
            raise wrong(key, value, f"at most {high}")
        return value

    return check


def number(
    low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> Check:
    """A number from low to high, finite in float32; an open end is excluded."""
    right = f"a number above {low:g}" if open_low else f"a number, at least {low:g}"
    if high != math.inf:
        right += f" and below {high:g}" if open_high else f" and at most {high:g}"

    def check(key: str, value: Any) -> float:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong(key, value, right)
        if not low <= value <= high:  # NaN is in no range
            raise wrong(key, value, right)
        if abs(value) > LARGEST:
            raise wrong(key, value, f"at most {LARGEST:g}, the largest number of float32")
        if (open_low and value == low) or (open_high and value == high):
            raise wrong(key, value, right)
        return float(value)

    return check


def several(check_one: Check) -> Check:
    """A tuple; `check_one` checks each member."""

    def check(key: str, value: Any) -> tuple[Any, ...]:
        if isinstance(value, np.ndarray):
            value = list(value)
        if not isinstance(value, (tuple, list)):
            raise wrong(key, value, "a tuple, such as (1,) or (1, 2)")
        return tuple(check_one(f"{key}[{i}]", member) for i, member in enumerate(value))

    return check


def seed(key: str, value: Any) -> int:
    """A whole number from 0 to 2**32 - 1."""
    value = whole(0, high=2**64)(key, value)
    if value >= 2**32:
        raise wrong(key, value, "below 2**32")
    return value


OWN_SEED = -1  # stands for the seed of the lane


def seed_or_own(key: str, value: Any) -> int:
    """A seed, or OWN_SEED."""
    value = whole(OWN_SEED, high=2**64)(key, value)
    return value if value == OWN_SEED else seed(key, value)


def seeds(key: str, value: Any) -> tuple[int, ...]:
    """One or more seeds, all different."""
    value = several(seed)(key, value)
    if not value:
        raise wrong(key, value, "at least one seed, such as (0,)")
    repeated = sorted({seed for seed in value if value.count(seed) > 1})
    if repeated:
        raise wrong(key, value, f"seeds that all differ; {repeated[0]} is there twice")
    return value


def increasing(key: str, value: Any) -> tuple[float, ...]:
    """Numbers above zero, each larger than the one before."""
    value = several(number(0, open_low=True))(key, value)
    if any(later <= earlier for earlier, later in itertools.pairwise(value)):
        raise wrong(key, value, "increasing")
    return value


def text(key: str, value: Any) -> str:
    """A text."""
    value = plain(value)
    if not isinstance(value, str):
        raise wrong(key, value, "a text")
    return value


def path(key: str, value: Any) -> str:
    """A path, made absolute: a run folder is read from other current folders too. "" stays."""
    return os.path.abspath(os.path.expanduser(value)) if text(key, value) else ""


def path_of(text: str) -> Path:
    """The path, with the home folder for ~.

    Raises:
      UserError: there is no such user, or none with a home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{text}: there is no home folder {Path(text).parts[0]}; write the whole path"
        ) from error


def flag(key: str, value: Any) -> bool:
    """True or False."""
    value = plain(value)
    if not isinstance(value, bool):
        raise wrong(key, value, "True or False")
    return value


def name_in(table: Mapping[str, Any]) -> Check:
    """A key of `table`."""

    def check(key: str, value: Any) -> str:
        choose(table, text(key, value), key)
        return value

    return check


def split_names(value: Any) -> Any:
    """A tuple of texts, each split at its commas: the command line gives them as one."""
    if isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value):
        return tuple(part for name in value for part in name.split(","))
    return value


def names(key: str, value: Any) -> tuple[str, ...]:
    """A tuple of texts without commas."""
    return several(text)(key, split_names(value))


def names_in(table: Mapping[str, Any]) -> Check:
    """A tuple of keys of `table`."""

    def check(key: str, value: Any) -> tuple[str, ...]:
        return several(name_in(table))(key, split_names(value))

    return check

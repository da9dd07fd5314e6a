"""Checks of config values.

A check is called as check(key, value). It returns the value, converted to one type, or raises
UserError with a one-line message.
"""

import itertools
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from vae_jax.errors import UserError, choose

Check = Callable[[str, Any], Any]


def wrong(key: str, value: Any, right: str) -> UserError:
    return UserError(f"{key} = {value!r} should be {right}")


def whole(low: int) -> Check:
    """A whole number, at least `low`."""

    def check(key, value):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise wrong(key, value, f"a whole number, at least {low}")
        return value

    return check


def number(
    low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> Check:
    """A finite number from low to high; an open end is excluded."""
    right = f"a number above {low:g}" if open_low else f"a number, at least {low:g}"
    if high != math.inf:
        right += f" and below {high:g}" if open_high else f" and at most {high:g}"

    def check(key, value):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong(key, value, right)
        if not math.isfinite(value) or not low <= value <= high:
            raise wrong(key, value, right)
        if (open_low and value == low) or (open_high and value == high):
            raise wrong(key, value, right)
        return float(value)

    return check


def several(check_one: Check) -> Check:
    """A tuple; `check_one` checks each member."""

    def check(key, value):
        if not isinstance(value, (tuple, list)):
            raise wrong(key, value, "a tuple, such as (1,) or (1, 2)")
        return tuple(check_one(f"{key}[{i}]", member) for i, member in enumerate(value))

    return check


def seed(key: str, value: Any) -> int:
    """A whole number from 0 to 2**32 - 1."""
    if whole(0)(key, value) >= 2**32:
        raise wrong(key, value, "below 2**32")
    return value


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
    if not isinstance(value, str):
        raise wrong(key, value, "a text")
    return value


def path(key: str, value: Any) -> str:
    """A path, made absolute: a run folder is read from other current folders too. "" stays."""
    return os.path.abspath(os.path.expanduser(value)) if text(key, value) else ""


def flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(key, value, "True or False")
    return value


def name_in(table: Mapping[str, Any]) -> Check:
    """A key of `table`."""

    def check(key, value):
        choose(table, text(key, value), key)
        return value

    return check


def names_in(table: Mapping[str, Any]) -> Check:
    """A tuple of keys of `table`; a string from the command line is split at its commas."""

    def check(key, value):
        if isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value):
            value = tuple(part for name in value for part in name.split(","))
        return several(name_in(table))(key, value)

    return check

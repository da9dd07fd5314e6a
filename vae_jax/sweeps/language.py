"""The functions that a config file's `sweep(hyper)` uses to define a sweep.

Most return a list of override dicts, one per config, such as [{"objective.beta": 1.0}, ...].

    def sweep(hyper):
        return hyper.product(
            [hyper.sweep("model.latent_size", (2, 10)), hyper.sweep("objective.beta", (1, 4))]
        )
"""

import itertools
import math
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import UserError

Overrides = list[dict[str, Any]]


class Uniform(NamedTuple):
    """The uniform distribution from low to high."""

    low: float
    high: float

    def at(self, fraction: float) -> float:
        """The value that a fraction of all samples lie below."""
        return self.low + (self.high - self.low) * fraction


class LogUniform(NamedTuple):
    """The log-uniform distribution from low to high, both above 0."""

    low: float
    high: float

    def at(self, fraction: float) -> float:
        """The value that a fraction of all samples lie below."""
        return math.exp(Uniform(math.log(self.low), math.log(self.high)).at(fraction))


class Choice(NamedTuple):
    """One of the values, with equal probability."""

    values: tuple[Any, ...]

    def at(self, fraction: float) -> Any:
        """The value at this fraction of the list of values."""
        return self.values[int(fraction * len(self.values))]


Distribution = Uniform | LogUniform | Choice


def sweep(key: str, values: Iterable[Any]) -> Overrides:
    """A config for each value."""
    return [{key: value} for value in values]


def fixed(key: str, value: Any) -> Overrides:
    """One config; in a product, every config gets this value."""
    return [{key: value}]


def product(parts: Sequence[Overrides]) -> Overrides:
    """Every combination, the last part's values changing fastest."""
    return [merged(choice) for choice in itertools.product(*parts)]


def zipit(parts: Sequence[Overrides]) -> Overrides:
    """Merges the first config of every part, then the second of every part, and so on.

    Raises:
      UserError: parts of different lengths.
    """
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        raise UserError(f"hyper.zipit needs parts of one length; these have {lengths}")
    return [merged(choice) for choice in zip(*parts, strict=True)]


def chainit(parts: Sequence[Overrides]) -> Overrides:
    """The configs of all parts, one part after another."""
    return [dict(overrides) for part in parts for overrides in part]


def sample(key: str, distribution: Distribution, n: int, seed: int) -> Overrides:
    """n configs with random values, which depend only on the distribution, key and seed."""
    fractions = np.random.default_rng([seed, zlib.crc32(key.encode())]).random(n)
    return [{key: distribution.at(float(fraction))} for fraction in fractions]


def uniform(low: float, high: float) -> Uniform:
    """The uniform distribution from low to high.

    Raises:
      UserError: low is not below high.
    """
    if not low < high:
        raise UserError(f"hyper.uniform({low}, {high}) needs the lower number first")
    return Uniform(low, high)


def log_uniform(low: float, high: float) -> LogUniform:
    """The log-uniform distribution from low to high, both above 0.

    Raises:
      UserError: low is not above 0, or not below high.
    """
    if not 0 < low < high:
        raise UserError(
            f"hyper.log_uniform({low}, {high}) needs numbers above 0, the lower one first"
        )
    return LogUniform(low, high)


def choice(values: Iterable[Any]) -> Choice:
    """One of the values, with equal probability.

    Raises:
      UserError: there are no values.
    """
    values = tuple(values)
    if not values:
        raise UserError("hyper.choice needs at least one value")
    return Choice(values)


def merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The union of dicts.

    Raises:
      UserError: two of them set the same key.
    """
    union: dict[str, Any] = {}
    for part in parts:
        for key in part:
            if key in union:
                raise UserError(f"{key!r} is set twice in one config of the sweep")
        union |= part
    return union

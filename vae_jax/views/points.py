"""Points of the latent space that are decoded to be looked at; all on the host."""

from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float


def by_use(codes_nl: Float[np.ndarray, "n l"]) -> np.ndarray:
    """The latent units, those in use first: with the largest variance of the posterior mean."""
    return np.argsort(-np.var(codes_nl, axis=0))


def by_kl(kl_l: Any, size: int) -> np.ndarray:
    """The latent units [l], the largest mean KL first; as they are where it is not known (None)."""
    return np.arange(size) if kl_l is None else np.argsort(-kl_l)


def traversals(
    code_l: Float[np.ndarray, " l"], units: Any, values: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "units steps l"]:
    """The code with one unit at a time at each of the values."""
    z = np.tile(code_l, (len(units), len(values), 1))
    for i, unit in enumerate(units):
        z[i, :, unit] = values
    return z


def between(
    start_nl: Float[np.ndarray, "n l"], end_nl: Float[np.ndarray, "n l"], steps: int
) -> Float[np.ndarray, "n steps l"]:
    """Points on the straight line from each code to another, both ends included."""
    along = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    return (1 - along) * start_nl[:, None] + along * end_nl[:, None]


def quantiles(n: int) -> Float[np.ndarray, " n"]:
    """n quantiles of a standard normal, from that of 0.02 to that of 0.98."""
    parts = np.linspace(0.02, 0.98, n)
    return np.array([NormalDist().inv_cdf(part) for part in parts], np.float32)


def plane(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "m 2"]:
    """A grid of two-dimensional z [n * n, 2]: z_2 falls from row to row, z_1 rises in a row."""
    z1, z2 = np.meshgrid(values, values[::-1])
    return np.stack([z1, z2], axis=-1).reshape(-1, 2)


def values(code_l: Float[np.ndarray, " l"], units: Any, width: int, count: int) -> Any:
    """One-hot variables [units, count, l], each of `units` at its first `count` values in turn.

    `code_l`: probabilities; the other variables are at their most probable values.
    """
    one_hot = np.eye(width, dtype=np.float32)
    code = one_hot[code_l.reshape(-1, width).argmax(axis=-1)]
    z = np.tile(code, (len(units), count, 1, 1))
    for row, unit in enumerate(units):
        z[row, :, unit] = one_hot[:count]
    return z.reshape(len(units), count, -1)

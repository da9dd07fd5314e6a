"""Samplers of several lanes, whose codes may differ in length."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax.evaluation.samplers.interface import Fitted, Sampler, fit, like, sample


class Lanes(NamedTuple):
    """What is fitted in each lane, padded with zeros to one shape: leaves [lanes, ...]."""

    fitted: Fitted
    place: Int[Array, " lanes"]  # of the lane's size among the sizes


def fit_lanes(
    sampler: Sampler, seed: int, codes: Sequence[Float[np.ndarray, "n l"]]
) -> list[Fitted]:
    """The sampler fitted in each lane; lanes of one size are fitted by one program."""
    fitted: dict[int, Fitted] = {}
    for size in sizes_of(code_nl.shape[1] for code_nl in codes):
        own = [i for i, code_nl in enumerate(codes) if code_nl.shape[1] == size]
        found = fit(sampler, seed, np.stack([codes[i] for i in own]))
        fitted |= dict(zip(own, found, strict=True))
    return [fitted[i] for i in range(len(codes))]


def sizes_of(sizes: Any) -> tuple[int, ...]:
    """The sizes that there are, each once."""
    return tuple(sorted(set(sizes)))


def stacked(fitted: Sequence[Fitted]) -> Lanes:
    """The lanes in one tree."""

    def stack(*leaves: np.ndarray) -> np.ndarray:
        shape = (max(sizes) for sizes in zip(*(leaf.shape for leaf in leaves), strict=True))
        padded = np.zeros((len(leaves), *shape), np.float32)
        for lane, leaf in enumerate(leaves):
            own: Any = (lane, *(slice(size) for size in leaf.shape))
            padded[own] = leaf
        return padded

    own = [len(lane.centre_l) for lane in fitted]
    place = np.searchsorted(sizes_of(own), own).astype(np.int32)
    return Lanes(jax.tree.map(stack, *fitted), place)  # type: ignore[arg-type]


def sample_lane(
    sampler: Sampler, sizes: tuple[int, ...], lane: Lanes, key: Key[Array, ""], n: int
) -> Float[Array, "n l"]:
    """n samples z of one lane of `stacked`, as its own sampler gives them; units beyond are 0.

    sizes: of the lanes, each once, ascending.
    """

    def of_size(size: int) -> Any:
        shapes = like(sampler, size)

        def samples(fitted: Fitted, key: Key[Array, ""]) -> Float[Array, "n l"]:
            own = jax.tree.map(lambda leaf, to: leaf[tuple(map(slice, to.shape))], fitted, shapes)
            z_nl = sample(sampler, own, key, n)
            return jnp.pad(z_nl, ((0, 0), (0, sizes[-1] - size)))

        return samples

    if len(sizes) == 1:
        return of_size(sizes[0])(lane.fitted, key)
    return jax.lax.switch(lane.place, [of_size(size) for size in sizes], lane.fitted, key)

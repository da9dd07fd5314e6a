"""What a sampler is, and one that is fitted.

A sampler sees codes with mean 0 and scale 1 in each unit: it is fitted to them by `fit_all`.
"""

from abc import abstractmethod
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.errors import UserError

Params = Any  # a pytree of arrays


class Sampler(Protocol):
    """A kind of distribution of z, with its numbers: a frozen dataclass, hashable."""

    def __hash__(self) -> int: ...

    @property
    @abstractmethod
    def has_density(self) -> bool:
        """Whether log_prob is known."""

    @abstractmethod
    def init(self, key: Key[Array, ""], size: int, /) -> Params:
        """Params for codes of `size` units, before the fit; the fit keeps their shapes."""

    @abstractmethod
    def fit(self, keys: Key[Array, " lanes"], codes: Float[np.ndarray, "lanes n l"], /) -> Params:
        """The params of each lane, leaves [lanes, ...]."""

    @abstractmethod
    def sample(self, params: Params, key: Key[Array, ""], n: int, /) -> Float[Array, "n l"]:
        """n samples z."""

    def log_prob(self, params: Params, z_nl: Float[Array, "n l"], /) -> Float[Array, " n"]:
        """log density of z, nats; of a sampler that has none, it is not called."""
        raise NotImplementedError

    def problems(self, n: int, /) -> str:
        """What is wrong with n codes; "": nothing."""
        return ""


class Fitted(NamedTuple):
    """A sampler fitted to the codes of one lane: z = centre + scale * what it samples."""

    centre_l: Float[Array, " l"]
    scale_l: Float[Array, " l"]
    params: Params


def like(sampler: Sampler, size: int) -> Fitted:
    """The shapes of what is fitted to codes of `size` units."""
    return jax.eval_shape(
        lambda: Fitted(jnp.zeros(size), jnp.ones(size), sampler.init(jax.random.key(0), size))
    )


def fit(sampler: Sampler, seed: int, codes: Float[np.ndarray, "lanes n l"]) -> list[Fitted]:
    """The sampler, fitted to the codes of each lane. It depends on the arguments alone.

    Raises:
      UserError: codes that are not finite, too few of them, or a fit that is not finite.
    """
    codes = np.asarray(codes, np.float64)
    if not np.isfinite(codes).all():
        raise UserError("a sampler can't be fitted to codes that are not finite")
    if problem := sampler.problems(codes.shape[1]):
        raise UserError(problem)
    centre, scale = codes.mean(axis=1), codes.std(axis=1)
    scale = np.where(scale > 0, scale, 1.0)  # a unit that is never used
    standardized = (codes - centre[:, None]) / scale[:, None]
    keys = jnp.broadcast_to(jax.random.key(seed), (len(codes),))
    params = sampler.fit(keys, standardized)
    lanes = Fitted(centre, scale, params)  # type: ignore[arg-type]
    lanes = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), lanes)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(lanes)):
        raise UserError(f"the fit of {sampler} to these codes did not stay finite")
    leaves, tree = jax.tree.flatten(lanes)
    return [jax.tree.unflatten(tree, own) for own in zip(*leaves, strict=True)]


def sample(sampler: Sampler, fitted: Fitted, key: Key[Array, ""], n: int) -> Float[Array, "n l"]:
    """n samples z."""
    z_nl = sampler.sample(fitted.params, key, n)
    return fitted.centre_l[None] + fitted.scale_l[None] * z_nl


def log_prob(sampler: Sampler, fitted: Fitted, z_nl: Float[Array, "n l"]) -> Float[Array, " n"]:
    """log density of z, nats."""
    standardized = (z_nl - fitted.centre_l[None]) / fitted.scale_l[None]
    return sampler.log_prob(fitted.params, standardized) - jnp.sum(jnp.log(fitted.scale_l))

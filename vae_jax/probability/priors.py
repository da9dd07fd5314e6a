"""Priors p(z). To add one, write it and list it below."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian


class Prior(NamedTuple):
    """p(z) as pure functions. mask_l: 0 for a latent unit that is padding, None for none.

    init:          (key, latent_size) -> params, trained with the model.
    log_prob:      (params, z [..., l], mask_l=None) -> nats [...].
    sample:        (key, params, n, latent_size) -> z [n, l].
    kl_divergence: (params, diagonal Gaussian q) -> KL(q || p) by latent unit, nats [..., l].
    """

    init: Callable
    log_prob: Callable
    sample: Callable
    kl_divergence: Callable


def standard_normal_log_prob(
    params: dict, z: Float[Array, "*batch l"], mask_l: Float[Array, " l"] | None = None
) -> Float[Array, "*batch"]:
    """sum_l log N(z_l; 0, 1)."""
    del params
    return gaussian.sum_units(-0.5 * (jnp.square(z) + gaussian.LOG_2PI), mask_l)


def standard_normal_sample(
    key: Key[Array, ""], params: dict, n: int, latent_size: int
) -> Float[Array, "n l"]:
    """n draws; latent unit j depends on (key, j) alone."""
    del params
    return gaussian.unit_normal(key, (n,), latent_size)


standard_normal = Prior(
    init=lambda key, latent_size: {},
    log_prob=standard_normal_log_prob,
    sample=standard_normal_sample,
    kl_divergence=lambda params, q: gaussian.kl_to_standard_normal(q),
)

PRIORS = {"standard_normal": standard_normal}

"""The diagonal Gaussian, as (mean, log scale).

The functions of distributions are elementwise, in nats; the caller sums over dimensions. Log scales
must be within +-MAX_LOG_SCALE, where every value and gradient is finite.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax import threefry

LOG_2PI = math.log(2 * math.pi)

# The square of exp(2 * 15) fits in float32, so that with clipped log scales no KL and no gradient
# overflows. The scales 3e-7 and 3e6 are far beyond those in practice.
MAX_LOG_SCALE = 15.0


class Gaussian(NamedTuple):
    """N(mean, exp(log_scale)^2), independent over dimensions. Both arrays have one shape."""

    mean: Float[Array, "*shape"]
    log_scale: Float[Array, "*shape"]


def clipped(log_scale: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The log scale, clipped to +-MAX_LOG_SCALE."""
    return jnp.clip(log_scale, -MAX_LOG_SCALE, MAX_LOG_SCALE)


def log_prob(p: Gaussian, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log N(x; mean, scale^2) = -(((x - mean) / scale)^2 + log 2 pi) / 2 - log scale."""
    standardised = (x - p.mean) * jnp.exp(-p.log_scale)
    return -0.5 * (jnp.square(standardised) + LOG_2PI) - p.log_scale


def sample(key: Key[Array, ""], p: Gaussian) -> Float[Array, "*shape"]:
    """One sample, mean + scale * noise; differentiable in the mean and the log scale."""
    return p.mean + jnp.exp(p.log_scale) * jax.random.normal(key, p.mean.shape, p.mean.dtype)


def entropy(p: Gaussian) -> Float[Array, "*shape"]:
    """-E[log p(x)] = log scale + (1 + log 2 pi) / 2."""
    return p.log_scale + 0.5 * (1 + LOG_2PI)


def kl_divergence(q: Gaussian, p: Gaussian) -> Float[Array, "*shape"]:
    """KL(q || p) = (r^2 - 1) / 2 - log r + (shift / scale_p)^2 / 2, r = scale_q / scale_p.

    Written with expm1, which is precise where q is close to p.
    """
    log_ratio = q.log_scale - p.log_scale
    shift = (q.mean - p.mean) * jnp.exp(-p.log_scale)
    return 0.5 * (jnp.expm1(2 * log_ratio) + jnp.square(shift)) - log_ratio


def kl_to_standard_normal(q: Gaussian) -> Float[Array, "*shape"]:
    """KL(q || N(0, 1)) = (scale^2 + mean^2 - 1) / 2 - log scale.

    References: Kingma and Welling 2014, appendix B.
    """
    return 0.5 * (jnp.expm1(2 * q.log_scale) + jnp.square(q.mean)) - q.log_scale


def sum_units(
    term: Float[Array, "*shape l"], mask_l: Float[Array, " l"] | None
) -> Float[Array, "*shape"]:
    """The sum over latent units, except those whose mask is 0; mask None: over all units."""
    return jnp.sum(masked(term, mask_l), axis=-1)


def masked(
    units: Float[Array, "*shape l"], mask_l: Float[Array, " l"] | None
) -> Float[Array, "*shape l"]:
    """The values of the latent units, set to 0 where the mask is 0; mask None: unchanged."""
    if mask_l is None:
        return units
    return units * jax.lax.stop_gradient(mask_l).reshape((1,) * (units.ndim - 1) + (-1,))


def unit_normal(key: Key[Array, ""], shape: tuple[int, ...], size: int) -> Float[Array, "*shape l"]:
    """Standard normal noise [*shape, size] whose unit j depends on (key, j) alone, not on `size`.

    A run with a small latent space then has the noise of the first units of a larger one.
    """
    keys_l = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(size))
    noise = jax.vmap(lambda k: threefry.normal(k, shape))(keys_l)
    return jnp.moveaxis(noise, 0, -1)

"""Likelihoods of counts n = 0, 1, 2, ..., which reach them as x = n / 255."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln, gammaln
from jaxtyping import Array, Float, Key

from vae_jax.probability.likelihood import Likelihood, inside, nothing, softplus

# Means of counts from 3e-7 to 8e3: far beyond pixels, and no rate or product overflows.
MIN_LOG_MEAN, MAX_LOG_MEAN = -15.0, 9.0
# Of the negative binomial's r, 1e-3 to 1,100: the variance is mean + mean^2 / r. Above, a pixel's
# distribution is nearly a Poisson's.
MIN_LOG_R, MAX_LOG_R = -7.0, 7.0


def count_of(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.round(255 * x)


def log_mean_of(raw: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.clip(raw, MIN_LOG_MEAN, MAX_LOG_MEAN)


def poisson_log_prob(
    log_rate: Float[Array, "*batch d"], x: Float[Array, "*batch d"]
) -> Float[Array, "*batch"]:
    """sum_d n log rate - rate - log n!, n = 255 x."""
    n = count_of(x)
    return jnp.sum(n * log_rate - jnp.exp(log_rate) - gammaln(n + 1), axis=-1)


poisson = Likelihood(
    init=nothing,
    x_params=lambda params, raw, scale: log_mean_of(raw[..., 0]),
    log_prob=poisson_log_prob,
    mean=lambda log_rate: jnp.exp(log_rate) / 255,
    sample=lambda key, log_rate: jax.random.poisson(key, jnp.exp(log_rate)) / 255,
    initial_bias=lambda mean_d: jnp.log(255 * inside(mean_d))[:, None],
    params_per_dim=1,
    support="counts",
)


class NegativeBinomial(NamedTuple):
    """Counts of a mean and of a variance mean + mean^2 / r, independent over dimensions."""

    log_mean: Float[Array, "*batch d"]
    log_r: Float[Array, "*batch d"]


def negative_binomial_log_prob(
    p: NegativeBinomial, x: Float[Array, "*batch d"]
) -> Float[Array, "*batch"]:
    """sum_d log G(n + r) - log G(r) - log n! + r log(r / (r + mean)) + n log(mean / (r + mean)).

    The first three are -log((n + r) B(r, n + 1)): of a large r, the difference of two log gammas
    would be off by 1e-3 in float32, for every pixel alike.
    """
    n, r = count_of(x), jnp.exp(p.log_r)
    log_odds = p.log_mean - p.log_r
    log_choices = -betaln(r, n + 1) - jnp.log(n + r)
    log_p = -r * softplus(log_odds) - n * softplus(-log_odds)
    return jnp.sum(log_choices + log_p, axis=-1)


def negative_binomial_sample(key: Key[Array, ""], p: NegativeBinomial) -> Float[Array, "*batch d"]:
    """A Poisson draw whose rate is a gamma draw."""
    rate_key, count_key = jax.random.split(key)
    r = jnp.exp(p.log_r)
    rate = jax.random.gamma(rate_key, r) * jnp.exp(p.log_mean - p.log_r)
    return jax.random.poisson(count_key, rate) / 255


def negative_binomial_bias(mean_d: Float[Array, " d"]) -> Float[Array, "d 2"]:
    log_mean = jnp.log(255 * inside(mean_d))
    return jnp.stack([log_mean, jnp.zeros_like(log_mean)], axis=-1)


negative_binomial = Likelihood(
    init=nothing,
    x_params=lambda params, raw, scale: NegativeBinomial(
        log_mean_of(raw[..., 0]), jnp.clip(raw[..., 1], MIN_LOG_R, MAX_LOG_R)
    ),
    log_prob=negative_binomial_log_prob,
    mean=lambda p: jnp.exp(p.log_mean) / 255,
    sample=negative_binomial_sample,
    initial_bias=negative_binomial_bias,
    params_per_dim=2,
    support="counts",
)

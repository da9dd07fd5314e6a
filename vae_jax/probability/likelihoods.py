"""Likelihoods p(x | z): what the decoder's output means. To add one, write it and list it below."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.continuous_bernoulli import continuous_bernoulli
from vae_jax.probability.counts import negative_binomial, poisson
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.levels import (
    categorical,
    discretized_logistic,
    discretized_logistic_mixture,
)
from vae_jax.probability.likelihood import Likelihood, inside, logit, nothing, only, softplus

# A learned scale of x in 0 to 1 is far from both ends of 1e-3 to 1e3.
MAX_LOG_SCALE = 7.0


def bernoulli_log_prob(
    logits: Float[Array, "*batch d"], x: Float[Array, "*batch d"]
) -> Float[Array, "*batch"]:
    """sum_d x log p + (1 - x) log(1 - p), p = sigmoid(logits): x * logits - softplus(logits).

    For x strictly between 0 and 1 this is no log probability (it does not sum to one over x):
    then call it a pseudo-likelihood.
    """
    return jnp.sum(x * logits - softplus(logits), axis=-1)


def bernoulli_sample(
    key: Key[Array, ""], logits: Float[Array, "*batch d"]
) -> Float[Array, "*batch d"]:
    """One draw, 0. or 1."""
    return jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(logits.dtype)


bernoulli = Likelihood(
    init=nothing,
    x_params=only,
    log_prob=bernoulli_log_prob,
    mean=jax.nn.sigmoid,
    sample=bernoulli_sample,
    initial_bias=lambda mean_d: logit(inside(mean_d))[:, None],
    params_per_dim=1,
    support="binary",
)


def gaussian_log_prob(p: Gaussian, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """sum_d log N(x; mean, scale^2)."""
    p, x = broadcast(p, x)
    return jnp.sum(gaussian.log_prob(p, x), axis=-1)


def broadcast(p, x: Float[Array, "*batch d"]):
    """Both of one shape."""
    shape = jnp.broadcast_shapes(p[0].shape, x.shape)
    return type(p)(*(jnp.broadcast_to(leaf, shape) for leaf in p)), jnp.broadcast_to(x, shape)


def with_scale(params: dict, raw: Float[Array, "*batch d 1"], scale) -> Gaussian:
    """The mean is the decoder's, the scale the config's."""
    mean = raw[..., 0]
    return Gaussian(mean, jnp.broadcast_to(jnp.log(scale), mean.shape))


def with_shared_scale(params: dict, raw: Float[Array, "*batch d 1"], scale) -> Gaussian:
    """The mean is the decoder's, the scale one learned number."""
    log_scale = jnp.clip(params["log_scale"], -MAX_LOG_SCALE, MAX_LOG_SCALE)
    return Gaussian(raw[..., 0], jnp.broadcast_to(log_scale, raw.shape[:-1]))


def with_pixel_scale(params: dict, raw: Float[Array, "*batch d 2"], scale) -> Gaussian:
    """Both are the decoder's."""
    return Gaussian(raw[..., 0], jnp.clip(raw[..., 1], -MAX_LOG_SCALE, MAX_LOG_SCALE))


def mean_and_zero(mean_d: Float[Array, " d"]) -> Float[Array, "d 2"]:
    return jnp.stack([mean_d, jnp.zeros_like(mean_d)], axis=-1)


# Of a fixed scale.
gaussian_fixed = Likelihood(
    init=nothing,
    x_params=with_scale,
    log_prob=gaussian_log_prob,
    mean=lambda p: p.mean,
    sample=gaussian.sample,
    initial_bias=lambda mean_d: mean_d[:, None],
    params_per_dim=1,
    support="real",
)

# One scale for all, learned: its best value is the error of the means (Rybkin et al. 2021).
gaussian_shared_scale = gaussian_fixed._replace(
    init=lambda: {"log_scale": jnp.zeros(())}, x_params=with_shared_scale
)

gaussian_pixel_scale = gaussian_fixed._replace(
    x_params=with_pixel_scale, initial_bias=mean_and_zero, params_per_dim=2
)


class Laplace(NamedTuple):
    """exp(-|x - mean| / scale) / (2 scale), independent over dimensions."""

    mean: Float[Array, "*batch d"]
    log_scale: Float[Array, "*batch d"]


def laplace_log_prob(p: Laplace, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """sum_d -|x - mean| / scale - log(2 scale)."""
    p, x = broadcast(p, x)
    return -jnp.sum(
        jnp.abs(x - p.mean) * jnp.exp(-p.log_scale) + p.log_scale + jnp.log(2.0), axis=-1
    )


laplace = Likelihood(
    init=nothing,
    x_params=lambda params, raw, scale: Laplace(*with_scale(params, raw, scale)),
    log_prob=laplace_log_prob,
    mean=lambda p: p.mean,
    sample=lambda key, p: p.mean + jnp.exp(p.log_scale) * jax.random.laplace(key, p.mean.shape),
    initial_bias=lambda mean_d: mean_d[:, None],
    params_per_dim=1,
    support="real",
)


class Beta(NamedTuple):
    """Beta(mean c, (1 - mean) c), independent over dimensions."""

    logit: Float[Array, "*batch d"]  # of the mean
    log_concentration: Float[Array, "*batch d"]  # log c

    @property
    def shapes(self) -> tuple[Array, Array]:
        """(a, b)."""
        c = jnp.exp(self.log_concentration)
        return jax.nn.sigmoid(self.logit) * c, jax.nn.sigmoid(-self.logit) * c


# Means of 5e-5 to 1 - 5e-5 and concentrations of 0.02 to 1,100, for which betaln keeps its digits.
MAX_BETA_LOGIT, MIN_LOG_CONCENTRATION, MAX_LOG_CONCENTRATION = 10.0, -4.0, 7.0
HALF_LEVEL = 1 / 512


def beta_log_prob(p: Beta, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """sum_d (a - 1) log x + (b - 1) log(1 - x) - log B(a, b).

    At 0 and 1 that is infinite or zero: x is clipped to half a grey level within them. The integral
    is then 1 only where little of the mass is that near an end; where a or b < 1 it is below 1.
    """
    p, x = broadcast(p, x)
    x = jnp.clip(x, HALF_LEVEL, 1 - HALF_LEVEL)
    a, b = p.shapes
    return jnp.sum((a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x) - betaln(a, b), axis=-1)


def beta_x_params(params: dict, raw: Float[Array, "*batch d 2"], scale) -> Beta:
    """Clipped to where the density is a number."""
    return Beta(
        jnp.clip(raw[..., 0], -MAX_BETA_LOGIT, MAX_BETA_LOGIT),
        jnp.clip(raw[..., 1], MIN_LOG_CONCENTRATION, MAX_LOG_CONCENTRATION),
    )


beta = Likelihood(
    init=nothing,
    x_params=beta_x_params,
    log_prob=beta_log_prob,
    mean=lambda p: jax.nn.sigmoid(p.logit),
    sample=lambda key, p: jax.random.beta(key, *p.shapes),
    initial_bias=lambda mean_d: mean_and_zero(logit(inside(mean_d))) + jnp.array([[0.0, 1.0]]),
    params_per_dim=2,
    support="unit",
)

LIKELIHOODS: dict[str, Likelihood] = {
    "bernoulli": bernoulli,
    "beta": beta,
    "categorical": categorical,
    "continuous_bernoulli": continuous_bernoulli,
    "discretized_logistic": discretized_logistic,
    "discretized_logistic_mixture": discretized_logistic_mixture,
    "gaussian": gaussian_fixed,
    "gaussian_pixel_scale": gaussian_pixel_scale,
    "gaussian_shared_scale": gaussian_shared_scale,
    "laplace": laplace,
    "negative_binomial": negative_binomial,
    "poisson": poisson,
}

"""Likelihoods of counts n = 0, 1, 2, ..., given as x = n / 255."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln, gammaln
from jaxtyping import Array, Float, Key

from vae_jax.probability.elementwise import inside, softplus
from vae_jax.probability.interface import Likelihood, Params, Raw, Scale
from vae_jax.sections.declare import section

# Means of counts from 3e-7 to 8e3: far beyond pixels, and no rate or product overflows.
MIN_LOG_MEAN, MAX_LOG_MEAN = -15.0, 9.0
# Of the negative binomial's r, 1e-3 to 1,100: the variance is mean + mean^2 / r. Above, a pixel's
# distribution is nearly a Poisson's.
MIN_LOG_R, MAX_LOG_R = -7.0, 7.0


def count_of(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """n of x = n / 255, as a float."""
    return jnp.round(255 * x)


def log_mean_of(raw: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The log mean of a count from the decoder's output, clipped."""
    return jnp.clip(raw, MIN_LOG_MEAN, MAX_LOG_MEAN)


class Poisson(NamedTuple):
    """The Poisson distribution, independent over dimensions."""

    log_rate: Float[Array, "*batch d"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d n log rate - rate - log n!, n = 255 x."""
        n = count_of(x)
        return jnp.sum(n * self.log_rate - jnp.exp(self.log_rate) - gammaln(n + 1), axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        return jnp.exp(self.log_rate) / 255

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        return jax.random.poisson(key, jnp.exp(self.log_rate)) / 255


@section
class PoissonLikelihood(Likelihood):
    """sum_d n log rate - rate - log n!, n = 255 x."""

    params_per_dim: ClassVar = 1
    support: ClassVar = "counts"

    def distribution(self, params: Params, raw: Raw) -> Poisson:
        return Poisson(log_mean_of(raw[..., 0]))

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 1"]:
        return jnp.log(255 * inside(mean_d))[:, None]


class NegativeBinomial(NamedTuple):
    """Counts with variance mean + mean^2 / r, independent over dimensions."""

    log_mean: Float[Array, "*batch d"]
    log_r: Float[Array, "*batch d"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d log G(n + r) - log G(r) - log n! + r log(r / (r + m)) + n log(m / (r + m)).

        The first three are -log((n + r) B(r, n + 1)): of a large r, the difference of two log
        gammas would be off by 1e-3 in float32, for every pixel alike.
        """
        n, r = count_of(x), jnp.exp(self.log_r)
        log_odds = self.log_mean - self.log_r
        log_choices = -betaln(r, n + 1) - jnp.log(n + r)
        log_p = -r * softplus(log_odds) - n * softplus(-log_odds)
        return jnp.sum(log_choices + log_p, axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        return jnp.exp(self.log_mean) / 255

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        """A Poisson sample, with a gamma sample as its rate."""
        rate_key, count_key = jax.random.split(key)
        r = jnp.exp(self.log_r)
        rate = jax.random.gamma(rate_key, r) * jnp.exp(self.log_mean - self.log_r)
        return jax.random.poisson(count_key, rate) / 255


@section
class NegativeBinomialLikelihood(Likelihood):
    """sum_d log G(n + r) - log G(r) - log n! + r log(r / (r + m)) + n log(m / (r + m)), m: mean."""

    params_per_dim: ClassVar = 2
    support: ClassVar = "counts"

    def distribution(self, params: Params, raw: Raw) -> NegativeBinomial:
        log_r = jnp.clip(raw[..., 1], MIN_LOG_R, MAX_LOG_R)
        return NegativeBinomial(log_mean_of(raw[..., 0]), log_r)

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 2"]:
        log_mean = jnp.log(255 * inside(mean_d))
        return jnp.stack([log_mean, jnp.zeros_like(log_mean)], axis=-1)

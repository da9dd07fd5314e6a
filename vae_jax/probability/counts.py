"""Likelihoods of counts n = 0, 1, 2, ...

Of data that are counts, x = n. Of uint8, x = n / 255, as in every other model of them.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Key

from vae_jax.probability.elementwise import softplus
from vae_jax.probability.gamma import correction, log_choices
from vae_jax.probability.interface import Likelihood, Params, Raw, Scale
from vae_jax.sections.checks import flag
from vae_jax.sections.declare import choice, fact, section, static

# Means of counts from 3e-7 to 9e6: no rate or product overflows.
MIN_LOG_MEAN, MAX_LOG_MEAN = -15.0, 16.0
# Of the negative binomial's r, 1e-3 to 1,100: the variance is mean + mean^2 / r. Above, a value's
# distribution is nearly a Poisson's.
MIN_LOG_R, MAX_LOG_R = -7.0, 7.0
MAX_LOGIT = 30.0  # of a zero that is no count
LEAST_MEAN = 1e-3  # of a variable, in the first output bias
STIRLING = 16  # a count from which Stirling's series has the digits of float32
RATE = 0.1  # of the running mean of the totals

LEARNED, NONE, TOTAL = "learned", "none", "total"
SIZE_FACTORS = {
    LEARNED: "the decoder gives shares, which are multiplied by exp(m + s z_0): m and s of the log "
    "totals of the training set, z_0 the first unit of z",
    NONE: "the decoder gives the means",
    TOTAL: "the decoder gives shares, which are multiplied by the example's own total",
}
EXAMPLE, VARIABLE, CLASS = "example", "variable", "class"
DISPERSIONS = {
    CLASS: "one r for each variable and label, or level of the first covariate",
    EXAMPLE: "by the decoder, for each example and variable",
    VARIABLE: "one r for each variable",
}


def log_mean_of(raw: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The log mean of a count from the decoder's output, clipped."""
    return jnp.clip(raw, MIN_LOG_MEAN, MAX_LOG_MEAN)


def log_shares_of(raw: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """The log of each variable's share of the total, from the decoder's output: they sum to 1."""
    return jnp.maximum(jax.nn.log_softmax(raw, axis=-1), 2 * MIN_LOG_MEAN)


def poisson_log_prob(
    n: Float[Array, "*shape"], log_rate: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """n log rate - rate - log n! of each count, nats.

    Of large n the terms are far greater than their sum. With u = log rate - log n, it is
    -n (exp(u) - 1 - u) - log(2 pi n) / 2 - 1 / (12 n) + ..., which keeps the digits of float32
    (Loader 2000, Fast and Accurate Computation of Binomial Probabilities).
    """
    large = jnp.maximum(n, STIRLING)
    u = log_rate - jnp.log(large)
    of_large = -large * (jnp.expm1(u) - u) - 0.5 * jnp.log(2 * jnp.pi * large) - correction(large)
    few = jnp.minimum(n, STIRLING)
    of_few = few * log_rate - jnp.exp(log_rate) - gammaln(few + 1)
    return jnp.where(n < STIRLING, of_few, of_large)


def negative_binomial_log_prob(
    n: Float[Array, "*shape"], log_mean: Float[Array, "*shape"], log_r: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log G(n + r) - log G(r) - log n! + r log(r / (r + m)) + n log(m / (r + m)) of each count."""
    r, log_odds = jnp.exp(log_r), log_mean - log_r
    return log_choices(n, r) - r * softplus(log_odds) - n * softplus(-log_odds)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Counts:
    """Independent counts: of the Poisson distribution, or with r of the negative binomial, whose
    variance is mean + mean^2 / r. All arrays are [*batch, d].

    log_mean: where log_size is given, the log share of the total.
    log_r: None: Poisson.
    zero: the logit of a zero that is no count; None: there is none such.
    log_size: the log total of a usual example, for what is given no x; None: log_mean is whole.
    unit: n / x.
    """

    log_mean: Float[Array, "*batch d"]
    log_r: Float[Array, "*batch d"] | None
    zero: Float[Array, "*batch d"] | None
    log_size: Float[Array, "*batch d"] | None
    unit: float = dataclasses.field(metadata={"static": True})

    def given_total(self, x: Float[Array, "*batch d"]) -> "Counts":
        """With the total of each x [*batch, d] as the size."""
        if self.log_size is None:
            return self
        total = jnp.sum(jnp.round(self.unit * x), axis=-1, keepdims=True)
        return self._of_size(jnp.log(jnp.maximum(total, 1.0)))

    def _of_size(self, log_size: Any) -> "Counts":
        log_mean = log_mean_of(self.log_mean + log_size)
        return dataclasses.replace(self, log_mean=log_mean, log_size=None)

    @property
    def _usual(self) -> "Counts":
        return self if self.log_size is None else self._of_size(self.log_size)

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d log p(n_d), nats; with shares, given the total of x.

        That is no log probability of x as a whole: the total is taken from x itself.
        """
        p = self.given_total(x)
        n = jnp.round(self.unit * x)
        if p.log_r is None:
            log_p = poisson_log_prob(n, p.log_mean)
        else:
            log_p = negative_binomial_log_prob(n, p.log_mean, p.log_r)
        if p.zero is not None:
            is_count = log_p - softplus(p.zero)
            zero = jnp.logaddexp(-softplus(-p.zero), is_count)
            log_p = jnp.where(n == 0, zero, is_count)
        return jnp.sum(log_p, axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        p = self._usual
        mean = jnp.exp(p.log_mean) / self.unit
        return mean if p.zero is None else mean * jax.nn.sigmoid(-p.zero)

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        """A Poisson sample; with r, of a rate that is a gamma sample."""
        p = self._usual
        if p.log_r is None and p.zero is None:
            return jax.random.poisson(key, jnp.exp(p.log_mean)) / self.unit
        rate_key, count_key = jax.random.split(key)
        rate, zero_key = jnp.exp(p.log_mean), jax.random.fold_in(rate_key, 0)
        if p.log_r is not None:
            r = jnp.exp(p.log_r)
            rate = jax.random.gamma(jax.random.fold_in(rate_key, 1), r) * rate / r
        n = jax.random.poisson(count_key, rate) / self.unit
        if p.zero is None:
            return n
        return jnp.where(jax.random.bernoulli(zero_key, jax.nn.sigmoid(p.zero)), 0.0, n)


@section
class PoissonLikelihood(Likelihood):
    """sum_d n log rate - rate - log n!."""

    size_factor: str = choice(
        SIZE_FACTORS, NONE, "what the means are multiplied by", key="likelihood_size_factor"
    )
    zero_inflated: bool = static(
        False,
        flag,
        "whether some zeros are no counts, with a probability by the decoder",
        key="likelihood_zero_inflated",
    )
    # Of x = n; else x = n / 255.
    counts: Any = fact(lambda facts: facts.counts)

    support: ClassVar = "counts"

    @property
    def unit(self) -> float:
        """n / x."""
        return 1.0 if self.counts else 255.0

    @property
    def params_per_dim(self) -> int:
        return 1 + self.zero_inflated

    @property
    def learns_size(self) -> bool:
        return self.size_factor == LEARNED

    def init_stats(self, scale: Scale = 1.0) -> dict[str, Array] | None:
        return {"log_size": jnp.float32(0)} if self.size_factor == TOTAL else None

    def update(self, stats: Params, p: Counts, x_bd: Float[Array, "b d"]) -> dict[str, Array]:
        """The running mean of the log totals, for what is given no x."""
        log_size = jnp.mean(jnp.log(jnp.maximum(jnp.sum(self.unit * x_bd, axis=-1), 1.0)))
        old = stats["log_size"]
        return {"log_size": jnp.where(old == 0, log_size, (1 - RATE) * old + RATE * log_size)}

    def log_r(self, params: Params, raw: Raw) -> Float[Array, "*batch d"] | None:
        """log r of the negative binomial; None: it is none."""
        return None

    def distribution(self, params: Params, raw: Raw) -> Counts:
        log_size, log_mean = None, raw[..., 0]
        if self.size_factor == NONE:
            log_mean = log_mean_of(log_mean)
        elif self.size_factor == LEARNED:
            log_mean = log_mean_of(log_shares_of(log_mean) + params["log_size"])
        else:
            log_size = jnp.broadcast_to(params["log_size"], log_mean.shape)
            log_mean = log_shares_of(log_mean)
        zero = jnp.clip(raw[..., -1], -MAX_LOGIT, MAX_LOGIT) if self.zero_inflated else None
        return Counts(log_mean, self.log_r(params, raw), zero, log_size, self.unit)

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d p"]:
        """log mean_d beside 0. Where zeros are no counts, half are none, of twice that mean."""
        log_mean = jnp.log(jnp.maximum(self.unit * mean_d, LEAST_MEAN))
        log_mean += math.log(2) * self.zero_inflated
        return jnp.pad(log_mean[:, None], ((0, 0), (0, self.params_per_dim - 1)))

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        if self.size_factor != NONE and config.model.is_autoregressive(data.image_shape):
            yield (
                f"model.likelihood_size_factor = {self.size_factor!r} is of all variables at "
                "once, and the decoder gives each by those before it; it should be 'none'"
            )


@section
class NegativeBinomialLikelihood(PoissonLikelihood):
    """sum_d log G(n + r) - log G(r) - log n! + r log(r / (r + m)) + n log(m / (r + m)), m: mean.

    With a size factor and a dispersion by variable, the likelihood of Lopez et al. 2018, Deep
    Generative Modeling for Single-cell Transcriptomics: "learned", the size as a latent of theirs.
    """

    dispersion: str = choice(DISPERSIONS, EXAMPLE, "what r is of", key="likelihood_dispersion")
    image_shape: Any = fact(lambda facts: facts.image_shape)
    given_sizes: Any = fact(lambda facts: facts.given_sizes)

    @property
    def params_per_dim(self) -> int:
        return 1 + (self.dispersion == EXAMPLE) + self.zero_inflated

    def init(self, scale: Scale = 1.0) -> Params:
        if self.dispersion == EXAMPLE:
            return {}
        shape: tuple[int, ...] = (math.prod(self.image_shape),)
        shape = (self.given_sizes[0], *shape) if self.dispersion == CLASS else shape
        return {"log_r": jnp.zeros(shape)}

    def in_context(self, params: Params, context: Any) -> Params:
        """With the r of the label of each example; of several covariates, of the first."""
        if self.dispersion != CLASS:
            return params
        return params | {"log_r": context[..., : self.given_sizes[0]] @ params["log_r"]}

    def log_r(self, params: Params, raw: Raw) -> Float[Array, "*batch d"]:
        log_r = raw[..., 1] if self.dispersion == EXAMPLE else params["log_r"]
        return jnp.clip(jnp.broadcast_to(log_r, raw.shape[:-1]), MIN_LOG_R, MAX_LOG_R)

    def needs(self, config: Any) -> Iterator[str]:
        if self.dispersion == CLASS and not config.model.abilities.reads_labels:
            yield (
                f"model.likelihood_dispersion = {CLASS!r} is for a model that reads labels; set "
                "model.conditional = True, or take 'variable'"
            )

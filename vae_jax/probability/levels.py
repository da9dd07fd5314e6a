"""Likelihoods of whole numbers n from 0 to 255, given as x = n / 255."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.probability.elementwise import bisect, inside, softplus
from vae_jax.probability.interface import Likelihood, Params, Raw, Scale
from vae_jax.sections.declare import section

LEVELS = 256
MIXTURE_COMPONENTS = 5
# Scales from a thirtieth of a grey level to seven times the whole range.
MIN_LOG_SCALE, MAX_LOG_SCALE = -9.0, 2.0


def level_of(x: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """n of x = n / 255."""
    return jnp.round(255 * x).astype(jnp.int32)


class Categorical(NamedTuple):
    """A categorical distribution over the levels, independent over dimensions."""

    logits: Float[Array, "*batch d 256"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d log softmax(logits)_n, n = 255 x."""
        log_p = jax.nn.log_softmax(self.logits, axis=-1)
        one_hot = jax.nn.one_hot(level_of(x), LEVELS, dtype=bool)
        return jnp.sum(jnp.where(one_hot, log_p, 0.0), axis=(-2, -1))

    def mean(self) -> Float[Array, "*batch d"]:
        """sum_n softmax(logits)_n n / 255."""
        # In full float32: accelerators may round the inputs of a matrix product.
        return jnp.matmul(
            jax.nn.softmax(self.logits, axis=-1),
            jnp.linspace(0.0, 1.0, LEVELS),
            precision="highest",
        )

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        return jax.random.categorical(key, self.logits).astype(jnp.float32) / 255


@section
class CategoricalLikelihood(Likelihood):
    """sum_d log softmax(logits)_n, n = 255 x."""

    params_per_dim: ClassVar = LEVELS
    support: ClassVar = "levels"

    def distribution(self, params: Params, raw: Raw) -> Categorical:
        return Categorical(raw)

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 256"]:
        """The logits of highest entropy with that mean: a slope times n / 255."""

        def logits_of(slope_d: Float[Array, " d"]) -> Float[Array, "d 256"]:
            return slope_d[:, None] * jnp.linspace(0.0, 1.0, LEVELS)[None]

        def mean_of(slope_d: Float[Array, " d"]) -> Float[Array, " d"]:
            return Categorical(logits_of(slope_d)).mean()

        return logits_of(bisect(mean_of, inside(mean_d), -1e3, 1e3))


def log_difference(
    low: Float[Array, "*shape"], gap: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log(sigmoid(low + gap) - sigmoid(low)), gap > 0, precise for any `low`.

    sigmoid(high) - sigmoid(low) = sigmoid(high) sigmoid(-low) (1 - e^(low - high)): the gap is
    an argument, since high - low loses precision if both are large.
    """
    return -softplus(-low - gap) - softplus(low) + jnp.log(-jnp.expm1(-gap))


class Logistics(NamedTuple):
    """A mixture of logistic distributions, discretised to 256 levels. The last axis: components."""

    log_weights: Float[Array, "*batch d c"]
    loc: Float[Array, "*batch d c"]
    log_scale: Float[Array, "*batch d c"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d log sum_c w_c (F_c(x + 1/510) - F_c(x - 1/510)), with the tails at 0 and 255.

        F_c(x) = sigmoid((x - loc_c) / scale_c).

        References: Kingma et al. 2016 (one); Salimans et al. 2017, equation 2 (a mixture).
        """
        n = level_of(x)[..., None]
        shape = jnp.broadcast_shapes(n.shape, self.loc.shape)
        n = jnp.broadcast_to(n, shape)
        log_weights, loc, log_scale = (jnp.broadcast_to(leaf, shape) for leaf in self)
        steepness = jnp.exp(-log_scale)
        low, gap = ((n.astype(jnp.float32) - 0.5) / 255 - loc) * steepness, steepness / 255
        log_p = jnp.where(
            n == 0,
            -softplus(-low - gap),
            jnp.where(n == 255, -softplus(low), log_difference(low, gap)),
        )
        return jnp.sum(jax.nn.logsumexp(log_weights + log_p, axis=-1), axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        """sum_c w_c sum_(n = 1 to 255) P(level >= n) / 255."""

        def add(n: Int[Array, ""], total: Array) -> Array:
            edge = (n - 0.5) / 255
            return total + jax.nn.sigmoid((self.loc - edge) * jnp.exp(-self.log_scale))

        means = jax.lax.fori_loop(1, LEVELS, add, jnp.zeros_like(self.loc)) / 255
        return jnp.sum(jnp.exp(self.log_weights) * means, axis=-1)

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        """Samples a component, then its logistic distribution, and rounds to the nearest level."""
        choice_key, noise_key = jax.random.split(key)
        choice = jax.random.categorical(choice_key, self.log_weights)[..., None]
        loc, log_scale = (
            jnp.take_along_axis(leaf, choice, axis=-1)[..., 0]
            for leaf in (self.loc, self.log_scale)
        )
        x = loc + jnp.exp(log_scale) * jax.random.logistic(noise_key, loc.shape)
        return jnp.clip(jnp.round(255 * x), 0, 255) / 255


@section
class DiscretizedLogistic(Likelihood):
    """sum_d log (F(x + 1/510) - F(x - 1/510)), with the tails at 0 and 255 (Kingma et al. 2016)."""

    params_per_dim: ClassVar = 2
    support: ClassVar = "levels"

    def distribution(self, params: Params, raw: Raw) -> Logistics:
        log_scale = jnp.clip(raw[..., 1:], MIN_LOG_SCALE, MAX_LOG_SCALE)
        return Logistics(jnp.zeros_like(log_scale), raw[..., :1], log_scale)

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 2"]:
        return logistics_bias(self, mean_d, scale, jnp.zeros(1), [])


@section
class DiscretizedLogisticMixture(Likelihood):
    """sum_d log sum_c w_c (F_c(x + 1/510) - F_c(x - 1/510)) of five (Salimans et al. 2017)."""

    params_per_dim: ClassVar = 3 * MIXTURE_COMPONENTS
    support: ClassVar = "levels"

    def distribution(self, params: Params, raw: Raw) -> Logistics:
        logits, loc, log_scale = jnp.split(raw, 3, axis=-1)
        log_scale = jnp.clip(log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE)
        return Logistics(jax.nn.log_softmax(logits, axis=-1), loc, log_scale)

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 15"]:
        shape = (len(mean_d), MIXTURE_COMPONENTS)
        apart = jnp.linspace(-0.2, 0.2, MIXTURE_COMPONENTS)
        return logistics_bias(self, mean_d, scale, apart, [jnp.zeros(shape)])


def logistics_bias(
    likelihood: Likelihood,
    mean_d: Float[Array, " d"],
    scale: Scale,
    apart_c: Float[Array, " c"],
    head: Sequence[Float[Array, "d c"]],
) -> Float[Array, "d p"]:
    """Components of equal scale with offsets `apart_c`, shifted together to the given mean.

    `head`: the outputs before the locations: the logits of a mixture.
    """
    log_scale = jnp.log(scale * jnp.sqrt(3.0) / jnp.pi)  # a logistic's deviation is pi / sqrt(3)

    def raw_of(centre_d: Float[Array, " d"]) -> Float[Array, "d p"]:
        loc = centre_d[:, None] + apart_c[None]
        return jnp.concatenate([*head, loc, jnp.full_like(loc, log_scale)], axis=-1)

    def mean_of(centre_d: Float[Array, " d"]) -> Float[Array, " d"]:
        return likelihood.distribution({}, raw_of(centre_d)).mean()

    return raw_of(bisect(mean_of, inside(mean_d), -10.0, 10.0))

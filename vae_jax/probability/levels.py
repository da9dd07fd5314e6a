"""Likelihoods of whole numbers from 0 to 255, which reach them as x = n / 255."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.probability.likelihood import Likelihood, bisect, inside, nothing, softplus

LEVELS = 256
MIXTURE_COMPONENTS = 5
# Scales from a thirtieth of a grey level to seven times the whole range.
MIN_LOG_SCALE, MAX_LOG_SCALE = -9.0, 2.0
START_LOG_SCALE = -1.0


def level_of(x: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """n of x = n / 255."""
    return jnp.round(255 * x).astype(jnp.int32)


def categorical_log_prob(
    logits: Float[Array, "*batch d 256"], x: Float[Array, "*batch d"]
) -> Float[Array, "*batch"]:
    """sum_d log softmax(logits)_n, n = 255 x."""
    log_p = jax.nn.log_softmax(logits, axis=-1)
    one_hot = jax.nn.one_hot(level_of(x), LEVELS, dtype=bool)
    return jnp.sum(jnp.where(one_hot, log_p, 0.0), axis=(-2, -1))


def categorical_mean(logits: Float[Array, "*batch d 256"]) -> Float[Array, "*batch d"]:
    """sum_n softmax(logits)_n n / 255."""
    # In full float32: accelerators may round a product's factors.
    return jnp.matmul(
        jax.nn.softmax(logits, axis=-1), jnp.linspace(0.0, 1.0, LEVELS), precision="highest"
    )


def categorical_bias(mean_d: Float[Array, " d"]) -> Float[Array, "d 256"]:
    """The flattest logits with that mean: a slope times n / 255."""

    def logits_of(slope_d):
        return slope_d[:, None] * jnp.linspace(0.0, 1.0, LEVELS)[None]

    return logits_of(
        bisect(lambda slope_d: categorical_mean(logits_of(slope_d)), inside(mean_d), -1e3, 1e3)
    )


categorical = Likelihood(
    init=nothing,
    x_params=lambda params, raw, scale: raw,
    log_prob=categorical_log_prob,
    mean=categorical_mean,
    sample=lambda key, logits: jax.random.categorical(key, logits).astype(jnp.float32) / 255,
    initial_bias=categorical_bias,
    params_per_dim=LEVELS,
    support="levels",
)


class Logistics(NamedTuple):
    """A mixture of logistic distributions of x, cut into the 256 levels. Components come last."""

    log_weights: Float[Array, "*batch d c"]
    mean: Float[Array, "*batch d c"]
    log_scale: Float[Array, "*batch d c"]


def log_difference(
    low: Float[Array, "*shape"], gap: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log(sigmoid(low + gap) - sigmoid(low)), gap > 0, with its digits wherever `low` is.

    sigmoid(high) - sigmoid(low) = sigmoid(high) sigmoid(-low) (1 - e^(low - high)): the gap comes
    as it is, since far out the difference of high and low has lost it.
    """
    return -softplus(-low - gap) - softplus(low) + jnp.log(-jnp.expm1(-gap))


def logistics_log_prob(p: Logistics, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """sum_d log sum_c w_c (F_c(x + 1/510) - F_c(x - 1/510)), with the tails at 0 and 255.

    F_c(x) = sigmoid((x - mean_c) / scale_c).

    References: Kingma et al. 2016 (one); Salimans et al. 2017, equation 2 (a mixture).
    """
    n = level_of(x)[..., None]
    shape = jnp.broadcast_shapes(n.shape, p.mean.shape)
    n = jnp.broadcast_to(n, shape)
    p = Logistics(*(jnp.broadcast_to(leaf, shape) for leaf in p))
    steepness = jnp.exp(-p.log_scale)
    low, gap = ((n - 0.5) / 255 - p.mean) * steepness, steepness / 255
    log_p = jnp.where(
        n == 0,
        -softplus(-low - gap),
        jnp.where(n == 255, -softplus(low), log_difference(low, gap)),
    )
    return jnp.sum(jax.nn.logsumexp(p.log_weights + log_p, axis=-1), axis=-1)


def logistics_mean(p: Logistics) -> Float[Array, "*batch d"]:
    """sum_c w_c sum_(n = 1 to 255) P(level >= n) / 255."""

    def add(n, total):
        edge = (n - 0.5) / 255
        return total + jax.nn.sigmoid((p.mean - edge) * jnp.exp(-p.log_scale))

    means = jax.lax.fori_loop(1, LEVELS, add, jnp.zeros_like(p.mean)) / 255
    return jnp.sum(jnp.exp(p.log_weights) * means, axis=-1)


def logistics_sample(key: Key[Array, ""], p: Logistics) -> Float[Array, "*batch d"]:
    """A component, a logistic draw of it, the nearest level."""
    choice_key, noise_key = jax.random.split(key)
    choice = jax.random.categorical(choice_key, p.log_weights)[..., None]
    mean, log_scale = (
        jnp.take_along_axis(leaf, choice, axis=-1)[..., 0] for leaf in (p.mean, p.log_scale)
    )
    x = mean + jnp.exp(log_scale) * jax.random.logistic(noise_key, mean.shape)
    return jnp.clip(jnp.round(255 * x), 0, 255) / 255


def logistics_of(components: int) -> Likelihood:
    """That many logistic distributions a dimension."""

    def x_params(params, raw, scale):
        logits, mean, log_scale = jnp.split(raw, 3, axis=-1) if components > 1 else (
            jnp.zeros_like(raw[..., :1]), raw[..., :1], raw[..., 1:],
        )  # fmt: skip
        return Logistics(
            jax.nn.log_softmax(logits, axis=-1),
            mean,
            jnp.clip(log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE),
        )

    def initial_bias(mean_d):
        """Components with one scale, their means apart and moved together to where they belong."""
        apart = jnp.linspace(-0.2, 0.2, components) if components > 1 else jnp.zeros(1)

        def raw_of(centre_d):
            mean = centre_d[:, None] + apart[None]
            parts = [mean, jnp.full_like(mean, START_LOG_SCALE)]
            return jnp.concatenate([jnp.zeros_like(mean)] * (components > 1) + parts, axis=-1)

        def mean_of(centre_d):
            return logistics_mean(x_params({}, raw_of(centre_d), 1.0))

        return raw_of(bisect(mean_of, inside(mean_d), -10.0, 10.0))

    return Likelihood(
        init=nothing,
        x_params=x_params,
        log_prob=logistics_log_prob,
        mean=logistics_mean,
        sample=logistics_sample,
        initial_bias=initial_bias,
        params_per_dim=3 * components if components > 1 else 2,
        support="levels",
    )


discretized_logistic = logistics_of(1)
discretized_logistic_mixture = logistics_of(MIXTURE_COMPONENTS)

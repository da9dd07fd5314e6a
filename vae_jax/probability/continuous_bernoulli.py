"""The continuous Bernoulli: a density over [0, 1] of a Bernoulli's form."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability.likelihood import Likelihood, bisect, nothing, only


def log_sinhc(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log (sinh(a) / a), even in a; by its series where the quotient would lose its digits."""
    a = jnp.abs(a)
    small = a < 0.1
    safe = jnp.where(small, 1.0, a)
    large = safe + jnp.log1p(-jnp.exp(-2 * safe)) - jnp.log(2 * safe)
    square = jnp.square(jnp.where(small, a, 0.0))
    return jnp.where(small, square / 6 - jnp.square(square) / 180, large)


def continuous_bernoulli_log_prob(
    logits: Float[Array, "*batch d"], x: Float[Array, "*batch d"]
) -> Float[Array, "*batch"]:
    """sum_d x eta - log((e^eta - 1) / eta), eta = logits: a Bernoulli's form, over [0, 1].

    (e^eta - 1) / eta = e^(eta / 2) sinh(eta / 2) / (eta / 2).

    References: Loaiza-Ganem and Cunningham 2019, equations 7 and 8.
    """
    return jnp.sum((x - 0.5) * logits - log_sinhc(logits / 2), axis=-1)


def continuous_bernoulli_mean(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 / (1 - e^-eta) - 1 / eta; 1/2 + eta / 12 - eta^3 / 720 near 0."""
    small = jnp.abs(logits) < 0.2
    safe = jnp.where(small, 1.0, logits)
    # 1 / (1 - e^-eta) of a negative eta is -e^eta / (1 - e^eta).
    decay = jnp.exp(-jnp.abs(safe))
    large = jnp.where(safe > 0, 1.0, -decay) / (1 - decay) - 1 / safe
    near = jnp.where(small, logits, 0.0)
    return jnp.where(small, 0.5 + near / 12 - near**3 / 720, large)


def continuous_bernoulli_sample(
    key: Key[Array, ""], logits: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log(1 + u (e^eta - 1)) / eta of a uniform u; for eta > 0 by symmetry, 1 - x of -eta."""
    u = jax.random.uniform(key, logits.shape)
    eta = -jnp.abs(logits)
    small = eta > -1e-6  # there x is u to the last digit
    safe = jnp.where(small, -1.0, eta)
    falling = jnp.where(small, u, jnp.log1p(u * jnp.expm1(safe)) / safe)
    return jnp.where(logits > 0, 1 - falling, falling)


def continuous_bernoulli_bias(mean_d: Float[Array, " d"]) -> Float[Array, "d 1"]:
    """Of means clipped to 0.01 to 0.99: beyond, its slope in eta, mean^2, is too small to train."""
    return bisect(continuous_bernoulli_mean, jnp.clip(mean_d, 0.01, 0.99), -200.0, 200.0)[:, None]


continuous_bernoulli = Likelihood(
    init=nothing,
    x_params=only,
    log_prob=continuous_bernoulli_log_prob,
    mean=continuous_bernoulli_mean,
    sample=continuous_bernoulli_sample,
    initial_bias=continuous_bernoulli_bias,
    params_per_dim=1,
    support="unit",
)

"""The aggregate posterior q(z) = (1/n) sum_j q(z | x_j), and how it decomposes the mean KL.

References: Hoffman and Johnson 2016, ELBO surgery; Chen, Li, Grosse and Duvenaud 2018, equation 2.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian

BLOCK = 256  # examples of the mixture at a time
SAMPLES = 64  # of z, at a time
MORE = 10  # examples than units, which a covariance takes at least


class Surgery(NamedTuple):
    """The mean KL(q(z | x) || p(z)) in three parts, in nats, for a standard normal p(z).

    Standard errors are over samples of z; the mixture is exact, over all n examples.
    """

    mutual_information: float  # I(n; z) of the example's index and its code, at most log n
    total_correlation: float  # KL(q(z) || prod_l q(z_l))
    dimension_wise_kl: float  # sum_l KL(q(z_l) || p(z_l))
    mutual_information_se: float
    total_correlation_se: float
    dimension_wise_kl_se: float


Logs = tuple[Float[Array, " m"], Float[Array, "m l"]]  # of the joint density, and by unit


@jax.jit
def log_aggregate(q: Gaussian, z_ml: Float[Array, "m l"]) -> Logs:
    """Computes log q(z) and log q(z_l) of samples z, over q's n examples [n, l] in blocks."""
    n = len(q.mean)
    blocks = -(-n // BLOCK)
    pad = blocks * BLOCK - n
    blocked = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, pad), (0, 0))).reshape(blocks, BLOCK, -1), q
    )
    is_one = (jnp.arange(blocks * BLOCK) < n).reshape(blocks, BLOCK)

    def add(carry: Logs, block: Any) -> tuple[Logs, None]:
        (mean_bl, log_scale_bl), is_one_b = block
        shape = (len(z_ml), *mean_bl.shape)
        each = Gaussian(
            jnp.broadcast_to(mean_bl[None], shape), jnp.broadcast_to(log_scale_bl[None], shape)
        )
        log_q_mbl = gaussian.log_prob(each, jnp.broadcast_to(z_ml[:, None], shape))
        log_q_mbl = jnp.where(is_one_b[None, :, None], log_q_mbl, -jnp.inf)
        logs = (
            jax.nn.logsumexp(jnp.sum(log_q_mbl, axis=-1), axis=1),
            jax.nn.logsumexp(log_q_mbl, axis=1),
        )
        return jax.tree.map(jnp.logaddexp, carry, logs), None

    nothing = (jnp.full(len(z_ml), -jnp.inf), jnp.full(z_ml.shape, -jnp.inf))
    (log_joint_m, log_units_ml), _ = jax.lax.scan(add, nothing, (blocked, is_one))
    return log_joint_m - jnp.log(n), log_units_ml - jnp.log(n)


@partial(jax.jit, static_argnums=2)
def surgery_samples(
    key: Key[Array, ""], q: Gaussian, num_samples: int
) -> tuple[Float[Array, " m"], Float[Array, " m"], Float[Array, " m"]]:
    """The three parts of `Surgery`, of each sample z ~ q(z | x_i), i at random."""
    row_key, z_key = jax.random.split(key)
    rows_m = jax.random.randint(row_key, (num_samples,), 0, len(q.mean))
    q_m = Gaussian(q.mean[rows_m], q.log_scale[rows_m])
    z_ml = gaussian.sample(z_key, q_m)
    log_joint_m, log_units_ml = jax.lax.map(
        lambda z_l: jax.tree.map(lambda leaf: leaf[0], log_aggregate(q, z_l[None])),
        z_ml,
        batch_size=min(SAMPLES, num_samples),
    )
    log_q_m = jnp.sum(gaussian.log_prob(q_m, z_ml), axis=-1)
    log_prior_m = -0.5 * jnp.sum(jnp.square(z_ml) + gaussian.LOG_2PI, axis=-1)
    apart_m = jnp.sum(log_units_ml, axis=-1)
    return log_q_m - log_joint_m, log_joint_m - apart_m, apart_m - log_prior_m


def surgery(key: Key[Array, ""], q: Gaussian, num_samples: int) -> Surgery:
    """The parts of E_q[log q(z | x) - log p(z)], by samples; q(z | x) of all n examples [n, l]."""
    parts = [np.asarray(part, np.float64) for part in surgery_samples(key, q, num_samples)]
    errors = [part.std(ddof=1) / np.sqrt(num_samples) for part in parts]
    return Surgery(*(float(part.mean()) for part in parts), *map(float, errors))


class Moments(NamedTuple):
    """The moments of q(z) = (1/n) sum_j q(z | x_j), each q(z | x_j) a diagonal Gaussian."""

    mean_l: Float[Array, " l"]
    of_means_ll: Float[Array, "l l"]  # the covariance of the posterior means, divided by n
    noise_l: Float[Array, " l"]  # the mean posterior variance


@jax.jit
def moments(mean_nl: Float[Array, "n l"], log_scale_nl: Float[Array, "n l"]) -> Moments:
    """The moments of q(z): its covariance is of_means_ll + diag(noise_l)."""
    mean_l = jnp.mean(mean_nl, axis=0)
    away_nl = mean_nl - mean_l[None]
    of_means_ll = jnp.matmul(away_nl.T, away_nl, precision=jax.lax.Precision.HIGHEST)
    noise_l = jnp.mean(jnp.exp(2 * log_scale_nl), axis=0)
    return Moments(mean_l, of_means_ll / len(mean_nl), noise_l)


def moment_matched_kl(of: Moments, n: int) -> float:
    """KL(N(m, C) || N(0, I)), nats; m and C are the mean and the whole covariance of q(z).

    It is a lower bound on KL(q(z) || N(0, I)), and equal to it where q(z) is a Gaussian: the
    cross-entropy with N(0, I) depends on the moments alone, and of all distributions with these
    moments the Gaussian has the largest entropy. It is at least the sum of the same KL of each
    unit by itself, by 1/2 (sum_l log C_ll - log det C): what the units have in common.

    The covariance of few samples has too small a determinant, and the KL is too large. What that
    adds at most, on average, is subtracted (`excess`: all of q(z)'s variance in the means). With
    fewer than MORE examples more than units only the units by themselves count; with fewer than
    MORE, nothing is known, and it is 0.

    Args:
      n: the number of examples.
    """
    mean_l = np.asarray(of.mean_l, np.float64)
    noise_l = np.asarray(of.noise_l, np.float64)
    covariance_ll = np.asarray(of.of_means_ll, np.float64) + np.diag(noise_l)
    variance_l = np.diag(covariance_ll)
    units = mean_l.size
    second = variance_l.sum() + np.square(mean_l).sum() - units
    apart = 0.5 * (second - np.log(variance_l).sum()) - units * excess(n, 1)
    together = 0.5 * (second - np.linalg.slogdet(covariance_ll)[1]) - excess(n, units)
    return float(max(apart, together, 0.0))


def excess(n: int, units: int) -> float:
    """How much too large the KL of `moment_matched_kl` is on average for n Gaussian samples, nats.

    It is -1/2 E[log det] of the covariance of n samples of N(0, I), divided by n: about
    units (units + 3) / 4n for many; here log x - digamma(x) < 1/2x + 1/12x^2 stands in its place.
    """
    if n < units + MORE:  # its spread is then as large as itself
        return math.inf
    halves = 0.5 * (n - np.arange(1, units + 1))
    return float(
        0.5 * np.sum(np.log(n / (2 * halves)) + 1 / (2 * halves) + 1 / (12 * np.square(halves)))
    )

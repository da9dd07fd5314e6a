"""The aggregate posterior q(z) = (1/n) sum_j q(z | x_j), and how it decomposes the mean KL.

References: Hoffman and Johnson 2016, ELBO surgery; Chen, Li, Grosse and Duvenaud 2018, equation 2.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian

BLOCK = 256  # examples of the mixture at a time
SAMPLES = 64  # of z, at a time


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


@jax.jit
def log_aggregate(
    q: Gaussian, z_ml: Float[Array, "m l"]
) -> tuple[Float[Array, " m"], Float[Array, "m l"]]:
    """log q(z) and log q(z_l) of samples z, over the n examples [n, l] of q, in blocks of them."""
    n = len(q.mean)
    blocks = -(-n // BLOCK)
    pad = blocks * BLOCK - n
    blocked = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, pad), (0, 0))).reshape(blocks, BLOCK, -1), q
    )
    is_one = (jnp.arange(blocks * BLOCK) < n).reshape(blocks, BLOCK)

    def add(carry, block):
        (mean_bl, log_scale_bl), is_one_b = block
        shape = (len(z_ml), *mean_bl.shape)
        each = Gaussian(
            jnp.broadcast_to(mean_bl[None], shape), jnp.broadcast_to(log_scale_bl[None], shape)
        )
        log_q_mbl = gaussian.log_prob(each, jnp.broadcast_to(z_ml[:, None], shape))
        log_q_mbl = jnp.where(is_one_b[None, :, None], log_q_mbl, -jnp.inf)
        own = (
            jax.nn.logsumexp(jnp.sum(log_q_mbl, axis=-1), axis=1),
            jax.nn.logsumexp(log_q_mbl, axis=1),
        )
        return jax.tree.map(jnp.logaddexp, carry, own), None

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
    own = Gaussian(q.mean[rows_m], q.log_scale[rows_m])
    z_ml = gaussian.sample(z_key, own)
    log_joint_m, log_units_ml = jax.lax.map(
        lambda z_l: jax.tree.map(lambda leaf: leaf[0], log_aggregate(q, z_l[None])),
        z_ml,
        batch_size=min(SAMPLES, num_samples),
    )
    log_own_m = jnp.sum(gaussian.log_prob(own, z_ml), axis=-1)
    log_prior_m = -0.5 * jnp.sum(jnp.square(z_ml) + gaussian.LOG_2PI, axis=-1)
    apart_m = jnp.sum(log_units_ml, axis=-1)
    return log_own_m - log_joint_m, log_joint_m - apart_m, apart_m - log_prior_m


def surgery(key: Key[Array, ""], q: Gaussian, num_samples: int) -> Surgery:
    """The parts of E_q[log q(z | x) - log p(z)], by samples; q(z | x) of all n examples [n, l]."""
    parts = [np.asarray(part, np.float64) for part in surgery_samples(key, q, num_samples)]
    errors = [part.std(ddof=1) / np.sqrt(num_samples) for part in parts]
    return Surgery(*(float(part.mean()) for part in parts), *map(float, errors))


def moment_matched_kl(
    mean_nl: Float[Array, "n l"], log_scale_nl: Float[Array, "n l"]
) -> Float[Array, " l"]:
    """KL(N(m, v) || N(0, 1)) of each unit, nats; m and v are those of the aggregate posterior.

    v = Var_x[mean] + E_x[scale^2]. It is at most the unit's KL(q(z_l) || p(z_l)), and equal to it
    where q(z_l) is a Gaussian.
    """
    mean_l = jnp.mean(mean_nl, axis=0)
    variance_l = jnp.var(mean_nl, axis=0) + jnp.mean(jnp.exp(2 * log_scale_nl), axis=0)
    return 0.5 * (variance_l + jnp.square(mean_l) - 1 - jnp.log(variance_l))

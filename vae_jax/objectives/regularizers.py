"""What a loss may add to a bound: functions of a whole minibatch, in nats unless said.

To add one, write it and list it below: (key, model, params, draws: Draws, hyper: ObjectiveHyper,
spec: ObjectiveSpec) -> [].
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import Params
from vae_jax.networks import DECODERS
from vae_jax.networks.network import Decoder, NetworkSpec
from vae_jax.objectives.objective import Draws, ObjectiveHyper, ObjectiveSpec
from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian


def log_density_matrix(q: Gaussian, z_bl: Float[Array, "b l"]) -> Float[Array, "b b l"]:
    """log q(z_i | x_j) of every draw i under every example's posterior j, by latent unit."""
    shape = (len(z_bl), *q.mean.shape)
    each = Gaussian(*(jnp.broadcast_to(leaf[None], shape) for leaf in q))
    return gaussian.log_prob(each, jnp.broadcast_to(z_bl[:, None], shape))


def total_correlation(
    log_q_ijl: Float[Array, "b b l"], log_weight_ij: Float[Array, "b b"]
) -> Float[Array, ""]:
    """mean_i log q(z_i) - sum_l log q(z_il), q(z_i) = sum_j weight_ij q(z_i | x_j)."""
    log_joint_i = jax.nn.logsumexp(jnp.sum(log_q_ijl, axis=-1) + log_weight_ij, axis=1)
    log_units_il = jax.nn.logsumexp(log_q_ijl + log_weight_ij[..., None], axis=1)
    return jnp.mean(log_joint_i - jnp.sum(log_units_il, axis=-1))


def weighted_log_weights(batch_size: int, dataset_size: int) -> Float[Array, "b b"]:
    """Minibatch-weighted sampling: every weight is 1 / (n b) (Chen et al. 2018, equation 5).

    Each log density comes out low, by up to log n; so the total correlation, which takes l of
    them from one, comes out high, by up to (l - 1) log n: of use as a loss, not as a number.
    """
    return jnp.full((batch_size, batch_size), -math.log(dataset_size * batch_size))


def stratified_log_weights(batch_size: int, dataset_size: int) -> Float[Array, "b b"]:
    """Minibatch-stratified sampling: an example itself counts 1 / n, each of the m = b - 1 others
    1 / m, but one of them (n - m) / (n m) (Chen et al. 2018, appendix C.2).

    Raises:
      ValueError: a batch of one, or larger than the data set.
    """
    n, m = dataset_size, batch_size - 1
    if not 1 <= m < n:
        raise ValueError(
            f"stratified sampling needs at least 2 examples a batch and a data set that holds the "
            f"batch; these are {batch_size} and {dataset_size}"
        )
    weights = jnp.full((batch_size, batch_size), 1 / m)
    rows = jnp.arange(batch_size)
    weights = weights.at[rows, (rows + 1) % batch_size].set((n - m) / (n * m))
    return jnp.log(weights.at[rows, rows].set(1 / n))


def total_correlation_weighted(key, model, params, draws, hyper, spec):
    """KL(q(z) || prod_l q(z_l)) by minibatch-weighted sampling (Chen et al. 2018)."""
    weights = weighted_log_weights(len(draws.z_bl), spec.dataset_size)
    return total_correlation(log_density_matrix(draws.q_params, draws.z_bl), weights)


def total_correlation_stratified(key, model, params, draws, hyper, spec):
    """KL(q(z) || prod_l q(z_l)) by minibatch-stratified sampling (Chen et al. 2018)."""
    weights = stratified_log_weights(len(draws.z_bl), spec.dataset_size)
    return total_correlation(log_density_matrix(draws.q_params, draws.z_bl), weights)


def kernel(a_nl: Float[Array, "n l"], b_ml: Float[Array, "m l"]) -> Float[Array, "n m"]:
    """c / (c + |a - b|^2), c = 2 l: what two draws of N(0, 1) have between them, on average."""
    c = 2.0 * a_nl.shape[1]
    # |a|^2 + |b|^2 - 2 ab: a product in place of n m l differences. Of digits it costs few, as c
    # is there too, where z is within a hundred or so.
    a_n, b_m = (jnp.sum(jnp.square(z), axis=1) for z in (a_nl, b_ml))
    products = jnp.matmul(a_nl, b_ml.T, precision="highest")
    return c / (c + jnp.maximum(a_n[:, None] + b_m[None] - 2 * products, 0.0))


def squared_mmd(a_nl: Float[Array, "n l"], b_ml: Float[Array, "m l"]) -> Float[Array, ""]:
    """E[k(a, a')] + E[k(b, b')] - 2 E[k(a, b)], without the pairs of a draw with itself: unbiased.

    References: Gretton et al. 2012, equation 3; the kernel: Tolstikhin et al. 2018.
    """

    def within(draws):
        n = len(draws)
        return (jnp.sum(kernel(draws, draws)) - n) / max(n * (n - 1), 1)  # k(a, a) = 1

    return within(a_nl) + within(b_ml) - 2 * jnp.mean(kernel(a_nl, b_ml))


def mmd(key, model, params, draws, hyper, spec):
    """The squared maximum mean discrepancy of q(z) and p(z), no nats (InfoVAE); q climbs it alone.

    References: Zhao, Song and Ermon 2017, section 4.
    """
    prior_bl = jax.lax.stop_gradient(model.prior_sample(key, params, len(draws.z_bl)))
    return squared_mmd(draws.z_bl, prior_bl)


def covariance(mean_bl: Float[Array, "b l"]) -> Float[Array, "l l"]:
    """Over the batch."""
    centred = mean_bl - jnp.mean(mean_bl, axis=0, keepdims=True)
    return centred.T @ centred / len(mean_bl)


def off_identity(covariance_ll: Float[Array, "l l"], hyper: ObjectiveHyper) -> Float[Array, ""]:
    """sum_(i != j) C_ij^2 + diagonal_weight sum_i (C_ii - 1)^2, no nats."""
    diagonal = jnp.diagonal(covariance_ll)
    off = jnp.sum(jnp.square(covariance_ll)) - jnp.sum(jnp.square(diagonal))
    return off + hyper.diagonal_weight * jnp.sum(jnp.square(diagonal - 1))


def dip_i(key, model, params, draws, hyper, spec):
    """How far the covariance of the posterior means is from 1 (Kumar et al. 2018, equation 6)."""
    return off_identity(covariance(model.posterior_mean(draws.q_params)), hyper)


def dip_ii(key, model, params, draws, hyper, spec):
    """How far the covariance of z is from 1: that of the means, and the mean of the variances.

    References: Kumar et al. 2018, equation 7.
    """
    variance_l = jnp.mean(jnp.exp(2 * draws.q_params.log_scale), axis=0)
    return off_identity(covariance(draws.q_params.mean) + jnp.diag(variance_l), hyper)


def discriminator(spec: NetworkSpec, latent_size: int) -> Decoder:
    """z [b, l] -> the log ratio of q(z) to prod_l q(z_l), [b, 1, 1]."""
    return DECODERS[spec.name](spec, (1, 1, 1), 1, latent_size)


def shuffled(key: Key[Array, ""], z_bl: Float[Array, "b l"]) -> Float[Array, "b l"]:
    """Each latent unit's draws in an order of their own: draws of prod_l q(z_l)."""
    keys_l = jax.random.split(key, z_bl.shape[1])
    return jax.vmap(jax.random.permutation, in_axes=(0, 1), out_axes=1)(keys_l, z_bl)


def total_correlation_adversarial(key, model, params, draws, hyper, spec):
    """E_q[log q(z) / prod_l q(z_l)], the ratio that of the discriminator (FactorVAE).

    References: Kim and Mnih 2018, equation 3.
    """
    return jnp.mean(log_ratio(jax.lax.stop_gradient(params), draws.z_bl, spec))


def log_ratio(params: Params, z_bl: Float[Array, "b l"], spec: ObjectiveSpec) -> Float[Array, " b"]:
    """The discriminator's log q(z) / prod_l q(z_l)."""
    assert spec.discriminator is not None
    network = discriminator(spec.discriminator, z_bl.shape[1])
    return network.apply(params["discriminator"], z_bl)[:, 0, 0]


def discriminator_loss(
    key: Key[Array, ""], params: Params, draws: Draws, spec: ObjectiveSpec
) -> Float[Array, ""]:
    """The cross entropy of telling z from `shuffled` z; its gradient is the discriminator's alone.

    References: Kim and Mnih 2018, algorithm 2, with one batch for both.
    """
    z_bl = jax.lax.stop_gradient(draws.z_bl)
    together = log_ratio(params, z_bl, spec)
    apart = log_ratio(params, shuffled(key, z_bl), spec)
    return 0.5 * jnp.mean(jax.nn.softplus(-together) + jax.nn.softplus(apart))


REGULARIZERS: dict[str, Callable[..., Float[Array, ""]] | None] = {
    "none": None,
    "dip_i": dip_i,
    "dip_ii": dip_ii,
    "mmd": mmd,
    "total_correlation_adversarial": total_correlation_adversarial,
    "total_correlation_stratified": total_correlation_stratified,
    "total_correlation_weighted": total_correlation_weighted,
}

# What their discriminators are trained on: (key, params, draws, spec) -> [].
DISCRIMINATOR_LOSSES: dict[str, Callable[..., Float[Array, ""]]] = {
    "total_correlation_adversarial": discriminator_loss
}

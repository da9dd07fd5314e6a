"""Terms added to the loss, computed from a whole minibatch; in nats unless stated otherwise.

To add one, write its section and list it below; interface.py says what it has.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import (
    Model,
    Trace,
    Variables,
    joined,
    latents,
    posterior_mean,
    sample_prior,
)
from vae_jax.networks import MLP
from vae_jax.networks.network import Decoder
from vae_jax.objectives.interface import Added, Regularizer
from vae_jax.objectives.objective import Player
from vae_jax.probability import gaussian
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.probability.gaussian import Gaussian
from vae_jax.sections.checks import WIDEST, number, several, whole
from vae_jax.sections.declare import fact, section, static, traced


def log_density_matrix(q: Gaussian, z_bl: Float[Array, "b l"]) -> Float[Array, "b b l"]:
    """log q(z_i | x_j) of each sample i under the posterior of each example j, by latent unit."""
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

    Each log density is too low, by about log n. The total correlation, one of them minus l others,
    is then too high, by about (l - 1) log n: useful as a loss, not as an estimate.
    """
    return jnp.full((batch_size, batch_size), -math.log(dataset_size * batch_size))


def stratified_log_weights(batch_size: int, dataset_size: int) -> Float[Array, "b b"]:
    """Minibatch-stratified sampling (Chen et al. 2018, appendix C.2).

    The weight of an example itself is 1 / n, that of one other example is (n - m) / (n m), and that
    of each remaining example is 1 / m; m = b - 1.

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


def first_z(trace: Trace) -> Float[Array, "b l"]:
    """The first sample of each q(z | x), all layers concatenated."""
    return joined(latents(trace))[0]


def gaussian_posterior(trace: Trace) -> Gaussian:
    """The diagonal Gaussian q(z | x) of a model with one layer, [b, l]."""
    (layer,) = trace.layers
    return Gaussian(layer.q.mean_kbl[0], layer.q.log_scale_kbl[0])


def weight_key() -> Any:
    """The key of a regulariser's weight in the loss."""
    return traced(0.0, number(0), "weight of the regulariser in the loss", key="regularizer_weight")


def batch_needs(regularizer: Any, config: Any) -> Iterator[str]:
    """What is wrong with the choice of a regulariser of a minibatch."""
    if config.model.abilities.infers_labels:
        yield (
            f"{config.objective.regularizer_named()} is for models that do not infer labels, and "
            f"{config.model.named()} does; it should be 'none'"
        )
    if config.training.batch_size < 2:
        yield (
            f"{config.objective.regularizer_named()} is of a minibatch; training.batch_size = 1 "
            "should be at least 2"
        )


def one_layer_needs(regularizer: Any, config: Any) -> Iterator[str]:
    """What is wrong with the choice of a regulariser for models with one layer of latents."""
    yield from batch_needs(regularizer, config)
    if config.model.abilities.num_layers > 1:
        yield (
            f"{config.objective.regularizer_named()} is for one layer of latents, and "
            f"{config.model.named()} has more; it should be 'none'"
        )


def diagonal_needs(regularizer: Any, config: Any) -> Iterator[str]:
    """What is wrong with the choice of a regulariser for a diagonal Gaussian q(z | x)."""
    yield from one_layer_needs(regularizer, config)
    if config.model.abilities.posterior_type is not DiagonalGaussian:
        yield (
            f"{config.objective.regularizer_named()} is written for a diagonal Gaussian, and "
            f"{config.model.named()} has another q(z | x); model.posterior should be 'diagonal'"
        )


@section
class NoRegularizer(Regularizer):
    """No regulariser."""

    weight: ClassVar = 1.0

    def __call__(
        self,
        key: Key[Array, ""],
        model: Model,
        variables: Variables,
        trace: Trace,
        x_bd: Float[Array, "b d"],
        label_b: Any,
    ) -> Added:
        return Added(jnp.float32(0))


@section
class TotalCorrelationWeighted(Regularizer):
    """KL(q(z) || prod_l q(z_l)) by minibatch-weighted sampling (Chen et al. 2018)."""

    weight: float = weight_key()
    train_size: Any = fact(lambda facts: facts.train_size)

    needs = diagonal_needs
    log_weights: ClassVar = staticmethod(weighted_log_weights)

    def __call__(
        self,
        key: Key[Array, ""],
        model: Model,
        variables: Variables,
        trace: Trace,
        x_bd: Float[Array, "b d"],
        label_b: Any,
    ) -> Added:
        z_bl = first_z(trace)
        weights = self.log_weights(len(z_bl), self.train_size)
        return Added(
            total_correlation(log_density_matrix(gaussian_posterior(trace), z_bl), weights)
        )


@section
class TotalCorrelationStratified(TotalCorrelationWeighted):
    """KL(q(z) || prod_l q(z_l)) by minibatch-stratified sampling (Chen et al. 2018)."""

    log_weights: ClassVar = staticmethod(stratified_log_weights)


def kernel(a_nl: Float[Array, "n l"], b_ml: Float[Array, "m l"]) -> Float[Array, "n m"]:
    """c / (c + |a - b|^2), c = 2 l: the mean squared distance of two samples from N(0, 1)."""
    c = 2.0 * a_nl.shape[1]
    # |a|^2 + |b|^2 - 2 ab: a matrix product instead of n m l differences. The loss of precision is
    # small next to c, as long as |z| is below about a hundred.
    a_n, b_m = (jnp.sum(jnp.square(z), axis=1) for z in (a_nl, b_ml))
    products = jnp.matmul(a_nl, b_ml.T, precision="highest")
    return c / (c + jnp.maximum(a_n[:, None] + b_m[None] - 2 * products, 0.0))


def squared_mmd(a_nl: Float[Array, "n l"], b_ml: Float[Array, "m l"]) -> Float[Array, ""]:
    """E[k(a, a')] + E[k(b, b')] - 2 E[k(a, b)]; no sample is paired with itself: unbiased.

    References: Gretton et al. 2012, equation 3; the kernel: Tolstikhin et al. 2018.
    """

    def within(samples: Float[Array, "n l"]) -> Float[Array, ""]:
        n = len(samples)
        return (jnp.sum(kernel(samples, samples)) - n) / max(n * (n - 1), 1)  # k(a, a) = 1

    return within(a_nl) + within(b_ml) - 2 * jnp.mean(kernel(a_nl, b_ml))


@section
class MMD(Regularizer):
    """The squared maximum mean discrepancy of q(z) and p(z), not in nats (InfoVAE); trains q only.

    References: Zhao, Song and Ermon 2017, section 4.
    """

    weight: float = weight_key()

    needs = batch_needs

    def __call__(
        self,
        key: Key[Array, ""],
        model: Model,
        variables: Variables,
        trace: Trace,
        x_bd: Float[Array, "b d"],
        label_b: Any,
    ) -> Added:
        z_bl = first_z(trace)
        prior = sample_prior(model, variables, key, len(z_bl), label_b)
        return Added(squared_mmd(z_bl, jax.lax.stop_gradient(first_z(prior))))


def covariance(mean_bl: Float[Array, "b l"]) -> Float[Array, "l l"]:
    """The covariance of the means over the batch."""
    centred = mean_bl - jnp.mean(mean_bl, axis=0, keepdims=True)
    return centred.T @ centred / len(mean_bl)


def off_identity(covariance_ll: Float[Array, "l l"], diagonal_weight: float) -> Float[Array, ""]:
    """sum_(i != j) C_ij^2 + diagonal_weight sum_i (C_ii - 1)^2, not in nats."""
    diagonal = jnp.diagonal(covariance_ll)
    off = jnp.sum(jnp.square(covariance_ll)) - jnp.sum(jnp.square(diagonal))
    return off + diagonal_weight * jnp.sum(jnp.square(diagonal - 1))


def diagonal_weight_key() -> Any:
    """The key of the weight of the variances."""
    return traced(1.0, number(0), "weight of the variances relative to the covariances")


@section
class DipI(Regularizer):
    """Distance of the posterior means' covariance from the identity (Kumar et al. 2018, eq. 6)."""

    weight: float = weight_key()
    diagonal_weight: float = diagonal_weight_key()

    needs = batch_needs

    def __call__(
        self,
        key: Key[Array, ""],
        model: Model,
        variables: Variables,
        trace: Trace,
        x_bd: Float[Array, "b d"],
        label_b: Any,
    ) -> Added:
        if len(trace.layers) == 1:  # a second trace would cost the encoder's gradient again
            mean_bl = trace.layers[0].q.mean()[0]
        else:
            mean_bl = posterior_mean(model, variables, x_bd, label_b)
        return Added(off_identity(covariance(mean_bl), self.diagonal_weight))


@section
class DipII(Regularizer):
    """Distance of the covariance of z (of the means, plus the mean variance) from the identity.

    References: Kumar et al. 2018, equation 7.
    """

    weight: float = weight_key()
    diagonal_weight: float = diagonal_weight_key()

    needs = diagonal_needs

    def __call__(
        self,
        key: Key[Array, ""],
        model: Model,
        variables: Variables,
        trace: Trace,
        x_bd: Float[Array, "b d"],
        label_b: Any,
    ) -> Added:
        q = gaussian_posterior(trace)
        variance_l = jnp.mean(jnp.exp(2 * q.log_scale), axis=0)
        covariance_ll = covariance(q.mean) + jnp.diag(variance_l)
        return Added(off_identity(covariance_ll, self.diagonal_weight))


def shuffle(key: Key[Array, ""], z_bl: Float[Array, "b l"]) -> Float[Array, "b l"]:
    """Permutes each latent unit over the batch independently: samples of prod_l q(z_l)."""
    keys_l = jax.random.split(key, z_bl.shape[1])
    return jax.vmap(jax.random.permutation, in_axes=(0, 1), out_axes=1)(keys_l, z_bl)


@section
class TotalCorrelationAdversarial(Regularizer):
    """E_q[log q(z) / prod_l q(z_l)], the log ratio given by a discriminator (FactorVAE).

    References: Kim and Mnih 2018, equation 3.
    """

    weight: float = weight_key()
    widths: tuple[int, ...] = static(
        (256, 256),
        several(whole(1, WIDEST)),
        "hidden units, with leaky ReLU",
        key="discriminator.widths",
    )
    learning_rate: float = traced(
        1e-4,
        number(0, open_low=True),
        "of the discriminator's Adam",
        key="discriminator.learning_rate",
    )
    b1: float = traced(
        0.5,
        number(0, 1, open_high=True),
        "decay of its Adam's first moment",
        key="discriminator.b1",
    )
    b2: float = traced(
        0.9,
        number(0, 1, open_high=True),
        "decay of its Adam's second moment",
        key="discriminator.b2",
    )

    needs = one_layer_needs

    def discriminator(self, latent_size: int) -> Decoder:
        """z [b, l] -> the log ratio of q(z) to prod_l q(z_l), [b, 1, 1]."""
        return MLP(self.widths, "leaky_relu").decoder((1, 1, 1), 1, latent_size)

    def players(self, spec: Any) -> dict[str, Player]:
        init = self.discriminator(spec.latent_size).init
        rates = (self.learning_rate, self.b1, self.b2)
        return {"discriminator": Player(self.own_loss, init, (), *rates, at_once=True)}

    def log_ratio(self, variables: Variables, z_bl: Float[Array, "b l"]) -> Float[Array, " b"]:
        """The discriminator's estimate of log q(z) / prod_l q(z_l)."""
        network = self.discriminator(z_bl.shape[1])
        return network.apply(variables["players"]["discriminator"], z_bl)[:, 0, 0]

    def __call__(
        self,
        key: Key[Array, ""],
        model: Model,
        variables: Variables,
        trace: Trace,
        x_bd: Float[Array, "b d"],
        label_b: Any,
    ) -> Added:
        return Added(jnp.mean(self.log_ratio(variables, first_z(trace))))

    def own_loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        trace: Trace,
    ) -> Float[Array, ""]:
        """The cross entropy of classifying z against `shuffle` z; it trains the discriminator.

        References: Kim and Mnih 2018, algorithm 2, with one batch for both.
        """
        z_bl = first_z(trace)
        together = self.log_ratio(variables, z_bl)
        apart = self.log_ratio(variables, shuffle(key, z_bl))
        return 0.5 * jnp.mean(jax.nn.softplus(-together) + jax.nn.softplus(apart))


REGULARIZERS: dict[str, type[Regularizer]] = {
    "none": NoRegularizer,
    "dip_i": DipI,
    "dip_ii": DipII,
    "mmd": MMD,
    "total_correlation_adversarial": TotalCorrelationAdversarial,
    "total_correlation_stratified": TotalCorrelationStratified,
    "total_correlation_weighted": TotalCorrelationWeighted,
}

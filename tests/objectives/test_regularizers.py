"""Total correlation against its exact value, discrepancies that are zero where they should be."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.small import exact
from tests.small.exact import objective
from tests.small.samples import sampled
from vae_jax.models import ModelSpec
from vae_jax.models.model import Layer, Model, Trace
from vae_jax.objectives import loss
from vae_jax.objectives.importance import IWAE
from vae_jax.objectives.regularizers import (
    MMD,
    DipI,
    DipII,
    TotalCorrelationAdversarial,
    TotalCorrelationWeighted,
    covariance,
    log_density_matrix,
    off_identity,
    shuffle,
    squared_mmd,
    stratified_log_weights,
    total_correlation,
    weighted_log_weights,
)
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.probability.gaussian import Gaussian

CORRELATION = 0.8
EXACT = -0.5 * np.log(1 - CORRELATION**2)  # total correlation of two such units, 0.51 nats
X_BD = np.float32(np.random.default_rng(1).integers(0, 2, (6, 30)))


def aggregate(n: int, noise: float = 0.3, seed: int = 0):
    """q(z | x_j) of n examples whose mean over j is nearly N(0, [[1, r], [r, 1]]); and samples."""
    rng = np.random.default_rng(seed)
    target = np.array([[1, CORRELATION], [CORRELATION, 1]])
    means = rng.multivariate_normal(np.zeros(2), target - noise**2 * np.eye(2), size=n)
    q = Gaussian(np.float32(means), np.full((n, 2), np.log(noise), np.float32))
    z = means + noise * rng.normal(size=(n, 2))
    return q, np.float32(z)


density_matrix = jax.jit(log_density_matrix)


@jax.jit
def correlation_of(q, z, log_weights):
    return total_correlation(log_density_matrix(q, z), log_weights)


def test_over_the_whole_data_set_it_is_the_exact_value():
    n = 2_000
    q, z = aggregate(n)
    uniform = np.full((n, n), -np.log(n), np.float32)
    # Each z's log ratio spreads over about 0.9 nats: 4.4 standard errors, and the means' own.
    assert abs(correlation_of(q, z, uniform) - EXACT) < 4.4 * 2 * 0.9 / np.sqrt(n)
    independent = correlation_of(q, z[:, ::-1] * np.float32([[1, -1]]), uniform)
    assert abs(independent - EXACT) > 0.3  # samples of another distribution are told from these


def test_stratified_sampling_is_unbiased_for_q_of_z():
    """The mean over every batch of 3 of 5 that holds the example itself: q(z) exactly."""
    density_ij = np.exp(density_matrix(*aggregate(5)).sum(axis=-1))
    weights = np.exp(stratified_log_weights(3, 5))[0]
    for own in range(5):
        others = [j for j in range(5) if j != own]
        estimates = [
            weights @ density_ij[own, [own, *pair]] for pair in itertools.permutations(others, 2)
        ]
        np.testing.assert_allclose(np.mean(estimates), density_ij[own].mean(), rtol=1e-5)
    rows = np.exp(stratified_log_weights(8, 100)).sum(axis=1)
    np.testing.assert_allclose(rows, np.ones(8), rtol=1e-5)


def test_stratified_batches_come_near_the_exact_value():
    q, z = aggregate(2_000)
    weights = stratified_log_weights(500, 2_000)
    parts = [
        correlation_of(Gaussian(*(leaf[i : i + 500] for leaf in q)), z[i : i + 500], weights)
        for i in range(0, 2_000, 500)
    ]
    assert abs(np.mean(parts) - EXACT) < 0.15


def test_weighted_sampling_is_the_papers_sum():
    """log q(z_i) = log (1 / (n b)) sum_j q(z_i | x_j): by numpy, term by term."""
    q, z = aggregate(7)
    density = np.exp(density_matrix(q, z))
    joint = np.log(density.prod(axis=-1).sum(axis=1) / (7 * 40))
    units = np.log(density.sum(axis=1) / (7 * 40)).sum(axis=-1)
    ours = correlation_of(q, z, weighted_log_weights(7, 40))
    np.testing.assert_allclose(ours, (joint - units).mean(), rtol=1e-4)


@pytest.mark.parametrize(("batch_size", "dataset_size"), [(1, 10), (10, 9), (10, 0)])
def test_stratified_sampling_refuses_what_it_can_not_weigh(batch_size, dataset_size):
    with pytest.raises(ValueError, match="stratified sampling needs at least 2"):
        stratified_log_weights(batch_size, dataset_size)


def test_mmd_of_equal_distributions_is_zero_on_average_and_else_not():
    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def of(key, shift):
        a, b = jax.random.normal(key, (2, 50, 3))
        return squared_mmd(a + shift, b)

    def of_400(shift):
        return np.asarray(of(jax.random.split(jax.random.key(0), 400), shift))

    equal, moved = of_400(0.0), of_400(0.7)
    assert abs(equal.mean()) < 4.4 * equal.std() / np.sqrt(400)
    assert equal.min() < 0 < equal.max()
    assert moved.mean() > 10 * moved.std() / np.sqrt(400)


def test_dip_is_how_far_the_covariance_is_from_the_identity():
    rng = np.random.default_rng(0)
    mean_bl = rng.normal(size=(50, 3)).astype(np.float32)
    log_scale_bl = np.log(rng.uniform(0.2, 0.5, size=(50, 3))).astype(np.float32)
    c = np.cov(mean_bl.T, bias=True)

    def trace(variables, take, x_bd=None, label_b=None):
        q = DiagonalGaussian(mean_bl[None], log_scale_bl[None])
        return Trace((Layer(*take(0, q, None), q, None),), None)

    model = Model(None, trace)

    @jax.jit
    def found(key):
        own = trace({}, lambda i, q, p: q.sample(key, 1))
        dips = (DipI(diagonal_weight=4), DipII(diagonal_weight=4))
        added = [dip(None, model, {}, own, None, None).value for dip in dips]
        return covariance(mean_bl), *added, off_identity(jnp.eye(4), 4)

    def by_hand(c, diagonal_weight):
        off = (c**2).sum() - (np.diag(c) ** 2).sum()
        return off + diagonal_weight * ((np.diag(c) - 1) ** 2).sum()

    own, dip_i, dip_ii, of_identity = found(jax.random.key(0))
    np.testing.assert_allclose(own, c, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(dip_i, by_hand(c, 4), rtol=1e-4)
    total = c + np.diag((np.exp(log_scale_bl) ** 2).mean(axis=0))
    np.testing.assert_allclose(dip_ii, by_hand(total, 4), rtol=1e-4)
    assert of_identity == 0


def test_shuffling_keeps_each_unit_and_breaks_what_is_between_them():
    z = np.tile(np.arange(1_000, dtype=np.float32)[:, None], (1, 3))
    apart = np.asarray(jax.jit(shuffle)(jax.random.key(0), z))
    np.testing.assert_array_equal(np.sort(apart, axis=0), z)
    assert np.abs(np.corrcoef(apart.T) - np.eye(3)).max() < 4.4 / np.sqrt(1_000)


def test_a_discriminator_learns_the_exact_total_correlation():
    own = TotalCorrelationAdversarial(widths=(32, 32))
    factor = np.linalg.cholesky([[1, CORRELATION], [CORRELATION, 1]]).astype(np.float32)
    optimizer = optax.adam(3e-3)

    def samples_of(key, n):
        return jax.random.normal(key, (n, 2)) @ factor.T

    def variables_of(params):
        return {"players": {"discriminator": params}}

    def trace_of(z_bl):
        return Trace((Layer(z_bl[None], None, None, None),), None)

    def step(carry, key):
        params, state = carry
        samples_key, loss_key = jax.random.split(key)

        def own_loss(params):
            trace = trace_of(samples_of(samples_key, 512))
            return own.own_loss(None, variables_of(params), loss_key, None, None, trace)

        updates, state = optimizer.update(jax.grad(own_loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def trained(key):
        init_key, step_key, key, samples_key = jax.random.split(key, 4)
        spec = ModelSpec(latent_size=2)
        params = own.players(spec)["discriminator"].init(init_key)
        keys = jax.random.split(step_key, 800)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        trace = trace_of(samples_of(samples_key, 20_000))
        return own(key, None, variables_of(params), trace, None, None).value

    assert abs(trained(jax.random.key(0)) - EXACT) < 0.08


@pytest.mark.slow
def test_encoder_and_discriminator_each_climb_their_own(small_spec):
    """The discriminator's gradient is that of its loss at any weight, and reaches nothing else."""
    model = exact.model_of(small_spec)
    adversarial = TotalCorrelationAdversarial(widths=(5,))
    of_adversarial = adversarial.players(small_spec)
    players = {name: sampled(player) for name, player in of_adversarial.items()}
    variables = exact.variables_of(model) | {"players": players}

    @jax.jit
    def gradients(own, key):
        """By all params, whoever trains them."""

        def total(variables):
            at_once = own.players(small_spec)
            found = loss(own, model, variables, key, X_BD, None, 0, players=at_once)
            return found.value + sum(found.of_players.values())

        return jax.grad(total)(variables)

    def of_weight(weight):
        own = TotalCorrelationAdversarial(weight=weight, widths=(5,))
        return gradients(objective(regularizer=own), jax.random.key(2))

    none, five = of_weight(0.0), of_weight(5.0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
        none["players"],
        five["players"],
    )
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(none["players"])) > 1e-3
    means = [found["params"]["encoder"]["mean"]["bias"] for found in (none, five)]
    assert np.abs(means[0] - means[1]).max() > 1e-4
    # With no weight, what reaches the encoder is the bound's gradient alone.
    plain = gradients(objective(), jax.random.split(jax.random.key(2))[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        plain["params"]["encoder"],
        none["params"]["encoder"],
    )


@pytest.mark.parametrize(
    "regularizer",
    [
        pytest.param(MMD, id="mmd"),
        pytest.param(
            partial(TotalCorrelationWeighted, train_size=20), id="weighted", marks=pytest.mark.slow
        ),
    ],
)
def test_it_reaches_the_encoder_the_same_whatever_the_bound_s_gradient(small_spec, regularizer):
    model = exact.model_of(small_spec)
    variables = exact.variables_of(model)

    def of_weight(estimator, weight):
        own = objective(IWAE(estimator), 2, regularizer=regularizer(weight=weight))
        found = exact.gradient(own, model, variables, jax.random.key(2), X_BD)
        return np.asarray(found["encoder"]["mean"]["kernel"])

    plain, wake = (
        of_weight(estimator, 100.0) - of_weight(estimator, 0.0)
        for estimator in ("reparameterized", "wake_wake")
    )
    assert np.abs(plain).max() > 0.1
    np.testing.assert_allclose(wake, plain, rtol=1e-3, atol=1e-4)

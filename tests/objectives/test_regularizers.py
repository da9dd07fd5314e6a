"""Total correlation against its exact value, discrepancies that are zero where they should be."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.objectives.exact import hyper, spec
from vae_jax.models.vae import vae
from vae_jax.networks.network import NetworkSpec
from vae_jax.objectives import objective
from vae_jax.objectives.objective import Draws
from vae_jax.objectives.regularizers import (
    covariance,
    dip_i,
    dip_ii,
    discriminator,
    discriminator_loss,
    log_density_matrix,
    off_identity,
    shuffled,
    squared_mmd,
    stratified_log_weights,
    total_correlation,
    total_correlation_adversarial,
    weighted_log_weights,
)
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.posteriors import POSTERIORS, PosteriorSpec

CORRELATION = 0.8
EXACT = -0.5 * np.log(1 - CORRELATION**2)  # total correlation of two such units, 0.51 nats


def aggregate(n: int, noise: float = 0.3, seed: int = 0):
    """q(z | x_j) of n examples whose mean over j is nearly N(0, [[1, r], [r, 1]]); and draws."""
    rng = np.random.default_rng(seed)
    target = np.array([[1, CORRELATION], [CORRELATION, 1]])
    means = rng.multivariate_normal(np.zeros(2), target - noise**2 * np.eye(2), size=n)
    q = Gaussian(jnp.array(means, jnp.float32), jnp.full((n, 2), jnp.log(noise)))
    z = means + noise * rng.normal(size=(n, 2))
    return q, jnp.array(z, jnp.float32)


def test_over_the_whole_data_set_it_is_the_exact_value():
    q, z = aggregate(3_000)
    uniform = jnp.full((3_000, 3_000), -np.log(3_000))
    ours = total_correlation(log_density_matrix(q, z), uniform)
    # Each draw's log ratio spreads over about 0.9 nats: 4.4 standard errors, and the sample's own.
    assert abs(ours - EXACT) < 4.4 * 2 * 0.9 / np.sqrt(3_000)
    independent = total_correlation(
        log_density_matrix(q, z[:, ::-1] * jnp.array([[1.0, -1.0]])), uniform
    )
    assert abs(independent - EXACT) > 0.3  # draws of another distribution are told from these


def test_stratified_sampling_is_unbiased_for_q_of_z():
    """The mean over every batch of 3 of 5 that holds the example itself: q(z) exactly."""
    q, z = aggregate(5)
    density_ij = np.exp(log_density_matrix(q, z).sum(axis=-1))
    weights = np.exp(stratified_log_weights(3, 5))[0]
    for own in range(5):
        others = [j for j in range(5) if j != own]
        estimates = [
            weights @ density_ij[own, [own, *pair]] for pair in itertools.permutations(others, 2)
        ]
        np.testing.assert_allclose(np.mean(estimates), density_ij[own].mean(), rtol=1e-5)
    np.testing.assert_allclose(np.exp(stratified_log_weights(8, 100)).sum(axis=1), 1, rtol=1e-5)


def test_stratified_batches_come_near_the_exact_value():
    q, z = aggregate(2_000)
    weights = stratified_log_weights(500, 2_000)
    parts = [
        total_correlation(
            log_density_matrix(
                jax.tree.map(lambda leaf, i=i: leaf[i : i + 500], q), z[i : i + 500]
            ),
            weights,
        )
        for i in range(0, 2_000, 500)
    ]
    assert abs(np.mean(parts) - EXACT) < 0.15


def test_weighted_sampling_is_the_papers_sum():
    """log q(z_i) = log (1 / (n b)) sum_j q(z_i | x_j): by numpy, term by term."""
    q, z = aggregate(7)
    density = np.exp(log_density_matrix(q, z))
    joint = np.log(density.prod(axis=-1).sum(axis=1) / (7 * 40))
    units = np.log(density.sum(axis=1) / (7 * 40)).sum(axis=-1)
    ours = total_correlation(log_density_matrix(q, z), weighted_log_weights(7, 40))
    np.testing.assert_allclose(ours, (joint - units).mean(), rtol=1e-4)


def test_stratified_sampling_refuses_what_it_can_not_weigh():
    import pytest

    for batch_size, dataset_size in ((1, 10), (10, 9), (10, 0)):
        with pytest.raises(ValueError, match="stratified sampling needs at least 2"):
            stratified_log_weights(batch_size, dataset_size)


def test_mmd_of_equal_distributions_is_zero_on_average_and_else_not():
    def keys():
        return jax.random.split(jax.random.key(0), 400)

    def of(key, shift):
        a, b = jax.random.normal(key, (2, 50, 3))
        return squared_mmd(a + shift, b)

    equal = jax.vmap(lambda key: of(key, 0.0))(keys())
    assert abs(equal.mean()) < 4.4 * equal.std() / np.sqrt(400)
    assert equal.min() < 0 < equal.max()
    moved = jax.vmap(lambda key: of(key, 0.7))(keys())
    assert moved.mean() > 10 * moved.std() / np.sqrt(400)


def test_dip_is_how_far_the_covariance_is_from_the_identity():
    rng = np.random.default_rng(0)
    mean_bl = rng.normal(size=(50, 3)).astype(np.float32)
    log_scale = np.log(rng.uniform(0.2, 0.5, size=(50, 3))).astype(np.float32)
    c = np.cov(mean_bl.T, bias=True)
    np.testing.assert_allclose(covariance(jnp.array(mean_bl)), c, rtol=1e-4, atol=1e-6)
    own = POSTERIORS["diagonal"](PosteriorSpec(), 3)

    class Model:
        posterior_mean = staticmethod(own.mean)

    draws = Draws(Gaussian(jnp.array(mean_bl), jnp.array(log_scale)), jnp.array(mean_bl))

    def by_hand(c, diagonal_weight):
        off = (c**2).sum() - (np.diag(c) ** 2).sum()
        return off + diagonal_weight * ((np.diag(c) - 1) ** 2).sum()

    numbers = hyper(diagonal_weight=4)
    arguments = (jax.random.key(0), Model, {}, draws, numbers, spec())
    np.testing.assert_allclose(dip_i(*arguments), by_hand(c, 4), rtol=1e-4)
    total = c + np.diag((np.exp(log_scale) ** 2).mean(axis=0))
    np.testing.assert_allclose(dip_ii(*arguments), by_hand(total, 4), rtol=1e-4)
    assert off_identity(jnp.eye(4), numbers) == 0


def test_shuffling_keeps_each_unit_and_breaks_what_is_between_them():
    z = jnp.stack([jnp.arange(1_000.0)] * 3, axis=1)
    apart = np.asarray(shuffled(jax.random.key(0), z))
    np.testing.assert_array_equal(np.sort(apart, axis=0), z)
    assert np.abs(np.corrcoef(apart.T) - np.eye(3)).max() < 4.4 / np.sqrt(1_000)


def test_a_discriminator_learns_the_exact_total_correlation():
    network = NetworkSpec("mlp", (32, 32), "leaky_relu")
    own = spec(regularizer="total_correlation_adversarial", discriminator=network)
    covariance_ = np.array([[1, CORRELATION], [CORRELATION, 1]])
    factor = jnp.array(np.linalg.cholesky(covariance_), jnp.float32)
    optimizer = optax.adam(3e-3)
    params = {"discriminator": discriminator(network, 2).init(jax.random.key(0))}

    def draws_of(key, n):
        return Draws(None, jax.random.normal(key, (n, 2)) @ factor.T)

    @jax.jit
    def step(carry, key):
        params, state = carry
        draws_key, loss_key = jax.random.split(key)
        gradient = jax.grad(
            lambda p: discriminator_loss(loss_key, p, draws_of(draws_key, 512), own)
        )(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), 1_500)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    estimate = total_correlation_adversarial(
        jax.random.key(2), None, params, draws_of(jax.random.key(3), 20_000), hyper(), own
    )
    assert abs(estimate - EXACT) < 0.08


def test_encoder_and_discriminator_each_climb_their_own(small_spec):
    """The discriminator's gradient is that of its loss at any weight, and reaches nothing else."""
    model = vae(small_spec)
    network = NetworkSpec("mlp", (5,), "leaky_relu")
    params = model.init(jax.random.key(0))
    params["discriminator"] = discriminator(network, 4).init(jax.random.key(9))
    x_bd = jax.random.bernoulli(jax.random.key(1), shape=(6, 30)).astype(jnp.float32)
    own = spec(regularizer="total_correlation_adversarial", discriminator=network)

    def gradients(weight, own):
        numbers = hyper(regularizer_weight=weight)
        return jax.grad(lambda p: objective(model, p, jax.random.key(2), x_bd, numbers, own)[0])(
            params
        )

    none, five = gradients(0, own), gradients(5, own)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
        none["discriminator"],
        five["discriminator"],
    )
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(none["discriminator"])) > 1e-3
    assert np.abs(none["encoder"]["mean"]["bias"] - five["encoder"]["mean"]["bias"]).max() > 1e-4
    # With no weight, what reaches the encoder is the bound's gradient alone.
    key = jax.random.split(jax.random.key(2))[0]
    plain = jax.grad(lambda p: objective(model, p, key, x_bd, hyper(), spec())[0])(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        plain["encoder"],
        none["encoder"],
    )


@pytest.mark.parametrize("regularizer", ["mmd", "total_correlation_weighted"])
def test_it_reaches_the_encoder_the_same_whatever_the_bound_s_gradient(small_spec, regularizer):
    model = vae(small_spec)
    params = model.init(jax.random.key(0))
    x_bd = jax.random.bernoulli(jax.random.key(1), shape=(6, 30)).astype(jnp.float32)

    def of_weight(estimator, weight):
        own = spec("iwae", 2, gradient=estimator, regularizer=regularizer, dataset_size=20)
        numbers = hyper(regularizer_weight=weight)
        return jax.grad(lambda p: objective(model, p, jax.random.key(2), x_bd, numbers, own)[0])(
            params
        )["encoder"]["mean"]["kernel"]

    plain, wake = (
        of_weight(estimator, 100.0) - of_weight(estimator, 0.0)
        for estimator in ("reparameterized", "wake_wake")
    )
    assert np.abs(plain).max() > 0.1
    np.testing.assert_allclose(wake, plain, rtol=1e-3, atol=1e-4)

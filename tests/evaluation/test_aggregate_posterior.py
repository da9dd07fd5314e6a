"""The KL in three parts, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.evaluation.aggregate_posterior import (
    BLOCK,
    excess,
    log_aggregate,
    moment_matched_kl,
    moments,
    surgery,
)
from vae_jax.probability.gaussian import Gaussian, kl_to_standard_normal
from vae_jax.runs.summary import is_far

CORRELATION = 0.8


def posterior(n, noise=0.3, correlation=CORRELATION, seed=0):
    """q(z | x_j) of n examples, whose mean over j is nearly N(0, [[1, r], [r, 1]])."""
    covariance = np.array([[1, correlation], [correlation, 1]]) - noise**2 * np.eye(2)
    means = np.random.default_rng(seed).multivariate_normal(np.zeros(2), covariance, size=n)
    return Gaussian(jnp.array(means, jnp.float32), jnp.full((n, 2), jnp.log(noise)))


@pytest.mark.parametrize("n", [3, BLOCK, BLOCK + 7])
def test_blocks_do_not_change_the_mixture(n):
    q = posterior(n)
    z_ml = jax.random.normal(jax.random.key(0), (5, 2))
    log_joint_m, log_units_ml = log_aggregate(q, z_ml)
    away = (z_ml[:, None] - q.mean[None]) / 0.3
    density = np.exp(-0.5 * away**2) / (0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(log_units_ml, np.log(density.mean(axis=1)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        log_joint_m, np.log(density.prod(axis=-1).mean(axis=1)), rtol=1e-3, atol=1e-3
    )


def test_the_parts_are_those_of_a_correlated_gaussian():
    found = surgery(jax.random.key(1), posterior(4_000), 3_000)
    total_correlation = -0.5 * np.log(1 - CORRELATION**2)
    # H(z) - H(z | x) of Gaussians; the sample of 4,000 has errors of its own, about 0.02 nats.
    log_det = np.log(1 - CORRELATION**2)
    information = 0.5 * log_det - 2 * np.log(0.3)
    assert (
        abs(found.total_correlation - total_correlation) < 4.4 * found.total_correlation_se + 0.05
    )
    assert abs(found.mutual_information - information) < 4.4 * found.mutual_information_se + 0.05
    assert abs(found.dimension_wise_kl) < 4.4 * found.dimension_wise_kl_se + 0.05


def test_together_they_are_the_mean_kl():
    q = posterior(600, correlation=0.5)._replace(log_scale=jnp.full((600, 2), -0.4))
    found = surgery(jax.random.key(1), q, 4_000)
    whole = float(jnp.mean(jnp.sum(kl_to_standard_normal(q), axis=-1)))
    errors = np.hypot.reduce(found[3:])
    assert abs(sum(found[:3]) - whole) < 4.4 * 2 * errors
    assert errors < 0.1


def test_far_apart_codes_tell_the_example_and_equal_ones_do_not():
    apart = Gaussian(jnp.array([[-50.0], [50.0]]), jnp.zeros((2, 1)))
    assert surgery(jax.random.key(0), apart, 100).mutual_information == pytest.approx(np.log(2))
    equal = Gaussian(jnp.ones((7, 3)), jnp.zeros((7, 3)))
    found = surgery(jax.random.key(0), equal, 100)
    assert found.mutual_information == pytest.approx(0, abs=1e-5)
    assert found.total_correlation == pytest.approx(0, abs=1e-5)
    assert abs(found.dimension_wise_kl - 1.5) < 4.4 * found.dimension_wise_kl_se


def kl_of(mean_nl, noise):
    """`moment_matched_kl` of posterior means, with the same posterior scales for all."""
    log_scale_nl = np.broadcast_to(np.log(noise), mean_nl.shape)
    of = moments(mean_nl.astype(np.float32), log_scale_nl.astype(np.float32))
    return moment_matched_kl(of, len(mean_nl))


def test_moments_tell_how_far_the_codes_are_from_the_prior():
    """KL(N(m, v) || N(0, 1)), by hand; 0 for a unit at the prior."""
    rng = np.random.default_rng(0)
    mean_nl = rng.normal(size=(200_000, 3)) * [0.3, 0.8, 0.0] + [0.0, 1.0, 0.0]
    v, m = np.array([0.1, 1.0, 1.0]), np.array([0.0, 1.0, 0.0])
    expected = 0.5 * (v + m**2 - 1 - np.log(v))
    assert kl_of(mean_nl, [0.1, 0.6, 1.0]) == pytest.approx(expected.sum(), abs=0.01)


def correlated(n, units, correlation, noise, seed=0):
    """Posterior means of n examples; with the noise each unit is N(0, 1), and any two correlate."""
    covariance = np.full((units, units), correlation) + (1 - correlation) * np.eye(units)
    chol = np.linalg.cholesky(covariance - noise**2 * np.eye(units))
    return np.random.default_rng(seed).normal(size=(n, units)) @ chol.T


@pytest.mark.parametrize(("n", "within"), [(100_000, 0.05), (300, 1.0)])
def test_units_that_depend_on_one_another_are_far_from_the_prior(n, within):
    """-1/2 log det of the correlations, where each unit by itself is at the prior."""
    units, r = 10, 0.8
    log_det = (units - 1) * np.log(1 - r) + np.log(1 + (units - 1) * r)
    assert -0.5 * log_det > 6
    found = kl_of(correlated(n, units, r, 0.3), 0.3)
    assert found == pytest.approx(-0.5 * log_det, abs=within)
    assert is_far(found, units)


def test_it_is_at_most_the_kl_of_the_mixture():
    """Two far clusters in one of two units: the KL of q(z), by samples, is larger."""
    rng = np.random.default_rng(0)
    mean_nl = np.stack([np.repeat([-0.9, 0.9], 500), 0.1 * rng.normal(size=1_000)], axis=1)
    q = Gaussian(jnp.array(mean_nl, jnp.float32), jnp.full((1_000, 2), np.log(0.2)))
    parts = surgery(jax.random.key(0), q, 2_000)
    whole = parts.total_correlation + parts.dimension_wise_kl
    error = np.hypot(parts.total_correlation_se, parts.dimension_wise_kl_se)
    assert 1 < kl_of(mean_nl, 0.2) < whole - 4.4 * error


@pytest.mark.parametrize("noise", [0.05, 0.5, 0.95])
@pytest.mark.parametrize(
    ("n", "units"), [(2, 1), (10, 20), (31, 20), (60, 20), (60, 50), (300, 64)]
)
def test_few_images_of_a_model_at_its_prior_are_not_far(n, units, noise):
    found = [kl_of(correlated(n, units, 0.0, noise, seed), noise) for seed in range(20)]
    assert not any(is_far(kl, units) for kl in found)
    assert np.mean(found) < 1


def test_what_few_samples_add_is_what_the_docstring_says():
    """The mean over many sets of samples of N(0, I), without noise, is 0 after the correction."""
    n, units = 40, 10
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(2_000, n, units))
    away = sets - sets.mean(axis=1, keepdims=True)
    log_det = np.linalg.slogdet(np.einsum("sni,snj->sij", away, away) / n)[1]
    assert excess(n, units) == pytest.approx(np.mean(-0.5 * log_det), rel=0.02)
    assert excess(units, units) == np.inf
    assert excess(10_000, units) == pytest.approx(units * (units + 3) / 40_000, rel=0.01)

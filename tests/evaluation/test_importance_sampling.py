"""log p(x) by importance sampling, against a log p(x) that is known."""

from functools import cache, partial

import jax
import numpy as np
import pytest

from tests.small import exact
from vae_jax.evaluation.importance_sampling import (
    BLOCK,
    ImportanceSampling,
    curve_samples,
    importance_sampling,
)
from vae_jax.models.model import log_joint, log_posterior, posterior_samples

X_LINEAR = exact.linear_data(20)
estimate_of = jax.jit(importance_sampling, static_argnums=(0, 4))


def estimate(model, variables, seed, x_bd, num_samples):
    key = jax.random.key(seed)
    return jax.device_get(estimate_of(model, variables, key, x_bd, num_samples))


def test_at_the_true_posterior_every_sample_weighs_the_same_and_gives_log_p():
    model, variables = exact.linear()
    found = estimate(model, variables, 0, X_LINEAR, 70)
    np.testing.assert_allclose(
        found.log_likelihood, exact.linear_log_prob(X_LINEAR), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(found.effective_sample_size, 70, rtol=1e-3)
    np.testing.assert_allclose(found.largest_weight, 1 / 70, rtol=1e-2)


@pytest.mark.parametrize("seed", range(10))
def test_away_from_it_the_estimate_is_within_its_own_error(seed):
    """Of log mean w the error is about sqrt((1 / ESS) - (1 / k)); 4.4 of them."""
    num_samples = 2_000
    for model, variables, x_bd, log_p in known():
        found = estimate(model, variables, seed, x_bd, num_samples)
        error = np.sqrt(1 / found.effective_sample_size - 1 / num_samples)
        assert (error < 0.1).all()
        assert (np.abs(found.log_likelihood - log_p) < 4.4 * error + 1e-4).all()


@cache
def known():
    linear = exact.linear(posterior_shift=0.2)
    model, variables, x_bd = exact.nonlinear()
    return (
        (*linear, X_LINEAR, exact.linear_log_prob(X_LINEAR)),
        (model, variables, x_bd, exact.grid_log_prob(model, variables, x_bd, 1)),
    )


@partial(jax.jit, static_argnums=0)
def log_weights(model, variables, key, x_bd):
    """Of BLOCK samples."""
    trace = model.trace(variables, posterior_samples(model, key, BLOCK), x_bd)
    return log_joint(trace, x_bd) - log_posterior(trace)


@pytest.mark.parametrize("num_samples", [1, 7, BLOCK, 2 * BLOCK + 20])
def test_it_is_the_sum_over_all_samples_at_once(num_samples):
    model, variables, x_bd = exact.nonlinear()
    key = jax.random.key(3)
    blocks = -(-num_samples // BLOCK)
    log_w_kb = np.concatenate(
        [
            np.float64(log_weights(model, variables, jax.random.fold_in(key, block), x_bd))
            for block in range(blocks)
        ]
    )[:num_samples]
    w_kb = np.exp(log_w_kb)
    expected = ImportanceSampling(
        log_likelihood=np.log(w_kb.mean(axis=0)),
        effective_sample_size=w_kb.sum(axis=0) ** 2 / (w_kb**2).sum(axis=0),
        largest_weight=w_kb.max(axis=0) / w_kb.sum(axis=0),
        curve=np.stack(
            [np.log(w_kb[:n].mean(axis=0)) for n in curve_samples(num_samples)], axis=-1
        ),
    )
    found = estimate(model, variables, 3, x_bd, num_samples)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)
    np.testing.assert_allclose(found.curve[:, -1], found.log_likelihood, rtol=1e-6)


def test_the_curve_is_at_round_numbers_and_at_last_at_all_samples():
    assert curve_samples(1) == (1,)
    assert curve_samples(5_000)[:5] == (1, 2, 5, 10, 20)
    assert curve_samples(5_000)[-3:] == (1_000, 2_000, 5_000)
    assert curve_samples(70) == (1, 2, 5, 10, 20, 50, 70)


def test_weights_of_any_size_leave_it_finite():
    model, variables, x_bd = exact.nonlinear()
    variables = jax.tree.map(lambda leaf: 1e3 * leaf, variables)
    found = estimate(model, variables, 0, x_bd, 2 * BLOCK + 20)
    assert all(np.isfinite(leaf).all() for leaf in found)
    assert (found.effective_sample_size >= 1 - 1e-5).all()
    assert (found.largest_weight <= 1).all()

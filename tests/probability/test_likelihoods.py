"""One table of properties that every likelihood passes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vae_jax.probability.likelihoods import LIKELIHOODS

# For each likelihood: x_params of three dimensions, and every x that is possible.
BINARY = [np.array(x, np.float32) for x in itertools.product((0, 1), repeat=3)]
TABLE = {"bernoulli": (jnp.array([-1.5, 0.2, 3.0]), BINARY)}


def test_every_likelihood_is_in_the_table():
    assert TABLE.keys() == LIKELIHOODS.keys()


@pytest.mark.parametrize("name", TABLE)
def test_probabilities_sum_to_one(name):
    x_params, every_x = TABLE[name]
    log_probs = [LIKELIHOODS[name].log_prob(x_params, x) for x in every_x]
    np.testing.assert_allclose(np.sum(np.exp(log_probs)), 1, rtol=1e-5)


@pytest.mark.parametrize("name", TABLE)
def test_mean_and_samples_agree_with_the_probabilities(name):
    x_params, every_x = TABLE[name]
    family = LIKELIHOODS[name]
    exact = sum(np.exp(family.log_prob(x_params, x)) * x for x in every_x)
    np.testing.assert_allclose(family.mean(x_params), exact, rtol=1e-5)
    n = 20_000
    draws = family.sample(jax.random.key(0), jnp.tile(x_params, (n, 1)))
    variance = sum(np.exp(family.log_prob(x_params, x)) * x**2 for x in every_x) - exact**2
    z_scores = (draws.mean(axis=0) - exact) / np.sqrt(variance / n)
    assert np.abs(z_scores).max() < stats.norm.ppf(1 - 1e-3 / 6)  # one key in a thousand fails


@pytest.mark.parametrize("name", TABLE)
def test_finite_value_and_gradient_at_extremes(name):
    x_params, every_x = TABLE[name]
    for extreme, x in itertools.product((-1e4, 0.0, 1e4), every_x):
        raw = jnp.full_like(x_params, extreme)
        value, gradient = jax.value_and_grad(LIKELIHOODS[name].log_prob)(raw, x)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", TABLE)
def test_initial_bias_has_the_mean_it_was_given(name):
    family = LIKELIHOODS[name]
    mean = jnp.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(family.mean(family.initial_bias(mean)), mean, rtol=1e-5)
    assert np.isfinite(family.initial_bias(jnp.array([0.0, 1.0]))).all()


def test_bernoulli_is_scipy_s():
    logits = jnp.array([-1.5, 0.2, 3.0])
    probabilities = 1 / (1 + np.exp(-np.array(logits)))
    for x in BINARY:
        exact = stats.bernoulli.logpmf(x, probabilities).sum()
        np.testing.assert_allclose(LIKELIHOODS["bernoulli"].log_prob(logits, x), exact, rtol=1e-5)


def test_bernoulli_gradient_is_x_minus_probability():
    logits = jnp.array([-1e4, -3.0, 0.0, 3.0, 1e4])
    x = jnp.array([0.0, 1.0, 0.0, 0.0, 0.0])
    gradient = jax.grad(LIKELIHOODS["bernoulli"].log_prob)(logits, x)
    np.testing.assert_allclose(gradient, x - jax.nn.sigmoid(logits), rtol=1e-5)

"""Densities keep their digits where differences of large numbers would lose them."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate

from vae_jax.probability.continuous_bernoulli import (
    ContinuousBernoulli,
    log_sinhc,
)

ETAS = [-30.0, -1.0, -0.21, -0.19, -1e-3, 0.0, 1e-4, 0.19, 0.21, 1.0, 30.0]


def test_continuous_bernoulli_is_stable_through_one_half():
    """Against its integral in float64, value, mean and slope."""
    n = 20_000
    logits, xs = np.float32(ETAS)[:, None], np.float32([0.0, 0.3, 1.0])[:, None]
    log_prob = jax.value_and_grad(ContinuousBernoulli.log_prob)
    of_all = jax.vmap(jax.vmap(log_prob, (None, 0)), (0, None))

    @jax.jit
    def found(key, logits, xs):
        own, many = ContinuousBernoulli(logits), ContinuousBernoulli(jnp.tile(logits, (1, n)))
        return *of_all(own, xs), own.mean()[:, 0], many.sample(key)

    values, slopes, means, samples = found(jax.random.key(0), logits, xs)  # [eta, x], [eta, x, 1]
    slopes, samples = slopes.logits, np.asarray(samples)
    assert ((samples >= 0) & (samples <= 1)).all()
    for i, eta in enumerate(ETAS):
        top = max(eta, 0)
        normaliser, _ = integrate.quad(lambda x, e=eta, t=top: np.exp(e * x - t), 0, 1)
        mean, _ = integrate.quad(lambda x, e=eta, t=top: x * np.exp(e * x - t), 0, 1)
        mean /= normaliser
        exact = eta * np.array(xs[:, 0], np.float64) - top - np.log(normaliser)
        np.testing.assert_allclose(values[i], exact, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(slopes[i, :, 0], xs[:, 0] - mean, atol=2e-5)
        np.testing.assert_allclose(means[i], mean, rtol=2e-5)
        # One key in 8,000 fails at one of the eleven.
        assert abs(samples[i].mean() - mean) < 4.4 * samples[i].std() / np.sqrt(n)


def test_log_sinhc_meets_its_series():
    a = np.array([1e-4, 0.09, 0.0999, 0.1001, 0.2, 5.0, 80.0])
    exact = np.log(np.sinh(a) / a)
    ours = jax.jit(log_sinhc)(np.float32(a))
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-8)

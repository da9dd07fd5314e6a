"""One table of properties that every prior and every posterior passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vae_jax.probability import gaussian
from vae_jax.probability.posteriors import MAX_LOG_SCALE, POSTERIORS
from vae_jax.probability.priors import PRIORS

OUTPUTS = {
    "mean": jnp.array([[0.5, -1.0], [2.0, 0.0], [0.0, 0.1]]),
    "log_scale": jnp.array([[0.0, -1.0], [0.3, 0.5], [-2.0, 0.0]]),
}
PRIOR_CONFIDENCE = 4.4  # standard errors; a correct estimate exceeds it once in 100,000 keys


@pytest.mark.parametrize("name", PRIORS)
def test_prior_density_integrates_to_one(name):
    prior = PRIORS[name]
    grid = np.linspace(-9, 9, 361, dtype=np.float32)
    z = jnp.stack(jnp.meshgrid(grid, grid), axis=-1)
    log_p = prior.log_prob(prior.init(jax.random.key(0), 2), z)
    np.testing.assert_allclose(np.exp(log_p).sum() * (grid[1] - grid[0]) ** 2, 1, rtol=1e-4)


@pytest.mark.parametrize("name", PRIORS)
def test_prior_samples_have_the_stated_density(name):
    prior = PRIORS[name]
    params = prior.init(jax.random.key(0), 3)
    z = prior.sample(jax.random.key(1), params, 20_000, 3)
    assert z.shape == (20_000, 3)
    # E[q(z) / p(z)] = 1 for samples of p and any normalised q that it covers; here N(0, 1/2).
    log_q = stats.norm(0, np.sqrt(0.5)).logpdf(z).sum(axis=-1)
    ratio = np.exp(log_q - prior.log_prob(params, z))
    error = (ratio.mean() - 1) / (ratio.std() / np.sqrt(len(z)))
    assert abs(error) < PRIOR_CONFIDENCE


def test_standard_normal_samples_are_scipy_s():
    z = PRIORS["standard_normal"].sample(jax.random.key(1), {}, 20_000, 3)
    assert stats.kstest(z[:, 2], stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_closed_form_kl_is_the_expected_log_ratio(prior, posterior):
    prior, posterior = PRIORS[prior], POSTERIORS[posterior]
    params = prior.init(jax.random.key(0), 2)
    q = posterior.q_params(OUTPUTS)
    k = 100_000
    z_kbl, log_qz_kb = posterior.reparameterize(jax.random.key(1), q, k)
    log_ratio_kb = log_qz_kb - prior.log_prob(params, z_kbl)
    error_b = log_ratio_kb.mean(axis=0) - prior.kl_divergence(params, q).sum(axis=-1)
    assert (np.abs(error_b) < PRIOR_CONFIDENCE * log_ratio_kb.std(axis=0) / np.sqrt(k)).all()


@pytest.mark.parametrize("name", POSTERIORS)
def test_reparameterize_reports_its_own_density(name):
    posterior = POSTERIORS[name]
    q = posterior.q_params(OUTPUTS)
    z_kbl, log_qz_kb = posterior.reparameterize(jax.random.key(1), q, 5)
    assert z_kbl.shape == (5, 3, 2)
    np.testing.assert_allclose(posterior.log_prob(q, z_kbl), log_qz_kb, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POSTERIORS)
def test_unit_noise_does_not_depend_on_the_number_of_units(name):
    posterior = POSTERIORS[name]
    wide = {head: jnp.concatenate([raw, raw], axis=1) for head, raw in OUTPUTS.items()}
    z_narrow, _ = posterior.reparameterize(jax.random.key(1), posterior.q_params(OUTPUTS), 5)
    z_wide, _ = posterior.reparameterize(jax.random.key(1), posterior.q_params(wide), 5)
    np.testing.assert_array_equal(z_wide[..., :2], z_narrow)


@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_kl_and_its_gradient_are_finite_at_extremes(name, extreme):
    posterior, prior = POSTERIORS[name], PRIORS["standard_normal"]

    def kl(outputs):
        return prior.kl_divergence({}, posterior.q_params(outputs)).sum()

    outputs = {head: jnp.full((2, 3), extreme) for head in posterior.heads}
    value, gradients = jax.value_and_grad(kl)(outputs)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients.values())


def test_diagonal_clips_the_log_scale_and_nothing_in_between():
    raw = jnp.array([[-100.0, -14.0, 0.3, 14.0, 100.0]])
    q = POSTERIORS["diagonal"].q_params({"mean": raw, "log_scale": raw})
    np.testing.assert_array_equal(q.mean, raw)
    np.testing.assert_array_equal(
        q.log_scale, jnp.array([[-MAX_LOG_SCALE, -14.0, 0.3, 14.0, MAX_LOG_SCALE]])
    )


def test_reparameterised_gradient_is_the_closed_form():
    """E[z^2] = mean^2 + scale^2: its gradient is (2 mean, 2 scale^2)."""
    mean, log_scale, k = jnp.array([[0.7]]), jnp.array([[-0.4]]), 200_000

    def second_moment(mean, log_scale):
        q = gaussian.Gaussian(mean, log_scale)
        z, _ = POSTERIORS["diagonal"].reparameterize(jax.random.key(5), q, k)
        return jnp.mean(jnp.square(z))

    by_mean, by_log_scale = jax.grad(second_moment, argnums=(0, 1))(mean, log_scale)
    scale = np.exp(-0.4)
    # Standard errors of 2 z and 2 z scale noise; 4.4 of them fail one key in 100,000.
    np.testing.assert_allclose(by_mean, 2 * 0.7, atol=4.4 * 2 * scale / np.sqrt(k))
    spread = 2 * scale * np.sqrt(0.7**2 + 2 * scale**2)
    np.testing.assert_allclose(by_log_scale, 2 * scale**2, atol=4.4 * spread / np.sqrt(k))

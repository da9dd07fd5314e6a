"""One table of properties that every prior and every posterior passes."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.small.latents import (
    CLOSED_FORMS,
    CONFIDENCE,
    EXAMPLES,
    POSTERIOR,
    PRIOR,
    WITH_DENSITY,
    B,
    L,
    encode,
    posterior_of,
    prior_of,
    samples_of,
)
from vae_jax.probability import mixture
from vae_jax.probability.categorical import Categorical, Quantized
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.probability.divergences import KL_DIVERGENCES, kl_divergence
from vae_jax.probability.gaussian import MAX_LOG_SCALE, Gaussian
from vae_jax.probability.mixture import Mixture
from vae_jax.probability.posteriors import (
    POSTERIORS,
)
from vae_jax.probability.priors import (
    PRIORS,
    Shape,
)

DISCRETE = (Categorical, Quantized)


@functools.cache
def start_of(name):
    """(outputs, key) -> a new posterior's z [k, b, l], its log density [k, b], and its mean."""
    posterior = POSTERIOR[name]

    @jax.jit
    def sample(outputs, key):
        q = posterior.distribution(posterior.init(jax.random.key(0), L), outputs)
        return *q.sample(key, 4_000), q.mean()

    return sample


def grid(low=-9.0, high=9.0, n=361):
    """z [n * n, 1, 2], and the area of each."""
    axis = np.linspace(low, high, n, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2), (axis[1] - axis[0]) ** 2


def test_every_prior_and_posterior_is_in_the_tables():
    # tests/probability/test_discrete.py has those of discrete z.
    real = {name: own for name, own in PRIORS.items() if own().support != "discrete"}
    assert {name: type(own) for name, own in PRIOR.items()} == real
    with_density = {
        name: own
        for name, own in POSTERIORS.items()
        if not own().is_point and not own().is_implicit and own().support != "discrete"
    }
    assert {name: type(own) for name, own in POSTERIOR.items()} == with_density
    types = [(POSTERIOR[q].distribution_type, PRIOR[p].distribution_type) for q, p in CLOSED_FORMS]
    assert set(types) == {pair for pair in KL_DIVERGENCES if pair[0] not in DISCRETE}


@pytest.mark.parametrize("name", PRIOR)
def test_prior_density_integrates_to_one(name):
    z, area = grid(-15.0, 15.0, 401)

    @jax.jit
    def log_prob(z):
        return prior_of(name, num_classes=2, label_b=jnp.zeros(1, int)).log_prob(z)

    np.testing.assert_allclose(np.exp(log_prob(z)).sum() * area, 1, rtol=1e-3)


@pytest.mark.parametrize("name", PRIOR)
def test_prior_samples_have_the_stated_density(name):
    @jax.jit
    def sample(key):
        p = prior_of(name)
        z, log_p = p.sample(key, 20_000)
        return z, log_p, p.log_prob(z), p.log_prob(z + 0.2)

    z, reported, log_p, log_p_further = sample(jax.random.key(1))
    assert z.shape == (20_000, 1, 2)
    np.testing.assert_allclose(reported, log_p, rtol=1e-4, atol=1e-4)
    z, log_p, log_p_further = (np.asarray(leaf)[:, 0] for leaf in (z, log_p, log_p_further))
    # E[q(z) / p(z)] = 1 for samples of p and any normalised q that it covers; here a narrow
    # Gaussian around the samples' mean.
    centre, scale = z.mean(axis=0), 0.5 * z.std(axis=0)
    log_q = stats.norm(centre, scale).logpdf(z).sum(axis=-1)
    ratio = np.exp(log_q - log_p)
    error = (ratio.mean() - 1) / (ratio.std() / np.sqrt(len(z)))
    assert abs(error) < CONFIDENCE
    # And it can tell: the density of other samples, each unit 0.2 further on, is another.
    other = np.exp(log_q - log_p_further)
    assert abs((other.mean() - 1) / (other.std() / np.sqrt(len(z)))) > CONFIDENCE


@pytest.mark.parametrize("name", PRIOR)
def test_prior_log_prob_does_not_mind_how_samples_are_stacked(name):
    @jax.jit
    def log_probs(z):
        one, four = prior_of(name), prior_of(name, batch_size=4)
        return one.log_prob(z), four.log_prob(z.reshape(3, 4, 2))

    together, stacked = log_probs(np.float32(np.random.default_rng(3).normal(size=(12, 1, 2))))
    assert together.shape == (12, 1)
    assert stacked.shape == (3, 4)
    np.testing.assert_allclose(np.ravel(stacked), together[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["mixture", "standard_normal", "vampprior", "learned_gaussian"])
def test_prior_mean_is_the_mean_of_its_samples(name):
    k = 20_000

    @jax.jit
    def sample(key):
        p = prior_of(name)
        return p.sample(key, k)[0], p.mean()

    z_kbl, mean = sample(jax.random.key(1))
    assert mean.shape == (1, 1, 2)
    error = (z_kbl.mean(axis=0) - mean[0]) / (z_kbl.std(axis=0) / np.sqrt(k))
    assert np.abs(error).max() < CONFIDENCE


def test_the_learned_gaussian_has_a_row_for_each_label():
    @jax.jit
    def found(key, labels):
        p = prior_of("learned_gaussian", num_classes=2, label_b=labels)
        return p.log_prob(jnp.zeros((4, 3, 2))), p.sample(key, 5_000)[0], p.mean()

    log_p, samples, mean = map(np.asarray, found(jax.random.key(0), np.array([1, 0, 1])))
    assert log_p.shape == (4, 3)
    np.testing.assert_array_equal(log_p[:, 0], log_p[:, 2])
    assert (log_p[:, 0] != log_p[:, 1]).all()
    np.testing.assert_allclose(samples.mean(axis=0), mean[0], atol=0.1)
    np.testing.assert_array_equal(mean[0, 0], mean[0, 2])


def test_the_vampprior_is_the_mean_of_its_posteriors():
    prior = PRIOR["vampprior"]

    @jax.jit
    def found(key, z):
        params = prior.init(key, L, 0, EXAMPLES)
        p = prior.distribution(params, encode, None, Shape(1, L))
        return p.log_prob(z), encode(jnp.clip(params["pseudo_inputs"], 0, 1))

    z = np.float32(np.random.default_rng(3).normal(size=(5, 1, 2)))
    log_p, q = found(jax.random.key(0), z)
    densities = [
        stats.norm(q.mean_kbl[0, c], np.exp(q.log_scale_kbl[0, c])).pdf(z).prod(axis=-1)
        for c in range(2)
    ]
    np.testing.assert_allclose(log_p, np.log(np.mean(densities, axis=0)), rtol=1e-4)


def test_standard_normal_samples_are_scipy_s():
    p = PRIOR["standard_normal"].distribution({}, encode, None, Shape(1, 3))
    z, _ = jax.jit(p.sample, static_argnums=1)(jax.random.key(1), 20_000)
    assert stats.kstest(z[:, 0, 2], stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("posterior_name", "prior_name"), CLOSED_FORMS)
def test_closed_form_kl_is_the_expected_log_ratio(posterior_name, prior_name):
    z_kbl, log_q_kb, _, _ = samples_of(posterior_name)

    @jax.jit
    def found(z_kbl):
        p = prior_of(prior_name, batch_size=B)
        return p.log_prob(z_kbl), kl_divergence(posterior_of(posterior_name), p)

    log_p_kb, exact_kbl = found(z_kbl)
    assert exact_kbl.shape == (1, B, L)
    log_ratio_kb, exact_bl = log_q_kb - np.asarray(log_p_kb), np.asarray(exact_kbl)[0]
    error_b = log_ratio_kb.mean(axis=0) - exact_bl.sum(axis=-1)
    limit_b = CONFIDENCE * log_ratio_kb.std(axis=0) / np.sqrt(len(z_kbl))
    assert (np.abs(error_b) < limit_b).all()
    assert (exact_bl >= 0).all()


def test_a_pair_without_a_closed_form_has_no_kl():
    pairs = [(q, p) for q in POSTERIOR for p in PRIOR if (q, p) not in CLOSED_FORMS]
    found = []

    @jax.jit
    def look():
        found.extend(kl_divergence(posterior_of(q), prior_of(p)) for q, p in pairs)

    jax.eval_shape(look)
    assert found == [None] * len(pairs)


def test_the_full_gaussian_s_density_keeps_its_digits_at_small_scales():
    size = 20

    @jax.jit
    def densities(lower, key):
        outputs = {
            "mean": jnp.zeros((3, size)),
            "log_scale": jnp.full((3, size), -6.0),
            "lower": lower,
        }
        q = POSTERIOR["full"].distribution({}, outputs)
        z_kbl, log_q_kb = q.sample(key, 50)
        return q.log_prob(z_kbl), log_q_kb

    lower = np.float32(6 * np.random.default_rng(0).normal(size=(3, size * (size - 1) // 2)))
    own, reported = densities(lower, jax.random.key(1))
    np.testing.assert_allclose(own, reported, atol=0.05)


def test_the_full_gaussian_s_kl_is_that_of_its_covariance():
    @jax.jit
    def found():
        q = posterior_of("full", latent_size=4)
        p = PRIOR["standard_normal"].distribution({}, encode, None, Shape(B, 4))
        return q, q.factor_bll, kl_divergence(q, p).sum(axis=-1)[0]

    q, factor_bll, ours = found()
    assert np.abs(q.lower_bll).max() > 0.1
    for i, factor in enumerate(np.asarray(factor_bll, np.float64)):
        covariance = factor @ factor.T
        _, log_det = np.linalg.slogdet(covariance)
        mean = np.asarray(q.mean_bl[i], np.float64)
        exact = 0.5 * (np.trace(covariance) + (mean**2).sum() - 4 - log_det)
        np.testing.assert_allclose(ours[i], exact, rtol=1e-4)


@pytest.mark.parametrize("name", POSTERIOR)
def test_a_sample_reports_its_own_density(name):
    z_kbl, log_q_kb, own_kb, _ = samples_of(name)
    assert z_kbl.shape == (40_000, B, L)
    assert log_q_kb.shape == (40_000, B)
    if POSTERIOR[name].has_density:
        np.testing.assert_allclose(own_kb, log_q_kb, rtol=1e-4, atol=1e-4)
    else:
        assert POSTERIOR[name].distribution_type.log_prob is None


@pytest.mark.parametrize("name", POSTERIOR)
def test_posterior_samples_have_the_density_they_report(name):
    """E_q[p(z) / q(z)] = 1 for any normalised p that q covers: a narrow Gaussian at q's centre."""
    z_kbl, log_q_kb, _, _ = samples_of(name)
    centre, scale = np.median(z_kbl, axis=0), 0.5 * z_kbl.std(axis=0)
    log_p = stats.norm(centre, scale).logpdf(z_kbl).sum(axis=-1)
    ratio = np.exp(log_p - log_q_kb)
    error = (ratio.mean(axis=0) - 1) / (ratio.std(axis=0) / np.sqrt(len(ratio)))
    assert np.abs(error).max() < CONFIDENCE


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_posterior_density_integrates_to_one(name):
    z, area = grid()
    density = np.exp(jax.jit(lambda z: posterior_of(name).log_prob(z))(np.repeat(z, B, axis=1)))
    np.testing.assert_allclose(density.sum(axis=0) * area, np.ones(B), rtol=1e-3)


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_posterior_mean_is_the_mean_of_its_samples(name):
    z_kbl, _, _, mean_kbl = samples_of(name)
    assert mean_kbl.shape == (1, B, L)
    error = (z_kbl.mean(axis=0) - mean_kbl[0]) / (z_kbl.std(axis=0) / np.sqrt(len(z_kbl)))
    assert np.abs(error).max() < CONFIDENCE


@pytest.mark.parametrize("name", POSTERIOR)
def test_of_outputs_that_are_zero_it_is_near_the_standard_normal(name):
    heads = POSTERIOR[name].heads(L)
    outputs = {head: np.zeros((B, size), np.float32) for head, size in heads}
    z_kbl, log_q_kb, mean_kbl = start_of(name)(outputs, jax.random.key(1))
    kl_b = (log_q_kb - stats.norm.logpdf(z_kbl).sum(axis=-1)).mean(axis=0)
    assert np.abs(kl_b).max() < 0.1
    assert mean_kbl.shape == (1, B, L)


@pytest.mark.parametrize("name", POSTERIOR)
def test_an_example_s_posterior_is_its_own(name):
    """The samples of z of one example do not depend on the others' outputs."""

    def samples(of_the_second):
        rows = np.float32([[1.0], [of_the_second], [1.0]])
        outputs = {head: np.tile(rows, (1, size)) for head, size in POSTERIOR[name].heads(L)}
        return start_of(name)(outputs, jax.random.key(1))[:2]

    (z, log_q), (z_other, log_q_other) = samples(1.0), samples(-0.5)
    np.testing.assert_array_equal(z[:, ::2], z_other[:, ::2])
    np.testing.assert_allclose(log_q[:, ::2], log_q_other[:, ::2], rtol=1e-6)
    assert (z[:, 1] != z_other[:, 1]).any()


def test_unit_noise_does_not_depend_on_the_number_of_units():
    @jax.jit
    def both(key):
        narrow = posterior_of("diagonal")
        wide = DiagonalGaussian(*(jnp.concatenate([leaf, leaf], axis=-1) for leaf in narrow[:2]))
        return narrow.sample(key, 5)[0], wide.sample(jax.random.clone(key), 5)[0]

    z_narrow, z_wide = both(jax.random.key(1))
    np.testing.assert_array_equal(z_wide[..., :2], z_narrow)


def test_diagonal_clips_the_log_scale_and_nothing_in_between():
    raw = np.float32([[-100.0, -14.0, 0.3, 14.0, 100.0]])
    q = POSTERIOR["diagonal"].distribution({}, {"mean": raw, "log_scale": raw})
    np.testing.assert_array_equal(q.mean_kbl[0], raw)
    np.testing.assert_array_equal(
        q.log_scale_kbl[0], np.float32([[-MAX_LOG_SCALE, -14.0, 0.3, 14.0, MAX_LOG_SCALE]])
    )


def test_reparameterised_gradient_is_the_closed_form():
    """E[z^2] = mean^2 + scale^2: its gradient is (2 mean, 2 scale^2)."""
    k = 200_000

    @jax.jit
    @jax.grad
    def second_moment(q):
        return jnp.mean(jnp.square(q.sample(jax.random.key(5), k)[0]))

    by = second_moment(DiagonalGaussian(np.float32([[[0.7]]]), np.float32([[[-0.4]]])))
    scale = np.exp(-0.4)
    # Standard errors of 2 z and 2 z scale noise; 4.4 of them fail one key in 100,000.
    np.testing.assert_allclose(by.mean_kbl, 2 * 0.7, atol=4.4 * 2 * scale / np.sqrt(k))
    spread = 2 * scale * np.sqrt(0.7**2 + 2 * scale**2)
    np.testing.assert_allclose(by.log_scale_kbl, 2 * scale**2, atol=4.4 * spread / np.sqrt(k))


def test_implicit_gradients_of_a_mixture_are_those_of_its_moments():
    """E[z_0^2 + z_0 z_1] of a mixture is known; so is its gradient in weights, means and scales."""
    p = Mixture(
        np.float32([[0.4, -0.3]]),
        Gaussian(
            np.float32([[[0.5, -1.0], [-1.5, 0.7]]]), np.float32([[[0.1, -0.5], [-0.4, 0.2]]])
        ),
    )

    def exact(p):
        weights = jax.nn.softmax(p.log_weights[0])
        mean, variance = p.components.mean[0], jnp.exp(2 * p.components.log_scale[0])
        return jnp.sum(weights * (mean[:, 0] ** 2 + variance[:, 0] + mean[:, 0] * mean[:, 1]))

    def estimate(p, key):
        z = mixture.reparameterize(key, p, 500)[:, 0]
        return jnp.mean(z[:, 0] ** 2 + z[:, 0] * z[:, 1])

    @jax.jit
    def gradients(p, keys):
        return jax.vmap(jax.grad(estimate), in_axes=(None, 0))(p, keys), jax.grad(exact)(p)

    keys = jax.random.split(jax.random.key(0), 200)
    for ours, theirs in zip(*map(jax.tree.leaves, gradients(p, keys)), strict=True):
        error = ours.std(axis=0) / np.sqrt(len(keys))
        z_scores = (ours.mean(axis=0) - theirs) / np.maximum(error, 1e-6)
        assert np.abs(z_scores).max() < 4.6
        assert np.abs(theirs).max() > 0.05


@pytest.mark.parametrize("sample", [mixture.sample, mixture.reparameterize])
def test_mixture_samples_are_the_components_in_their_shares(sample):
    p = Mixture(
        np.log(np.float32([0.7, 0.3])),
        Gaussian(np.float32([[-5.0, 0.0], [5.0, 1.0]]), np.zeros((2, 2), np.float32)),
    )
    z = np.asarray(jax.jit(sample, static_argnums=2)(jax.random.key(0), p, 20_000))
    share = (z[:, 0] < 0).mean()
    assert abs(share - 0.7) < CONFIDENCE * np.sqrt(0.7 * 0.3 / 20_000)
    assert stats.kstest(z[z[:, 0] > 0][:, 1], partial(stats.norm.cdf, loc=1)).pvalue > 1e-3

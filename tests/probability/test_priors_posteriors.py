"""One table of properties that every prior and every posterior passes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vae_jax.probability import gaussian, mixture
from vae_jax.probability.divergences import KL_DIVERGENCES
from vae_jax.probability.flows import FlowSpec
from vae_jax.probability.gaussian import MAX_LOG_SCALE, Gaussian
from vae_jax.probability.mixture import Mixture
from vae_jax.probability.posteriors import POSTERIORS, PosteriorSpec
from vae_jax.probability.priors import PRIORS, PriorSpec

FLOW = FlowSpec(layers=2, width=8)
CONFIDENCE = 4.4  # standard errors; a correct estimate exceeds it once in 100,000 keys
EXAMPLES = jnp.array([[0.2, 0.8, 0.5], [0.9, 0.1, 0.4]])


def encode(x_nd) -> Gaussian:
    """A diagonal posterior of two units, for the VampPrior."""
    return Gaussian(2 * x_nd[:, :2] - 1, jnp.log(x_nd[:, 1:]))


def prior_of(name, latent_size=2, num_classes=0, label_b=None):
    """(prior, p_params), its params moved from where they start."""
    prior = PRIORS[name](PriorSpec(name, 3, FLOW), latent_size, num_classes)
    params = prior.init(jax.random.key(0), EXAMPLES)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves) + 1)
    moved = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=False)
    ]
    if name == "vampprior":
        moved = leaves
    return prior, prior.p_params(jax.tree.unflatten(tree, moved), encode, label_b)


def posterior_of(name, b=3, latent_size=2, size=0.7, seed=0):
    """(posterior, q_params) of random outputs and params."""
    posterior = POSTERIORS[name](PosteriorSpec(name, 3, FLOW), latent_size)
    rng = np.random.default_rng(seed)

    def noise(shape, scale):
        return jnp.array(scale * rng.normal(size=shape), jnp.float32)

    outputs = {head: noise((b, columns), size) for head, columns in posterior.heads}
    leaves, tree = jax.tree.flatten(posterior.init(jax.random.key(seed)))
    moved = [leaf + noise(leaf.shape, 0.3) for leaf in leaves]
    return posterior, posterior.q_params(jax.tree.unflatten(tree, moved), outputs)


def grid(low=-9.0, high=9.0, n=361):
    axis = np.linspace(low, high, n, dtype=np.float32)
    return jnp.stack(jnp.meshgrid(axis, axis), axis=-1), float(axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("name", PRIORS)
def test_prior_density_integrates_to_one(name):
    prior, p = prior_of(name, label_b=jnp.zeros(1, int), num_classes=2)
    z, area = grid(-15.0, 15.0, 601)
    log_p = prior.log_prob(p, z)
    np.testing.assert_allclose(np.exp(log_p).sum() * area, 1, rtol=1e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_prior_samples_have_the_stated_density(name):
    prior, p = prior_of(name)
    z = prior.sample(jax.random.key(1), p, 20_000)
    assert z.shape == (20_000, 2)
    # E[q(z) / p(z)] = 1 for samples of p and any normalised q that it covers; here a narrow
    # Gaussian around the draws' mean.
    centre, scale = z.mean(axis=0), 0.5 * z.std(axis=0)
    log_q = stats.norm(centre, scale).logpdf(z).sum(axis=-1)
    ratio = np.exp(log_q - prior.log_prob(p, z))
    error = (ratio.mean() - 1) / (ratio.std() / np.sqrt(len(z)))
    assert abs(error) < CONFIDENCE
    # And it can tell: the density of other draws, each unit 0.2 further on, is another.
    other = np.exp(log_q - prior.log_prob(p, z + 0.2))
    assert abs((other.mean() - 1) / (other.std() / np.sqrt(len(z)))) > CONFIDENCE


@pytest.mark.parametrize("name", PRIORS)
def test_prior_log_prob_does_not_mind_how_draws_are_stacked(name):
    prior, p = prior_of(name)
    z = jax.random.normal(jax.random.key(3), (12, 2))
    together = prior.log_prob(p, z)
    assert together.shape == (12,)
    np.testing.assert_allclose(
        prior.log_prob(p, z.reshape(3, 4, 2)).ravel(), together, rtol=1e-5, atol=1e-5
    )


def test_the_learned_gaussian_has_a_row_for_each_label():
    labels = jnp.array([1, 0, 1])
    prior, p = prior_of("learned_gaussian", num_classes=2, label_b=labels)
    z_kbl = jnp.zeros((4, 3, 2))
    log_p = prior.log_prob(p, z_kbl)
    assert log_p.shape == (4, 3)
    np.testing.assert_array_equal(log_p[:, 0], log_p[:, 2])
    assert (log_p[:, 0] != log_p[:, 1]).all()
    draws = prior.sample(
        jax.random.key(0), jax.tree.map(lambda p: jnp.repeat(p, 5_000, 0), p), 15_000
    )
    np.testing.assert_allclose(draws[:5_000].mean(axis=0), p.mean[0], atol=0.1)
    np.testing.assert_allclose(draws[5_000:10_000].mean(axis=0), p.mean[1], atol=0.1)


def test_the_vampprior_is_the_mean_of_its_posteriors():
    prior, p = prior_of("vampprior")
    z = jax.random.normal(jax.random.key(3), (5, 2))
    q = encode(jnp.clip(prior.init(jax.random.key(0), EXAMPLES)["pseudo_inputs"], 0, 1))
    densities = [
        stats.norm(q.mean[c], np.exp(q.log_scale[c])).pdf(np.asarray(z)).prod(axis=-1)
        for c in range(2)
    ]
    np.testing.assert_allclose(prior.log_prob(p, z), np.log(np.mean(densities, axis=0)), rtol=1e-4)


def test_standard_normal_samples_are_scipy_s():
    prior, p = prior_of("standard_normal", latent_size=3)
    z = prior.sample(jax.random.key(1), p, 20_000)
    assert stats.kstest(z[:, 2], stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("posterior_name", "prior_name"), KL_DIVERGENCES)
def test_closed_form_kl_is_the_expected_log_ratio(posterior_name, prior_name):
    prior, p = prior_of(prior_name)
    posterior, q = posterior_of(posterior_name)
    k = 100_000
    z_kbl, log_qz_kb = posterior.reparameterize(jax.random.key(1), q, k)
    log_ratio_kb = log_qz_kb - prior.log_prob(p, z_kbl)
    exact_bl = KL_DIVERGENCES[posterior_name, prior_name](q, p)
    assert exact_bl.shape == (3, 2)
    error_b = log_ratio_kb.mean(axis=0) - exact_bl.sum(axis=-1)
    assert (np.abs(error_b) < CONFIDENCE * log_ratio_kb.std(axis=0) / np.sqrt(k)).all()
    assert (exact_bl >= 0).all()


def test_the_full_gaussian_s_density_keeps_its_digits_at_small_scales():
    size = 20
    posterior = POSTERIORS["full"](PosteriorSpec("full"), size)
    outputs = {
        "mean": jnp.zeros((3, size)),
        "log_scale": jnp.full((3, size), -6.0),
        "lower": 6 * jax.random.normal(jax.random.key(0), (3, size * (size - 1) // 2)),
    }
    q = posterior.q_params({}, outputs)
    z_kbl, log_q_kb = posterior.reparameterize(jax.random.key(1), q, 50)
    np.testing.assert_allclose(posterior.log_prob(q, z_kbl), log_q_kb, atol=0.05)


def test_the_full_gaussian_s_kl_is_that_of_its_covariance():
    _, q = posterior_of("full", latent_size=4)
    assert np.abs(q.lower).max() > 0.1
    ours = KL_DIVERGENCES["full", "standard_normal"](q, {}).sum(axis=-1)
    for i, factor in enumerate(np.asarray(q.factor, np.float64)):
        covariance = factor @ factor.T
        _, log_det = np.linalg.slogdet(covariance)
        exact = 0.5 * (np.trace(covariance) + (q.mean[i] ** 2).sum() - 4 - log_det)
        np.testing.assert_allclose(ours[i], exact, rtol=1e-4)


@pytest.mark.parametrize("name", POSTERIORS)
def test_reparameterize_reports_its_own_density(name):
    posterior, q = posterior_of(name)
    z_kbl, log_qz_kb = posterior.reparameterize(jax.random.key(1), q, 5)
    assert z_kbl.shape == (5, 3, 2)
    assert log_qz_kb.shape == (5, 3)
    if posterior.log_prob is not None:
        np.testing.assert_allclose(posterior.log_prob(q, z_kbl), log_qz_kb, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POSTERIORS)
def test_posterior_draws_have_the_density_they_report(name):
    """E_q[p(z) / q(z)] = 1 for any normalised p that q covers: a narrow Gaussian at q's centre."""
    posterior, q = posterior_of(name)
    z_kbl, log_qz_kb = posterior.reparameterize(jax.random.key(1), q, 40_000)
    centre, scale = np.median(z_kbl, axis=0), 0.5 * z_kbl.std(axis=0)
    log_p = stats.norm(centre, scale).logpdf(z_kbl).sum(axis=-1)
    ratio = np.exp(log_p - log_qz_kb)
    error = (ratio.mean(axis=0) - 1) / (ratio.std(axis=0) / np.sqrt(len(ratio)))
    assert np.abs(error).max() < CONFIDENCE
    if posterior.log_prob is not None:
        z, area = grid()
        density = np.exp(posterior.log_prob(q, jnp.repeat(z.reshape(-1, 1, 2), 3, axis=1)))
        np.testing.assert_allclose(density.sum(axis=0) * area, 1, rtol=1e-3)


@pytest.mark.parametrize("name", ["diagonal", "full", "mixture"])
def test_posterior_mean_is_the_mean_of_its_draws(name):
    posterior, q = posterior_of(name)
    z_kbl, _ = posterior.reparameterize(jax.random.key(1), q, 100_000)
    error = (z_kbl.mean(axis=0) - posterior.mean(q)) / (z_kbl.std(axis=0) / np.sqrt(100_000))
    assert np.abs(error).max() < CONFIDENCE


@pytest.mark.parametrize("name", POSTERIORS)
def test_of_outputs_that_are_zero_it_is_near_the_standard_normal(name):
    posterior = POSTERIORS[name](PosteriorSpec(name, 3, FLOW), 2)
    outputs = {head: jnp.zeros((1, size)) for head, size in posterior.heads}
    q = posterior.q_params(posterior.init(jax.random.key(0)), outputs)
    z_kbl, log_qz_kb = posterior.reparameterize(jax.random.key(1), q, 4_000)
    kl = (log_qz_kb - stats.norm.logpdf(z_kbl).sum(axis=-1)).mean()
    assert abs(kl) < 0.1
    assert posterior.mean(q).shape == (1, 2)


@pytest.mark.parametrize("name", POSTERIORS)
def test_an_example_s_posterior_is_its_own(name):
    """The draws of one example do not depend on the others' outputs."""
    posterior, _ = posterior_of(name)
    k = 4

    def draws(outputs_scale):
        outputs = {
            head: jnp.ones((3, size)) * jnp.array([[1.0], [outputs_scale], [1.0]])
            for head, size in posterior.heads
        }
        own = posterior.q_params(posterior.init(jax.random.key(0)), outputs)
        return posterior.reparameterize(jax.random.key(1), own, k)

    (z, log_q), (z_other, log_q_other) = draws(1.0), draws(-0.5)
    np.testing.assert_array_equal(z[:, ::2], z_other[:, ::2])
    np.testing.assert_allclose(log_q[:, ::2], log_q_other[:, ::2], rtol=1e-6)
    assert (z[:, 1] != z_other[:, 1]).any()


def test_unit_noise_does_not_depend_on_the_number_of_units():
    _, narrow = posterior_of("diagonal")
    posterior, _ = posterior_of("diagonal", latent_size=4)
    wide = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf], axis=1), narrow)
    z_narrow, _ = posterior.reparameterize(jax.random.key(1), narrow, 5)
    z_wide, _ = posterior.reparameterize(jax.random.key(1), wide, 5)
    np.testing.assert_array_equal(z_wide[..., :2], z_narrow)


@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_log_ratio_and_its_gradient_are_finite_at_extremes(name, extreme):
    posterior = POSTERIORS[name](PosteriorSpec(name, 2, FLOW), 3)
    params = posterior.init(jax.random.key(0))
    standard, p = prior_of("standard_normal", 3)

    def log_ratio(outputs):
        q = posterior.q_params(params, outputs)
        z_kbl, log_qz_kb = posterior.reparameterize(jax.random.key(1), q, 2)
        return jnp.mean(log_qz_kb - standard.log_prob(p, z_kbl))

    outputs = {head: jnp.full((2, size), extreme) for head, size in posterior.heads}
    value, gradients = jax.value_and_grad(log_ratio)(outputs)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients.values())


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_prior_log_prob_and_its_gradient_are_finite_at_extremes(name, extreme):
    prior, p = prior_of(name)
    value, gradient = jax.value_and_grad(lambda z: prior.log_prob(p, z).sum())(
        jnp.full((2, 2), extreme)
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["learned_gaussian", "mixture"])
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_a_learned_prior_is_finite_at_extreme_params(name, extreme):
    prior = PRIORS[name](PriorSpec(name, 3), 2, 0)
    params = jax.tree.map(lambda leaf: jnp.full_like(leaf, extreme), prior.init(jax.random.key(0)))

    def log_prob(params):
        return prior.log_prob(prior.p_params(params, None, None), jnp.ones((4, 2))).sum()

    value, gradients = jax.value_and_grad(log_prob)(params)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize(("posterior", "prior"), KL_DIVERGENCES)
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_kl_and_its_gradient_are_finite_at_extremes(posterior, prior, extreme):
    own = POSTERIORS[posterior](PosteriorSpec(posterior), 2)
    _, p = prior_of(prior)

    def kl(outputs):
        return KL_DIVERGENCES[posterior, prior](own.q_params({}, outputs), p).sum()

    outputs = {head: jnp.full((2, size), extreme) for head, size in own.heads}
    value, gradients = jax.value_and_grad(kl)(outputs)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients.values())


def test_diagonal_clips_the_log_scale_and_nothing_in_between():
    raw = jnp.array([[-100.0, -14.0, 0.3, 14.0, 100.0]])
    own = POSTERIORS["diagonal"](PosteriorSpec(), 5)
    q = own.q_params({}, {"mean": raw, "log_scale": raw})
    np.testing.assert_array_equal(q.mean, raw)
    np.testing.assert_array_equal(
        q.log_scale, jnp.array([[-MAX_LOG_SCALE, -14.0, 0.3, 14.0, MAX_LOG_SCALE]])
    )


def test_reparameterised_gradient_is_the_closed_form():
    """E[z^2] = mean^2 + scale^2: its gradient is (2 mean, 2 scale^2)."""
    mean, log_scale, k = jnp.array([[0.7]]), jnp.array([[-0.4]]), 200_000
    posterior = POSTERIORS["diagonal"](PosteriorSpec(), 1)

    def second_moment(mean, log_scale):
        z, _ = posterior.reparameterize(jax.random.key(5), gaussian.Gaussian(mean, log_scale), k)
        return jnp.mean(jnp.square(z))

    by_mean, by_log_scale = jax.grad(second_moment, argnums=(0, 1))(mean, log_scale)
    scale = np.exp(-0.4)
    # Standard errors of 2 z and 2 z scale noise; 4.4 of them fail one key in 100,000.
    np.testing.assert_allclose(by_mean, 2 * 0.7, atol=4.4 * 2 * scale / np.sqrt(k))
    spread = 2 * scale * np.sqrt(0.7**2 + 2 * scale**2)
    np.testing.assert_allclose(by_log_scale, 2 * scale**2, atol=4.4 * spread / np.sqrt(k))


def test_implicit_gradients_of_a_mixture_are_those_of_its_moments():
    """E[z_0^2 + z_0 z_1] of a mixture is known; so is its gradient in weights, means and scales."""
    p = Mixture(
        jnp.array([[0.4, -0.3]]),
        Gaussian(jnp.array([[[0.5, -1.0], [-1.5, 0.7]]]), jnp.array([[[0.1, -0.5], [-0.4, 0.2]]])),
    )

    def exact(p):
        weights = jax.nn.softmax(p.log_weights[0])
        mean, variance = p.components.mean[0], jnp.exp(2 * p.components.log_scale[0])
        return jnp.sum(weights * (mean[:, 0] ** 2 + variance[:, 0] + mean[:, 0] * mean[:, 1]))

    def estimate(p, key):
        z = mixture.reparameterize(key, p, 500)[:, 0]
        return jnp.mean(z[:, 0] ** 2 + z[:, 0] * z[:, 1])

    keys = jax.random.split(jax.random.key(0), 400)
    draws = jax.vmap(jax.grad(estimate), in_axes=(None, 0))(p, keys)
    for ours, theirs in zip(
        jax.tree.leaves(draws), jax.tree.leaves(jax.grad(exact)(p)), strict=True
    ):
        error = ours.std(axis=0) / np.sqrt(len(keys))
        z_scores = (ours.mean(axis=0) - theirs) / np.maximum(error, 1e-6)
        assert np.abs(z_scores).max() < 4.6
        assert np.abs(theirs).max() > 0.05


def test_mixture_draws_are_the_components_in_their_shares():
    p = Mixture(
        jnp.log(jnp.array([0.7, 0.3])),
        Gaussian(jnp.array([[-5.0, 0.0], [5.0, 1.0]]), jnp.zeros((2, 2))),
    )
    for draw in (mixture.sample, mixture.reparameterize):
        z = np.asarray(draw(jax.random.key(0), p, 20_000))
        share = (z[:, 0] < 0).mean()
        assert abs(share - 0.7) < CONFIDENCE * np.sqrt(0.7 * 0.3 / 20_000)
        assert stats.kstest(z[z[:, 0] > 0][:, 1], partial(stats.norm.cdf, loc=1)).pvalue > 1e-3

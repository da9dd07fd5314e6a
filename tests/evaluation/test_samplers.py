"""What is fitted to codes: of known codes, the known distribution; and samples by it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tests.small.exact import B_D, NOISE_SCALE, W_DL, D, L, linear, linear_data
from vae_jax.errors import UserError
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.evaluation.samplers import SAMPLERS, kept
from vae_jax.evaluation.samplers.flow import Flow
from vae_jax.evaluation.samplers.gaussians import Gaussian, Mixture
from vae_jax.evaluation.samplers.interface import fit, log_prob, sample
from vae_jax.evaluation.samplers.lanes import fit_lanes, sample_lane, stacked
from vae_jax.evaluation.samplers.prior import with_sampler
from vae_jax.evaluation.samplers.two_stage import TwoStage
from vae_jax.models.model import generate
from vae_jax.models.with_prior import SAMPLER

# Two full Gaussians in 3-d; the units have very different scales.
WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-3.0, 100.0, 0.1], [3.0, 140.0, -0.1]])
FACTORS = np.array(
    [[[0.7, 0, 0], [4.0, 5.0, 0], [0.05, -0.02, 0.1]], [[0.5, 0, 0], [-2, 4.0, 0], [0, 0.1, 0.1]]]
)
COVARIANCES = FACTORS @ np.swapaxes(FACTORS, 1, 2)
SMALL = (Gaussian(), Mixture(2), Flow(20, 8), TwoStage(20, 8))
by_kind = pytest.mark.parametrize(
    "sampler",
    [pytest.param(it, marks=[pytest.mark.slow] * isinstance(it, Flow | TwoStage)) for it in SMALL],
    ids=lambda it: type(it).__name__,
)


def codes_of_two(n, seed=0):
    rng = np.random.default_rng(seed)
    component = (rng.random(n) > WEIGHTS[0]).astype(int)
    noise = rng.normal(size=(n, 3, 1))
    return (MEANS[component, :, None] + FACTORS[component] @ noise)[..., 0]


def exact_log_prob(z):
    parts = [
        w * multivariate_normal(m, c).pdf(z)
        for w, m, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
    ]
    return np.log(sum(parts))


def fitted_to(sampler, codes):
    (found,) = fit(sampler, 0, codes[None])
    return found


@functools.cache
def fitted_to_two(sampler):
    return fitted_to(sampler, codes_of_two(10_000))


def density(sampler, fitted, z):
    return np.asarray(jax.jit(lambda z: log_prob(sampler, fitted, z))(np.float32(z)))


def samples(sampler, fitted, n, seed=0):
    return np.asarray(jax.jit(lambda key: sample(sampler, fitted, key, n))(jax.random.key(seed)))


@pytest.mark.parametrize(
    ("sampler", "nearest", "farthest"),
    [
        (Gaussian(), 0.2, 5),
        (Mixture(2), -0.01, 0.01),
        pytest.param(Flow(600, 32), -0.01, 0.3, marks=pytest.mark.slow),
    ],
    ids=lambda it: type(it).__name__,
)
def test_the_aggregate_posterior_of_two_is_recovered(sampler, nearest, farthest):
    """KL(true, fitted), nats: one Gaussian can't, two can, a flow nearly."""
    found, held_out = fitted_to_two(sampler), codes_of_two(5_000, seed=1)
    kl = (exact_log_prob(held_out) - density(sampler, found, held_out)).mean()
    assert nearest < kl < farthest


def test_a_mixture_of_two_has_its_numbers():
    found = fitted_to_two(Mixture(2))
    params = found.params
    order = np.argsort(params.mean_cl[:, 0])
    np.testing.assert_allclose(np.exp(params.log_weights_c[order]), WEIGHTS, atol=0.02)
    means = found.centre_l + found.scale_l * params.mean_cl[order]
    np.testing.assert_allclose(means, MEANS, rtol=0.01, atol=0.05)
    factor = params.factor_cll[order] * found.scale_l[:, None]
    covariance = factor @ np.swapaxes(factor, 1, 2)
    np.testing.assert_allclose(covariance, COVARIANCES, rtol=0.1, atol=0.3)


@pytest.mark.parametrize(
    ("sampler", "off"),
    [
        (Mixture(2), 0.1),
        (Flow(600, 32), 0.5),
        pytest.param(TwoStage(2_000, 64), 6, marks=pytest.mark.slow),
    ],
    ids=lambda it: type(it).__name__,
)
def test_samples_are_of_the_codes(sampler, off):
    """Their moments, and their density under the true one; one Gaussian's is 10 nats off."""
    codes = codes_of_two(10_000, seed=1)
    z = samples(sampler, fitted_to_two(sampler), 10_000)
    np.testing.assert_allclose(z.mean(axis=0) / codes.std(axis=0), codes.mean(axis=0)
                               / codes.std(axis=0), atol=0.15)  # fmt: skip
    np.testing.assert_allclose(np.corrcoef(z.T), np.corrcoef(codes.T), atol=0.2)
    assert abs(np.median(exact_log_prob(z)) - np.median(exact_log_prob(codes))) < off


def test_a_gaussian_has_the_moments_of_the_codes():
    codes = codes_of_two(1_000)
    found = fitted_to(Gaussian(), codes)
    expected = multivariate_normal(codes.mean(axis=0), np.cov(codes.T, bias=True))
    np.testing.assert_allclose(
        density(Gaussian(), found, codes[:50]), expected.logpdf(codes[:50]), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("sampler", "columns"),
    [
        (Gaussian(), [0]),
        (Mixture(2), [0, 2]),
        pytest.param(Flow(20, 8), [0, 2], marks=pytest.mark.slow),
    ],
    ids=lambda it: type(it).__name__,
)
def test_densities_integrate_to_one(sampler, columns):
    codes = codes_of_two(300)[:, columns]
    found = fitted_to(sampler, codes)
    axes = [np.linspace(-14, 14, 561)[:-1] + 0.0125, np.linspace(-2, 2, 400)][: len(columns)]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=-1)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    total = np.exp(density(sampler, found, grid).astype(np.float64)).sum() * cell
    assert total == pytest.approx(1, abs=0.01)


@by_kind
@pytest.mark.slow
def test_lanes_of_other_sizes_are_as_each_alone(sampler):
    codes = codes_of_two(300)
    lanes = [codes[:, :2], codes, codes[::-1, :2]]
    together = fit_lanes(sampler, 0, lanes)
    every = stacked(together)
    one = jax.jit(lambda lane, key: sample_lane(sampler, (2, 3), lane, key, 5))
    for i, own in enumerate(lanes):
        (alone,) = fit_lanes(sampler, 0, [own])
        for leaf, other in zip(*map(jax.tree.leaves, (alone, together[i])), strict=True):
            np.testing.assert_array_equal(leaf, other)  # a refit has the same bits
        z = one(jax.tree.map(lambda leaf, i=i: leaf[i], every), jax.random.key(3))
        size = own.shape[1]
        np.testing.assert_allclose(z[:, :size], samples(sampler, alone, 5, 3), rtol=1e-4, atol=1e-5)
        assert not z[:, size:].any()


@by_kind
def test_a_kept_sampler_is_read_again_while_codes_and_numbers_are_the_same(sampler, tmp_path):
    name = next(name for name, kind in SAMPLERS.items() if kind is type(sampler))
    codes = np.float32(codes_of_two(300))[None]
    fitted = fit(sampler, 0, codes)
    kept.write(tmp_path / "run", name, sampler, codes, fitted)
    assert kept.names(tmp_path / "run") == (name,)
    found = kept.read(tmp_path / "run", name, codes, sampler)
    assert found.sampler == sampler
    assert jax.tree.structure(found.fitted) == jax.tree.structure(fitted)
    for leaf, other in zip(*map(jax.tree.leaves, (fitted, found.fitted)), strict=True):
        np.testing.assert_array_equal(leaf, other)
    assert kept.read(tmp_path / "run", name, codes + 1, sampler) is None
    assert kept.read(tmp_path / "run", name, codes, Mixture(7)) is None
    assert kept.read(tmp_path, name, codes, sampler) is None
    (tmp_path / "run" / f"sampler_{name}.npz").write_bytes(b"cut off")
    assert kept.read(tmp_path / "run", name, codes, sampler) is None


def test_codes_that_can_t_be_fitted():
    constant = fitted_to(Gaussian(), np.ones((50, 3)))  # a unit that is never used
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(constant))
    np.testing.assert_allclose(samples(Gaussian(), constant, 9), 1, atol=0.01)
    with pytest.raises(UserError, match="10 components can't be fitted to 8 codes; take fewer"):
        fit(Mixture(10), 0, np.zeros((1, 8, 2)))
    with pytest.raises(UserError, match="codes that are not finite"):
        fit(Gaussian(), 0, np.full((1, 8, 2), np.nan))


def test_a_mixture_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.mixture", None)
    with pytest.raises(UserError, match=r"a mixture needs scikit-learn: pip install"):
        fit(Mixture(2), 0, codes_of_two(100)[None])


# ---- a sampler as p(z) ---------------------------------------------------------------------------


@pytest.mark.slow
def test_nll_by_a_sampler_is_the_closed_form_of_a_linear_model():
    """With p(z) = N(m, S), p(x) = N(W m + b, W S W^T + s^2)."""
    model, variables = linear()
    rng = np.random.default_rng(2)
    codes = rng.normal(size=(400, L)) @ np.array([[1.2, 0.3], [0.0, 0.8]]) + [0.5, -0.3]
    found = fitted_to(Gaussian(), codes)
    of_sampler = with_sampler(model, Gaussian())
    own = {**variables, SAMPLER: found}
    x = linear_data(6)
    estimate = jax.jit(lambda key: importance_sampling(of_sampler, own, key, x, 20_000))
    mean, covariance = codes.mean(axis=0), np.cov(codes.T, bias=True)
    noise = NOISE_SCALE**2 * np.eye(D)
    exact = multivariate_normal(W_DL @ mean + B_D, W_DL @ covariance @ W_DL.T + noise)
    found = estimate(jax.random.key(0)).log_likelihood
    np.testing.assert_allclose(found, exact.logpdf(x), atol=0.03)
    made = jax.jit(lambda key: generate(of_sampler, own, key, 20_000))(jax.random.key(1))
    np.testing.assert_allclose(made.mean(axis=0), W_DL @ mean + B_D, atol=0.04)
    np.testing.assert_allclose(np.cov(made.T), W_DL @ covariance @ W_DL.T, atol=0.06)


def test_the_standard_normal_as_a_sampler_changes_nothing():
    model, variables = linear()
    at_zero = Gaussian().init(jax.random.key(0), L)
    found = {**variables, SAMPLER: fitted_to(Gaussian(), np.eye(L))}
    found[SAMPLER] = found[SAMPLER]._replace(
        centre_l=jnp.zeros(L), scale_l=jnp.ones(L), params=at_zero
    )
    x = linear_data(4)

    def nll(model, variables):
        def of(key):
            return importance_sampling(model, variables, key, x, 50).log_likelihood

        return jax.jit(of)(jax.random.key(0))

    by_sampler = nll(with_sampler(model, Gaussian()), found)
    np.testing.assert_allclose(by_sampler, nll(model, variables), rtol=1e-5)

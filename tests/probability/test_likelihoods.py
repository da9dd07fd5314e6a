"""One table of properties that every likelihood passes."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit

from vae_jax.probability.levels import log_difference
from vae_jax.probability.likelihoods import LIKELIHOODS, continuous_bernoulli, log_sinhc

SCALE = jnp.float32(0.4)
D = 3


class Row(NamedTuple):
    """raw [d, p] of three dimensions, and where x can be."""

    raw: jnp.ndarray
    points: np.ndarray  # of discrete x: every value (or all that have a chance); of densities: ends


def rows(*values) -> jnp.ndarray:
    return jnp.array(values, jnp.float32)


BITS = np.array([0.0, 1.0])
UNIT = np.array([0.0, 1.0])
LINE = np.array([-30.0, 30.0])
LEVELS = np.arange(256) / 255
COUNTS = np.arange(3_000) / 255
RNG = np.random.default_rng(0)
TABLE = {
    "bernoulli": Row(rows([-1.5], [0.2], [3.0]), BITS),
    "beta": Row(rows([-1.0, 2.0], [0.3, 1.5], [0.0, 4.0]), UNIT),
    "categorical": Row(jnp.array(RNG.normal(size=(D, 256)), jnp.float32), LEVELS),
    "continuous_bernoulli": Row(rows([-3.0], [1e-4], [12.0]), UNIT),
    "discretized_logistic": Row(rows([0.4, -2.0], [0.0, -4.5], [1.3, -1.0]), LEVELS),
    "discretized_logistic_mixture": Row(
        jnp.array(RNG.normal(size=(D, 15)) * 0.7 - 0.5, jnp.float32), LEVELS
    ),
    "gaussian": Row(rows([-1.5], [0.2], [3.0]), LINE),
    "gaussian_pixel_scale": Row(rows([-1.5, 0.5], [0.2, -1.0], [3.0, 0.0]), LINE),
    "gaussian_shared_scale": Row(rows([-1.5], [0.2], [3.0]), LINE),
    "laplace": Row(rows([-1.5], [0.2], [3.0]), LINE),
    "negative_binomial": Row(rows([2.0, 0.5], [4.0, 1.0], [-1.0, 3.0]), COUNTS),
    "poisson": Row(rows([-1.0], [2.5], [4.0]), COUNTS),
}
DISCRETE = ("binary", "levels", "counts")
OWN = {"gaussian_shared_scale": {"log_scale": jnp.float32(-0.3)}}


def x_params_of(name, raw=None):
    """The x_params of the row, or of another raw."""
    return LIKELIHOODS[name].x_params(
        OWN.get(name, {}), TABLE[name].raw if raw is None else raw, SCALE
    )


def one_dimension(name, d):
    """(x [n] -> log p(x_d)) of one dimension of the row."""
    raw = TABLE[name].raw[d : d + 1]

    @jax.jit
    def log_prob(x_n):
        tiled = x_params_of(name, jnp.broadcast_to(raw, (len(x_n), *raw.shape)))
        return LIKELIHOODS[name].log_prob(tiled, x_n[:, None])

    return lambda x: np.asarray(log_prob(jnp.asarray(x, jnp.float32)), np.float64)


def expectation(name, d, function):
    """E[function(x_d)], by a sum over every x or by a fine grid."""
    log_prob, points = one_dimension(name, d), TABLE[name].points
    if LIKELIHOODS[name].support in DISCRETE:
        return float(np.sum(np.exp(log_prob(points)) * function(points)))
    x = np.linspace(*points, 200_001)
    return float(integrate.trapezoid(np.exp(log_prob(x)) * function(x), x))


def test_every_likelihood_is_in_the_table():
    assert TABLE.keys() == LIKELIHOODS.keys()
    assert {family.support for family in LIKELIHOODS.values()} == {
        "binary", "unit", "real", "levels", "counts",
    }  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_it_is_normalised(name):
    for d in range(D):
        np.testing.assert_allclose(expectation(name, d, np.ones_like), 1, rtol=5e-4)


@pytest.mark.parametrize("name", TABLE)
def test_mean_and_samples_agree_with_the_probabilities(name):
    family, x_params = LIKELIHOODS[name], x_params_of(name)
    mean = np.array([expectation(name, d, lambda x: x) for d in range(D)])
    square = np.array([expectation(name, d, np.square) for d in range(D)])
    np.testing.assert_allclose(family.mean(x_params), mean, rtol=1e-3, atol=1e-4)
    n = 20_000
    raw = jnp.tile(TABLE[name].raw[None], (n, 1, 1))
    draws = np.asarray(family.sample(jax.random.key(0), x_params_of(name, raw)), np.float64)
    assert draws.shape == (n, D)
    z_scores = (draws.mean(axis=0) - mean) / np.sqrt((square - mean**2) / n)
    assert np.abs(z_scores).max() < stats.norm.ppf(1 - 1e-3 / 6)  # one key in a thousand fails
    spread = (draws**2).mean(axis=0) - square
    assert np.abs(spread / ((draws**2).std(axis=0) / np.sqrt(n))).max() < 4.4


@pytest.mark.parametrize("name", TABLE)
def test_it_is_summed_over_dimensions_and_broadcast_over_draws(name):
    family, points = LIKELIHOODS[name], TABLE[name].points
    b, k = 2, 3
    x_bd = np.resize(points[:: max(1, len(points) // 5)], (b, D)).astype(np.float32)
    raw = jnp.tile(TABLE[name].raw[None, None], (k, b, 1, 1)) + 0.1 * jnp.arange(k).reshape(
        k, 1, 1, 1
    )
    together = family.log_prob(x_params_of(name, raw), x_bd[None])
    assert together.shape == (k, b)
    apart = [
        [
            sum(
                float(family.log_prob(x_params_of(name, raw[i, j, d : d + 1]), x_bd[j, d : d + 1]))
                for d in range(D)
            )
            for j in range(b)
        ]
        for i in range(k)
    ]
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TABLE)
def test_finite_value_and_gradient_at_extremes(name):
    family, shape = LIKELIHOODS[name], (LIKELIHOODS[name].params_per_dim,)
    extremes = itertools.product((-1e4, 0.0, 1e4), repeat=min(2, shape[0]))
    raws = [jnp.resize(jnp.array(pair), shape)[None] for pair in extremes]
    points = TABLE[name].points

    def log_prob(raw, x):
        return family.log_prob(family.x_params(OWN.get(name, {}), raw, SCALE), x)

    for raw, x in itertools.product(raws, (points[0], points[len(points) // 2], points[-1])):
        value, gradient = jax.value_and_grad(log_prob)(raw, jnp.array([x], jnp.float32))
        assert np.isfinite(value), (raw, x)
        assert np.isfinite(gradient).all(), (raw, x)


@pytest.mark.parametrize("name", TABLE)
def test_initial_bias_has_the_mean_it_was_given(name):
    family = LIKELIHOODS[name]
    mean = jnp.array([0.1, 0.5, 0.9])
    raw = family.initial_bias(mean)
    assert raw.shape == (3, family.params_per_dim)
    x_params = family.x_params(family.init(), raw, SCALE)
    np.testing.assert_allclose(family.mean(x_params), mean, rtol=1e-4)
    assert np.isfinite(family.initial_bias(jnp.array([0.0, 1.0]))).all()


def sigmoid_difference(high, low):
    """In the tail where both are small, in float64."""
    upper = np.where(np.isfinite(low), low, high) > 0
    return np.where(upper, expit(-low) - expit(-high), expit(high) - expit(low))


def scipy_log_prob(name, raw, x):
    raw = np.asarray(raw, np.float64)
    if name == "bernoulli":
        return stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-raw[:, 0])))
    if name == "beta":
        mean, c = 1 / (1 + np.exp(-raw[:, 0])), np.exp(raw[:, 1])
        return stats.beta.logpdf(x, mean * c, (1 - mean) * c)
    if name == "gaussian":
        return stats.norm.logpdf(x, raw[:, 0], float(SCALE))
    if name == "gaussian_pixel_scale":
        return stats.norm.logpdf(x, raw[:, 0], np.exp(raw[:, 1]))
    if name == "gaussian_shared_scale":
        return stats.norm.logpdf(x, raw[:, 0], np.exp(-0.3))
    if name == "laplace":
        return stats.laplace.logpdf(x, raw[:, 0], float(SCALE))
    if name == "poisson":
        return stats.poisson.logpmf(np.round(255 * x), np.exp(raw[:, 0]))
    if name == "negative_binomial":
        r, mean = np.exp(raw[:, 1]), np.exp(raw[:, 0])
        return stats.nbinom.logpmf(np.round(255 * x), r, r / (r + mean))
    if name == "discretized_logistic":
        n = np.round(255 * x)
        high, low = (((n + half) / 255 - raw[:, 0]) / np.exp(raw[:, 1]) for half in (0.5, -0.5))
        return np.log(sigmoid_difference(np.inf if n == 255 else high, -np.inf if n == 0 else low))
    if name == "categorical":
        return (raw - np.logaddexp.reduce(raw, axis=1)[:, None])[
            np.arange(3), np.round(255 * x).astype(int)
        ]
    return None


@pytest.mark.parametrize(
    "name", [n for n in TABLE if n not in ("continuous_bernoulli", "discretized_logistic_mixture")]
)
def test_it_is_scipy_s(name):
    points = TABLE[name].points
    inner = {"unit": [0.1, 0.5, 0.93], "real": [-2.0, 0.3, 4.0]}
    support = LIKELIHOODS[name].support
    for x in inner.get(support, points[:: max(1, len(points) // 7)][:8]):
        x_d = np.full(D, x, np.float32)
        ours = LIKELIHOODS[name].log_prob(x_params_of(name), x_d)
        exact = scipy_log_prob(name, TABLE[name].raw, x).sum()
        np.testing.assert_allclose(ours, exact, rtol=2e-4, atol=2e-4)


def test_bernoulli_gradient_is_x_minus_probability():
    logits = jnp.array([-1e4, -3.0, 0.0, 3.0, 1e4])
    x = jnp.array([0.0, 1.0, 0.0, 0.0, 0.0])
    gradient = jax.grad(LIKELIHOODS["bernoulli"].log_prob)(logits, x)
    np.testing.assert_allclose(gradient, x - jax.nn.sigmoid(logits), rtol=1e-5)


@pytest.mark.parametrize(
    "eta", [-30.0, -1.0, -0.21, -0.19, -1e-3, 0.0, 1e-4, 0.19, 0.21, 1.0, 30.0]
)
def test_continuous_bernoulli_is_stable_through_one_half(eta):
    """Against its integral in float64, value, mean and slope."""
    normaliser, _ = integrate.quad(lambda x: np.exp(eta * x - max(eta, 0)), 0, 1)
    mean, _ = integrate.quad(lambda x: x * np.exp(eta * x - max(eta, 0)) / normaliser, 0, 1)
    logits = jnp.array([eta])
    for x in (0.0, 0.3, 1.0):
        ours, slope = jax.value_and_grad(continuous_bernoulli.log_prob)(logits, jnp.array([x]))
        exact = eta * x - max(eta, 0) - np.log(normaliser)
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(slope[0], x - mean, atol=2e-5)
    np.testing.assert_allclose(continuous_bernoulli.mean(logits)[0], mean, rtol=2e-5)
    draws = continuous_bernoulli.sample(jax.random.key(0), jnp.full(20_000, eta))
    assert abs(draws.mean() - mean) < 4.4 * draws.std() / np.sqrt(20_000) + 1e-6
    assert ((draws >= 0) & (draws <= 1)).all()


def test_log_sinhc_meets_its_series():
    a = np.array([1e-4, 0.09, 0.0999, 0.1001, 0.2, 5.0, 80.0])
    exact = np.log(np.sinh(a) / a)
    np.testing.assert_allclose(log_sinhc(jnp.array(a, jnp.float32)), exact, rtol=1e-4, atol=1e-8)


def test_differences_of_sigmoids_keep_their_digits_in_both_tails():
    low = np.array([-60.0, -20.0, 0.0, 20.0, 60.0])
    high = low + 0.5
    exact = np.log(sigmoid_difference(high, low))
    ours = log_difference(jnp.array(high, jnp.float32), jnp.array(low, jnp.float32))
    np.testing.assert_allclose(ours, exact, rtol=1e-5)

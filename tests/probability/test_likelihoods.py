"""One table of properties that every likelihood passes."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import log_expit, log_softmax, logsumexp

from vae_jax.probability.continuous_bernoulli import continuous_bernoulli, log_sinhc
from vae_jax.probability.levels import log_difference
from vae_jax.probability.likelihoods import LIKELIHOODS

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
# [d, (logits, means, log scales) of 5]: means from -0.1 to 1.1, scales well below their distance.
COMPONENTS_APART = np.concatenate(
    [RNG.normal(size=(D, 5)), np.tile(np.linspace(-0.1, 1.1, 5), (D, 1)), np.full((D, 5), -4.0)],
    axis=1,
) + 0.1 * RNG.normal(size=(D, 15))
TABLE = {
    "bernoulli": Row(rows([-1.5], [0.2], [3.0]), BITS),
    "beta": Row(rows([-1.0, 2.0], [0.3, 1.5], [0.0, 4.0]), UNIT),
    "categorical": Row(jnp.array(RNG.normal(size=(D, 256)), jnp.float32), LEVELS),
    "continuous_bernoulli": Row(rows([-3.0], [1e-4], [12.0]), UNIT),
    "discretized_logistic": Row(rows([0.4, -2.0], [0.0, -4.5], [1.3, -1.0]), LEVELS),
    "discretized_logistic_mixture": Row(jnp.array(COMPONENTS_APART, jnp.float32), LEVELS),
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


@functools.cache
def log_prob_of(name):
    """(raw [1, p], x [n]) -> log p(x) [n] of one dimension."""

    @jax.jit
    def log_prob(raw, x_n):
        tiled = x_params_of(name, jnp.broadcast_to(raw, (len(x_n), *raw.shape)))
        return LIKELIHOODS[name].log_prob(tiled, x_n[:, None])

    return log_prob


def expectation(name, d, function):
    """E[function(x_d)], by a sum over every x or by a fine grid."""
    discrete = LIKELIHOODS[name].support in DISCRETE
    x = TABLE[name].points if discrete else np.linspace(*TABLE[name].points, 200_001)
    log_p = log_prob_of(name)(TABLE[name].raw[d : d + 1], jnp.array(x, jnp.float32))
    y = np.exp(np.asarray(log_p, np.float64)) * function(x)
    return float(np.sum(y) if discrete else integrate.trapezoid(y, x))


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
    np.testing.assert_allclose(jax.jit(family.mean)(x_params), mean, rtol=1e-3, atol=1e-4)
    n = 20_000
    raw = jnp.tile(TABLE[name].raw[None], (n, 1, 1))
    draws = jax.jit(family.sample)(jax.random.key(0), x_params_of(name, raw))
    draws = np.asarray(draws, np.float64)
    assert draws.shape == (n, D)
    z_scores = (draws.mean(axis=0) - mean) / np.sqrt((square - mean**2) / n)
    assert np.abs(z_scores).max() < stats.norm.ppf(1 - 1e-3 / 6)  # one key in a thousand fails
    spread = (draws**2).mean(axis=0) - square  # by its own standard error: 1 key in 30,000 fails
    assert np.abs(spread / ((draws**2).std(axis=0) / np.sqrt(n))).max() < 4.4


@pytest.mark.parametrize("name", TABLE)
def test_it_is_summed_over_dimensions_and_broadcast_over_draws(name):
    """An axis of size 1, of x or of x_params, gives what the same values repeated give."""
    family, points = LIKELIHOODS[name], TABLE[name].points
    b, k = 2, 3
    x_kbd = np.resize(points[:: max(1, len(points) // 13)], (k, b, D)).astype(np.float32)
    moved_kb = 0.1 * jnp.arange(k * b, dtype=jnp.float32).reshape(k, b, 1, 1)
    raw_kbdp = jnp.tile(TABLE[name].raw[None, None], (k, b, 1, 1)) + moved_kb
    log_prob = jax.jit(lambda raw, x: family.log_prob(x_params_of(name, raw), x))
    for raw, x in ((raw_kbdp, x_kbd[:1]), (raw_kbdp[:1], x_kbd)):
        together = log_prob(raw, x)
        assert together.shape == (k, b)
        # A dimension at a time: [k, b, d, 1].
        raw = jnp.broadcast_to(raw, raw_kbdp.shape)[..., None, :]
        x = np.broadcast_to(x, x_kbd.shape)[..., None]
        apart = np.sum(log_prob(raw, x), axis=-1)
        np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-5)


def extreme_raws(size):
    """raw [n, 1, p] of every choice of -1e4, 0 and 1e4; of a large p, in thirds and interleaved."""
    choices = np.array(list(itertools.product((-1e4, 0.0, 1e4), repeat=min(size, 3))), np.float32)
    if size > 3:
        thirds = np.repeat(choices, -(-size // 3), axis=1)[:, :size]
        choices = np.concatenate([thirds, np.tile(choices, (1, size))[:, :size]])
    return jnp.array(choices[:, None])


@pytest.mark.parametrize("name", TABLE)
def test_finite_value_and_gradient_at_extremes(name):
    """Of every raw with every x, in lanes: what is finite is so under jit, vmap and grad."""
    family, points = LIKELIHOODS[name], TABLE[name].points
    if family.support in ("unit", "real"):
        points = np.linspace(*points, 7)
    x_n1 = jnp.array(points, jnp.float32)[:, None]

    def log_prob(params, raw, x):
        return family.log_prob(family.x_params(params, raw, SCALE), x)

    of_x = jax.vmap(jax.value_and_grad(log_prob, argnums=(0, 1)), (None, None, 0))

    @jax.jit
    def finite(raws):
        """[raws, x], one raw at a time."""
        return jax.lax.map(
            lambda raw: jnp.all(
                jnp.stack(
                    [
                        jnp.isfinite(leaf).reshape(len(x_n1), -1).all(axis=1)
                        for leaf in jax.tree.leaves(of_x(OWN.get(name, {}), raw, x_n1))
                    ]
                ),
                axis=0,
            ),
            raws,
        )

    raws = extreme_raws(family.params_per_dim)
    failed = np.argwhere(~np.asarray(finite(raws)))
    assert len(failed) == 0, [(raws[i, 0, :15], points[j]) for i, j in failed[:3]]
    assert np.isfinite(family.mean(family.x_params(OWN.get(name, {}), raws, SCALE))).all()


@pytest.mark.parametrize("name", TABLE)
def test_initial_bias_has_the_mean_it_was_given(name):
    family = LIKELIHOODS[name]
    mean = jnp.array([0.02, 0.1, 0.5, 0.9, 0.98])
    raw = family.initial_bias(mean)
    assert raw.shape == (5, family.params_per_dim)
    x_params = family.x_params(family.init(), raw, SCALE)
    np.testing.assert_allclose(family.mean(x_params), mean, rtol=1e-4)
    assert np.isfinite(family.initial_bias(jnp.array([0.0, 1.0]))).all()


def log_level(n, mean, log_scale):
    """The discretised logistic's log P(n), in float64, from the tail where both ends are small."""
    low, high = (((n + half) / 255 - mean) * np.exp(-log_scale) for half in (-0.5, 0.5))
    low, high = np.where(n == 0, -np.inf, low), np.where(n == 255, np.inf, high)
    return log_between(low, high)


def log_between(low, high):
    """log(sigmoid(high) - sigmoid(low))."""
    mirrored = low > 0
    low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    return log_expit(high) + np.log1p(-np.exp(log_expit(low) - log_expit(high)))


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
        return log_level(np.round(255 * x), raw[:, 0], raw[:, 1])
    if name == "discretized_logistic_mixture":
        logits, mean, log_scale = np.split(raw, 3, axis=1)
        log_p = log_level(np.round(255 * x), mean, log_scale)
        return logsumexp(log_softmax(logits, axis=1) + log_p, axis=1)
    if name == "categorical":
        return (raw - np.logaddexp.reduce(raw, axis=1)[:, None])[
            np.arange(3), np.round(255 * x).astype(int)
        ]
    raise NotImplementedError(name)


# The continuous Bernoulli, which scipy lacks, has a test of its own below.
@pytest.mark.parametrize("name", [name for name in TABLE if name != "continuous_bernoulli"])
def test_it_is_scipy_s(name):
    log_prob = jax.jit(lambda x: LIKELIHOODS[name].log_prob(x_params_of(name), x))
    points = TABLE[name].points
    inner = {"unit": [0.1, 0.5, 0.93], "real": [-2.0, 0.3, 4.0]}
    support = LIKELIHOODS[name].support
    for x in inner.get(support, points[:: max(1, len(points) // 7)][:8]):
        x_d = np.full(D, x, np.float32)
        exact = scipy_log_prob(name, TABLE[name].raw, x).sum()
        np.testing.assert_allclose(log_prob(x_d), exact, rtol=2e-4, atol=2e-4)


def test_bernoulli_gradient_is_x_minus_probability():
    logits = jnp.array([-1e4, -3.0, 0.0, 3.0, 1e4])
    x = jnp.array([0.0, 1.0, 0.0, 0.0, 0.0])
    gradient = jax.grad(LIKELIHOODS["bernoulli"].log_prob)(logits, x)
    np.testing.assert_allclose(gradient, x - jax.nn.sigmoid(logits), rtol=1e-5)


ETAS = [-30.0, -1.0, -0.21, -0.19, -1e-3, 0.0, 1e-4, 0.19, 0.21, 1.0, 30.0]


def test_continuous_bernoulli_is_stable_through_one_half():
    """Against its integral in float64, value, mean and slope."""
    logits, xs = jnp.array(ETAS)[:, None], jnp.array([0.0, 0.3, 1.0])[:, None]
    log_prob = jax.value_and_grad(continuous_bernoulli.log_prob)
    of_all = jax.jit(jax.vmap(jax.vmap(log_prob, (None, 0)), (0, None)))
    values, slopes = of_all(logits, xs)  # [eta, x], [eta, x, 1]
    means = continuous_bernoulli.mean(logits)[:, 0]
    n = 20_000
    draws = continuous_bernoulli.sample(jax.random.key(0), jnp.tile(logits, (1, n)))
    assert ((draws >= 0) & (draws <= 1)).all()
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
        assert abs(draws[i].mean() - mean) < 4.4 * draws[i].std() / np.sqrt(n)


def test_log_sinhc_meets_its_series():
    a = np.array([1e-4, 0.09, 0.0999, 0.1001, 0.2, 5.0, 80.0])
    exact = np.log(np.sinh(a) / a)
    np.testing.assert_allclose(log_sinhc(jnp.array(a, jnp.float32)), exact, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("gap", [5e-4, 0.5, 30.0])
def test_differences_of_sigmoids_keep_their_digits_in_both_tails(gap):
    low = np.array([-6e4, -60.0, -20.0, -0.25, 0.0, 20.0, 60.0, 6e4])
    exact = log_between(low, low + gap)
    ours = log_difference(jnp.array(low, jnp.float32), jnp.full(len(low), gap, jnp.float32))
    np.testing.assert_allclose(ours, exact, rtol=1e-5)


def test_discretized_logistic_keeps_its_digits_far_from_the_data():
    family = LIKELIHOODS["discretized_logistic"]
    far = itertools.product((-1e4, -30.0, 0.5, 2.0, 1e4), (-9.0, -5.0, 2.0), (0, 1, 100, 254, 255))
    mean, log_scale, n = np.array(list(far)).T
    raw = jnp.array(np.stack([mean, log_scale], axis=-1)[:, None], jnp.float32)
    ours = family.log_prob(family.x_params({}, raw, SCALE), jnp.array(n[:, None] / 255))
    exact = log_level(n, mean, log_scale)
    # In float32, x - mean is off by half a digit of the mean, which the scale divides.
    slack = 1e-7 * (1 + np.abs(mean)) * np.exp(-log_scale)
    assert (np.abs(ours - exact) <= 1e-5 * np.abs(exact) + slack).all()


@pytest.mark.parametrize("name", ["beta", "negative_binomial"])
def test_large_log_gammas_cancel_without_loss(name):
    """Concentration and r at the end of their range: log gammas of thousands, a value near 1."""
    family = LIKELIHOODS[name]
    log_prob = jax.jit(lambda raw, x: family.log_prob(family.x_params({}, raw, SCALE), x))
    for middle in (-5.0, 0.0, 4.0):
        raw = rows([middle, 5.0], [middle, 6.5], [middle, 7.0])
        for n in (1, 5, 60, 254):
            x = np.float32(n / 255)
            exact = scipy_log_prob(name, raw, np.float64(x))
            ours = log_prob(raw[:, None], np.full((3, 1), x))  # a batch of one dimension
            np.testing.assert_allclose(ours, exact, rtol=3e-6, atol=2e-4)

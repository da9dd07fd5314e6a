"""One table of properties that every likelihood passes."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import log_expit, log_softmax, logsumexp

from vae_jax.probability.continuous_bernoulli import (
    ContinuousBernoulliLikelihood,
)
from vae_jax.probability.counts import NegativeBinomialLikelihood, PoissonLikelihood
from vae_jax.probability.levels import (
    CategoricalLikelihood,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    log_difference,
)
from vae_jax.probability.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    BernoulliLikelihood,
    BetaLikelihood,
    GaussianLikelihood,
    GaussianOptimalScale,
    GaussianPixelScale,
    GaussianSharedScale,
    LaplaceLikelihood,
)

SCALE = 0.4
D = 3


class Row(NamedTuple):
    """A likelihood, raw [d, p] of three dimensions, and where x can be."""

    likelihood: Any
    raw: np.ndarray
    points: np.ndarray  # of discrete x: every value (or all that have a chance); of densities: ends
    params: Any = None  # its own; None: it has none

    def distribution(self, raw=None):
        """p(x | z) of the row, or of another raw."""
        return self.likelihood.distribution(self.params, self.raw if raw is None else raw)

    @property
    def is_discrete(self):
        return self.likelihood.support in ("binary", "levels", "counts")


def rows(*values) -> np.ndarray:
    return np.array(values, np.float32)


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
    "bernoulli": Row(BernoulliLikelihood(), rows([-1.5], [0.2], [3.0]), BITS),
    "beta": Row(BetaLikelihood(), rows([-1.0, 2.0], [0.3, 1.5], [0.0, 4.0]), UNIT),
    "categorical": Row(CategoricalLikelihood(), np.float32(RNG.normal(size=(D, 256))), LEVELS),
    "continuous_bernoulli": Row(
        ContinuousBernoulliLikelihood(), rows([-3.0], [1e-4], [12.0]), UNIT
    ),
    "discretized_logistic": Row(
        DiscretizedLogistic(), rows([0.4, -2.0], [0.0, -4.5], [1.3, -1.0]), LEVELS
    ),
    "discretized_logistic_mixture": Row(
        DiscretizedLogisticMixture(), np.float32(COMPONENTS_APART), LEVELS
    ),
    "gaussian": Row(GaussianLikelihood(SCALE), rows([-1.5], [0.2], [3.0]), LINE),
    "gaussian_optimal_scale": Row(
        GaussianOptimalScale(), rows([-1.5], [0.2], [3.0]), LINE, {"mean_square": np.float32(0.3)}
    ),
    "gaussian_pixel_scale": Row(
        GaussianPixelScale(), rows([-1.5, 0.5], [0.2, -1.0], [3.0, 0.0]), LINE
    ),
    "gaussian_shared_scale": Row(
        GaussianSharedScale(), rows([-1.5], [0.2], [3.0]), LINE, {"log_scale": np.float32(-0.3)}
    ),
    "laplace": Row(LaplaceLikelihood(SCALE), rows([-1.5], [0.2], [3.0]), LINE),
    "negative_binomial": Row(
        NegativeBinomialLikelihood(), rows([2.0, 0.5], [4.0, 1.0], [-1.0, 3.0]), COUNTS
    ),
    "poisson": Row(PoissonLikelihood(), rows([-1.0], [2.5], [4.0]), COUNTS),
}


@functools.cache
def probabilities(name):
    """x [n], every one or a fine grid, and p(x_d) [n, d] of the row's dimensions."""
    row = TABLE[name]
    x_n = row.points if row.is_discrete else np.linspace(*row.points, 200_001)

    @jax.jit
    def log_prob(raw_dp, x_n):
        def of_one(raw_p):
            raw = jnp.broadcast_to(raw_p, (len(x_n), 1, len(raw_p)))
            return row.distribution(raw).log_prob(x_n[:, None])

        return jax.lax.map(of_one, raw_dp)

    log_p_dn = log_prob(row.raw, np.float32(x_n))
    return x_n, np.exp(np.asarray(log_p_dn, np.float64)).T


def expectation(name, function):
    """E[function(x_d)] [d]."""
    x_n, p_nd = probabilities(name)
    y_nd = p_nd * function(x_n)[:, None]
    return y_nd.sum(axis=0) if TABLE[name].is_discrete else integrate.trapezoid(y_nd, x_n, axis=0)


def test_every_likelihood_is_in_the_table():
    assert {name: type(row.likelihood) for name, row in TABLE.items()} == LIKELIHOODS
    assert {likelihood.support for likelihood in LIKELIHOODS.values()} == {
        "binary", "unit", "real", "levels", "counts",
    }  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_it_is_normalised(name):
    np.testing.assert_allclose(expectation(name, np.ones_like), np.ones(D), rtol=5e-4)


@pytest.mark.parametrize("name", TABLE)
def test_mean_and_samples_agree_with_the_probabilities(name):
    row, n = TABLE[name], 5_000

    @jax.jit
    def mean_and_samples(key):
        many = row.distribution(jnp.tile(row.raw[None], (n, 1, 1)))
        return row.distribution().mean(), many.sample(key)

    mean, square = expectation(name, lambda x: x), expectation(name, np.square)
    own_mean, samples = mean_and_samples(jax.random.key(0))
    np.testing.assert_allclose(own_mean, mean, rtol=1e-3, atol=1e-4)
    samples = np.asarray(samples, np.float64)
    assert samples.shape == (n, D)
    z_scores = (samples.mean(axis=0) - mean) / np.sqrt((square - mean**2) / n)
    assert np.abs(z_scores).max() < stats.norm.ppf(1 - 1e-3 / 6)  # one key in a thousand fails
    spread = (samples**2).mean(axis=0) - square  # by its own standard error: 1 key in 30,000 fails
    assert np.abs(spread / ((samples**2).std(axis=0) / np.sqrt(n))).max() < 4.4


@pytest.mark.parametrize("name", TABLE)
def test_it_is_summed_over_dimensions_and_broadcast_over_samples(name):
    """An axis of size 1, of x or of the parameters, gives what the same values repeated give."""
    row = TABLE[name]
    b, k = 2, 3
    points = row.points[:: max(1, len(row.points) // 13)]
    x_kbd = np.resize(points, (k, b, D)).astype(np.float32)
    moved_kb = 0.1 * np.arange(k * b, dtype=np.float32).reshape(k, b, 1, 1)
    raw_kbdp = np.tile(row.raw[None, None], (k, b, 1, 1)) + moved_kb

    @jax.jit
    def log_probs(raw_kbdp, x_kbd):
        def apart(raw, x):
            """A dimension at a time: [k, b, d, 1]."""
            raw = jnp.broadcast_to(raw, raw_kbdp.shape)[..., None, :]
            x = jnp.broadcast_to(x, x_kbd.shape)[..., None]
            return jnp.sum(row.distribution(raw).log_prob(x), axis=-1)

        return [
            (row.distribution(raw).log_prob(x), apart(raw, x))
            for raw, x in ((raw_kbdp, x_kbd[:1]), (raw_kbdp[:1], x_kbd))
        ]

    for together, alone in log_probs(raw_kbdp, x_kbd):
        assert together.shape == (k, b)
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def extreme_raws(size):
    """raw [n, 1, p] of every choice of -1e4, 0 and 1e4; of a large p, in thirds and interleaved."""
    choices = np.array(list(itertools.product((-1e4, 0.0, 1e4), repeat=min(size, 3))), np.float32)
    if size > 3:
        thirds = np.repeat(choices, -(-size // 3), axis=1)[:, :size]
        choices = np.concatenate([thirds, np.tile(choices, (1, size))[:, :size]])
    return choices[:, None]


@pytest.mark.parametrize("name", TABLE)
def test_finite_value_and_gradient_at_extremes(name):
    """Of every raw with every x, in lanes: what is finite is so under jit, vmap and grad."""
    row = TABLE[name]
    points = row.points if row.is_discrete else np.linspace(*row.points, 7)
    x_n1 = np.float32(points)[:, None]

    def log_prob(params, raw, x):
        return row.likelihood.distribution(params, raw).log_prob(x)

    of_x = jax.vmap(jax.value_and_grad(log_prob, argnums=(0, 1)), (None, None, 0))

    @jax.jit
    def finite(raws):
        """[raws, x], one raw at a time; and of each raw's mean."""

        def of_one(raw):
            leaves = jax.tree.leaves(of_x(row.params, raw, x_n1))
            each = [jnp.isfinite(leaf).reshape(len(x_n1), -1).all(axis=1) for leaf in leaves]
            return jnp.stack(each).all(axis=0)

        return jax.lax.map(of_one, raws), jnp.isfinite(row.distribution(raws).mean())

    raws = extreme_raws(row.likelihood.params_per_dim)
    values, means = finite(raws)
    failed = np.argwhere(~np.asarray(values))
    assert len(failed) == 0, [(raws[i, 0, :15], points[j]) for i, j in failed[:3]]
    assert np.asarray(means).all()


def first_params(likelihood, scale):
    return likelihood.init(scale) | (likelihood.init_stats(scale) or {})


@pytest.mark.parametrize(
    "name",
    [
        "discretized_logistic",
        "gaussian_optimal_scale",
        "gaussian_pixel_scale",
        "gaussian_shared_scale",
    ],
)
def test_a_scale_starts_at_that_of_the_data(name):
    """The standard deviation of x is the one given: no step is lost on finding it."""
    likelihood, scale = TABLE[name].likelihood, 0.07
    raw = likelihood.initial_bias(np.full(4, 0.5, np.float32), scale)
    p = likelihood.distribution(first_params(likelihood, scale), raw)
    x = jax.vmap(p.sample)(jax.random.split(jax.random.key(0), 4_000))
    np.testing.assert_allclose(np.std(x, axis=0), scale, rtol=0.06)


def test_the_optimal_scale_is_the_root_mean_squared_error():
    """Where log p(x) is greatest, as a function of the scale."""
    likelihood = GaussianOptimalScale()
    mean_kbd, x_bd = RNG.normal(size=(2, 5, 3)).astype(np.float32), np.zeros((5, 3), np.float32)
    stats = likelihood.init_stats(1.0)
    for _ in range(200):
        p = likelihood.distribution(stats, mean_kbd[..., None])
        stats = likelihood.update(stats, p, x_bd)
    best = float(np.sqrt(np.mean(np.square(mean_kbd))))
    assert np.sqrt(stats["mean_square"]) == pytest.approx(best, rel=1e-5)

    def log_prob(scale):
        p = likelihood.distribution({"mean_square": np.float32(scale**2)}, mean_kbd[..., None])
        return p.log_prob(x_bd[None]).mean()

    assert log_prob(best) > max(log_prob(0.98 * best), log_prob(1.02 * best))


@pytest.mark.parametrize("name", TABLE)
def test_initial_bias_has_the_mean_it_was_given(name):
    likelihood = TABLE[name].likelihood

    @jax.jit
    def start(mean_d):
        raw = likelihood.initial_bias(mean_d, 0.2)
        return raw, likelihood.distribution(first_params(likelihood, 0.2), raw).mean()

    given = np.float32([0.02, 0.1, 0.5, 0.9, 0.98, 0.0, 1.0])
    raw, mean = start(given)
    assert raw.shape == (7, likelihood.params_per_dim)
    np.testing.assert_allclose(mean[:5], given[:5], rtol=1e-4)
    assert np.isfinite(raw).all()


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
        return stats.norm.logpdf(x, raw[:, 0], SCALE)
    if name == "gaussian_optimal_scale":
        return stats.norm.logpdf(x, raw[:, 0], np.sqrt(0.3))
    if name == "gaussian_pixel_scale":
        return stats.norm.logpdf(x, raw[:, 0], np.exp(raw[:, 1]))
    if name == "gaussian_shared_scale":
        return stats.norm.logpdf(x, raw[:, 0], np.exp(-0.3))
    if name == "laplace":
        return stats.laplace.logpdf(x, raw[:, 0], SCALE)
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
    row = TABLE[name]
    inner = {"unit": [0.1, 0.5, 0.93], "real": [-2.0, 0.3, 4.0]}
    some = row.points[:: max(1, len(row.points) // 7)][:8]
    x_n = np.float32(inner.get(row.likelihood.support, some))
    ours = jax.jit(lambda x: row.distribution(row.raw[None]).log_prob(x))(np.tile(x_n, (D, 1)).T)
    exact = [scipy_log_prob(name, row.raw, x).sum() for x in x_n.astype(np.float64)]
    np.testing.assert_allclose(ours, exact, rtol=2e-4, atol=2e-4)


def test_bernoulli_gradient_is_x_minus_probability():
    logits = np.float32([-1e4, -3.0, 0.0, 3.0, 1e4])
    x = np.float32([0.0, 1.0, 0.0, 0.0, 0.0])
    gradient = jax.jit(jax.grad(Bernoulli.log_prob))(Bernoulli(logits), x).logits
    np.testing.assert_allclose(gradient, x - jax.nn.sigmoid(logits), rtol=1e-5)


@pytest.mark.parametrize("gap", [5e-4, 0.5, 30.0])
def test_differences_of_sigmoids_keep_their_digits_in_both_tails(gap):
    low = np.array([-6e4, -60.0, -20.0, -0.25, 0.0, 20.0, 60.0, 6e4])
    exact = log_between(low, low + gap)
    ours = jax.jit(log_difference)(np.float32(low), np.full(len(low), gap, np.float32))
    np.testing.assert_allclose(ours, exact, rtol=1e-5)


def test_discretized_logistic_keeps_its_digits_far_from_the_data():
    far = itertools.product((-1e4, -30.0, 0.5, 2.0, 1e4), (-9.0, -5.0, 2.0), (0, 1, 100, 254, 255))
    mean, log_scale, n = np.array(list(far)).T
    raw = np.float32(np.stack([mean, log_scale], axis=-1)[:, None])
    log_prob = jax.jit(lambda raw, x: DiscretizedLogistic().distribution({}, raw).log_prob(x))
    ours = log_prob(raw, np.float32(n[:, None] / 255))
    exact = log_level(n, mean, log_scale)
    # In float32, x - mean is off by half a digit of the mean, which the scale divides.
    slack = 1e-7 * (1 + np.abs(mean)) * np.exp(-log_scale)
    assert (np.abs(ours - exact) <= 1e-5 * np.abs(exact) + slack).all()


@pytest.mark.parametrize("name", ["beta", "negative_binomial"])
def test_large_log_gammas_cancel_without_loss(name):
    """Concentration and r at the end of their range: log gammas of thousands, a value near 1."""
    log_prob = jax.jit(lambda raw, x: TABLE[name].distribution(raw).log_prob(x))
    for middle in (-5.0, 0.0, 4.0):
        raw = rows([middle, 5.0], [middle, 6.5], [middle, 7.0])
        for n in (1, 5, 60, 254):
            x = np.float32(n / 255)
            exact = scipy_log_prob(name, raw, np.float64(x))
            ours = log_prob(raw[:, None], np.full((3, 1), x))  # a batch of one dimension
            np.testing.assert_allclose(ours, exact, rtol=3e-6, atol=2e-4)

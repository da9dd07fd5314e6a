"""Gradient estimators' variance, signal-to-noise ratio and bias, against exact answers."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.small import exact
from tests.small.exact import objective
from vae_jax.evaluation.gradients import (
    PARTS,
    bias_test,
    directions,
    gradient_quality,
    moments,
    noise_floor,
    parts_of,
    signal_to_noise,
    total_variance,
)
from vae_jax.objectives import estimators
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import IWAE
from vae_jax.sections.declare import replace

X_LINEAR = exact.linear_data()
PLAIN = objective()
SAMPLED = objective(Elbo("sampled"))
STICKING = objective(Elbo("sampled", "sticking_the_landing"))
LANDED = "sticking_the_landing of the iwae"  # biased: its encoder lacks the score's term

# A gradient of two parts, with mean MEAN and covariance FACTOR FACTOR^T in the first; of the first
# two parameters of the second, one is constant and one is 0.
MEAN = jnp.array([3.0, -1.0, 0.0])
FACTOR = jnp.array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.5, 0.0, 0.1]])
CONSTANT = jnp.array([5.0, 0.0])


def known(key):
    first_key, second_key = jax.random.split(key)
    return {
        "first": {"w": MEAN + FACTOR @ jax.random.normal(first_key, (3,))},
        "second": [CONSTANT, jnp.full((1, 1), 2.0) + jax.random.normal(second_key, (1, 1))],
    }


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def units_of(tree, r=2):
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    return jax.jit(lambda key: directions(key, like, r))(jax.random.key(9))


def test_moments_are_those_of_a_gradient_that_is_known():
    n, units = 5_000, units_of(jax.eval_shape(known, jax.random.key(0)))
    found = jax.jit(partial(moments, known))(keys(n), units)
    covariance = np.asarray(FACTOR @ FACTOR.T)
    error_w = 4.8 * np.sqrt(np.diag(covariance) / n)
    first = found["first"]
    assert (np.abs(first.mean["w"] - MEAN) < error_w).all()
    np.testing.assert_allclose(first.variance["w"], np.diag(covariance), rtol=4.8 * np.sqrt(2 / n))
    assert float(total_variance(first)) == pytest.approx(np.trace(covariance), rel=0.1)
    snr = np.mean(np.abs(MEAN[:2]) / np.sqrt(np.diag(covariance)[:2])) * 2 / 3
    assert float(signal_to_noise(first)) == pytest.approx(snr, abs=0.1)
    # What does not move is left out: the ratio of the second part is that of its one other.
    assert float(signal_to_noise(found["second"])) == pytest.approx(2, abs=0.1)
    np.testing.assert_array_equal(found["second"].variance[0], 0)
    u_rw = units["first"]["w"]
    along = first.projection_nr
    np.testing.assert_allclose(along.mean(axis=0), u_rw @ MEAN, atol=4.8 * np.sqrt(6 / n))
    np.testing.assert_allclose(
        along.var(axis=0), np.diag(u_rw @ covariance @ u_rw.T), rtol=4.8 * np.sqrt(2 / n)
    )


def test_they_are_numpy_s_of_the_same_samples_whatever_the_mean():
    """Far from 0, where a difference of squares would have no digits left."""

    def far(key):
        return {"all": 1e4 + jax.random.normal(key, (7, 3))}

    units = units_of(jax.eval_shape(far, jax.random.key(0)))
    found = jax.jit(partial(moments, far))(keys(30), units)["all"]
    samples = np.asarray(jax.jit(jax.vmap(far))(keys(30))["all"], np.float64)
    np.testing.assert_allclose(found.mean, samples.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.variance, samples.var(axis=0, ddof=1), rtol=0.01)


def test_noise_alone_has_the_floor():
    def noise(key):
        return {"all": jax.random.normal(key, (2_000,))}

    units = units_of(jax.eval_shape(noise, jax.random.key(0)), 1)
    found = jax.jit(partial(moments, noise))(keys(50), units)["all"]
    assert float(signal_to_noise(found)) == pytest.approx(noise_floor(50), rel=0.05)


def test_a_gradient_that_never_moves_has_no_ratio():
    found = moments(lambda key: {"all": CONSTANT}, keys(5), units_of({"all": CONSTANT}))["all"]
    assert signal_to_noise(found) == 0
    assert total_variance(found) == 0


def test_rounding_is_no_noise():
    """One of two parameters has the same gradient for all keys, but for its last bits."""

    def sample(key):
        noise = jax.random.normal(key, (2,))
        return {"all": jnp.array([1.0, 1.0]) + noise * jnp.array([1.0, 1e-6])}

    found = moments(sample, keys(500), units_of({"all": jnp.ones(2)}))["all"]
    assert float(signal_to_noise(found)) == pytest.approx(1, abs=0.2)


def test_directions_are_unit_vectors_of_each_part():
    parts = parts_of(exact.linear()[1]["params"])
    found = jax.jit(lambda key: directions(key, parts, 3))(jax.random.key(0))
    for part, units in found.items():
        flat = np.concatenate([u.reshape(3, -1) for u in jax.tree.leaves(units)], axis=1)
        assert flat.shape[1] == sum(leaf.size for leaf in jax.tree.leaves(parts[part]))
        np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1, rtol=1e-5)
        assert np.abs(np.corrcoef(flat)[0, 1:]).max() < 0.9


NONLINEAR = exact.nonlinear()


@cache
def program(linear, of):
    """`gradient_quality` of (variables, keys), compiled."""
    model, variables, x_bd = (*exact.linear(), X_LINEAR) if linear else NONLINEAR
    units = units_of(parts_of(variables["params"]), 20)
    return jax.jit(lambda v, keys_n: gradient_quality(model, v, keys_n, x_bd, of, units))


def quality_of_linear(of, n, seed=0, shift=0.0):
    """At its exact posterior, but for the shift."""
    return jax.device_get(program(True, of)(exact.linear(shift)[1], keys(n, seed)))


def quality_of_nonlinear(of, n, seed):
    return jax.device_get(program(False, of)(NONLINEAR[1], keys(n, seed)))


def test_sticking_the_landing_has_no_variance_at_the_exact_posterior():
    bound, sticking = quality_of_linear(STICKING, 50)
    _, plain = quality_of_linear(SAMPLED, 50)
    assert plain["encoder"].variance > 1
    assert sticking["encoder"].variance < 1e-9 * plain["encoder"].variance
    assert sticking["decoder"].variance == pytest.approx(plain["decoder"].variance, rel=1e-3)
    assert float(bound) == pytest.approx(exact.linear_log_prob(X_LINEAR).mean(), abs=1e-4)


@pytest.mark.slow
def test_variance_falls_as_one_over_the_samples_of_z_and_the_ratio_rises_as_their_root():
    _, one = quality_of_linear(SAMPLED, 1_000, 0, 0.4)
    _, nine = quality_of_linear(replace(SAMPLED, num_samples=9), 1_000, 1, 0.4)
    for part in PARTS:
        assert one[part].variance / nine[part].variance == pytest.approx(9, rel=0.15)
        ratio = nine[part].signal_to_noise / one[part].signal_to_noise
        assert ratio == pytest.approx(3, rel=0.15)


def test_bias_test_is_welch_s_and_bonferroni_s():
    rng = np.random.default_rng(0)
    own, other = rng.normal(0.3, 1, (30, 4)), rng.normal(0, 5, (80, 4))
    found, theirs = bias_test(own, other), stats.ttest_ind(own, other, equal_var=False)
    assert found.largest_t == pytest.approx(np.abs(theirs.statistic).max())
    assert found.p_value == pytest.approx(min(1, 4 * theirs.pvalue.min()), rel=1e-4)


def test_constants_are_equal_or_are_not():
    ones = np.ones((5, 2))
    assert bias_test(ones, ones) == (0, 1)
    assert bias_test(ones, 2 * ones) == (np.inf, 0)
    noise = np.random.default_rng(0).normal(size=(5, 2))
    assert bias_test(noise, ones).p_value == pytest.approx(bias_test(ones, noise).p_value)


def test_p_values_are_at_most_uniform_where_nothing_is_wrong():
    """Of correlated directions and unequal variances: P(p <= a) is not above a."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(20, 20))

    def samples(n, scale):
        return 7 + scale * rng.normal(size=(n, 20)) @ mixing

    p_values = np.array([bias_test(samples(50, 1), samples(70, 3)).p_value for _ in range(600)])
    for a in (0.02, 0.1, 0.3):
        assert np.mean(p_values <= a) < a + 4.4 * np.sqrt(a * (1 - a) / 600)
    assert np.mean(p_values <= 0.3) > 0.1  # nor far below


@pytest.fixture
def landed(monkeypatch):
    """An estimator that is biased as people's are: it leaves a term out."""

    def sticking_the_landing(bound, model, variables, batch):
        def trace(variables, take, x_bd=None, label_b=None):
            def at_fixed_params(i, q, p):
                z_kbl, _ = take(i, q, p)
                return z_kbl, jax.lax.stop_gradient(q).log_prob(z_kbl)

            return model.trace(variables, at_fixed_params, x_bd, label_b)

        return estimators.reparameterized(bound, model._replace(trace=trace), variables, batch)

    monkeypatch.setitem(estimators.ESTIMATORS, LANDED, sticking_the_landing)


def p_values_of(own, reference, n, seeds):
    """p of the encoder and of the decoder, by other keys for each seed."""
    p_values = {part: [] for part in PARTS}
    for seed in range(seeds):
        found = [
            quality_of_nonlinear(s, n, 2 * seed + i)[1] for i, s in enumerate((own, reference))
        ]
        for part in PARTS:
            p_values[part].append(bias_test(*(q[part].projection_nr for q in found)).p_value)
    return p_values


@pytest.mark.parametrize(
    ("own", "reference"),
    [
        (PLAIN, PLAIN),
        (STICKING, PLAIN),
        pytest.param(
            objective(IWAE("doubly_reparameterized"), 4),
            objective(IWAE(), 4),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_unbiased_estimator_passes(own, reference):
    p_values = p_values_of(own, reference, n=100, seeds=10)
    assert all(min(p) > 1e-3 for p in p_values.values())


@pytest.mark.slow
def test_a_biased_one_is_found_and_only_where_it_is(landed):
    p_values = p_values_of(objective(IWAE(LANDED), 4), objective(IWAE(), 4), n=300, seeds=3)
    assert max(p_values["encoder"]) < 1e-3
    assert min(p_values["decoder"]) > 1e-3

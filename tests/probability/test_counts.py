"""Counts of any size, with a size factor, dispersions, and zeros that are none, against scipy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from vae_jax.probability.counts import (
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    negative_binomial_log_prob,
    poisson_log_prob,
)
from vae_jax.probability.gamma import log_choices, log_gamma

RNG = np.random.default_rng(0)
B, D = 4, 6
RAW = RNG.normal(size=(B, D, 3)).astype(np.float32)
N = RNG.poisson(20 * RNG.gamma(0.5, size=(B, D))).astype(np.float32)
N[:, 0] = 0
LOG_SIZE = RNG.normal(3, 1, (B, 1)).astype(np.float32)  # that a model gives


def poisson(**keys):
    return PoissonLikelihood(counts=True, **keys)


def negative_binomial(**keys):
    return NegativeBinomialLikelihood(counts=True, image_shape=(1, D, 1), given_sizes=(2,), **keys)


def test_log_gamma_and_choices_are_those_of_scipy():
    y = np.concatenate([np.geomspace(1e-3, 1e7, 400), [1, 2, 7.999, 8, 8.001]])
    # Near 1 and 2, where it is 0, the error is that of sums of numbers near 1.
    np.testing.assert_allclose(
        log_gamma(np.float32(y)), special.gammaln(np.float64(np.float32(y))), rtol=1e-6, atol=4e-6
    )
    n, r = np.meshgrid([0, 1, 2, 7, 8, 9, 100, 1e4, 1e6], np.geomspace(1e-3, 1_100, 30))
    r = np.float64(np.float32(r))
    exact = -special.betaln(r, n + 1) - np.log(n + r)
    np.testing.assert_allclose(
        log_choices(np.float32(n), np.float32(r)), exact, rtol=4e-6, atol=2e-5
    )


@pytest.mark.parametrize(
    "rate",
    [
        *(1e-4, 3.0, 16.5, 8e6),
        *(pytest.param(r, marks=pytest.mark.slow) for r in (0.01, 0.5, 15.0, 100.0, 1e4, 1e6)),
    ],
)
def test_log_probs_keep_their_digits_at_any_size(rate):
    """Of counts that are likely and not: the sum of the formula's terms would be off by 1."""
    log_rate = np.float32(np.log(rate))
    mean = np.exp(np.float64(log_rate))
    n = np.unique(np.round(stats.poisson.ppf([1e-4, 0.01, 0.3, 0.5, 0.9, 0.9999], mean)))
    np.testing.assert_allclose(
        poisson_log_prob(np.float32(n), log_rate), stats.poisson.logpmf(n, mean), atol=4e-3
    )
    slope_n = jax.vmap(jax.grad(poisson_log_prob, 1), (0, None))(np.float32(n), log_rate)
    np.testing.assert_allclose(slope_n, n - mean, rtol=1e-5, atol=2e-3 + 1e-6 * mean)
    for log_r in np.float32(np.log([1e-3, 0.5, 7.9, 30.0, 1000.0])):
        r = np.exp(np.float64(log_r))
        n = np.unique(stats.nbinom.ppf([0.01, 0.3, 0.5, 0.9, 0.9999], r, r / (r + mean)).clip(0))
        exact = stats.nbinom.logpmf(n, r, r / (r + mean))
        found = negative_binomial_log_prob(np.float32(n), log_rate, log_r)
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


def softmax(raw):
    return special.softmax(np.float64(raw), axis=-1)


@pytest.mark.slow
def test_a_total_multiplies_shares():
    likelihood = poisson(size_factor="total")
    p = likelihood.distribution({"log_size": np.float32(3.0)}, RAW[..., :1])
    mean = N.sum(axis=1, keepdims=True) * softmax(RAW[..., 0])
    exact = stats.poisson.logpmf(N, mean).sum(axis=1)
    np.testing.assert_allclose(p.log_prob(N), exact, rtol=1e-5)
    np.testing.assert_allclose(p.given_total(N).mean(), mean, rtol=1e-5)
    # Without x, the usual total.
    np.testing.assert_allclose(p.mean().sum(axis=1), np.exp(3.0), rtol=1e-5)
    samples = jax.vmap(p.sample)(jax.random.split(jax.random.key(0), 3_000))
    usual = np.exp(3.0) * softmax(RAW[..., 0])
    assert np.abs((samples.mean(axis=0) - usual) / np.sqrt(usual / 3_000)).max() < 4.5
    # With an axis of samples, as a model has it.
    p = likelihood.distribution({"log_size": np.float32(3.0)}, RAW[None, ..., :1])
    np.testing.assert_allclose(p.log_prob(N[None])[0], exact, rtol=1e-5)


def test_the_usual_total_follows_the_data():
    likelihood = poisson(size_factor="total")
    params = likelihood.init_stats()
    p = likelihood.distribution(params, RAW[..., :1])
    for _ in range(200):
        params = likelihood.update(params, p, N)
        assert params["log_size"] > 0
    expected = np.log(np.maximum(N.sum(axis=1), 1)).mean()
    np.testing.assert_allclose(params["log_size"], expected, rtol=1e-5)


@pytest.mark.parametrize("size_factor", ["learned", "none", "total"])
@pytest.mark.parametrize("zero_inflated", [False, True])
@pytest.mark.parametrize("dispersion", ["example", "variable", "class"])
def test_negative_binomial(size_factor, zero_inflated, dispersion):
    """The density of every combination of its keys."""
    likelihood = negative_binomial(
        size_factor=size_factor, zero_inflated=zero_inflated, dispersion=dispersion
    )
    raw = RAW[..., : likelihood.params_per_dim]
    params = likelihood.init() | (likelihood.init_stats() or {}) | {"log_size": LOG_SIZE}
    labels = np.array([0, 1, 1, 0])
    if dispersion == "example":
        log_r = raw[..., 1]
    else:
        own = RNG.normal(size=params["log_r"].shape).astype(np.float32)
        params["log_r"] = own
        log_r = own if dispersion == "variable" else own[labels]
    in_context = likelihood.in_context(params, np.eye(2, dtype=np.float32)[labels])
    p = likelihood.distribution(in_context, raw)
    mean = np.exp(np.float64(raw[..., 0]))
    if size_factor == "total":
        mean = N.sum(axis=1, keepdims=True) * softmax(raw[..., 0])
    elif size_factor == "learned":
        mean = np.exp(LOG_SIZE) * softmax(raw[..., 0])
    r = np.broadcast_to(np.exp(np.float64(log_r)), mean.shape)
    exact = stats.nbinom.pmf(N, r, r / (r + mean))
    if zero_inflated:
        zero = special.expit(np.float64(raw[..., -1]))
        exact = zero * (N == 0) + (1 - zero) * exact
        mean = (1 - zero) * mean
    np.testing.assert_allclose(p.log_prob(N), np.log(exact).sum(axis=1), rtol=2e-5)
    np.testing.assert_allclose(p.given_total(N).mean(), mean, rtol=1e-5)
    samples = jax.vmap(p.given_total(N).sample)(jax.random.split(jax.random.key(1), 3_000))
    wide = np.sqrt(np.var(samples, axis=0) / 3_000)
    assert (np.abs(samples.mean(axis=0) - mean) < 4.5 * wide + 1e-3).all()


def test_zeros_that_are_no_counts_sum_to_one():
    likelihood = negative_binomial(zero_inflated=True)
    n = np.arange(3_000, dtype=np.float32)[:, None]
    p = likelihood.distribution({}, np.broadcast_to(RAW[0, :1, :], (3_000, 1, 3)))
    np.testing.assert_allclose(np.exp(np.float64(p.log_prob(n))).sum(), 1, rtol=1e-4)


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_finite_at_extremes(zero_inflated):
    likelihood = negative_binomial(
        size_factor="total", zero_inflated=zero_inflated, dispersion="variable"
    )
    for raw in (-1e4, 0.0, 1e4):
        raws = jnp.zeros((D, likelihood.params_per_dim)).at[0].set(raw)
        for n in (0.0, 1.0, 1e6):
            x = jnp.zeros(D).at[1].set(n)

            def log_prob(raws, log_r, x=x):
                own = {"log_r": log_r, "log_size": jnp.float32(0)}
                return likelihood.distribution(own, raws).log_prob(x)

            found = jax.value_and_grad(log_prob, (0, 1))(raws, jnp.full(D, raw))
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_x_of_bytes_is_n_over_255():
    """Of uint8, as any other model has them; of counts, x is n."""
    of_counts, of_bytes = poisson(), PoissonLikelihood()
    raw = RAW[..., :1]
    np.testing.assert_allclose(
        of_counts.distribution({}, raw).log_prob(N),
        of_bytes.distribution({}, raw).log_prob(N / 255),
        rtol=1e-5,
    )
    assert dataclasses.replace(of_bytes, counts=True) == of_counts


@pytest.mark.parametrize("likelihood", [poisson(), negative_binomial(zero_inflated=True)])
def test_the_first_bias_has_the_mean_of_the_data(likelihood):
    mean_d = np.float32([0.01, 1.0, 40.0, 5_000.0])
    raw = likelihood.initial_bias(mean_d)
    np.testing.assert_allclose(likelihood.distribution({}, raw).mean(), mean_d, rtol=1e-4)

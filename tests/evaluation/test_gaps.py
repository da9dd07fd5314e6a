"""The two gaps below log p(x), where they are known."""

from functools import partial

import jax
import numpy as np
import pytest

from tests.small import exact
from tests.small.models import mlp_spec
from vae_jax.evaluation.gaps import Search, elbo, gaps, optimized_posterior, posterior
from vae_jax.models import ModelSpec
from vae_jax.models.vae import VAE
from vae_jax.probability.likelihoods import GaussianLikelihood
from vae_jax.probability.posteriors import POSTERIORS

SEARCH = Search(steps=200, samples=10, num_importance_samples=500)
X_LINEAR = exact.linear_data(8)


def found_of(model, variables, x_nd, search=SEARCH):
    keys = jax.random.split(jax.random.key(0), len(x_nd))
    of_one = jax.jit(jax.vmap(lambda key, x_d: gaps(model, variables, key, x_d[None], search)))
    return jax.tree.map(lambda leaf: np.float64(leaf[:, 0]), of_one(keys, x_nd))


def approximation(found):
    """The approximation gap of each example."""
    return found.log_likelihood - found.optimized_elbo


@pytest.mark.slow
def test_of_a_linear_model_only_the_encoder_is_wrong_and_by_a_known_kl():
    """The true posterior is diagonal: the approximation gap is 0, the amortisation gap is
    KL(q moved by s || q) = sum_l s^2 / (2 variance_l)."""
    shift = 0.3
    model, variables = exact.linear(posterior_shift=shift)
    found = found_of(model, variables, X_LINEAR)
    log_p_n = exact.linear_log_prob(X_LINEAR)
    np.testing.assert_allclose(found.log_likelihood, log_p_n, atol=0.01)
    np.testing.assert_allclose(found.optimized_elbo, log_p_n, atol=0.03)
    np.testing.assert_allclose(approximation(found), 0, atol=0.03)
    precision_l = 1 + (exact.W_DL**2).sum(axis=0) / exact.NOISE_SCALE**2
    expected = np.sum(0.5 * shift**2 * precision_l)
    # The ELBO's own samples: 1,000 of them, a standard deviation of about 1 nat each.
    assert (found.optimized_elbo - found.elbo).mean() == pytest.approx(expected, abs=0.05)
    assert (found.effective_sample_size > 450).all()


@pytest.mark.slow
def test_a_correlated_posterior_is_beyond_a_diagonal_q_and_within_a_full_one():
    """p(z | x) of two units that reach the same pixels: log p(x) - ELBO(q*) is the least KL."""
    rows = {}
    for name in ("diagonal", "full"):
        model, variables, x_bd = correlated(name)
        rows[name] = found_of(model, variables, x_bd, SEARCH._replace(steps=400))
        log_p_n = exact.grid_log_prob(model, variables, x_bd, 2)
        error_n = np.sqrt(1 / rows[name].effective_sample_size - 1 / 500)
        assert (np.abs(rows[name].log_likelihood - log_p_n) < 4.4 * error_n + 0.01).all()
    assert (approximation(rows["diagonal"]) > 0.1).all()
    assert (np.abs(approximation(rows["full"])) < 0.08).all()


def correlated(name: str):
    """A linear-Gaussian model whose two units move the same six dimensions."""
    model = exact.model_of(
        ModelSpec(
            VAE(posterior=POSTERIORS[name]()), 2, mlp_spec(), mlp_spec(),
            likelihood=GaussianLikelihood(scale=0.8), image_shape=(exact.D, 1, 1),
        )
    )  # fmt: skip
    variables = jax.tree.map(np.zeros_like, exact.variables_of(model))  # q(z | x) = N(0, 1)
    w_ld = np.stack([np.full(exact.D, 0.8), np.linspace(-0.2, 1.0, exact.D)]).astype(np.float32)
    variables["params"]["decoder"]["output"] = {
        "kernel": w_ld,
        "bias": np.zeros(exact.D, np.float32),
    }
    x_bd = np.random.default_rng(2).normal(size=(3, exact.D)).astype(np.float32)
    return model, variables, x_bd


@pytest.mark.parametrize(
    "name",
    [
        "diagonal",
        pytest.param("full", marks=pytest.mark.slow),
        pytest.param("planar", marks=pytest.mark.slow),
        pytest.param("inverse_autoregressive", marks=pytest.mark.slow),
    ],
)
def test_the_search_climbs_whatever_the_family(name):
    model, variables, x_bd = exact.nonlinear(2, kind=VAE(posterior=POSTERIORS[name]()))
    before, after = before_and_after(model, variables, jax.random.key(1), x_bd[:1])
    assert after[0] > before[0] + 0.05
    assert after[0] < exact.grid_log_prob(model, variables, x_bd[:1], 2)[0] + 0.05


@partial(jax.jit, static_argnums=0)
def before_and_after(model, variables, key, x_bd):
    """The ELBO of the encoder's q(z | x), and that of the best."""
    search_key, key = jax.random.split(key)
    best = optimized_posterior(model, variables, search_key, x_bd, SEARCH)
    # The same noise for both: jax's watch on reused keys is told so.
    return tuple(
        elbo(model, variables, jax.random.clone(key), x_bd, q, 2_000)
        for q in (posterior(model, variables, x_bd, None), best)
    )

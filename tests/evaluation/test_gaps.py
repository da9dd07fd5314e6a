"""The two gaps below log p(x), where they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import mlp_spec
from tests.objectives import exact
from vae_jax.evaluation.gaps import Search, elbo, gaps, optimized_posterior
from vae_jax.models.model import ModelHyper, ModelSpec
from vae_jax.models.vae import vae
from vae_jax.probability.posteriors import PosteriorSpec

SEARCH = Search(steps=200, draws=10, num_importance_samples=500)
X_LINEAR = exact.linear_data(8)


def found_of(model, params, x_nd, search=SEARCH):
    keys = jax.random.split(jax.random.key(0), len(x_nd))
    of_one = jax.jit(jax.vmap(lambda key, x_d: gaps(model, params, key, x_d[None], search)))
    return jax.tree.map(lambda leaf: np.float64(leaf[:, 0]), of_one(keys, x_nd))


def test_of_a_linear_model_only_the_encoder_is_wrong_and_by_a_known_kl():
    """The true posterior is diagonal: the approximation gap is 0, the amortisation gap is
    KL(q moved by s || q) = sum_l s^2 / (2 variance_l)."""
    shift = 0.3
    model, params = exact.linear(posterior_shift=shift)
    found = found_of(model, params, X_LINEAR)
    log_p_n = exact.linear_log_prob(X_LINEAR)
    np.testing.assert_allclose(found.log_likelihood, log_p_n, atol=0.01)
    np.testing.assert_allclose(found.optimized_elbo, log_p_n, atol=0.03)
    np.testing.assert_allclose(found.approximation, 0, atol=0.03)
    precision_l = 1 + (exact.W_DL**2).sum(axis=0) / exact.NOISE_SCALE**2
    expected = np.sum(0.5 * shift**2 * precision_l)
    # The ELBO's own draws: 1,000 of them, a standard deviation of about 1 nat each.
    assert found.amortization.mean() == pytest.approx(expected, abs=0.05)
    assert (found.effective_sample_size > 450).all()


def test_a_correlated_posterior_is_beyond_a_diagonal_q_and_within_a_full_one():
    """p(z | x) of two units that reach the same pixels: log p(x) - ELBO(q*) is the least KL."""
    rows = {}
    for name in ("diagonal", "full"):
        model, params, x_bd = correlated(name)
        rows[name] = found_of(model, params, x_bd, SEARCH._replace(steps=400))
        log_p_n = exact.grid_log_prob(model, params, x_bd, 2)
        error_n = np.sqrt(1 / rows[name].effective_sample_size - 1 / 500)
        assert (np.abs(rows[name].log_likelihood - log_p_n) < 4.4 * error_n + 0.01).all()
    assert (rows["diagonal"].approximation > 0.1).all()
    assert (np.abs(rows["full"].approximation) < 0.08).all()


def correlated(posterior: str):
    """A linear-Gaussian model whose two units move the same six dimensions."""
    spec = ModelSpec(
        (exact.D, 1, 1), 2, mlp_spec(), mlp_spec(), likelihood="gaussian",
        posterior=PosteriorSpec(posterior),
    )  # fmt: skip
    model = vae(spec, ModelHyper(likelihood_scale=0.8))
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))  # q(z | x) = N(0, 1)
    w_ld = np.stack([np.full(exact.D, 0.8), np.linspace(-0.2, 1.0, exact.D)]).astype(np.float32)
    params["decoder"]["output"] = {"kernel": w_ld, "bias": np.zeros(exact.D, np.float32)}
    return model, params, np.random.default_rng(2).normal(size=(3, exact.D)).astype(np.float32)


@pytest.mark.parametrize("posterior", ["diagonal", "full", "planar", "inverse_autoregressive"])
def test_the_search_climbs_whatever_the_family(posterior):
    model, params, x_bd = exact.nonlinear(latent_size=2, posterior=PosteriorSpec(posterior))
    search_key, key = jax.random.split(jax.random.key(1))
    best = jax.jit(optimized_posterior, static_argnums=(0, 4))(
        model, params, search_key, x_bd[:1], SEARCH
    )
    before = elbo(model, params, key, x_bd[:1], model.encode(params, x_bd[:1]), 2_000)
    after = elbo(model, params, key, x_bd[:1], best, 2_000)
    assert after[0] > before[0] + 0.05
    assert after[0] < exact.grid_log_prob(model, params, x_bd[:1], 2)[0] + 0.05

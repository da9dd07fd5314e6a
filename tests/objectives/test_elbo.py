"""The ELBO of a linear-Gaussian VAE, whose log p(x) and posterior are known exactly.

p(z) = N(0, I), p(x | z) = N(W z + b, s^2 I) with orthogonal columns of W, so that the exact
posterior is diagonal: precision 1 + |w_l|^2 / s^2, mean = variance * w_l . (x - b) / s^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.conftest import NOISE_SCALE, mlp_spec
from vae_jax.models.vae import ModelSpec, vae
from vae_jax.objectives.annealing import anneal
from vae_jax.objectives.elbo import elbo, elbo_terms
from vae_jax.objectives.objective import ObjectiveHyper

D, L = 6, 2
W_DL = np.linalg.qr(np.random.default_rng(0).normal(size=(D, L)))[0] * np.array([[1.5, 0.4]])
B_D = np.linspace(-1, 1, D)
ONE = ObjectiveHyper(beta=jnp.float32(1), warmup_steps=jnp.float32(0))


@pytest.fixture
def linear(gaussian_likelihood):
    """(model, params): params hold W, b and the exact posterior."""
    spec = ModelSpec((D, 1, 1), L, mlp_spec(), mlp_spec(), likelihood=gaussian_likelihood)
    model = vae(spec)
    params = model.init(jax.random.key(0))
    variance_l = 1 / (1 + (W_DL**2).sum(axis=0) / NOISE_SCALE**2)
    kernel = (W_DL * variance_l / NOISE_SCALE**2).astype(np.float32)
    params["encoder"]["mean"] = {"kernel": kernel, "bias": (-B_D @ kernel).astype(np.float32)}
    params["encoder"]["log_scale"] = {
        "kernel": np.zeros((D, L), np.float32),
        "bias": (0.5 * np.log(variance_l)).astype(np.float32),
    }
    params["decoder"]["output"] = {
        "kernel": W_DL.T.astype(np.float32),
        "bias": B_D.astype(np.float32),
    }
    return model, params


@pytest.fixture
def x_bd():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(5, L))
    return (z @ W_DL.T + B_D + NOISE_SCALE * rng.normal(size=(5, D))).astype(np.float32)


def exact_log_prob(x_bd):
    covariance = W_DL @ W_DL.T + NOISE_SCALE**2 * np.eye(D)
    return stats.multivariate_normal(B_D, covariance).logpdf(x_bd)


def test_at_the_true_posterior_every_sample_gives_log_p_exactly(linear, x_bd):
    model, params = linear
    z_kbl, log_qz_kb = model.reparameterize(jax.random.key(0), model.encode(params, x_bd), 20)
    log_weight_kb = model.log_joint(params, x_bd, z_kbl) - log_qz_kb
    np.testing.assert_allclose(
        log_weight_kb, np.broadcast_to(exact_log_prob(x_bd), (20, 5)), rtol=1e-4, atol=1e-4
    )


def test_at_the_true_posterior_the_elbo_is_log_p(linear, x_bd):
    model, params = linear
    k = 20_000
    terms = elbo_terms(model, params, jax.random.key(0), x_bd, k)
    # log p(x | z) under the posterior spreads over about two nats; 4.4 standard errors.
    np.testing.assert_allclose(terms.elbo, exact_log_prob(x_bd), atol=4.4 * 2 / np.sqrt(k))


def test_away_from_it_the_elbo_is_below_by_the_kl_to_the_true_posterior(linear, x_bd):
    model, params = linear
    shift = 0.5
    q = model.encode(params, x_bd)
    moved = jax.tree.map(lambda leaf: leaf, params)
    moved["encoder"]["mean"]["bias"] = params["encoder"]["mean"]["bias"] + np.float32(shift)
    k = 20_000
    terms = elbo_terms(model, moved, jax.random.key(0), x_bd, k)
    gap = 0.5 * (shift / np.exp(q.log_scale)) ** 2  # KL of two Gaussians of one scale
    np.testing.assert_allclose(
        terms.elbo, exact_log_prob(x_bd) - gap.sum(axis=-1), atol=4.4 * 3 / np.sqrt(k)
    )
    assert (terms.elbo < exact_log_prob(x_bd)).all()


def test_the_gradient_at_the_true_model_s_posterior_vanishes(linear, x_bd):
    """The ELBO is stationary in q at the true posterior; the estimate is zero within its error."""
    model, params = linear

    def loss_of(bias, key):
        moved = {**params, "encoder": {**params["encoder"]}}
        moved["encoder"]["mean"] = {**params["encoder"]["mean"], "bias": bias}
        return elbo(model, moved, key, x_bd, ONE, num_samples=1)[0]

    keys = jax.random.split(jax.random.key(0), 4_000)
    bias = jnp.asarray(params["encoder"]["mean"]["bias"])
    gradients = jax.vmap(jax.grad(loss_of), in_axes=(None, 0))(bias, keys)
    z_scores = gradients.mean(axis=0) / (gradients.std(axis=0) / np.sqrt(len(keys)))
    assert np.abs(z_scores).max() < 4.4


def test_terms_are_kept_apart_and_beta_weighs_the_kl_alone(linear, x_bd):
    model, params = linear
    hyper = ONE._replace(beta=jnp.float32(3.0))
    loss, terms = elbo(model, params, jax.random.key(0), x_bd, hyper, num_samples=2)
    np.testing.assert_allclose(terms.elbo, terms.reconstruction - terms.kl, rtol=1e-5)
    np.testing.assert_allclose(loss, np.mean(-terms.reconstruction + 3 * terms.kl), rtol=1e-5)
    assert terms.kl.shape == (5,)


def test_gradients_are_finite_when_every_weight_is_huge(small_spec):
    model = vae(small_spec)
    params = jax.tree.map(lambda leaf: 1e4 * jnp.ones_like(leaf), model.init(jax.random.key(0)))
    x_bd = jnp.ones((2, 30)).at[0].set(0.0)
    (loss, _), gradients = jax.value_and_grad(elbo, argnums=1, has_aux=True)(
        model, params, jax.random.key(1), x_bd, ONE, 1
    )
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    ("warmup_steps", "step", "expected"),
    [(0, 0, 2.0), (0, 9, 2.0), (10, 0, 0.0), (10, 5, 1.0), (10, 10, 2.0), (10, 99, 2.0)],
)
def test_beta_rises_linearly(warmup_steps, step, expected):
    hyper = ObjectiveHyper(jnp.float32(2), jnp.float32(warmup_steps))
    np.testing.assert_allclose(anneal(hyper, jnp.int32(step)).beta, expected, rtol=1e-6)

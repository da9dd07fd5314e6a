"""The ELBO against log p(x), its numbers by hand, its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.objectives.exact import (
    L,
    hyper,
    linear,
    linear_data,
    linear_log_prob,
    nonlinear,
    spec,
)
from vae_jax.models.vae import vae
from vae_jax.objectives.annealing import anneal
from vae_jax.objectives.elbo import elbo, elbo_terms

X_BD = linear_data()


def test_at_the_true_posterior_every_sample_gives_log_p_exactly():
    model, params = linear()
    z_kbl, log_qz_kb = model.reparameterize(jax.random.key(0), model.encode(params, X_BD), 20)
    log_weight_kb = model.log_joint(params, X_BD, z_kbl) - log_qz_kb
    np.testing.assert_allclose(
        log_weight_kb, np.broadcast_to(linear_log_prob(X_BD), (20, 5)), rtol=1e-4, atol=1e-4
    )
    sampled = elbo(model, params, jax.random.key(0), X_BD, hyper(), spec(kl="sampled"))[1]
    np.testing.assert_allclose(sampled.elbo, linear_log_prob(X_BD), rtol=1e-4, atol=1e-4)


def test_at_the_true_posterior_the_elbo_is_log_p():
    model, params = linear()
    k = 20_000
    terms = elbo_terms(model, params, jax.random.key(0), X_BD, k)
    # log p(x | z) under the posterior spreads over about two nats; 4.4 standard errors.
    np.testing.assert_allclose(terms.elbo, linear_log_prob(X_BD), atol=4.4 * 2 / np.sqrt(k))


def test_away_from_it_the_elbo_is_below_by_the_kl_to_the_true_posterior():
    shift = 0.5
    model, moved = linear(shift)
    k = 20_000
    terms = elbo_terms(model, moved, jax.random.key(0), X_BD, k)
    scale = np.exp(model.encode(moved, X_BD).log_scale)
    gap = 0.5 * (shift / scale) ** 2  # KL of two Gaussians of one scale
    np.testing.assert_allclose(
        terms.elbo, linear_log_prob(X_BD) - gap.sum(axis=-1), atol=4.4 * 3 / np.sqrt(k)
    )
    assert (terms.elbo < linear_log_prob(X_BD)).all()


def gradients_of_many(model, params, own, n=4_000):
    keys = jax.random.split(jax.random.key(0), n)

    def loss_of(bias, key):
        moved = {**params, "encoder": {**params["encoder"]}}
        moved["encoder"]["mean"] = {**params["encoder"]["mean"], "bias": bias}
        return elbo(model, moved, key, X_BD, hyper(), own)[0]

    bias = jnp.asarray(params["encoder"]["mean"]["bias"])
    return jax.vmap(jax.grad(loss_of), in_axes=(None, 0))(bias, keys)


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_the_gradient_at_the_true_model_s_posterior_vanishes(kl):
    """The ELBO is stationary in q at the true posterior; the estimate is zero within its error."""
    gradients = gradients_of_many(*linear(), spec(kl=kl))
    z_scores = gradients.mean(axis=0) / (gradients.std(axis=0) / np.sqrt(len(gradients)))
    assert np.abs(z_scores).max() < 4.4


def test_sticking_the_landing_has_no_variance_at_the_true_posterior():
    landing = spec(kl="sampled", gradient="sticking_the_landing")
    there = gradients_of_many(*linear(), landing, 50)
    assert np.abs(there).max() < 1e-4
    assert gradients_of_many(*linear(), spec(kl="sampled"), 50).std(axis=0).min() > 0.05


def test_sticking_the_landing_has_the_plain_gradient_s_mean():
    away = linear(posterior_shift=0.4)
    plain = gradients_of_many(*away, spec(kl="sampled"))
    landing = gradients_of_many(*away, spec(kl="sampled", gradient="sticking_the_landing"))
    error = np.sqrt((plain.var(axis=0) + landing.var(axis=0)) / len(plain))
    z_scores = (plain.mean(axis=0) - landing.mean(axis=0)) / error
    assert np.abs(z_scores).max() < 4.4
    assert np.abs(plain.mean(axis=0) / error).max() > 10  # and it is not zero there


def test_terms_are_kept_apart_and_beta_weighs_the_kl_alone():
    model, params = linear()
    loss, terms, _ = elbo(
        model, params, jax.random.key(0), X_BD, hyper(beta=3), spec(num_samples=2)
    )
    np.testing.assert_allclose(terms.elbo, terms.reconstruction - terms.kl, rtol=1e-5)
    np.testing.assert_allclose(loss, np.mean(-terms.reconstruction + 3 * terms.kl), rtol=1e-5)
    assert terms.kl.shape == (5,)


@pytest.mark.parametrize("group", [1, 2, 0])
def test_free_bits_are_free(group):
    """By hand; and where a group's KL is below them, its units have no gradient of the KL."""
    model, params, x_bd = nonlinear(latent_size=4)
    kl_l = np.mean(model.kl_divergence(params, model.encode(params, x_bd)), axis=0)
    in_groups = kl_l.reshape(-1, group or 4).sum(axis=1)
    bits = float(np.sort(in_groups)[len(in_groups) // 2]) + 1e-3
    own = spec(free_bits_group=group)
    loss, terms, _ = elbo(model, params, jax.random.key(0), x_bd, hyper(free_bits=bits), own)
    expected = np.maximum(in_groups, bits).sum()
    np.testing.assert_allclose(loss, -terms.reconstruction.mean() + expected, rtol=1e-5)

    def kl_of(heads, free_bits):
        outputs = {**params, "encoder": {**params["encoder"], **heads}}
        numbers = hyper(beta=1e4, free_bits=free_bits)  # the reconstruction's share is lost in it
        return elbo(model, outputs, jax.random.key(0), x_bd, numbers, own)[0]

    heads = {"mean": params["encoder"]["mean"]}
    slope = np.abs(jax.grad(kl_of)(heads, bits)["mean"]["bias"]).reshape(-1, group or 4).sum(axis=1)
    assert (slope[in_groups < bits] < 10).all()
    assert (slope[in_groups > bits] > 100).all()
    np.testing.assert_allclose(
        elbo(model, params, jax.random.key(0), x_bd, hyper(), own)[0], -terms.elbo.mean(), rtol=1e-5
    )


def test_capacity_is_where_the_kl_is_drawn_to():
    model, params, x_bd = nonlinear(latent_size=2)
    for capacity in (0.1, 5.0):
        numbers = hyper(beta=30, capacity=capacity)
        loss, terms, _ = elbo(model, params, jax.random.key(0), x_bd, numbers, spec())
        away = abs(terms.kl.mean() - capacity)
        np.testing.assert_allclose(loss, -terms.reconstruction.mean() + 30 * away, rtol=1e-5)


@pytest.mark.parametrize("choices", [{}, {"kl": "sampled"}])
def test_gradients_are_finite_when_every_weight_is_huge(small_spec, choices):
    model = vae(small_spec)
    params = jax.tree.map(lambda leaf: 1e4 * jnp.ones_like(leaf), model.init(jax.random.key(0)))
    x_bd = jnp.ones((2, 30)).at[0].set(0.0)

    def loss(params):
        return elbo(model, params, jax.random.key(1), x_bd, hyper(), spec(**choices))[0]

    value, gradients = jax.value_and_grad(loss)(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    ("warmup_steps", "step", "expected"),
    [(0, 0, 2.0), (0, 9, 2.0), (10, 0, 0.0), (10, 5, 1.0), (10, 10, 2.0), (10, 99, 2.0)],
)
def test_beta_rises_linearly(warmup_steps, step, expected):
    numbers = hyper(beta=2, warmup_steps=warmup_steps)
    np.testing.assert_allclose(anneal(numbers, jnp.int32(step)).beta, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.0), (5, 1.0), (15, 2.0), (39, 2.0), (40, 0.0), (45, 1.0), (85, 1.0)],
)
def test_beta_rises_again_in_every_cycle(step, expected):
    numbers = hyper(beta=2, warmup_steps=10, warmup_cycle=40)
    np.testing.assert_allclose(anneal(numbers, jnp.int32(step)).beta, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("steps", "step", "expected"), [(0, 0, 8), (10, 0, 0), (10, 5, 4), (10, 50, 8)]
)
def test_capacity_rises_linearly(steps, step, expected):
    numbers = hyper(capacity=8, capacity_steps=steps)
    np.testing.assert_allclose(anneal(numbers, jnp.int32(step)).capacity, expected, rtol=1e-6)


def test_the_linear_model_is_the_one_it_is_said_to_be():
    """Its exact posterior: q's moments are those of draws of p(z | x) by Bayes on a grid."""
    model, params = linear()
    axis = np.linspace(-4, 4, 201, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 1, L)
    z = jnp.broadcast_to(points, (len(points), len(X_BD), L))
    log_joint = model.log_joint(params, X_BD, z)
    weights = np.asarray(jax.nn.softmax(log_joint, axis=0))
    np.testing.assert_allclose(
        np.einsum("nb,nl->bl", weights, points[:, 0]),
        model.encode(params, X_BD).mean,
        atol=1e-3,
    )

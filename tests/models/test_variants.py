"""Every posterior and prior inside a model, and the variants, against p(x) on a grid of z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import mlp_spec
from tests.objectives import exact
from vae_jax.models import make_model
from vae_jax.models.model import ModelSpec, TopSpec
from vae_jax.probability.flows import FlowSpec
from vae_jax.probability.posteriors import POSTERIORS, PosteriorSpec
from vae_jax.probability.priors import PRIORS, PriorSpec

FLOW = FlowSpec(layers=2, width=8)
X_BD = np.array([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], np.float32)
SIDES = [("standard_normal", posterior) for posterior in POSTERIORS] + [
    (prior, "diagonal") for prior in PRIORS if prior != "standard_normal"
]


def assert_unbiased(model, params, log_p_b, k=20_000):
    """E_q[p(x, z) / q(z | x)] = p(x): it holds only if draws and every density belong together."""

    @jax.jit
    def log_weights(params, key):
        z_kbl, log_q_kb = model.reparameterize(key, model.encode(params, X_BD), k)
        return model.log_joint(params, X_BD, z_kbl) - log_q_kb

    ratio_kb = np.exp(np.asarray(log_weights(params, jax.random.key(2)), np.float64) - log_p_b)
    error_b = (ratio_kb.mean(axis=0) - 1) / (ratio_kb.std(axis=0) / np.sqrt(k))
    assert np.abs(error_b).max() < 4.6  # of three examples; one key in 100,000 fails


@pytest.mark.parametrize(("prior", "posterior"), SIDES)
def test_importance_weights_have_mean_p_of_x(prior, posterior):
    base = ModelSpec(
        (2, 2, 1),
        2,
        mlp_spec(6),
        mlp_spec(6),
        prior=PriorSpec(prior, 3, FLOW),
        posterior=PosteriorSpec(posterior, 3, FLOW),
    )
    model = make_model(base)
    params = model.init(jax.random.key(0), None, X_BD)
    rng = np.random.default_rng(0)
    for part in ("prior", "posterior"):
        if prior != "vampprior":
            params[part] = jax.tree.map(
                lambda leaf: leaf + jnp.array(0.2 * rng.normal(size=leaf.shape), jnp.float32),
                params[part],
            )
    assert_unbiased(model, params, exact.grid_log_prob(model, params, X_BD, 2))


def conditional(label_b=None, prior="learned_gaussian"):
    base = ModelSpec((2, 2, 1), 1, mlp_spec(6), mlp_spec(6), prior=PriorSpec(prior), num_classes=3)
    model = make_model(base, label_b=label_b)
    params = model.init(jax.random.key(0))
    params["prior"] = {
        "mean": jnp.array([[-1.0], [0.0], [1.5]]),
        "log_scale": jnp.array([[0.2], [-0.3], [0.0]]),
    }
    return model, params


def test_a_conditional_model_is_one_model_for_each_label():
    label_b = jnp.array([2, 0, 1])
    model, params = conditional(label_b)
    assert_unbiased(model, params, exact.grid_log_prob(model, params, X_BD, 1))
    by_label = [
        exact.grid_log_prob(model.given(jnp.full(3, label)), params, X_BD, 1) for label in range(3)
    ]
    mixed = exact.grid_log_prob(model, params, X_BD, 1)
    np.testing.assert_allclose(mixed, [by_label[2][0], by_label[0][1], by_label[1][2]], rtol=1e-4)
    assert np.std(by_label, axis=0).min() > 1e-2


def test_labels_reach_encoder_decoder_and_prior():
    model, params = conditional()
    with pytest.raises(AssertionError, match="given"):
        model.encode(params, X_BD)
    one, other = (model.given(jnp.full(3, label)) for label in (0, 2))
    assert (one.encode(params, X_BD).mean != other.encode(params, X_BD).mean).all()
    z_kbl = jnp.zeros((2, 3, 1))
    assert (one.decode(params, z_kbl) != other.decode(params, z_kbl)).any()
    assert (one.log_prior(params, z_kbl) != other.log_prior(params, z_kbl)).all()
    draws = [m.generate(jax.random.key(0), params, 3) for m in (one, other)]
    assert draws[0].shape == (3, 4)
    assert (draws[0] != draws[1]).any()
    assert one.decode(params, jnp.zeros((3, 1))).shape == (3, 4)


def two_layers(label_b=None):
    base = ModelSpec(
        (2, 2, 1), 1, mlp_spec(6), mlp_spec(6), name="two_layers", top=TopSpec(1, mlp_spec(5))
    )
    model = make_model(base)
    params = model.init(jax.random.key(0))
    for part in ("prior", "posterior"):
        params[part] = jax.tree.map(lambda leaf: 1.2 * leaf + 0.05, params[part])
    return model, params


def test_two_layers_are_a_joint_distribution():
    """p(x) over a grid of (h1, h2), and the same by draws."""
    model, params = two_layers()
    assert_unbiased(model, params, exact.grid_log_prob(model, params, X_BD, 2))
    q = model.encode(params, X_BD)
    z_kbl, log_q_kb = model.reparameterize(jax.random.key(1), q, 7)
    assert z_kbl.shape == (7, 3, 2)
    np.testing.assert_allclose(model.posterior_log_prob(q, z_kbl), log_q_kb, rtol=1e-4, atol=1e-4)
    assert model.kl_divergence is None
    assert model.posterior_mean(q).shape == (3, 2)
    assert model.reconstruct(params, X_BD).shape == (3, 4)
    assert model.generate(jax.random.key(2), params, 5).shape == (5, 4)


def test_two_layers_prior_and_posterior_integrate_to_one():
    model, params = two_layers()
    points, area = exact.grid(2)
    z = jnp.broadcast_to(points[:, None], (len(points), 3, 2))
    prior = np.exp(model.log_prior(params, z)).sum(axis=0) * area
    posterior = np.exp(model.posterior_log_prob(model.encode(params, X_BD), z)).sum(axis=0) * area
    np.testing.assert_allclose(prior, 1, rtol=2e-3)
    np.testing.assert_allclose(posterior, 1, rtol=2e-3)
    draws = model.prior_sample(jax.random.key(0), params, 20_000)
    mean = (np.exp(model.log_prior(params, z))[:, 0, None] * points).sum(axis=0) * area
    error = (draws.mean(axis=0) - mean) / (draws.std(axis=0) / np.sqrt(20_000))
    assert np.abs(error).max() < 4.4


def test_only_the_lower_layer_reaches_the_decoder():
    model, params = two_layers()
    z = jnp.array([[0.3, -1.0], [0.3, 2.0], [0.4, 2.0]])
    x_params = model.decode(params, z)
    np.testing.assert_array_equal(x_params[0], x_params[1])
    assert (x_params[1] != x_params[2]).any()


def test_a_dream_is_a_draw_of_p_of_x():
    """z from the prior, x from the likelihood: E[x] is that of the grid."""
    model, params, _ = exact.nonlinear()
    z = model.prior_sample(jax.random.key(0), params, 20_000)
    x = np.asarray(model.sample(jax.random.key(1), model.decode(params, z)))
    assert set(np.unique(x)) == {0.0, 1.0}
    points, width = exact.grid(1)
    density = np.exp(-0.5 * points[:, 0] ** 2) / np.sqrt(2 * np.pi)
    mean = (density[:, None] * np.asarray(model.mean(model.decode(params, points)))).sum(0) * width
    assert np.abs(x.mean(axis=0) - mean).max() < 4.6 * np.sqrt(0.25 / 20_000)

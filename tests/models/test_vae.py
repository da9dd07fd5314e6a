from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import mlp_spec
from vae_jax.models.model import ModelHyper, ModelSpec
from vae_jax.models.vae import vae
from vae_jax.objectives.elbo import elbo_terms
from vae_jax.probability.likelihoods import bernoulli


def test_encode_reparameterize_decode_have_the_documented_shapes(small_spec):
    model = vae(small_spec)
    params = model.init(jax.random.key(0))
    x_bd = jnp.ones((6, 30))
    q_params = model.encode(params, x_bd)
    z_kbl, log_qz_kb = model.reparameterize(jax.random.key(1), q_params, 3)
    assert z_kbl.shape == (3, 6, 4)
    assert log_qz_kb.shape == (3, 6)
    assert model.decode(params, z_kbl).shape == (3, 6, 30)
    assert model.log_joint(params, x_bd, z_kbl).shape == (3, 6)
    assert model.kl_divergence(params, q_params).shape == (6, 4)
    assert model.reconstruct(params, x_bd).shape == (6, 30)
    assert model.generate(jax.random.key(2), params, 5).shape == (5, 30)


def test_log_joint_is_prior_plus_likelihood(small_spec):
    model = vae(small_spec)
    params = model.init(jax.random.key(0))
    x_bd = jax.random.bernoulli(jax.random.key(1), shape=(6, 30)).astype(jnp.float32)
    z_kbl = jax.random.normal(jax.random.key(2), (3, 6, 4))
    log_prior = -0.5 * (z_kbl**2 + np.log(2 * np.pi)).sum(-1)
    log_likelihood = bernoulli.log_prob(model.decode(params, z_kbl), x_bd[None])
    np.testing.assert_allclose(
        model.log_joint(params, x_bd, z_kbl), log_prior + log_likelihood, rtol=1e-5
    )


def test_reconstruct_decodes_the_posterior_mean(small_spec):
    model = vae(small_spec)
    params = model.init(jax.random.key(0))
    x_bd = jax.random.uniform(jax.random.key(1), (6, 30))
    by_hand = jax.nn.sigmoid(model.decode(params, model.encode(params, x_bd).mean))
    np.testing.assert_allclose(model.reconstruct(params, x_bd), by_hand, rtol=1e-6)


def test_output_bias_makes_a_new_model_give_the_data_s_mean(small_spec):
    model = vae(small_spec)
    mean_d = jnp.linspace(0.05, 0.95, 30)
    params = model.init(jax.random.key(0), mean_d)
    at_zero = model.mean(model.decode(params, jnp.zeros((1, 4))))[0]
    # tanh units and zero hidden biases: z = 0 gives the output bias alone.
    np.testing.assert_allclose(at_zero, mean_d, rtol=1e-5)


def test_models_of_equal_specs_are_equal_functions_of_the_key(small_spec):
    first, second = vae(small_spec), vae(small_spec)
    jax.tree.map(
        np.testing.assert_array_equal,
        first.init(jax.random.key(4)),
        second.init(jax.random.key(4)),
    )
    assert hash(small_spec) == hash(small_spec._replace())


@pytest.mark.parametrize("widths", [(), (7,), (7, 8)])
def test_a_masked_model_is_the_model_of_the_units_that_are_left(widths):
    """Encoding, bounds, samples: all as if the masked units were not there, exactly no gradient."""
    large = ModelSpec((3, 5, 2), 6, encoder=mlp_spec(*widths), decoder=mlp_spec(*widths))
    mask_l = jnp.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    masked, small = vae(large, ModelHyper(mask_l)), vae(large._replace(latent_size=4))
    key, x_bd = jax.random.key(1), jnp.ones((6, 30)).at[:, ::3].set(0)
    params = masked.init(jax.random.key(0))
    own = jax.tree.map(
        lambda shape, leaf: leaf[tuple(map(slice, shape.shape))],
        jax.eval_shape(small.init, jax.random.key(0)),
        params,
    )
    alone = small.init(jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), own, alone)

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    q, q_own = masked.encode(params, x_bd), small.encode(own, x_bd)
    close(q.mean[:, :4], q_own.mean)
    assert (masked.kl_divergence(params, q)[:, 4:] == 0).all()
    close(masked.kl_divergence(params, q)[:, :4], small.kl_divergence(own, q_own))
    (z, log_q), (z_own, log_q_own) = (
        model.reparameterize(key, q_params, 3) for model, q_params in ((masked, q), (small, q_own))
    )
    close(z[..., :4], z_own)
    close(log_q, log_q_own)
    close(masked.decode(params, z), small.decode(own, z_own))
    close(masked.log_joint(params, x_bd, z), small.log_joint(own, x_bd, z_own))
    close(masked.generate(key, params, 5), small.generate(key, own, 5))

    def loss(params):
        terms = elbo_terms(masked, params, key, x_bd, 2)
        return -jnp.mean(terms.elbo)

    def nothing_outside(leaf, inside):
        outside = np.array(leaf)
        outside[tuple(map(slice, inside.shape))] = 0
        assert (outside == 0).all()

    for tree in (params, jax.grad(loss)(params)):
        jax.tree.map(nothing_outside, tree, own)

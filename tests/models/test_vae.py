import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.models.vae import vae
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

"""One table of properties that every objective passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.models.vae import vae
from vae_jax.objectives import OBJECTIVES
from vae_jax.objectives.objective import ObjectiveHyper

ONE = ObjectiveHyper(beta=jnp.float32(1), warmup_steps=jnp.float32(0))


@pytest.fixture
def setting(small_spec):
    model = vae(small_spec)
    x_bd = jax.random.bernoulli(jax.random.key(1), shape=(6, 30)).astype(jnp.float32)
    return model, model.init(jax.random.key(0)), x_bd


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("num_samples", [1, 3])
def test_terms_are_an_example_s_own_and_gradients_finite(setting, name, num_samples):
    model, params, x_bd = setting
    (loss, terms), gradients = jax.value_and_grad(OBJECTIVES[name], argnums=1, has_aux=True)(
        model, params, jax.random.key(2), x_bd, ONE, num_samples
    )
    assert loss.shape == ()
    assert all(term.shape == (6,) for term in terms)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    np.testing.assert_allclose(terms.elbo, terms.reconstruction - terms.kl, rtol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_with_one_sample_and_beta_1_the_mean_loss_is_minus_the_mean_elbo(setting, name):
    """Over many draws: a bound of one sample is the ELBO, however its terms are written."""
    model, params, x_bd = setting
    keys = jax.random.split(jax.random.key(3), 2_000)
    losses, terms = jax.vmap(lambda key: OBJECTIVES[name](model, params, key, x_bd, ONE, 1))(keys)
    difference = losses + terms.elbo.mean(axis=1)
    spread = difference.std() / np.sqrt(len(keys)) + 1e-4
    assert abs(difference.mean()) < 4.4 * spread


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_is_a_function_of_the_key(setting, name):
    model, params, x_bd = setting

    def loss(seed):
        return OBJECTIVES[name](model, params, jax.random.key(seed), x_bd, ONE, 2)[0]

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)

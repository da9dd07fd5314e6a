"""Priors, posteriors and their KL at extreme values: finite, and so are the gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.latents import CLOSED_FORMS, POSTERIOR, PRIOR, L, encode, params_like, prior_of
from vae_jax.probability.divergences import kl_divergence
from vae_jax.probability.priors import (
    Shape,
)

EXTREMES = np.float32([-1e4, 1e4])


def are_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", POSTERIOR)
def test_log_ratio_and_its_gradient_are_finite_at_extremes(name):
    posterior = POSTERIOR[name]
    params = params_like(lambda key: posterior.init(key, 3), 0.5)

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def log_ratio(outputs):
        q = posterior.distribution(params, outputs)
        z_kbl, log_q_kb = q.sample(jax.random.key(0), 2)
        p = PRIOR["standard_normal"].distribution({}, encode, None, Shape(2, 3))
        return jnp.mean(log_q_kb - p.log_prob(z_kbl))

    assert are_finite(log_ratio(extreme_outputs(posterior, 3)))


def extreme_outputs(posterior, latent_size):
    """[extremes, b, size] of each head."""
    return {
        head: np.tile(EXTREMES[:, None, None], (1, 2, size))
        for head, size in posterior.heads(latent_size)
    }


@pytest.mark.parametrize("name", PRIOR)
def test_prior_log_prob_and_its_gradient_are_finite_at_extremes(name):
    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def log_prob(z):
        return prior_of(name).log_prob(z).sum()

    assert are_finite(log_prob(np.tile(EXTREMES[:, None, None, None], (1, 2, 1, 2))))


@pytest.mark.parametrize("name", ["learned_gaussian", "mixture"])
def test_a_learned_prior_is_finite_at_extreme_params(name):
    prior = PRIOR[name]

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def log_prob(params):
        p = prior.distribution(params, None, None, Shape(1, L))
        return p.log_prob(jnp.ones((4, 1, L))).sum()

    like = jax.eval_shape(lambda: prior.init(jax.random.key(0), L, 0))
    params = jax.tree.map(lambda leaf: np.stack([np.full(leaf.shape, e) for e in EXTREMES]), like)
    assert are_finite(log_prob(params))


@pytest.mark.parametrize(("posterior_name", "prior_name"), CLOSED_FORMS)
def test_kl_and_its_gradient_are_finite_at_extremes(posterior_name, prior_name):
    posterior = POSTERIOR[posterior_name]

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def kl(outputs):
        p = prior_of(prior_name, batch_size=2)
        return kl_divergence(posterior.distribution({}, outputs), p).sum()

    assert are_finite(kl(extreme_outputs(posterior, L)))

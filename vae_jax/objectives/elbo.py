"""The evidence lower bound with the KL in closed form."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.vae import VAE, Params
from vae_jax.objectives.objective import ObjectiveHyper, Terms


def elbo_terms(
    model: VAE, params: Params, key: Key[Array, ""], x_bd: Float[Array, "b d"], num_samples: int
) -> Terms:
    """log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)), each example's own.

    The expectation is the mean over `num_samples` draws, the KL is exact. Needs a prior and a
    posterior whose KL has a closed form.

    References: Kingma and Welling 2014, equations 3, 7 and 10.
    """
    q_params = model.encode(params, x_bd)
    z_kbl, _ = model.reparameterize(key, q_params, num_samples)
    log_px_kb = model.log_likelihood(model.decode(params, z_kbl), x_bd)
    reconstruction_b = jnp.mean(log_px_kb, axis=0)
    kl_b = jnp.sum(model.kl_divergence(params, q_params), axis=-1)
    return Terms(elbo=reconstruction_b - kl_b, reconstruction=reconstruction_b, kl=kl_b)


def elbo(
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    hyper: ObjectiveHyper,
    num_samples: int,
) -> tuple[Float[Array, ""], Terms]:
    """loss = mean_b(-reconstruction + beta * kl), and the terms of the bound itself (beta = 1).

    References: Kingma and Welling 2014; beta: Higgins et al. 2017, equation 4.
    """
    terms = elbo_terms(model, params, key, x_bd, num_samples)
    return jnp.mean(-terms.reconstruction + hyper.beta * terms.kl), terms

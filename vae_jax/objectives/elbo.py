"""The evidence lower bound."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import VAE, Params
from vae_jax.objectives.objective import Draws, ObjectiveHyper, ObjectiveSpec, Scalar, Terms


def elbo_terms(
    model: VAE, params: Params, key: Key[Array, ""], x_bd: Float[Array, "b d"], num_samples: int
) -> Terms:
    """log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)), each example's own.

    The expectation is the mean over `num_samples` draws; the KL is exact where it has a closed
    form, the mean over the same draws elsewhere.

    References: Kingma and Welling 2014, equations 2, 3, 7 and 10.
    """
    kl = "sampled" if model.kl_divergence is None else "analytic"
    reconstruction_b, kl_bu, _ = parts(model, params, key, x_bd, num_samples, kl, "reparameterized")
    return terms_of(reconstruction_b, jnp.sum(kl_bu, axis=-1))


def terms_of(reconstruction_b: Float[Array, " b"], kl_b: Float[Array, " b"]) -> Terms:
    """The Terms of an ELBO."""
    elbo_b = reconstruction_b - kl_b
    return Terms(bound=elbo_b, elbo=elbo_b, reconstruction=reconstruction_b, kl=kl_b)


def parts(
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    num_samples: int,
    kl: str,
    gradient: str,
) -> tuple[Float[Array, " b"], Float[Array, "b u"], Draws]:
    """E_q[log p(x | z)], the KL by latent unit (sampled: of all units together, u = 1)."""
    q_params = model.encode(params, x_bd)
    z_kbl, log_qz_kb = model.reparameterize(key, q_params, num_samples)
    log_px_kb = model.log_likelihood(model.decode(params, z_kbl), x_bd)
    if kl == "analytic":
        assert model.kl_divergence is not None, "this KL has no closed form: take kl='sampled'"
        kl_bu = model.kl_divergence(params, q_params)
    else:
        if gradient == "sticking_the_landing":
            assert model.posterior_log_prob is not None
            log_qz_kb = model.posterior_log_prob(jax.lax.stop_gradient(q_params), z_kbl)
        log_ratio_kb = log_qz_kb - model.log_prior(params, z_kbl)
        kl_bu = jnp.mean(log_ratio_kb, axis=0)[:, None]
    return jnp.mean(log_px_kb, axis=0), kl_bu, Draws(q_params, z_kbl[0])


def free(kl_bu: Float[Array, "b u"], free_bits: Scalar, group: int) -> Float[Array, ""]:
    """sum_groups max(free_bits, mean_b KL of the group): what is below is not worth reducing.

    References: Kingma et al. 2016, equation 15.
    """
    kl_u = jnp.mean(kl_bu, axis=0)
    kl_g = jnp.sum(kl_u.reshape(-1, group or len(kl_u)), axis=-1)
    return jnp.sum(jnp.maximum(kl_g, free_bits))


def elbo(
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    hyper: ObjectiveHyper,
    spec: ObjectiveSpec,
) -> tuple[Float[Array, ""], Terms, Draws]:
    """loss = -mean_b reconstruction + beta |KL - capacity|, KL the batch's mean, with free bits.

    The terms are those of the bound itself.

    With the gradient "sticking_the_landing", log q(z | x) depends on the encoder through z alone:
    the same mean, and no variance at all where q(z | x) is the true posterior.

    References: Kingma and Welling 2014; beta: Higgins et al. 2017, equation 4; capacity: Burgess et
    al. 2018, equation 8; gradient: Roeder, Wu and Duvenaud 2017, algorithm 2.
    """
    reconstruction_b, kl_bu, draws = parts(
        model, params, key, x_bd, spec.num_samples, spec.kl, spec.gradient
    )
    terms = terms_of(reconstruction_b, jnp.sum(kl_bu, axis=-1))
    kl = jnp.where(
        hyper.free_bits > 0,
        free(kl_bu, hyper.free_bits, spec.free_bits_group),
        jnp.mean(terms.kl),
    )
    away = jnp.where(hyper.capacity > 0, jnp.abs(kl - hyper.capacity), kl)
    return jnp.mean(-reconstruction_b) + hyper.beta * away, terms, draws

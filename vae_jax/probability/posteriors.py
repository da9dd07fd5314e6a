"""Approximate posteriors q(z | x). To add one, write it and list it below."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian

# exp(2 * 15) is a number whose square still fits in float32, so that no log scale of an encoder,
# however large, makes a KL or its gradient overflow. Scales of 3e-7 and 3e6 lie beyond all use.
MAX_LOG_SCALE = 15.0


class Posterior(NamedTuple):
    """q(z | x) as pure functions of q_params. mask_l: 0 for a latent unit that is padding.

    heads:    the names of the encoder's outputs, each [b, l].
    q_params: {head: raw output [b, l]} -> q_params; of outputs that are all 0, the prior N(0, 1).
    reparameterize: (key, q_params, k, mask_l=None) -> z [k, b, l], log q(z | x) [k, b].
    log_prob: (q_params, z [..., b, l], mask_l=None) -> nats [..., b].
    mean:     q_params -> E_q[z] [b, l].
    """

    heads: tuple[str, ...]
    q_params: Callable
    reparameterize: Callable
    log_prob: Callable
    mean: Callable


def diagonal_q_params(outputs: dict[str, Array]) -> Gaussian:
    """A Gaussian of the encoder's (mean, log scale), the log scale clipped to +-MAX_LOG_SCALE."""
    return Gaussian(outputs["mean"], jnp.clip(outputs["log_scale"], -MAX_LOG_SCALE, MAX_LOG_SCALE))


def diagonal_reparameterize(
    key: Key[Array, ""], q: Gaussian, k: int, mask_l: Float[Array, " l"] | None = None
) -> tuple[Float[Array, "k b l"], Float[Array, "k b"]]:
    """k draws z = mean + scale * noise, and log q(z | x) in nats.

    Latent unit j's noise depends on (key, j) alone. References: Kingma and Welling 2014,
    section 2.4.
    """
    batch_size, latent_size = q.mean.shape
    noise_kbl = gaussian.unit_normal(key, (k, batch_size), latent_size)
    z_kbl = q.mean[None] + jnp.exp(q.log_scale)[None] * noise_kbl
    # In terms of the noise, log q needs no division by the scale.
    log_qz_kbl = -0.5 * (jnp.square(noise_kbl) + gaussian.LOG_2PI) - q.log_scale[None]
    return z_kbl, gaussian.sum_units(log_qz_kbl, mask_l)


def diagonal_log_prob(
    q: Gaussian, z: Float[Array, "*k b l"], mask_l: Float[Array, " l"] | None = None
) -> Float[Array, "*k b"]:
    """sum_l log N(z_l; mean_l, scale_l^2)."""
    q = Gaussian(jnp.broadcast_to(q.mean, z.shape), jnp.broadcast_to(q.log_scale, z.shape))
    return gaussian.sum_units(gaussian.log_prob(q, z), mask_l)


diagonal = Posterior(
    heads=("mean", "log_scale"),
    q_params=diagonal_q_params,
    reparameterize=diagonal_reparameterize,
    log_prob=diagonal_log_prob,
    mean=lambda q: q.mean,
)

POSTERIORS = {"diagonal": diagonal}

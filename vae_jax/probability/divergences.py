"""KL(q || p) in closed form, for the posteriors and priors that have one, by latent unit."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.posteriors import FullGaussian


def diagonal_to_standard_normal(q: Gaussian, p: dict) -> Float[Array, "b l"]:
    """Each unit's own (Kingma and Welling 2014, appendix B)."""
    return gaussian.kl_to_standard_normal(q)


def diagonal_to_gaussian(q: Gaussian, p: Gaussian) -> Float[Array, "b l"]:
    """Each unit's own."""
    p = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, q.mean.shape), p)
    return gaussian.kl_divergence(q, p)


def full_to_standard_normal(q: FullGaussian, p: dict) -> Float[Array, "b l"]:
    """Unit i's share is E[KL(q(z_i | z_<i) || p(z_i))], by the chain rule of the KL:

    (L_ii^2 + sum_(j<i) L_ij^2 + mean_i^2 - 1) / 2 - log L_ii.
    """
    from_before = 0.5 * jnp.sum(jnp.square(q.lower), axis=-1)
    return gaussian.kl_to_standard_normal(Gaussian(q.mean, q.log_scale)) + from_before


# (posterior, prior) -> the KL of their (q_params, p_params), [b, l] in nats.
KL_DIVERGENCES: dict[tuple[str, str], Callable] = {
    ("diagonal", "learned_gaussian"): diagonal_to_gaussian,
    ("diagonal", "standard_normal"): diagonal_to_standard_normal,
    ("full", "standard_normal"): full_to_standard_normal,
}

"""KL(q || p) of each latent unit, for the pairs of distributions with a closed form."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.probability import gaussian
from vae_jax.probability.categorical import Categorical, Quantized, kl_of_categoricals, kl_of_code
from vae_jax.probability.causal import Causal
from vae_jax.probability.distributions import DiagonalGaussian, FullGaussian, StandardNormal
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.interface import LatentDistribution


def diagonal_to_standard_normal(q: DiagonalGaussian, p: StandardNormal) -> Float[Array, "k b l"]:
    """The KL of each unit (Kingma and Welling 2014, appendix B)."""
    return gaussian.masked(gaussian.kl_to_standard_normal(Gaussian(*q[:2])), q.mask_l)


def diagonal_to_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Float[Array, "k b l"]:
    """The KL of each unit."""
    shape = jnp.broadcast_shapes(q.mean_kbl.shape, p.mean_kbl.shape)
    gaussians = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, shape), (Gaussian(*q[:2]), Gaussian(*p[:2]))
    )
    return gaussian.masked(gaussian.kl_divergence(*gaussians), q.mask_l)


def full_to_standard_normal(q: FullGaussian, p: StandardNormal) -> Float[Array, "1 b l"]:
    """Unit i's share is E[KL(q(z_i | z_<i) || p(z_i))], by the chain rule of the KL:

    (L_ii^2 + sum_(j<i) L_ij^2 + mean_i^2 - 1) / 2 - log L_ii.
    """
    from_before_bl = 0.5 * jnp.sum(jnp.square(q.lower_bll), axis=-1)
    kl_bl = gaussian.kl_to_standard_normal(Gaussian(q.mean_bl, q.log_scale_bl)) + from_before_bl
    return kl_bl[None]


# (type of q, type of p) -> their KL, nats.
KL_DIVERGENCES: dict[tuple[type, type], Callable] = {
    (Categorical, Categorical): kl_of_categoricals,
    (DiagonalGaussian, DiagonalGaussian): diagonal_to_diagonal,
    (DiagonalGaussian, StandardNormal): diagonal_to_standard_normal,
    (FullGaussian, StandardNormal): full_to_standard_normal,
    (Quantized, Categorical): kl_of_code,
    (Quantized, Causal): kl_of_code,
}


def kl_divergence(q: LatentDistribution, p: LatentDistribution) -> Float[Array, "k b l"] | None:
    """KL(q || p) of each latent unit, nats; None if it has no closed form."""
    closed_form = KL_DIVERGENCES.get((type(q), type(p)))
    return None if closed_form is None else closed_form(q, p)

"""Distributions of latents, as pytrees of their parameters; interface.py says what they have.

A latent unit whose mask is 0 is padding: it adds nothing to a density.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian

Samples = tuple[Float[Array, "k b l"], Float[Array, "k b"]]


class DiagonalGaussian(NamedTuple):
    """N(mean, scale^2), independent by latent unit; shared by all samples, or one per sample."""

    mean_kbl: Float[Array, "k b l"]  # k: 1, or the number of samples
    log_scale_kbl: Float[Array, "k b l"]
    mask_l: Float[Array, " l"] | None = None

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        """z = mean + scale * noise. Latent unit j's noise depends on (key, j) alone.

        References: Kingma and Welling 2014, section 2.4.
        """
        k_own, batch_size, latent_size = self.mean_kbl.shape
        noise_kbl = gaussian.unit_normal(key, (max(k, k_own), batch_size), latent_size)
        z_kbl = self.mean() + self.scale() * noise_kbl
        # Written with the noise, the density needs no division by the scale.
        log_kbl = -0.5 * (jnp.square(noise_kbl) + gaussian.LOG_2PI) - self.log_scale_kbl
        return z_kbl, gaussian.sum_units(log_kbl, self.mask_l)

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        """sum_l log N(z_l; mean_l, scale_l^2)."""
        shape = jnp.broadcast_shapes(z_kbl.shape, self.mean_kbl.shape)
        p = Gaussian(*(jnp.broadcast_to(leaf, shape) for leaf in self[:2]))
        return gaussian.sum_units(gaussian.log_prob(p, jnp.broadcast_to(z_kbl, shape)), self.mask_l)

    def noise_of(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b l"]:
        """(z - mean) / scale."""
        return (z_kbl - self.mean_kbl) * jnp.exp(-self.log_scale_kbl)

    def of_noise(self, noise_kbl: Float[Array, "k b l"]) -> Float[Array, "k b l"]:
        """mean + scale * noise."""
        return self.mean_kbl + self.scale() * noise_kbl

    def mean(self) -> Float[Array, "k b l"]:
        return self.mean_kbl

    def scale(self) -> Float[Array, "k b l"]:
        return jnp.exp(self.log_scale_kbl)


def diagonal_of(
    outputs: Mapping[str, Float[Array, "b l"]], mask_l: Float[Array, " l"] | None = None
) -> DiagonalGaussian:
    """The diagonal Gaussian of an encoder's outputs [b, l], mean and log scale."""
    log_scale_bl = gaussian.clipped(outputs["log_scale"])
    return DiagonalGaussian(outputs["mean"][None], log_scale_bl[None], mask_l)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StandardNormal:
    """N(0, 1), independent by latent unit."""

    mask_l: Float[Array, " l"] | None
    batch_size: int = field(metadata={"static": True})
    latent_size: int = field(metadata={"static": True})

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        z_kbl = gaussian.unit_normal(key, (k, self.batch_size), self.latent_size)
        return z_kbl, self.log_prob(z_kbl)

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        return gaussian.sum_units(-0.5 * (jnp.square(z_kbl) + gaussian.LOG_2PI), self.mask_l)

    def noise_of(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b l"]:
        return z_kbl

    def of_noise(self, noise_kbl: Float[Array, "k b l"]) -> Float[Array, "k b l"]:
        return noise_kbl

    def mean(self) -> Float[Array, "1 b l"]:
        return jnp.zeros((1, self.batch_size, self.latent_size))


class FullGaussian(NamedTuple):
    """N(mean, L L^T), L lower triangular with a positive diagonal.

    `log_prob` solves for the noise of a given z; it is less precise if entries of L are large
    compared to its diagonal.

    References: Rezende, Mohamed and Wierstra 2014, section 4.3; Kingma and Welling 2019, section
    2.5.1.
    """

    mean_bl: Float[Array, "b l"]
    log_scale_bl: Float[Array, "b l"]  # of L's diagonal
    lower_bll: Float[Array, "b l l"]  # L below the diagonal, 0 elsewhere

    @property
    def factor_bll(self) -> Float[Array, "b l l"]:
        """L. Entries of `lower_bll` above the diagonal, which a gradient may set, are ignored."""
        diagonal = jnp.eye(self.mean_bl.shape[-1])[None] * jnp.exp(self.log_scale_bl)[..., None]
        return jnp.tril(self.lower_bll, -1) + diagonal

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        """z = mean + L noise, log q = log N(noise; 0, 1) - sum_l log L_ll."""
        noise_kbl = gaussian.unit_normal(key, (k, len(self.mean_bl)), self.mean_bl.shape[-1])
        z_kbl = self.mean_bl[None] + jnp.einsum("bij,kbj->kbi", self.factor_bll, noise_kbl)
        log_noise_kbl = -0.5 * (jnp.square(noise_kbl) + gaussian.LOG_2PI)
        return z_kbl, jnp.sum(log_noise_kbl - self.log_scale_bl[None], axis=-1)

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        shift_blk = jnp.moveaxis(z_kbl - self.mean_bl[None], 0, -1)
        noise_blk = jax.scipy.linalg.solve_triangular(self.factor_bll, shift_blk, lower=True)
        log_noise_kb = jnp.sum(-0.5 * (jnp.square(noise_blk) + gaussian.LOG_2PI), axis=1).T
        return log_noise_kb - jnp.sum(self.log_scale_bl, axis=-1)[None]

    def mean(self) -> Float[Array, "1 b l"]:
        return self.mean_bl[None]

    def scale(self) -> Float[Array, "1 b l"]:
        return jnp.sqrt(jnp.sum(jnp.square(self.factor_bll), axis=-1))[None]

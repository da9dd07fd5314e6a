"""Noise on what the encoder sees, while the likelihood is that of the clean x.

The bound is still one on log p(x): q(z | x) is then the mean over the noise, and the KL to it the
smaller (Im, Ahn, Memisevic and Bengio 2017, Denoising criterion for variational auto-encoding).

To add one, write its section, called as corruption(key, x [b, d]) -> x as the encoder sees it, and
list it below.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.checks import number
from vae_jax.keys import section, traced
from vae_jax.models.model import Model


def chance_key():
    return traced(0.0, number(0, 1), "chance of a pixel", key="corruption_amount")


@section
class NoCorruption:
    """None."""

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]):
        return x_bd


@section
class GaussianNoise:
    """x + scale * noise, not clipped."""

    scale: float = traced(0.0, number(0), "scale of the noise", key="corruption_amount")

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]):
        return x_bd + self.scale * jax.random.normal(key, x_bd.shape)


@section
class Masking:
    """0 with some chance (Vincent et al. 2010, section 3.3)."""

    chance: float = chance_key()

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]):
        return jnp.where(jax.random.uniform(key, x_bd.shape) < self.chance, 0.0, x_bd)


@section
class SaltAndPepper:
    """0 or 1, as likely, with some chance (Vincent et al. 2010, section 3.3)."""

    chance: float = chance_key()

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]):
        uniform = jax.random.uniform(key, x_bd.shape)
        return jnp.where(uniform < self.chance, jnp.round(uniform / self.chance), x_bd)


CORRUPTIONS = {
    "none": NoCorruption,
    "gaussian": GaussianNoise,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
}


def corrupted(model: Model, key: Key[Array, ""], corruption) -> Model:
    """`model` with noise on what its encoder sees, the same noise at every call for one x."""

    def trace(variables, take, x_bd=None, label_b=None):
        # The same noise again is what is wanted: jax's watch on reused keys is told so.
        seen_bd = None if x_bd is None else corruption(jax.random.clone(key), x_bd)
        return model.trace(variables, take, seen_bd, label_b)

    return model._replace(trace=trace)

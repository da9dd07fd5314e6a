"""Noise on the encoder's input; the likelihood is that of the clean x.

The objective is still a bound on log p(x): q(z | x) is then a mixture over the noise, and its KL is
at most the mean KL (Im, Ahn, Memisevic and Bengio 2017, Denoising criterion for variational
auto-encoding).

To add one, write its section, called as corruption(key, x [b, d]) -> the encoder's input, and list
it below.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.checks import number
from vae_jax.keys import section, traced
from vae_jax.models.model import Model


def chance_key():
    return traced(
        0.0, number(0, 1), "probability that a pixel is replaced", key="corruption_amount"
    )


@section
class NoCorruption:
    """No noise."""

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]):
        return x_bd


@section
class GaussianNoise:
    """x + scale * standard normal noise, not clipped."""

    scale: float = traced(0.0, number(0), "scale of the noise", key="corruption_amount")

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]):
        return x_bd + self.scale * jax.random.normal(key, x_bd.shape)


@section
class Masking:
    """Sets a pixel to 0 with some probability (Vincent et al. 2010, section 3.3)."""

    chance: float = chance_key()

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]):
        return jnp.where(jax.random.uniform(key, x_bd.shape) < self.chance, 0.0, x_bd)


@section
class SaltAndPepper:
    """Replaces pixels by 0 or 1, equally likely, with some probability (Vincent et al. 2010)."""

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
    """`model` with noise on its encoder's input; every call uses the same noise."""

    def trace(variables, take, x_bd=None, label_b=None):
        # The noise is reused on purpose: clone tells jax's check for reused keys so.
        seen_bd = None if x_bd is None else corruption(jax.random.clone(key), x_bd)
        return model.trace(variables, take, seen_bd, label_b)

    return model._replace(trace=trace)

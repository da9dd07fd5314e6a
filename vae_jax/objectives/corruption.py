"""Noise on what the encoder sees, while the likelihood is that of the clean x.

The bound is still one on log p(x): q(z | x) is then the mean over the noise, and the KL to it the
smaller (Im, Ahn, Memisevic and Bengio 2017, Denoising criterion for variational auto-encoding).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import VAE
from vae_jax.objectives.objective import Scalar


def gaussian(key: Key[Array, ""], x_bd: Float[Array, "b d"], amount: Scalar):
    """x + amount * noise, not clipped."""
    return x_bd + amount * jax.random.normal(key, x_bd.shape)


def masking(key: Key[Array, ""], x_bd: Float[Array, "b d"], amount: Scalar):
    """0 with the chance `amount` (Vincent et al. 2010, section 3.3)."""
    return jnp.where(jax.random.uniform(key, x_bd.shape) < amount, 0.0, x_bd)


def salt_and_pepper(key: Key[Array, ""], x_bd: Float[Array, "b d"], amount: Scalar):
    """0 or 1, as likely, with the chance `amount` (Vincent et al. 2010, section 3.3)."""
    uniform = jax.random.uniform(key, x_bd.shape)
    return jnp.where(uniform < amount, jnp.round(uniform / amount), x_bd)


# (key, x, amount) -> x as the encoder sees it.
CORRUPTIONS: dict[str, Callable | None] = {
    "none": None,
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
}


def corrupted(model: VAE, key: Key[Array, ""], name: str, amount: Scalar) -> VAE:
    """`model` with noise on what its encoder sees, the same noise at every call for one x."""
    corrupt = CORRUPTIONS[name]
    if corrupt is None:
        return model
    return model._replace(
        encode=lambda params, x_bd: model.encode(params, corrupt(key, x_bd, amount)),
        given=lambda label_b: corrupted(model.given(label_b), key, name, amount),
    )

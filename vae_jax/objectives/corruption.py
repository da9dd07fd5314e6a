"""Noise on the encoder's input; the likelihood is that of the clean x.

The objective is still a bound on log p(x): q(z | x) is then a mixture over the noise, and its KL is
at most the mean KL (Im, Ahn, Memisevic and Bengio 2017, Denoising criterion for variational
auto-encoding).

To add one, write its section and list it below; interface.py says what it has.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.model import Model, Take, Trace, Variables
from vae_jax.objectives.interface import Corruption
from vae_jax.sections.checks import number
from vae_jax.sections.declare import section, traced


def chance_key() -> Any:
    """The key of the probability that a pixel is replaced."""
    return traced(
        0.0, number(0, 1), "probability that a pixel is replaced", key="corruption_amount"
    )


@section
class NoCorruption(Corruption):
    """No noise."""

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return x_bd


@section
class GaussianNoise(Corruption):
    """x + scale * standard normal noise, not clipped."""

    amount: float = traced(0.0, number(0), "scale of the noise", key="corruption_amount")

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return x_bd + self.amount * jax.random.normal(key, x_bd.shape)


@section
class Masking(Corruption):
    """Sets a pixel to 0 with some probability (Vincent et al. 2010, section 3.3)."""

    amount: float = chance_key()

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return jnp.where(jax.random.uniform(key, x_bd.shape) < self.amount, 0.0, x_bd)


@section
class SaltAndPepper(Corruption):
    """Replaces pixels by 0 or 1, equally likely, with some probability (Vincent et al. 2010)."""

    amount: float = chance_key()

    def __call__(self, key: Key[Array, ""], x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
        uniform = jax.random.uniform(key, x_bd.shape)
        return jnp.where(uniform < self.amount, jnp.round(uniform / self.amount), x_bd)


CORRUPTIONS: dict[str, type[Corruption]] = {
    "none": NoCorruption,
    "gaussian": GaussianNoise,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
}


def corrupt(model: Model, key: Key[Array, ""], corruption: Corruption) -> Model:
    """Puts noise on the input of the model's encoder; every call uses the same noise."""

    def trace(
        variables: Variables,
        take: Take,
        x_bd: Float[Array, "b d"] | None = None,
        label_b: Int[Array, " b"] | None = None,
    ) -> Trace:
        # The noise is reused on purpose: clone tells jax's check for reused keys so.
        seen_bd = None if x_bd is None else corruption(jax.random.clone(key), x_bd)
        return model.trace(variables, take, seen_bd, label_b)

    return model._replace(trace=trace)

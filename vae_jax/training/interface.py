"""What an optimiser and a learning-rate schedule are."""

from abc import abstractmethod
from typing import Any, Protocol

from jaxtyping import Array, Float

from vae_jax.sections.interface import Part


class Rule(Part, Protocol):
    """The optimiser of the model."""

    @abstractmethod
    def transformation(self) -> Any:
        """An optax.GradientTransformation: the direction of the update, which is multiplied by the
        learning rate and subtracted."""


class Schedule(Part, Protocol):
    """The learning rate, step by step."""

    @abstractmethod
    def __call__(self, step: Any, /) -> Float[Array, ""]:
        """The factor on the learning rate at a step, a whole number from 0."""

"""What a model is."""

from abc import abstractmethod
from typing import Any, Protocol

from vae_jax.models.model import Abilities, Model
from vae_jax.sections.interface import Part


class ModelSection(Part, Protocol):
    """p(x, z), with its q(z | x).

    Where it has fields `prior` and `posterior`, they are checked to be of one kind.
    """

    @property
    @abstractmethod
    def abilities(self) -> Abilities:
        """What an objective, a metric or a sweep may require: a vae_jax.models.model.Abilities."""

    @abstractmethod
    def model(self, spec: Any, /) -> Model:
        """A vae_jax.models.model.Model: init(key, start) -> {"params": ..., "stats": ...},
        trace(variables, take, x [b, d] or None, y [b] or None) -> Trace. `spec` has latent_size,
        image_shape, num_classes, latent_mask, and the parts encoder, decoder and likelihood."""

    @property
    def reads_networks(self) -> bool:
        """Whether it reads model.latent_size, model.encoder and model.decoder."""
        return True

    @property
    def support(self) -> str | None:
        """What its z is: "real" or "discrete"; None: samples tell."""
        return None

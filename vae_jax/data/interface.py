"""What a dataset is, and a change of its training images."""

from abc import abstractmethod
from typing import Protocol

from jaxtyping import Array, Key, Shaped

from vae_jax.data.source import Source
from vae_jax.sections.interface import Part


class DatasetSection(Part, Protocol):
    """Images and labels, as arrays."""

    @abstractmethod
    def load(self) -> Source:
        """A vae_jax.data.source.Source: training and test images [n, height, width, channels],
        uint8 or float32, and labels [n] or None."""

    @property
    def usual(self) -> tuple[str, str] | None:
        """The binarisation and the likelihood unless the config names others; None: by what the
        images are."""
        return None


class Augmentation(Part, Protocol):
    """A random change of training images, drawn anew for each minibatch."""

    @abstractmethod
    def changed(
        self, key: Key[Array, ""], images: Shaped[Array, "b height width channels"]
    ) -> Shaped[Array, "b height width channels"]:
        """The images of a minibatch, in the same shape, type and units; it depends on the key and
        the images alone."""

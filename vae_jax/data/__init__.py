"""Datasets as arrays. To add one, write a section whose load() returns a Source, and list it."""

from typing import Any

from vae_jax.checks import name_in, seed, text, whole
from vae_jax.data import arrays, mnist, sprites, tfds
from vae_jax.data.binarization import BINARIZATIONS
from vae_jax.data.source import Source
from vae_jax.keys import family, host, section


@section
class Arrays:
    """The user's own images, from an .npz file."""

    path: str = host("", text, "the .npz file")

    def load(self) -> Source:
        return arrays.load(self.path)


@section
class MNIST:
    """The original MNIST, in the package."""

    def load(self) -> Source:
        return mnist.load()


@section
class Sprites:
    """Rendered shapes, with the factors that they are made from."""

    def load(self) -> Source:
        return sprites.load()


@section
class TFDS:
    """A dataset of tensorflow-datasets."""

    tfds_name: str = host("", text, 'its name there, such as "fashion_mnist"')
    path: str = host("", text, 'its data folder; "": TFDS\'s own')

    def load(self) -> Source:
        return tfds.load(self.tfds_name, self.path)


DATASETS = {"arrays": Arrays, "mnist": MNIST, "sprites": Sprites, "tfds": TFDS}


@section
class DatasetSpec:
    """The config's section `dataset`."""

    source: Any = family(DATASETS, "mnist", "where the images are from", key="name")
    validation_size: int = host(5_000, whole(1), "images, taken from the end of the training set")
    binarization: str = host(
        "dynamic", name_in(BINARIZATIONS), "of grey values", choices=BINARIZATIONS
    )
    binarization_seed: int = host(0, seed, "the seed of all that is sampled once")
    num_labels: int = host(
        0,
        whole(0),
        "known training labels, equally many of each class; 0: all; for models that infer labels",
    )

    def needs(self, config):
        if self.num_labels and not config.model.abilities.infers_labels:
            yield (
                f"dataset.num_labels = {self.num_labels} is for a model that infers labels, and "
                f"{config.model.named()} does not; it should be 0"
            )

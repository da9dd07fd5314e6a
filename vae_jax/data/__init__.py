"""Datasets as arrays. To add one, write a section whose load() returns a Source, and list it.

interface.py says what the section has.
"""

import os
from collections.abc import Iterator
from typing import Any, ClassVar

from vae_jax.data.augmentation import AUGMENTATIONS
from vae_jax.data.binarization import BINARIZATIONS
from vae_jax.data.in_memory import AUTO, IN_MEMORY
from vae_jax.data.interface import Augmentation, DatasetSection
from vae_jax.data.own import arrays, hugging_face, image_files, matrix, npy_folder
from vae_jax.data.own.broken import BROKEN, REFUSE
from vae_jax.data.sets import binarized_mnist, mnist, sprites, tfds
from vae_jax.data.sets.published import PUBLISHED, load
from vae_jax.data.source import Source
from vae_jax.errors import UserError
from vae_jax.sections.checks import WIDEST, name_in, names, path, seed, several, text, whole
from vae_jax.sections.declare import families, family, host, section

BINARIZED = ("dynamic", "bernoulli")


@section
class OnDisk(DatasetSection):
    """Training images that can stay on disk."""

    in_memory: str = host(
        AUTO,
        name_in(IN_MEMORY),
        "whether the training images of a folder are all in memory; auto: if they fit",
        choices=IN_MEMORY,
        by_data=AUTO,
    )


@section
class Decoded(OnDisk):
    """Image files, which are decoded."""

    image_size: tuple[int, ...] = host(
        (), several(whole(1, WIDEST)), "height, width that image files are cut to; (): as they are"
    )

    def needs(self, config: Any) -> Iterator[str]:
        if len(self.image_size) not in (0, 2):
            yield f"dataset.image_size = {self.image_size} should be (height, width), or ()"


@section
class Arrays(Decoded):
    """Your own images or vectors: a folder of image files or of .npy files, or an .npz file."""

    path: str = host("", path, "the .npz file, or a folder of image files, or of .npy files")
    broken: str = host(REFUSE, name_in(BROKEN), "an image file that can't be read", choices=BROKEN)

    def load(self) -> Source:
        is_folder = os.path.isdir(self.path)
        of_arrays = is_folder and npy_folder.is_one(self.path)
        if self.image_size and (of_arrays or not is_folder):
            raise UserError(
                f"dataset.image_size = {self.image_size} is for a folder of image files, and "
                f"{self.path} is {'one of .npy files' if of_arrays else 'a file'}; it should be ()"
            )
        if of_arrays:
            return npy_folder.load(self.path, self.in_memory)
        if is_folder:
            return image_files.load(self.path, self.image_size, self.in_memory, self.broken)
        if self.in_memory == "no":
            raise UserError(
                f"dataset.in_memory = 'no' is for a folder, and {self.path} is none: of image "
                "files, or of train_images.npy and test_images.npy; of others it should be 'auto'"
            )
        return arrays.load(self.path)


@section
class HuggingFace(Decoded):
    """Images of a folder that save_to_disk of Hugging Face's `datasets` wrote."""

    path: str = host("", path, "the folder that save_to_disk wrote")
    image_column: str = host("", text, 'the column of the images; "": the only one')
    labels: str = host("", text, 'the column that is the label; "": the only one of classes')

    def load(self) -> Source:
        return hugging_face.load(
            self.path, self.image_column, self.labels, self.image_size, self.in_memory
        )


@section
class AnnData(DatasetSection):
    """Vectors of an .h5ad file, such as the genes of single cells."""

    path: str = host("", path, "the .h5ad file")
    layer: str = host("", text, 'the layer that is taken, such as "counts"; "": X')
    labels: str = host(
        "", text, 'the column of obs that is the label, such as "batch" or "cell_type"; "": none'
    )

    covariates: tuple[str, ...] = host(
        (),
        names,
        'columns of obs that a conditional model is given, such as "batch,donor"; (): the label',
    )

    def load(self) -> Source:
        return matrix.load_h5ad(self.path, self.layer, self.labels, self.covariates)

    def needs(self, config: Any) -> Iterator[str]:
        if len(set(self.covariates)) < len(self.covariates):
            yield f"dataset.covariates = {self.covariates} should name each column once"

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        if self.covariates and not config.model.abilities.reads_labels:
            yield (
                "dataset.covariates",
                f"dataset.covariates = {self.covariates} has no effect: it is for "
                "model.conditional = True; set that, or leave it out",
            )


@section
class MNIST(DatasetSection):
    """The original MNIST, in the package."""

    usual: ClassVar = BINARIZED

    def load(self) -> Source:
        return mnist.load()


@section
class Sprites(DatasetSection):
    """Rendered shapes, with the factors that they are made from."""

    usual: ClassVar = BINARIZED

    def load(self) -> Source:
        return sprites.load()


@section
class TFDS(OnDisk):
    """A dataset of tensorflow-datasets."""

    tfds_name: str = host("", text, 'its name there, such as "fashion_mnist"')
    path: str = host("", path, 'its data folder; "": TFDS\'s own')

    def load(self) -> Source:
        return tfds.load(self.tfds_name, self.path, self.in_memory)


@section
class Binary(DatasetSection):
    """Images of 0 and 1."""

    usual: ClassVar = ("none", "bernoulli")

    def needs(self, config: Any) -> Iterator[str]:
        if config.dataset.binarization not in ("none", "auto"):
            yield (
                f"dataset.name = {config.values['dataset.name']!r} holds 0 and 1; "
                f"dataset.binarization = {config.dataset.binarization!r} should be 'none'"
            )


@section
class BinarizedMNIST(Binary):
    """The one fixed binarisation of MNIST (Larochelle and Murray 2011), in the package."""

    def load(self) -> Source:
        return binarized_mnist.load()


@section
class FromFiles(DatasetSection):
    """A data set of `PUBLISHED`."""

    path: str = host("", path, "the folder of its files")

    name: ClassVar = ""

    def load(self) -> Source:
        return load(self.name, PUBLISHED[self.name], self.path)


@section
class Caltech101Silhouettes(FromFiles, Binary):
    """Shapes of 101 kinds of things, 28 x 28, binary."""

    name: ClassVar = "caltech101_silhouettes"


@section
class CelebA(FromFiles):
    """Faces, aligned, their middle scaled to 64 x 64."""

    name: ClassVar = "celeba"


@section
class CIFAR10(FromFiles):
    """Photographs of ten kinds of things, 32 x 32."""

    name: ClassVar = "cifar10"


@section
class DSprites(FromFiles, Binary):
    """Shapes with five factors, 64 x 64, binary."""

    name: ClassVar = "dsprites"


@section
class FashionMNIST(FromFiles):
    """Clothes of ten kinds, 28 x 28, grey."""

    name: ClassVar = "fashion_mnist"
    usual: ClassVar = BINARIZED


@section
class FreyFaces(FromFiles):
    """Faces of one person, 28 x 20, grey."""

    name: ClassVar = "frey_faces"


@section
class Omniglot(FromFiles):
    """Characters of 50 alphabets, 28 x 28, in the split of Burda et al. 2015."""

    name: ClassVar = "omniglot"
    usual: ClassVar = BINARIZED


@section
class Shapes3D(FromFiles):
    """Solids in a room with six factors, 64 x 64."""

    name: ClassVar = "shapes3d"


@section
class SVHN(FromFiles):
    """Digits of house numbers, 32 x 32."""

    name: ClassVar = "svhn"


DATASETS: dict[str, type[DatasetSection]] = {
    "anndata": AnnData,
    "arrays": Arrays,
    "binarized_mnist": BinarizedMNIST,
    "caltech101_silhouettes": Caltech101Silhouettes,
    "celeba": CelebA,
    "cifar10": CIFAR10,
    "dsprites": DSprites,
    "fashion_mnist": FashionMNIST,
    "frey_faces": FreyFaces,
    "hugging_face": HuggingFace,
    "mnist": MNIST,
    "omniglot": Omniglot,
    "shapes3d": Shapes3D,
    "sprites": Sprites,
    "svhn": SVHN,
    "tfds": TFDS,
}


@section
class DatasetSpec:
    """The config's section `dataset`."""

    source: DatasetSection = family(
        DATASETS, "mnist", "where the images are from", key="name", interface=DatasetSection
    )
    validation_size: int = host(
        5_000,
        whole(1),
        "images, taken from the end of the training set; 0: 5,000, or a tenth of a small set",
        by_data=0,
    )
    binarization: str = host(
        "dynamic",
        name_in(BINARIZATIONS),
        "of grey values; auto: by what the images are",
        choices=BINARIZATIONS,
        by_data="auto",
    )
    binarization_seed: int = host(0, seed, "the seed of all that is sampled once")
    augmentations: tuple[Augmentation, ...] = families(
        AUGMENTATIONS,
        (),
        "changes of the training images, drawn anew for each minibatch; (): none",
        key="augmentation",
        interface=Augmentation,
    )
    num_labels: int = host(
        0,
        whole(0),
        "known training labels, equally many of each class; 0: all; for models that infer labels",
    )

    def needs(self, config: Any) -> Iterator[str]:
        if self.num_labels and not config.model.abilities.infers_labels:
            yield (
                f"dataset.num_labels = {self.num_labels} is for a model that infers labels, and "
                f"{config.model.named()} does not; it should be 0"
            )

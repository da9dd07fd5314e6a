"""A dataset ready for training: three splits of flattened images, and what identifies them."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.data.binarization import BLOCK, drawn_once, thresholded
from vae_jax.data.source import Source, checksum
from vae_jax.errors import UserError


class Split(NamedTuple):
    """images [n, d], uint8 or float32 in [0, 1]; labels [n] or None."""

    images: np.ndarray
    labels: np.ndarray | None


class Dataset(NamedTuple):
    """Three splits, d = height * width * channels.

    dynamic:  whether training images are still grey, to be drawn anew for every minibatch.
    binary:   whether every x that a model sees is 0 or 1.
    identity: what a result must be compared with equal values of: name, sizes, binarisation,
              checksum, key.
    """

    train: Split
    validation: Split
    test: Split
    image_shape: tuple[int, int, int]
    dynamic: bool
    binary: bool
    identity: dict[str, Any]


def dataset(
    source: Source,
    *,
    validation_size: int,
    binarization: str,
    binarization_seed: int,
) -> Dataset:
    """Splits and binarises `source`. The validation set is the end of the training set.

    Raises:
      UserError: a validation set that leaves no training images.
    """
    num_train = len(source.train_images) - validation_size
    if validation_size < 1 or num_train < 1:
        raise UserError(
            f"dataset.validation_size = {validation_size} should be at least 1 and leave training "
            f"images of the {len(source.train_images)} there are"
        )
    image_shape = source.train_images.shape[1:]
    size = math.prod(image_shape)
    train = source.train_images[:num_train].reshape(-1, size)
    validation = source.train_images[num_train:].reshape(-1, size)
    test = source.test_images.reshape(-1, size)

    keys = jax.random.split(jax.random.key(binarization_seed), 3)
    if binarization == "dynamic":
        validation, test = drawn_once(keys[1], validation), drawn_once(keys[2], test)
    elif binarization == "static":
        train, validation, test = (
            drawn_once(key, images)
            for key, images in zip(keys, (train, validation, test), strict=True)
        )
    elif binarization == "threshold":
        train, validation, test = map(thresholded, (train, validation, test))

    def labels_of(labels, part):
        return None if labels is None else labels[part]

    return Dataset(
        train=Split(train, labels_of(source.train_labels, slice(None, num_train))),
        validation=Split(validation, labels_of(source.train_labels, slice(num_train, None))),
        test=Split(test, source.test_labels),
        image_shape=image_shape,
        dynamic=binarization == "dynamic",
        binary=binarization != "none" or all(map(is_binary, (train, validation, test))),
        identity={
            "name": source.name,
            "train_size": num_train,
            "validation_size": validation_size,
            "test_size": len(test),
            "binarization": binarization,
            "binarization_seed": binarization_seed,
            "checksum": checksum(source),
        },
    )


def is_binary(images: np.ndarray) -> bool:
    """Whether every scaled value is exactly 0 or 1."""
    return bool(np.isin(images, (0, 255 if images.dtype == np.uint8 else 1)).all())


def mean_image(split: Split) -> np.ndarray:
    """The mean of each dimension over the split [d], float32 in [0, 1]."""
    mean = np.zeros(split.images.shape[1])
    for start in range(0, len(split.images), BLOCK):
        mean += split.images[start : start + BLOCK].sum(axis=0, dtype=np.float64)
    mean /= len(split.images)
    return (mean / 255 if split.images.dtype == np.uint8 else mean).astype(np.float32)

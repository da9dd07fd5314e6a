"""A dataset ready for training: three splits of flattened images, and their identity."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Key, UInt32

from vae_jax.data.binarization import BLOCK, sampled_once, threshold
from vae_jax.data.counts import log_totals
from vae_jax.data.covariates import Covariate, from_identity, names_of, sizes_of
from vae_jax.data.shapes import is_vector
from vae_jax.data.source import Source, checksum, is_binary
from vae_jax.data.stored import Images, Stored
from vae_jax.data.units import Units, from_record, units_of
from vae_jax.errors import UserError
from vae_jax.words import as_name

TRAIN, VALIDATION, TEST = SETS = range(3)


class Split(NamedTuple):
    """images [n, d], uint8 or float32; labels [n], -1 where one is hidden, or None.

    factors [n, f]: the factors that each image was made from, or None. conditions [n]: the number
    of its combination of covariates, or None. Training images may be
    stored ones, which are read as they are trained on; those of the other sets are in memory.
    """

    images: Any  # an array, or vae_jax.data.stored.Stored
    labels: np.ndarray | None
    factors: np.ndarray | None = None
    conditions: np.ndarray | None = None

    @property
    def given(self) -> np.ndarray | None:
        """What a conditional model is given [n]: the conditions, or else the labels."""
        return self.labels if self.conditions is None else self.conditions


class Dataset(NamedTuple):
    """Three splits, d = height * width * channels.

    dynamic:  whether training images are still grey and are binarised anew for every minibatch.
    binary:   whether every x that a model sees is 0 or 1.
    in_unit:  whether every x that a model sees lies in 0 to 1.
    num_classes: labels of the training set are below it; 0 if there are no labels.
    class_names: the names of the labels 0, 1, ...; () if they are not known.
    covariates: of the conditions; (): there are none.
    units: what the images were, before they were scaled; None: not known.
    notes: sentences about what was read, and what was not.
    identity: name, sizes, binarisation, checksum, key: results can be compared only if all of
              these are equal. With the units and the class names, it is what a run folder knows of
              its data.
    """

    train: Split
    validation: Split
    test: Split
    image_shape: tuple[int, int, int]
    dynamic: bool
    binary: bool
    identity: dict[str, Any]
    in_unit: bool = True
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    units: Units | None = None
    notes: tuple[str, ...] = ()
    covariates: tuple[Covariate, ...] = ()

    @property
    def given_sizes(self) -> tuple[int, ...]:
        """The levels of each covariate; without one, the number of classes."""
        return sizes_of(self.covariates) or (self.num_classes,)

    @property
    def num_given(self) -> int:
        """What `Split.given` is below."""
        return math.prod(self.given_sizes)

    @property
    def given_names(self) -> tuple[str, ...]:
        """The names of what `Split.given` can be."""
        if self.covariates:
            return names_of(self.covariates)
        return self.class_names or tuple(map(str, range(self.num_classes)))

    @property
    def is_streamed(self) -> bool:
        """Whether the training images stay on disk, and are read as they are trained on."""
        return isinstance(self.train.images, Stored)

    @property
    def is_counts(self) -> bool:
        """Whether x are counts of any size."""
        return self.units is not None and self.units.kind == "counts"

    @property
    def is_vectors(self) -> bool:
        """Whether the examples are vectors, not images."""
        return is_vector(self.image_shape)


def dataset(
    source: Source,
    *,
    validation_size: int,
    binarization: str,
    binarization_seed: int,
    num_labels: int = 0,
) -> Dataset:
    """Splits and binarises `source`. The validation set is the end of the training set.

    `num_labels` > 0 keeps that many training labels, equally many of each class; hides the rest.

    Raises:
      UserError: the validation set leaves no training images, or is not the source's own; data
        beyond 0 to 1 are to be binarised, or stored ones once; labels are to be hidden, but there
        are none, or too few of a class.
    """
    in_unit = all(in_range(images) for images in (source.train_images, source.test_images))
    refuse_unfit(source, validation_size, binarization, in_unit=in_unit)
    num_train = len(source.train_images) - validation_size
    image_shape = source.train_images.shape[1:]
    size = math.prod(image_shape)
    train = first_rows(source.train_images, num_train, size)
    validation = source.train_images[num_train:].reshape(-1, size)
    test = source.test_images.reshape(-1, size)

    def binarize(images: Any, set_number: int) -> np.ndarray:
        return binarized_once(images, binarization, binarization_seed, set_number)

    validation, test = binarize(validation, VALIDATION), binarize(test, TEST)
    if binarization != "dynamic":
        train = binarize(train, TRAIN)
    labels, validation_labels = split_rows(source.train_labels, num_train)
    factors, validation_factors = split_rows(source.train_factors, num_train)
    conditions, validation_conditions = split_rows(source.conditions.train, num_train)
    covariates = source.conditions.covariates
    num_classes = 0 if source.train_labels is None else int(source.train_labels.max()) + 1
    if num_labels:
        labels = hide_some(labels, num_labels, binarization_seed, source.name)
    units = source.units or units_of(source.train_images, source.test_images)
    identity = {
        "name": source.name,
        "train_size": num_train,
        "validation_size": validation_size,
        "test_size": len(test),
        "binarization": binarization,
        "binarization_seed": binarization_seed,
        "checksum": checksum(source),
        "image_shape": list(image_shape),
        "num_classes": num_classes,
        "units": units._asdict(),
        **({"class_names": list(source.class_names)} if source.class_names else {}),
        **({"num_labels": num_labels} if num_labels else {}),
        **({"covariates": [[name, list(own)] for name, own in covariates]} if covariates else {}),
    }
    return Dataset(
        train=Split(train, labels, factors, conditions),
        validation=Split(validation, validation_labels, validation_factors, validation_conditions),
        test=Split(test, source.test_labels, source.test_factors, source.conditions.test),
        image_shape=image_shape,
        dynamic=binarization == "dynamic",
        binary=binarization != "none" or all(map(is_binary, (source.train_images, test))),
        identity=identity,
        in_unit=in_unit,
        num_classes=num_classes,
        class_names=source.class_names,
        units=units,
        notes=tuple(map(as_name, source.notes)),
        covariates=covariates,
    )


def refuse_unfit(source: Source, validation_size: int, binarization: str, *, in_unit: bool) -> None:
    """Raises UserError if the source can't be binarised or split so, as `dataset` says."""
    if binarization != "none" and not in_unit:
        raise UserError(
            f"dataset.binarization = {binarization!r} is for data in 0 to 1, and those of "
            f"{source.name} go beyond; it should be 'none'"
        )
    once = [name for name in ("static", "threshold") if name == binarization]
    if once and isinstance(source.train_images, Stored):
        raise UserError(
            f"dataset.binarization = {once[0]!r} is of all training images at once, and they stay "
            "on disk; it should be 'dynamic' or 'none', or dataset.in_memory 'yes'"
        )
    if source.validation_size not in (0, validation_size):
        raise UserError(
            f"dataset.validation_size = {validation_size} should be 0: {source.name} has a "
            f"validation set of its own, of {source.validation_size:,} images"
        )
    if not 1 <= validation_size < len(source.train_images):
        raise UserError(
            f"dataset.validation_size = {validation_size} should be at least 1 and leave training "
            f"images of the {len(source.train_images)} there are"
        )


def first_rows(images: Images, n: int, size: int) -> Images:
    """The first n images, as [n, size]; stored ones are not read."""
    if isinstance(images, Stored):
        return images.part(0, n).flattened()
    return images[:n].reshape(-1, size)


def split_rows(array: np.ndarray | None, n: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The first n rows, and the others; None of an array that is not there."""
    return (None, None) if array is None else (array[:n], array[n:])


@jax.jit
def set_key(seed: UInt32[Array, ""], set_number: Int[Array, ""]) -> Key[Array, ""]:
    """The key of the noise of a set. One program: eager operations on keys would be five."""
    return jax.random.split(jax.random.key(seed), len(SETS))[set_number]


def binarized_once(images: np.ndarray, binarization: str, seed: int, set_number: int) -> np.ndarray:
    """The images [n, d] of a set that is binarised once; its noise depends on (seed, set) alone."""
    if binarization in ("dynamic", "static"):
        return sampled_once(set_key(np.uint32(seed), np.int32(set_number)), images)
    return threshold(images) if binarization == "threshold" else images


def without_images(identity: dict[str, Any]) -> Dataset:
    """A dataset of that identity whose images are all 0, and take no memory.

    It stands for one that is gone, where its sizes are enough. Its labels are the classes in turn,
    its conditions too.
    """
    shape = height, width, channels = identity["image_shape"]
    pixel, num_classes = np.zeros((), np.uint8), identity["num_classes"]
    covariates = from_identity(identity.get("covariates", ()))

    def split(size: int) -> Split:
        labels = np.arange(size) % num_classes if num_classes else None
        number = math.prod(sizes_of(covariates))
        conditions = np.arange(size) % number if covariates else None
        images = np.broadcast_to(pixel, (size, math.prod(shape)))
        return Split(images, labels, None, conditions)

    return Dataset(
        split(identity["train_size"]),
        split(identity["validation_size"]),
        split(identity["test_size"]),
        (height, width, channels),
        dynamic=identity["binarization"] == "dynamic",
        binary=True,
        identity=identity,
        num_classes=num_classes,
        class_names=tuple(map(str, identity.get("class_names", ()))),
        units=from_record(identity.get("units")),
        covariates=covariates,
    )


BESIDE = ("name", "num_classes", "class_names", "units")  # what does not make data others


def other_data(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line for each difference of two identities; none if they are the same data.

    The name may change, as the data may be moved; earlier versions wrote fewer entries. The
    checksum is of what a model sees: it says more than the classes and the units.
    """
    different = [key for key in old if key not in BESIDE and old[key] != new.get(key)]
    return [f"{key}: {old[key]!r} there, {new.get(key)!r} here" for key in different]


LEAST_SPREAD = 1e-3  # of images that are all alike
MOST_NAMES, MOST_LETTERS = 8, 40  # of classes that are said
COLOURS = {1: "grey", 3: "colour"}


def described(data: Dataset) -> str:
    """How many images there are, of which size, and what the pixels that a model sees are."""
    n = len(data.train.images) + len(data.validation.images)
    height, width, channels = data.image_shape
    kind = COLOURS.get(channels, f"{channels}-channel")
    low, high = data.train.images.min(), data.train.images.max()
    if data.is_counts:
        pixels = f"{low} to {high:,}, counts"
    elif data.binary:
        pixels = "0 or 1" + ", sampled anew for every minibatch" * data.dynamic
    elif data.train.images.dtype == np.uint8:
        is_grey = channels == 1 and not data.is_vectors
        pixels = f"{low} to {high}, levels of grey" if is_grey else f"{low} to {high}, levels"
    else:
        pixels = f"{low:.3g} to {high:.3g}, real numbers"
    sort, values = f"{kind} images, {height} x {width}", "pixels"
    if data.is_vectors:
        sort, values = f"vectors of {width:,} variables", "values"
    return f"{n:,} {sort}; {len(data.validation.images):,} kept for validation; {values} {pixels}"


def classes(data: Dataset) -> str:
    """How many classes there are, their names, and how many images have none, and the covariates;
    "": no labels and no covariates."""
    covariates = ", ".join(
        f"{as_name(name)[:MOST_LETTERS]} of {len(levels):,} levels"
        for name, levels in data.covariates
    )
    return classes_said(data) + (f"; covariates: {covariates}" if covariates else "")


def classes_said(data: Dataset) -> str:
    """How many classes there are, their names, and how many images have none; "": no labels."""
    if data.train.labels is None:
        return ""
    names = data.class_names or tuple(map(str, range(data.num_classes)))
    some = ", ".join(as_name(name)[:MOST_LETTERS] for name in names[:MOST_NAMES])
    some += ", ..." * (len(names) > MOST_NAMES)
    unknown = int((data.train.labels < 0).sum())
    return f"; {len(names):,} class{'es' * (len(names) != 1)}: {some}" + (
        f"; {unknown:,} labels are not known (-1)" if unknown else ""
    )


def in_range(images: Images) -> bool:
    """Whether every scaled value lies in 0 to 1."""
    return images.dtype == np.uint8 or bool(images.min() >= 0 and images.max() <= 1)


def hide_some(labels: np.ndarray | None, num_labels: int, seed: int, name: str) -> np.ndarray:
    """The labels, all but `num_labels` set to -1; the seed picks equally many of each class."""
    if labels is None or labels.max() < 0:
        raise UserError(f"dataset.num_labels = {num_labels} needs labels, and {name} has none")
    classes = np.unique(labels[labels >= 0])  # -1 is hidden already
    each, left = divmod(num_labels, len(classes))
    if left:
        raise UserError(
            f"dataset.num_labels = {num_labels} should be as many of each of the {len(classes)} "
            "classes"
        )
    rng = np.random.default_rng(seed)
    hidden = np.full_like(labels, -1)
    for label in classes:
        rows = np.flatnonzero(labels == label)
        if len(rows) < each:
            raise UserError(
                f"dataset.num_labels = {num_labels} should be at most the labels there are; "
                f"class {label} has {len(rows)}"
            )
        hidden[rng.choice(rows, each, replace=False)] = label
    return hidden


def mean_image(split: Split) -> np.ndarray:
    """The mean of each dimension over the split [d], float32 in [0, 1]."""
    n = len(split.images)
    if isinstance(split.images, Stored):
        origin_d, sums_d, _ = split.images.moments()
        mean = origin_d + sums_d / n
    else:
        mean = np.zeros(split.images.shape[1])
        for start in range(0, n, BLOCK):
            mean += split.images[start : start + BLOCK].sum(axis=0, dtype=np.float64)
        mean /= n
    return (mean / 255 if split.images.dtype == np.uint8 else mean).astype(np.float32)


def log_total(split: Split) -> tuple[np.float32, np.float32]:
    """The mean and the standard deviation of the logs of the totals of counts [n, d]."""
    images = split.images
    if isinstance(images, Stored):
        log_n = images.log_totals
    else:
        starts = range(0, len(images), BLOCK)
        log_n = np.concatenate([log_totals(images[i : i + BLOCK]) for i in starts])
    return np.float32(log_n.mean()), np.float32(max(log_n.std(), LEAST_SPREAD))


def spread(split: Split, mean_d: np.ndarray) -> np.float32:
    """The root mean square deviation of the pixels from their means, in units of x."""
    images, total = split.images, 0.0
    if isinstance(images, Stored):
        _, sums_d, squares = images.moments()
        total = squares - float(np.square(sums_d).sum()) / len(images)
        total /= 255**2 if images.dtype == np.uint8 else 1
    else:
        for start in range(0, len(images), BLOCK):
            block = images[start : start + BLOCK].astype(np.float64)
            block = block / 255 if images.dtype == np.uint8 else block
            total += np.square(block - mean_d).sum()
    return np.float32(max(math.sqrt(max(total, 0.0) / images.size), LEAST_SPREAD))

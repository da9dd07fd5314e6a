"""Raw images and labels, before splitting and binarisation."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.counts import as_counts, in_one_type, is_counts, refuse_no_counts
from vae_jax.data.covariates import Conditions, conditions_of
from vae_jax.data.labels import UNKNOWN, Labels, checked_labels, number_classes
from vae_jax.data.shapes import image_shape_of, refuse_shape
from vae_jax.data.stored import Images, Stored
from vae_jax.data.units import Units, has_two_values, in_units, units_of
from vae_jax.errors import UserError
from vae_jax.words import reason

STORED = "stored:"  # begins the checksum of images that were not read
NOT_FINITE = "{} holds NaN or infinite values; it should hold numbers, finite in float32"


class Source(NamedTuple):
    """Images [n, height, width, channels]: uint8, float32, or uint16 or int32 of counts; labels [n]
    or None. Vectors have height 1 and one channel."""

    name: str  # the name in results
    train_images: Any  # an array, or vae_jax.data.stored.Stored
    train_labels: np.ndarray | None
    test_images: np.ndarray
    test_labels: np.ndarray | None
    train_factors: np.ndarray | None = None  # [n, f]: whole numbers that made each image
    test_factors: np.ndarray | None = None
    class_names: tuple[str, ...] = ()  # of the labels 0, 1, ...; (): not known
    class_values: tuple[int, ...] = ()  # the labels that they were given as; (): 0, 1, ...
    units: Units | None = None  # of the images as they were given; None: as they are here
    validation_size: int = 0  # training images, the last, that are a validation set; 0: any
    notes: tuple[str, ...] = ()  # what was read, and what was not, in sentences
    conditions: Conditions = Conditions()  # by covariates, which are apart from the labels


def kind(source: Source) -> str:
    """What the pixels are: "binary" (0 or 1), "levels" (uint8), "counts" or "real"."""
    if all(map(is_binary, (source.train_images, source.test_images))):
        return "binary"
    if is_counts(source.train_images.dtype):
        return "counts"
    return "levels" if source.train_images.dtype == np.uint8 else "real"


def is_binary(images: Images) -> bool:
    """Whether every scaled value is exactly 0 or 1."""
    return not is_counts(images.dtype) and has_two_values(
        images, 255 if images.dtype == np.uint8 else 1
    )


def checksum(source: Source) -> str:
    """The sha256 of every array's type, shape and bytes; equal only for equal sources.

    Labels count as the numbers that they were given as. Of stored images, it is not the bytes that
    count, but what their file says of itself; the checksum says so.
    """
    digest = hashlib.sha256()
    values = np.array([*source.class_values, UNKNOWN], np.int64)

    def as_given(labels: np.ndarray | None) -> np.ndarray | None:
        return labels if labels is None or not source.class_values else values[labels]

    arrays = source._replace(
        train_labels=as_given(source.train_labels), test_labels=as_given(source.test_labels)
    )
    for array in (*arrays[1:7], *source.conditions[:2]):
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
        if isinstance(array, Stored):
            digest.update(array.identity.encode())
        elif array is not None:
            digest.update(np.ascontiguousarray(array).data)
    if source.conditions.covariates:
        digest.update(repr(source.conditions.covariates).encode())
    return STORED * isinstance(source.train_images, Stored) + digest.hexdigest()


def as_array(given: Any, where: str) -> np.ndarray:
    """An array of what was given, such as lists of lists, a DataFrame or a sparse matrix.

    Raises:
      UserError: it has no one shape; `where` names it.
    """
    try:
        return np.asarray(given.toarray() if hasattr(given, "toarray") else given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} can't be made an array ({reason(error)})") from error


def checked_images(images: Any, where: str) -> Any:
    """`images` as [n, height, width, channels]: booleans, uint8, float32, or counts; stored ones
    stay so.

    Raises:
      UserError: another shape or type, or a value that is not finite in float32; `where` names the
        array.
    """
    if isinstance(images, Stored):
        return checked_stored(images, where)
    refuse_shape(images.shape, where)
    images = images.reshape(len(images), *image_shape_of(images.shape))
    if images.dtype in (bool, np.uint8):
        return images
    if images.dtype.kind in "iu":
        return as_counts(images, where)
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(
            f"{where} holds {images.dtype}; it should hold uint8, 0 to 255, floats, or counts"
        )
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise UserError(NOT_FINITE.format(where))
    return images


def checked_stored(images: Stored, where: str) -> Stored:
    """Stored images, as `checked_images` has them."""
    refuse_shape(images.shape, where)
    if is_counts(images.dtype):
        refuse_no_counts(images, where)
    if not images.facts.finite:
        raise UserError(NOT_FINITE.format(where))
    return images


def checked_source(
    train_images: Images,
    train_labels: Any,
    test_images: np.ndarray,
    test_labels: Any,
    name: str,
    class_names: Sequence[str] = (),
    train_covariates: Any = None,
    test_covariates: Any = None,
    covariate_names: Sequence[str] = (),
) -> Source:
    """A Source of arrays from outside, each checked; errors name the source.

    uint8 images of 0 and 1, and booleans, are binary: they become 0 and 255. Labels that are names,
    or other numbers than 0, 1, ..., become these.

    Args:
      class_names: of the labels 0, 1, ..., where they are known; the labels are those numbers.
      train_covariates, test_covariates: [n] or [n, c], names or whole numbers; None: none.
      covariate_names: of these c; (): not known.
    """
    train_images = checked_images(train_images, f"{name}: train_images")
    test_images = checked_images(test_images, f"{name}: test_images")
    train_images, test_images = in_one_type(train_images, test_images)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(
            f"{name}: train_images are {train_images.shape[1:]} and test_images "
            f"{test_images.shape[1:]}; both should have one (height, width, channels)"
        )
    if train_images.dtype != test_images.dtype:
        raise UserError(
            f"{name}: train_images are {train_images.dtype} and test_images "
            f"{test_images.dtype}; both should have one type"
        )
    units = units_of(train_images, test_images)
    labels = Labels(
        checked_labels(train_labels, len(train_images), f"{name}: train_labels"),
        checked_labels(test_labels, len(test_images), f"{name}: test_labels"),
        tuple(class_names),
    )
    if not class_names:
        labels = number_classes(labels.train, labels.test, name)
    return Source(
        name,
        in_units(train_images, units, f"{name}: train_images"),
        labels.train,
        in_units(test_images, units, f"{name}: test_images"),
        labels.test,
        class_names=labels.class_names,
        class_values=labels.values,
        units=units,
        conditions=conditions_of(
            train_covariates,
            test_covariates,
            (len(train_images), len(test_images)),
            name,
            covariate_names,
        ),
    )

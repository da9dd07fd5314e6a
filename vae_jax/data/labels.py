"""Labels: the classes that they name, and their numbers 0, 1, ..."""

from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import UserError
from vae_jax.sections.checks import written
from vae_jax.words import reason

MOST_NAMES = 8  # of classes in a message
UNKNOWN = -1  # the label of an image whose class is not known
WHOLE = (-(2**63), 2**63 - 1024)  # also as floats


class Labels(NamedTuple):
    """Labels of the training and the test images, as numbers of classes.

    values: the whole numbers that classes had; (): they were these numbers, or names.
    """

    train: np.ndarray | None
    test: np.ndarray | None
    class_names: tuple[str, ...] = ()  # of the classes 0, 1, ...; (): their numbers
    values: tuple[int, ...] = ()


def as_labels(labels: Any, where: str) -> np.ndarray:
    """Labels as an array of whole numbers or of texts.

    Args:
      labels: a list, an array or a pandas Series: whole numbers, booleans or names.

    Raises:
      UserError: they are something else; `where` names them.
    """
    try:
        array = np.asarray(labels)
        listed = isinstance(labels, list | tuple) or array.dtype.kind == "O"
        if array.dtype.kind == "O":
            array = np.asarray(array.tolist())
        if listed and array.dtype.kind == "U" and not all(isinstance(x, str) for x in labels):
            raise ValueError("some are texts, and some are not")
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        if array.dtype.kind not in "iubfUT":
            raise ValueError(f"they are {array.dtype}")
        if array.dtype.kind in "UT":
            return array.astype(str)
    except UnicodeDecodeError as error:
        raise UserError(f"{where} are bytes that are no UTF-8; give texts, or numbers") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} should be whole numbers or names ({reason(error)})") from error
    whole = array.dtype.kind != "f" or (np.isfinite(array).all() and not (array % 1).any())
    if not whole:
        raise UserError(
            f"{where} are {array.dtype} that are not all whole numbers; they should be, and -1 "
            "where one is not known"
        )
    if array.size and not WHOLE[0] <= array.min() <= array.max() <= WHOLE[1]:
        raise UserError(f"{where} go up to {array.max()}; they should be below 2**63, or names")
    return array


def checked_labels(labels: Any, num_examples: int, where: str) -> np.ndarray | None:
    """Labels as `as_labels` gives them, one an image; None where there are none.

    Raises:
      UserError: another number of them, or they are neither whole numbers nor names.
    """
    if labels is None:
        return None
    array = as_labels(labels, where)
    if array.shape != (num_examples,):
        raise UserError(
            f"{where} is {array.dtype} of shape {array.shape}; it should be integers or names of "
            f"shape ({num_examples},), one for each image"
        )
    return array if array.dtype.kind == "U" else array.astype(np.int64)


def in_order(names: set[str]) -> list[str]:
    """Names in alphabetical order; whole numbers, such as 2 and 10, by their value."""
    if all(is_whole(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def is_whole(name: str) -> bool:
    """Whether a name is a whole number."""
    digits = name.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19


def number_classes(train: np.ndarray | None, test: np.ndarray | None, name: str) -> Labels:
    """The labels as numbers of classes: 0, 1, ..., in the order of names or values.

    Labels that are these numbers stay as they are; -1 always does.

    Raises:
      UserError: some are names, and some numbers.
    """
    given = [labels for labels in (train, test) if labels is not None]
    if not given:
        return Labels(train, test)
    kinds = {labels.dtype.kind for labels in given}
    if len(kinds) > 1:
        raise UserError(f"{name}: some labels are names, and some are numbers; give one kind")
    known = np.unique(np.concatenate(given))
    if kinds == {"U"}:
        names = in_order(set(known.tolist()))
        index = {name: i for i, name in enumerate(names)}
        numbers = np.array([index[name] for name in known.tolist()])
        values: list[int] = []
    else:
        known = known[known != UNKNOWN]
        if np.array_equal(known, np.arange(len(known))):
            return Labels(train, test)
        values = known.tolist()
        names, numbers = [str(value) for value in values], np.arange(len(known))

    def number(labels: np.ndarray | None) -> np.ndarray | None:
        if labels is None or not len(numbers):
            return labels
        classes = numbers[np.searchsorted(known, labels).clip(max=len(known) - 1)]
        return classes if kinds == {"U"} else np.where(labels == UNKNOWN, UNKNOWN, classes)

    return Labels(number(train), number(test), tuple(names), tuple(values))


def classes_of(labels: Any, n: int, class_names: tuple[str, ...]) -> np.ndarray:
    """The classes [n] that labels name: 0, 1, ... in the order of `class_names`.

    Numbers are those that were given at training: where all names are whole numbers, they are
    these; else the classes.

    Raises:
      UserError: another number of labels, or one that the model was not trained on.
    """
    given = as_labels(labels, "labels")
    given = given[None] if given.ndim == 0 and n == 1 else given
    if given.shape != (n,):
        raise UserError(
            f"labels are {given.dtype} of shape {given.shape}; they should be whole numbers or "
            f"names of shape ({n},)"
        )
    numbered = all(map(is_whole, class_names))
    known: dict[Any, int] = {
        int(name) if numbered else i: i for i, name in enumerate(class_names)
    } | {name: i for i, name in enumerate(class_names)}
    for label in dict.fromkeys(given.tolist()):
        if label not in known:
            more = ", ..." * (len(class_names) > MOST_NAMES)
            raise UserError(
                f"label {written(label)} is no class that the model was trained on; they are "
                f"{', '.join(class_names[:MOST_NAMES])}{more}"
            )
    return np.array([known[label] for label in given.tolist()], np.int32)

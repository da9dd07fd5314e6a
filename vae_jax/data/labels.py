"""Labels: the classes that they name, and their numbers 0, 1, ..."""

from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import UserError

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
        found = np.asarray(labels)
        listed = isinstance(labels, list | tuple) or found.dtype.kind == "O"
        if found.dtype.kind == "O":
            found = np.asarray(found.tolist())
        if listed and found.dtype.kind == "U" and not all(isinstance(own, str) for own in labels):
            raise ValueError("some are texts, and some are not")
        if found.dtype.kind == "S":
            found = np.char.decode(found, "utf-8")
        if found.dtype.kind not in "iubfUT":
            raise ValueError(f"they are {found.dtype}")
        if found.dtype.kind in "UT":
            return found.astype(str)
    except UnicodeDecodeError as error:
        raise UserError(f"{where} are bytes that are no UTF-8; give texts, or numbers") from error
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where} should be whole numbers or names ({reason})") from error
    whole = found.dtype.kind != "f" or (np.isfinite(found).all() and not (found % 1).any())
    if not whole:
        raise UserError(
            f"{where} are {found.dtype} that are not all whole numbers; they should be, and -1 "
            "where one is not known"
        )
    if found.size and not WHOLE[0] <= found.min() <= found.max() <= WHOLE[1]:
        raise UserError(f"{where} go up to {found.max()}; they should be below 2**63, or names")
    return found


def checked_labels(labels: Any, num_examples: int, where: str) -> np.ndarray | None:
    """Labels as `as_labels` gives them, one an image; None where there are none.

    Raises:
      UserError: another number of them, or they are neither whole numbers nor names.
    """
    if labels is None:
        return None
    found = as_labels(labels, where)
    if found.shape != (num_examples,):
        raise UserError(
            f"{where} is {found.dtype} of shape {found.shape}; it should be integers or names of "
            f"shape ({num_examples},), one a training image or one a test image"
        )
    return found if found.dtype.kind == "U" else found.astype(np.int64)


def in_order(names: set[str]) -> list[str]:
    """Names in alphabetical order; whole numbers, such as 2 and 10, by their value."""
    if all(is_whole(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def is_whole(name: str) -> bool:
    """Whether a name is a whole number."""
    digits = name.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19


def numbered(train: np.ndarray | None, test: np.ndarray | None, name: str) -> Labels:
    """The labels as numbers of classes: 0, 1, ..., in the order of names or values.

    Labels that are these numbers stay as they are; -1 always does.

    Raises:
      UserError: some are names, and some numbers.
    """
    given = [own for own in (train, test) if own is not None]
    if not given:
        return Labels(train, test)
    kinds = {own.dtype.kind for own in given}
    if len(kinds) > 1:
        raise UserError(f"{name}: some labels are names, and some are numbers; give one kind")
    found = np.unique(np.concatenate(given))
    if kinds == {"U"}:
        names = in_order(set(found.tolist()))
        at = {own: i for i, own in enumerate(names)}
        known, numbers = found, np.array([at[own] for own in found.tolist()])
        values: list[int] = []
    else:
        known = found[found != UNKNOWN]
        if np.array_equal(known, np.arange(len(known))):
            return Labels(train, test)
        values = known.tolist()
        names, numbers = [str(own) for own in values], np.arange(len(known))

    def number(labels):
        if labels is None or not len(numbers):
            return labels
        own = numbers[np.searchsorted(known, labels).clip(max=len(known) - 1)]
        return own if kinds == {"U"} else np.where(labels == UNKNOWN, UNKNOWN, own)

    return Labels(number(train), number(test), tuple(names), tuple(values))

"""Covariates: what a conditional model is given of an example beside x, such as batch and donor.

Each combination of their levels is a condition: a number 0, 1, ..., in the order of the levels, the
last covariate fastest. A model has it as one-hot levels, one covariate after the other.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.labels import as_labels, in_order
from vae_jax.errors import UserError

BETWEEN = " / "  # the levels in the name of a condition
MOST = 100_000  # conditions


class Covariate(NamedTuple):
    """A covariate, and what it can be."""

    name: str
    levels: tuple[str, ...]


class Conditions(NamedTuple):
    """The conditions [n] of the training and the test examples; None: there are no covariates."""

    train: np.ndarray | None = None
    test: np.ndarray | None = None
    covariates: tuple[Covariate, ...] = ()


def rows_of(given: Any, where: str) -> np.ndarray:
    """Covariates as texts [n, c].

    Args:
      given: [n] or [n, c], or a DataFrame: names, or whole numbers.

    Raises:
      UserError: they are something else; `where` names them.
    """
    if isinstance(given, list | tuple) and any(isinstance(row, list | tuple) for row in given):
        given = np.array(given, object)  # names beside numbers stay what they are
    array = np.asarray(given)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.shape[1]:
        raise UserError(
            f"{where} have shape {array.shape}; they should be (n,), or (n, c): c for each example"
        )
    columns = [as_labels(column, where) for column in array.T]
    whole = [c if c.dtype.kind == "U" else c.astype(np.int64) for c in columns]
    return np.stack([column.astype(str) for column in whole], axis=1)


def conditions_of(
    train: Any, test: Any, sizes: tuple[int, int], where: str, names: Sequence[str] = ()
) -> Conditions:
    """The conditions of a source; `sizes`: how many training and test examples there are.

    Args:
      train, test: [n] or [n, c], as `rows_of` has them; both None: there are none.
      names: of the covariates; (): their numbers.

    Raises:
      UserError: one is missing; another number of them; too many combinations.
    """
    if train is None and test is None:
        return Conditions()
    if train is None or test is None:
        missing = "train" if train is None else "test"
        raise UserError(f"{where} has no {missing}_covariates, and those of the other set")
    both = rows_of(train, f"{where}: train_covariates"), rows_of(test, f"{where}: test_covariates")
    if tuple(map(len, both)) != sizes or both[0].shape[1] != both[1].shape[1]:
        raise UserError(
            f"{where}: the covariates have shapes {both[0].shape} and {both[1].shape}; they should "
            f"be ({sizes[0]}, c) and ({sizes[1]}, c), a row for each example"
        )
    rows = np.concatenate(both)
    names = names or [f"covariate {i}" for i in range(rows.shape[1])]
    covariates, columns = [], []
    for name, column in zip(names, rows.T, strict=True):
        levels, numbers = np.unique(column, return_inverse=True)
        ordered = in_order(set(levels.tolist()))
        covariates.append(Covariate(name, tuple(ordered)))
        columns.append(np.array([ordered.index(level) for level in levels.tolist()])[numbers])
    refuse_unnamed(covariates, where)
    found = np.ravel_multi_index(columns, sizes_of(covariates))
    return Conditions(found[: sizes[0]], found[sizes[0] :], tuple(covariates))


def refuse_unnamed(covariates: Sequence[Covariate], where: str) -> None:
    """Raises UserError for too many combinations, or for those that would have one name."""
    number = math.prod(sizes_of(covariates))
    if number > MOST:
        sizes = " x ".join(map(str, sizes_of(covariates)))
        raise UserError(
            f"{where}: the covariates have {sizes} = {number:,} combinations; at most {MOST:,} are "
            "possible: leave one out, or join levels"
        )
    levels = [level for covariate in covariates for level in covariate.levels]
    if len(covariates) > 1 and any(BETWEEN in level for level in levels):
        raise UserError(f"{where}: a level of a covariate has {BETWEEN!r} in its name; rename it")


def sizes_of(covariates: Sequence[Covariate]) -> tuple[int, ...]:
    """The number of levels of each covariate."""
    return tuple(len(covariate.levels) for covariate in covariates)


def levels_of(conditions: np.ndarray, covariates: Sequence[Covariate]) -> tuple[np.ndarray, ...]:
    """The number of the level [n] of each covariate."""
    return np.unravel_index(conditions, sizes_of(covariates))


def names_of(covariates: Sequence[Covariate]) -> tuple[str, ...]:
    """The name of each condition: its levels, such as "batch 1 / donor 3"."""
    names = [""]
    for i, covariate in enumerate(covariates):
        between = BETWEEN if i else ""
        names = [f"{name}{between}{level}" for name in names for level in covariate.levels]
    return tuple(names)


def named_rows(given: Any) -> Any:
    """Rows of covariates [n, c] as the names of their conditions [n]; what is no row stays."""
    is_row = np.ndim(given) == 2 if not isinstance(given, list | tuple) else False
    is_list = isinstance(given, list | tuple) and any(np.ndim(row) == 1 for row in given)
    if not (is_row or is_list):
        return given
    return [BETWEEN.join(row) for row in rows_of(given, "labels").tolist()]


def from_identity(record: Any) -> tuple[Covariate, ...]:
    """The covariates, as the identity of a dataset has them."""
    return tuple(Covariate(str(name), tuple(map(str, levels))) for name, levels in record)

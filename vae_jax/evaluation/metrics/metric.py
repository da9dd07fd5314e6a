"""What a metric is."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.dataset import Dataset, Split
from vae_jax.models.model import ModelHyper

Arrays = dict[str, np.ndarray]  # [lanes, n, ...], an entry an example
Numbers = dict[str, Any]  # of a lane, for results.json; a list: of its latent units


class Column(NamedTuple):
    """One of a lane's numbers, as the tables show it."""

    name: str
    digits: int = 2
    of_likelihood: bool = False  # "pseudo-" where the likelihood is


class Subject(NamedTuple):
    """The lanes that are measured, and what they were trained on."""

    values: dict[str, Any]  # their config; of what lanes differ in, the first lane's
    settings: tuple[dict[str, Any], ...]  # each lane's swept keys and their values
    data: Dataset
    model_hyper: ModelHyper  # with a leading axis of lanes
    folder: Path  # where what is measured is kept


class Metric(NamedTuple):
    """What is measured of each example, and what that comes to.

    measure: (spec, hyper, model, params, key, x [1, d]) -> {name: [1, ...]}, as examples.py has it.
    summary: (the arrays of all lanes and examples, subject) -> each lane's numbers.
    columns: which of the numbers the tables show.
    cost:    subject -> what an example takes, in words.
    spec:    subject -> measure's static choice: all that the numbers depend on but the params.
    at_once: subject -> examples side by side on a device; 0: a batch of the evaluation's.
    inputs:  subject -> the examples.
    stream:  the metric whose noise it takes; "": its own.
    needs:   metrics that are measured first.
    model_hyper: (subject, {metric: arrays} of `needs`) -> that of the model that is measured.
    """

    measure: Callable[..., dict[str, Any]]
    summary: Callable[[Arrays, Subject], list[Numbers]]
    columns: tuple[Column, ...]
    cost: Callable[[Subject], str]
    spec: Callable[[Subject], Hashable] = lambda subject: None
    at_once: Callable[[Subject], int] = lambda subject: 0
    inputs: Callable[[Subject], Split] = lambda subject: subject.data.test
    stream: str = ""
    needs: tuple[str, ...] = ()
    model_hyper: Callable[[Subject, dict[str, Arrays]], ModelHyper] = lambda subject, kept: (
        subject.model_hyper
    )


def lane_by_lane(
    summary: Callable[[Arrays, Subject], Numbers],
) -> Callable[[Arrays, Subject], list]:
    """The summary of all lanes, of one that sees a lane's arrays [n, ...] alone."""

    def of_all(arrays: Arrays, subject: Subject) -> list[Numbers]:
        lanes = range(len(subject.settings))
        return [summary({name: leaf[i] for name, leaf in arrays.items()}, subject) for i in lanes]

    of_all.__doc__ = summary.__doc__
    return of_all


def standard_error(values_n: np.ndarray) -> float:
    """Of the mean, from the values' own spread; NaN for fewer than two."""
    if len(values_n) < 2:
        return np.nan
    return float(np.std(values_n, ddof=1) / np.sqrt(len(values_n)))


def first(split: Split, n: int) -> Split:
    """Its first n examples."""
    labels, factors = (None if part is None else part[:n] for part in split[1:])
    return Split(split.images[:n], labels, factors)

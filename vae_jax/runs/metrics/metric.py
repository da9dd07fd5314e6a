"""What a metric is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vae_jax.data.dataset import Split
from vae_jax.models.model import ModelHyper

if TYPE_CHECKING:
    from vae_jax.runs.plan import Run

FOLDER = "evaluation"  # of the run folder: where what is measured is kept

Arrays = dict[str, np.ndarray]  # [lanes, n, ...], an entry an example
Numbers = dict[str, Any]  # of a lane, for results.json; a list: of its latent units


class Column(NamedTuple):
    """One of a lane's numbers, as the tables show it."""

    name: str
    digits: int = 2
    of_likelihood: bool = False  # "pseudo-" where the likelihood is


class Metric(NamedTuple):
    """What is measured of each example, and what that comes to.

    measure: (spec, hyper, model, params, key, x [1, d]) -> {name: [1, ...]}, as examples.py has it.
    summary: (the arrays of all lanes and examples, run) -> each lane's numbers.
    columns: which of the numbers the tables show.
    cost:    run -> what an example takes, in words.
    spec:    run -> measure's static choice, and all that the numbers depend on beside the params.
    at_once: run -> examples side by side on a device; 0: a batch of the evaluation's.
    inputs:  run -> the examples.
    stream:  the metric whose noise it takes; "": its own.
    needs:   metrics that are measured first.
    model_hyper: (run, {metric: arrays} of `needs`) -> that of the model that is measured.
    """

    measure: Callable[..., dict[str, Any]]
    summary: Callable[[Arrays, Run], list[Numbers]]
    columns: tuple[Column, ...]
    cost: Callable[[Run], str]
    spec: Callable[[Run], Hashable] = lambda run: None
    at_once: Callable[[Run], int] = lambda run: 0
    inputs: Callable[[Run], Split] = lambda run: run.data.test
    stream: str = ""
    needs: tuple[str, ...] = ()
    model_hyper: Callable[[Run, dict[str, Arrays]], ModelHyper] = lambda run, kept: run.hyper.model


def lane_by_lane(summary: Callable[[Arrays, Run], Numbers]) -> Callable[[Arrays, Run], list]:
    """The summary of all lanes, of one that sees a lane's arrays [n, ...] alone."""

    def of_all(arrays: Arrays, run: Run) -> list[Numbers]:
        lanes = range(len(run.lanes))
        return [summary({name: leaf[i] for name, leaf in arrays.items()}, run) for i in lanes]

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

"""What a metric gives; interface.py says what it is."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from vae_jax.data.dataset import Dataset, Split
from vae_jax.models import ModelSpec
from vae_jax.words import to_install

Arrays = dict[str, np.ndarray]  # [lanes, n, ...], an entry an example
Numbers = dict[str, Any]  # of a lane, for results.json; a list holds one number per latent unit

ACTIVE_OF_LAYER = "active_layer_"  # and the layer's name: its active units, where several have one


class Column(NamedTuple):
    """One of a lane's numbers, as the tables show it."""

    name: str
    digits: int = 2
    of_likelihood: bool = False  # "pseudo-" where the likelihood is
    images: str = ""  # the number that says of how many images it is; "": of the test set


class Subject(NamedTuple):
    """The lanes that are measured, and what they were trained on."""

    settings: tuple[dict[str, Any], ...]  # each lane's swept keys and their values
    # Of each lane, whose arrays may be padded to a larger one; 0: several layers, never padded.
    latent_sizes: tuple[int, ...]
    data: Dataset
    model: ModelSpec  # with a leading axis of lanes
    folder: Path  # where what is measured is kept
    seed: int  # of what is sampled once of the data

    @property
    def lane(self) -> ModelSpec:
        """The model of the first lane; others may have other numbers, but no other shapes."""
        return jax.tree.map(lambda leaf: leaf[0], self.model)


class Trial(NamedTuple):
    """A shorter measurement, whose time tells that of the whole."""

    section: Any  # of the metric
    part: float  # of the work of the whole


class Metric(NamedTuple):
    """How to measure each example, and how to summarise the measurements.

    measure: (section, model, variables, key, x [1, d], y [1] or None) -> {name: [1, ...]}.
    summary: (the arrays of all lanes and examples, subject) -> each lane's numbers.
    cost:    the cost of an example, in words.
    at_once: examples measured in parallel on a device; 0: evaluation.batch_size.
    inputs:  the examples; None: the test set.
    stream:  the metric whose noise it shares; "": its own noise.
    after:   metrics that are measured first.
    model:   (subject, {metric: arrays} of `after`) -> the spec of the model to measure.
    more:    (the same) -> more variables for `measure`, [lanes, ...], by name.
    trial:   is timed before the first examples are measured; None: they are timed themselves.
    """

    measure: Callable[..., dict[str, Any]]
    summary: Callable[[Arrays, Subject], list[Numbers]]
    cost: str
    at_once: int = 0
    inputs: Split | None = None
    stream: str = ""
    after: tuple[str, ...] = ()
    model: Callable[[Subject, dict[str, Arrays]], ModelSpec] = lambda subject, kept: subject.model
    trial: Trial | None = None
    more: Callable[[Subject, dict[str, Arrays]], dict[str, Any]] = lambda subject, kept: {}


# The arrays whose last axis is that of the latent units; of these, those of z have all its numbers.
BY_UNIT = ("mean", "log_scale", "kl", "code")
OF_Z = ("mean", "code")


def of_lane(arrays: Arrays, subject: Subject, lane: int) -> Arrays:
    """The arrays [n, ...] of one lane, without padded latent units."""
    size, width = subject.latent_sizes[lane], subject.lane.abilities.unit_size
    return {
        name: leaf[lane][..., : size * (width if name in OF_Z else 1)]
        if name in BY_UNIT and size
        else leaf[lane]
        for name, leaf in arrays.items()
    }


def lane_by_lane(
    summary: Callable[[Arrays, Subject], Numbers],
) -> Callable[[Arrays, Subject], list[Numbers]]:
    """A summary of all lanes, from a summary of the arrays [n, ...] of one lane."""

    def of_all(arrays: Arrays, subject: Subject) -> list[Numbers]:
        lanes = range(len(subject.settings))
        return [summary(of_lane(arrays, subject, i), subject) for i in lanes]

    return of_all


def standard_error(values_n: np.ndarray) -> float:
    """The standard error of the mean of the values; NaN for fewer than two."""
    if len(values_n) < 2:
        return np.nan
    return float(np.std(values_n, ddof=1) / np.sqrt(len(values_n)))


def first(split: Split, n: int) -> Split:
    """The first n examples of a split."""
    return Split(*(None if part is None else part[:n] for part in split))


def some(split: Split, n: int) -> Split:
    """n examples of a split, the rows of `some_rows`."""
    rows = some_rows(split, n)
    return Split(*(None if part is None else part[rows] for part in split))


def some_rows(split: Split, n: int) -> Int[np.ndarray, " n"]:
    """The first n rows; where these lack a class of the split, as in one that is sorted by class,
    evenly spaced rows."""
    size, labels = len(split.images), split.labels
    n = min(n, size)
    if labels is None or len(np.unique(labels[:n])) == len(np.unique(labels)):
        return np.arange(n)
    return np.arange(n) * size // n


def package_needs(name: str, package: str, distribution: str) -> Iterator[str]:
    """What is wrong where a package is missing."""
    if importlib.util.find_spec(package) is None:
        yield f"evaluation.metrics = {name!r} needs {distribution}: {to_install('evaluation')}"


def latents_needs(name: str, config: Any) -> Iterator[str]:
    """What is wrong with a metric that samples only z, not labels."""
    if config.model.abilities.infers_labels:
        yield (
            f"evaluation.metrics = {name!r} is by samples of z alone, and {config.model.named()} "
            "has labels to sample too; leave it out"
        )


def density_needs(name: str, config: Any, data: Dataset) -> Iterator[str]:
    """What is wrong with a metric that moves z along the gradient of its density."""
    if config.model.has_discrete_z(data):
        yield (
            f"evaluation.metrics = {name!r} follows the gradient of a density of z, and z of "
            f"{config.model.named()} is discrete; leave it out ('nll' has no gradient)"
        )


def likelihood_needs(name: str, config: Any, data: Dataset) -> Iterator[str]:
    """What is wrong with log p(x) of a model without a density, or of data outside its support."""
    if config.model.abilities.is_point:
        yield (
            f"evaluation.metrics = {name!r} needs a density of q(z | x), and "
            f"{config.model.named()} has none; leave it out"
        )
    if config.model.abilities.is_code:
        yield (
            f"evaluation.metrics = {name!r} is by samples of q(z | x), which has probability 1 at "
            f"one code in {config.model.named()}: it would be the negative ELBO; leave it out"
        )
    pseudo = config.model.likelihood.support == "binary" and not data.binary
    if pseudo and not config.evaluation.allow_pseudo_likelihood:
        likelihood = config.model.likelihood_name
        yield (
            f"evaluation.metrics = {name!r} of grey values under model.likelihood = "
            f"{likelihood!r} is no likelihood; binarise them, or say "
            "evaluation.allow_pseudo_likelihood = True"
        )

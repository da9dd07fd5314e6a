"""All random streams of a run, derived from its seed, so that no random state is stored."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key


class RunKeys(NamedTuple):
    """The named streams of a run."""

    init: Key[Array, ""]  # initial weights
    order: Key[Array, ""]  # the order of the examples: fold in the epoch
    step: Key[Array, ""]  # the samples of a training step: fold in the step
    evaluation: Key[Array, ""]  # the samples of an evaluation: the same every time


class StepKeys(NamedTuple):
    """The named streams of one step."""

    binarization: Key[Array, ""]
    objective: Key[Array, ""]
    labelled: Key[Array, ""]


def run_keys(seed) -> RunKeys:
    """The streams of the run with this seed."""
    return RunKeys(*jax.random.split(jax.random.key(seed), len(RunKeys._fields)))


def lane_keys(seeds: Sequence[int]) -> RunKeys:
    """The streams of several runs, with a leading axis of lanes."""
    return jax.vmap(run_keys)(np.array(seeds, np.uint32))


def step_keys(keys: RunKeys, step) -> StepKeys:
    """The streams of one step; they depend only on the run's keys and the step."""
    return StepKeys(*jax.random.split(jax.random.fold_in(keys.step, step), len(StepKeys._fields)))

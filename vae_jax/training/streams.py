"""All random streams of a run, derived from its seed, so that no random state is stored."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt32


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


class Streams(NamedTuple):
    """The streams of many steps, derived together.

    They are kept as words: jax_debug_key_reuse can't follow the keys of an array in a loop.
    """

    words: UInt32[Array, "step stream word"]
    implementation: str

    @classmethod
    def of(cls, keys: RunKeys, steps: Int[Array, " step"]) -> "Streams":
        def words(step):
            return jnp.stack([jax.random.key_data(key) for key in step_keys(keys, step)])

        return cls(jax.vmap(words)(steps), str(jax.random.key_impl(keys.step)))

    def at(self, i) -> StepKeys:
        """The streams of step i of them."""
        own = jax.random.wrap_key_data(self.words[i], impl=self.implementation)
        return StepKeys(*own)

"""All random streams of a run, derived from its seed, so that no random state is stored."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt32

from vae_jax.sections.checks import OWN_SEED


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
    augmentations: tuple[Key[Array, ""], ...] = ()  # one for each; none are drawn where none are on


SPLIT = 3  # the streams that are split off; their number decides what they are
AUGMENTATION = 1_000  # folded in for the first augmentation, 1,001 for the next, ...


def run_keys(seed: UInt32[Array, ""] | int) -> RunKeys:
    """The streams of the run with this seed."""
    return RunKeys(*jax.random.split(jax.random.key(seed), len(RunKeys._fields)))


run_keys_of_lanes = jax.jit(jax.vmap(run_keys))  # one program, not one for each operation


def lane_keys(seeds: Sequence[int], others: Mapping[str, Sequence[int]] = {}) -> RunKeys:
    """The streams of several runs, with a leading axis of lanes.

    others: {stream: for each run, the seed of which it takes that stream; OWN_SEED: its own}.
    """
    own = np.array(seeds, np.uint32)
    keys = run_keys_of_lanes(own)
    for stream, given in others.items():
        if any(seed != OWN_SEED for seed in given):
            chosen = [
                mine if seed == OWN_SEED else seed for mine, seed in zip(seeds, given, strict=True)
            ]
            taken = run_keys_of_lanes(np.array(chosen, np.uint32))
            keys = keys._replace(**{stream: getattr(taken, stream)})
    return keys


def step_keys(keys: RunKeys, step: Int[Array, ""] | int, augmentations: int = 0) -> StepKeys:
    """The streams of one step; they depend only on the run's keys and the step."""
    key = jax.random.fold_in(keys.step, step)
    augmentation_keys = tuple(
        jax.random.fold_in(key, AUGMENTATION + i) for i in range(augmentations)
    )
    binarization, objective, labelled = jax.random.split(key, SPLIT)
    return StepKeys(binarization, objective, labelled, augmentation_keys)


class Streams(NamedTuple):
    """The streams of many steps, derived together.

    They are kept as words: jax_debug_key_reuse can't follow the keys of an array in a loop.
    """

    words: UInt32[Array, "step stream word"]
    implementation: str

    @classmethod
    def of(cls, keys: RunKeys, steps: Int[Array, " step"], augmentations: int = 0) -> "Streams":
        def words(step: Int[Array, ""]) -> UInt32[Array, "stream word"]:
            *named, others = step_keys(keys, step, augmentations)
            return jnp.stack([jax.random.key_data(key) for key in (*named, *others)])

        return cls(jax.vmap(words)(steps), str(jax.random.key_impl(keys.step)))

    def at(self, i: Int[Array, ""] | int) -> StepKeys:
        """The streams of the i-th of the steps."""
        keys = jax.random.wrap_key_data(self.words[i], impl=self.implementation)
        return StepKeys(keys[0], keys[1], keys[2], tuple(keys[SPLIT:]))

"""Many steps of many lanes as one compiled program."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from vae_jax.devices.lanes import Layout, map_lanes
from vae_jax.models.model import Start
from vae_jax.training.spec import Spec
from vae_jax.training.step import (
    Examples,
    Metrics,
    State,
    init_state,
    metric_names,
    minibatch,
    train_step,
)
from vae_jax.training.streams import RunKeys


def train_chunk(
    spec: Spec,
    state: State,
    keys: RunKeys,
    order: Int[Array, " n"],
    examples: Examples,
    num_steps: Int[Array, ""],
) -> tuple[State, Metrics]:
    """`num_steps` steps of one lane: at most `spec.chunk_steps`, all in one epoch.

    `order` is the order of the training set in that epoch. Returns the state and the Metrics of
    each step [chunk_steps], zero after num_steps. The number of steps is traced, so that the
    shorter last chunk of an epoch uses the same program.
    """
    batch_of = partial(minibatch, spec, keys, examples, order)
    first = batch_of(state.step)
    zeros = jnp.zeros(spec.chunk_steps)
    history = Metrics(totals=dict.fromkeys(metric_names(spec), zeros), examples=zeros)

    def body(i, carry):
        # The next minibatch does not depend on this step, so a core left idle by a matrix product
        # can make it. As it is carried, XLA makes it once, not again wherever x is read.
        state, batch, history = carry
        ahead = batch_of(state.step + 1)
        state, metrics = train_step(spec, state, keys, batch)
        history = jax.tree.map(lambda all_, now: all_.at[i].set(now), history, metrics)
        return state, ahead, history

    state, _, history = jax.lax.fori_loop(0, num_steps, body, (state, first, history))
    return state, history


@partial(jax.jit, static_argnums=1)
def init_lanes(
    spec: Spec,
    layout: Layout,
    keys: RunKeys,
    start: Start,
) -> State:
    """`init_state` for every lane; spec, keys and the result have a leading axis of lanes."""
    return map_lanes(layout, init_state, (spec, keys), (start,))


def epoch_order(spec: Spec, keys: RunKeys, epoch: Int[Array, ""]) -> Int[Array, " n"]:
    """The order of the training set in one epoch of one lane."""
    return jax.random.permutation(jax.random.fold_in(keys.order, epoch), spec.train_size)


@partial(jax.jit, static_argnums=1)
def order_lanes(
    spec: Spec, layout: Layout, keys: RunKeys, epoch: Int[Array, ""]
) -> Int[Array, "lane n"]:
    """`epoch_order` for every lane; called once per epoch, as on a CPU it costs several steps."""
    return map_lanes(layout, epoch_order, (spec, keys), (epoch,))


@partial(jax.jit, static_argnums=1, donate_argnums=2)
def train_lanes(
    spec: Spec,
    layout: Layout,
    state: State,
    keys: RunKeys,
    order: Int[Array, "lane n"],
    examples: Examples,
    num_steps: Int[Array, ""],
) -> tuple[State, Metrics]:
    """`train_chunk` for every lane; the lanes share the examples and the number of steps.

    Metrics are [lane, chunk_steps]. The memory of `state` is reused: copy what you need before.
    """
    per_lane, shared = (spec, state, keys, order), (examples, num_steps)
    return map_lanes(layout, train_chunk, per_lane, shared)


class Chunk(NamedTuple):
    """The result of one call of the program, on the devices; it never spans two epochs."""

    epoch: int
    step: int  # the step count after the chunk
    num_steps: int
    state: State  # the next call reuses its memory: copy what you need before that
    metrics: Metrics  # [lane, chunk_steps]

    def ends_epoch(self, spec: Spec) -> bool:
        return self.step % spec.steps_per_epoch == 0


def train_chunks(
    spec: Spec,
    layout: Layout,
    keys: RunKeys,
    examples: Examples,
    state: State,
    *,
    first_step: int = 0,
    total_steps: int,
) -> Iterator[Chunk]:
    """Trains all lanes from `first_step` to `total_steps`; each yield follows one call.

    A call is only dispatched; the generator does not wait for its result.
    """
    step, order_epoch, order = first_step, -1, None
    while step < total_steps:
        epoch, in_epoch = divmod(step, spec.steps_per_epoch)
        if epoch != order_epoch:
            order_epoch, order = epoch, order_lanes(spec, layout, keys, np.int32(epoch))
        num_steps = min(spec.chunk_steps, spec.steps_per_epoch - in_epoch, total_steps - step)
        state, metrics = train_lanes(
            spec, layout, state, keys, order, examples, np.int32(num_steps)
        )
        step += num_steps
        yield Chunk(epoch, step, num_steps, state, metrics)

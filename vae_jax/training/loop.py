"""Many steps of many lanes as one compiled program."""

from collections.abc import Generator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vae_jax.devices.lanes import Layout, as_sharded, map_lanes, shard_lanes, to_host
from vae_jax.models.model import Start
from vae_jax.training.feed import Feed, in_turn, reading, steps_at
from vae_jax.training.spec import Spec
from vae_jax.training.step import (
    Batch,
    Examples,
    Metrics,
    State,
    init_state,
    is_sound,
    metric_names,
    minibatch,
    train_step,
)
from vae_jax.training.streams import RunKeys, Streams

# The state, the next minibatch, and the metrics of the steps so far.
Carry = tuple[State, Batch, Float[Array, "step metric"]]


def train_chunk(
    spec: Spec,
    state: State,
    keys: RunKeys,
    order: Int[Array, " n"],
    num_steps: Int[Array, ""],
    examples: Examples,
    *,
    careful: bool = False,
) -> tuple[State, Metrics, Bool[Array, ""]]:
    """`num_steps` steps of one lane: at most `spec.chunk_steps`, all in one epoch.

    `order` is the order of the training set in that epoch. Returns the state, the Metrics of each
    step [chunk_steps], zero after num_steps, and whether the state is finite. The number of steps
    is traced, so that the shorter last chunk of an epoch uses the same program.
    """
    # All keys at once, and one row of metrics a step: a GPU takes as long for a number as for many.
    steps = state.step + jnp.arange(spec.chunk_steps + 1)
    streams = Streams.of(keys, steps, len(spec.augmentations))
    names = metric_names(spec)

    def batch_of(i: Int[Array, ""] | int, step: Int[Array, ""]) -> Batch:
        return minibatch(spec, streams.at(i), examples, order, step)

    def body(i: Int[Array, ""], carry: Carry) -> Carry:
        # The next minibatch does not depend on this step, so a core left idle by a matrix product
        # can make it. As it is carried, XLA makes it once, not again wherever x is read.
        state, batch, history = carry
        ahead = batch_of(i + 1, state.step + 1)
        state, metrics = train_step(spec, state, streams.at(i).objective, batch, careful=careful)
        row = jnp.stack([*(metrics.totals[name] for name in names), metrics.examples])
        return state, ahead, history.at[i].set(row)

    history = jnp.zeros((spec.chunk_steps, len(names) + 1))
    first = batch_of(0, state.step)
    state, _, history = jax.lax.fori_loop(0, num_steps, body, (state, first, history))
    totals = {name: history[:, i] for i, name in enumerate(names)}
    return state, Metrics(totals, history[:, -1]), is_sound(state)


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
    spec: Spec, layout: Layout, keys: RunKeys, epoch: Int[Array, "*lane"]
) -> Int[Array, "lane n"]:
    """`epoch_order` for every lane; called once per epoch, as on a CPU it costs several steps.

    `epoch`: one for all lanes, or one for each.
    """
    if jnp.ndim(epoch):
        return map_lanes(layout, epoch_order, (spec, keys, epoch), ())
    return map_lanes(layout, epoch_order, (spec, keys), (epoch,))


@partial(jax.jit, static_argnums=1, static_argnames="careful")
def train_lanes(
    spec: Spec,
    layout: Layout,
    state: State,
    keys: RunKeys,
    order: Int[Array, "lane n"],
    num_steps: Int[Array, "*lane"],
    examples: Examples,
    *,
    careful: bool = False,
) -> tuple[State, Metrics, Bool[Array, " lane"]]:
    """`train_chunk` for every lane; the lanes share the examples.

    `num_steps`: one for all lanes, or one for each. Lanes computed side by side take as long as
    that with the most.
    """
    chunk, per_lane = partial(train_chunk, careful=careful), (spec, state, keys, order)
    if jnp.ndim(num_steps):
        return map_lanes(layout, chunk, (*per_lane, num_steps), (examples,))
    return map_lanes(layout, chunk, per_lane, (num_steps, examples))


@jax.jit
def chosen_lanes(first: Bool[Array, " lane"], one: Any, other: Any) -> Any:
    """Chooses, for each lane, its part of `one` if its `first` is true, else that of `other`."""
    return jax.tree.map(
        lambda a, b: jnp.where(first.reshape(-1, *[1] * (a.ndim - 1)), a, b), one, other
    )


class Chunk(NamedTuple):
    """The result of one call of the program, on the devices; it never spans two epochs."""

    epoch: int
    step: int  # the step count after the chunk
    num_steps: int
    state: State
    metrics: Metrics  # [lane, chunk_steps]

    def ends_epoch(self, spec: Spec) -> bool:
        return self.step % spec.steps_per_epoch == 0


def train_chunks(
    spec: Spec,
    layout: Layout,
    keys: RunKeys,
    examples: Examples | Feed,
    state: State,
    *,
    first_step: int = 0,
    total_steps: int,
    ahead: Int[np.ndarray, " lane"] | None = None,
    active: Bool[np.ndarray, " lane"] | None = None,
) -> Generator[Chunk]:
    """Trains all lanes from `first_step` to `total_steps`; each yield follows one call.

    The next call is dispatched before a chunk is yielded, so the devices do not wait for the host.

    If a lane's state is not finite after a chunk, the lane diverged in it. The chunk is then
    repeated with `careful`, so that the lane keeps its last finite params.

    Args:
      examples: on the devices, in an order of each lane; or a feed, in one order of all.
      ahead: how many epochs each lane is beyond `first_step`; None: 0 for all. Not with a feed.
      active: the lanes to train; the others keep their state. None: all.
    """
    order_epoch, order = -1, None
    streamed = isinstance(examples, Feed)
    if streamed:
        assert ahead is None
        order = as_sharded(layout, in_turn(spec, layout))

    def call(
        state: State, step: int, *, careful: bool = False
    ) -> tuple[Chunk, Bool[Array, " lane"]]:
        nonlocal order_epoch, order
        epoch = step // spec.steps_per_epoch
        if epoch != order_epoch and not streamed:
            of_lanes = np.int32(epoch) if ahead is None else shard_lanes(layout, epoch + ahead)
            made = order_lanes(spec, layout, keys, of_lanes)
            order_epoch, order = epoch, as_sharded(layout, made)
        num_steps = steps_at(spec, step, total_steps)
        of_lanes = np.int32(num_steps)
        if active is not None:
            of_lanes = shard_lanes(layout, np.where(active, of_lanes, np.int32(0)))
        state, metrics, sound = train_lanes(
            spec,
            layout,
            as_sharded(layout, state),
            keys,
            order,
            of_lanes,
            examples_at(step),
            careful=careful,
        )
        return Chunk(epoch, step + num_steps, num_steps, state, metrics), sound

    with reading(spec, layout, examples, total_steps) as examples_at:
        step, next_call = first_step, None
        if step < total_steps:
            next_call = call(state, step)
        while next_call is not None:
            (chunk, sound), before, next_call = next_call, state, None
            more = chunk.step < total_steps
            if more:
                next_call = call(chunk.state, chunk.step)
            if not to_host(layout, sound).all():
                again, _ = call(before, step, careful=True)
                state, metrics = chosen_lanes(
                    sound, (chunk.state, chunk.metrics), (again.state, again.metrics)
                )
                chunk = chunk._replace(state=state, metrics=metrics)
                next_call = call(state, chunk.step) if more else None
            step, state = chunk.step, chunk.state
            yield chunk

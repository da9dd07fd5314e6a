"""Many steps of many lanes as one compiled program."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from vae_jax.training.keys import RunKeys
from vae_jax.training.spec import Hyperparameters, Spec
from vae_jax.training.step import METRICS, Data, Metrics, State, init_state, train_step


def train_chunk(
    spec: Spec,
    hyper: Hyperparameters,
    state: State,
    keys: RunKeys,
    images: Shaped[Array, "n d"],
    num_steps: Int[Array, ""],
) -> tuple[State, Metrics]:
    """`num_steps` steps of one lane, at most `spec.chunk_steps`, all inside one epoch.

    Returns the state and each step's Metrics [chunk_steps], zero past num_steps. The number of
    steps is traced, so that an epoch's last, shorter chunk is the same program.
    """
    epoch = state.step // spec.steps_per_epoch
    order = jax.random.permutation(jax.random.fold_in(keys.order, epoch), spec.train_size)
    data = Data(images, order)
    zeros = jnp.zeros(spec.chunk_steps)
    history = Metrics(totals=dict.fromkeys(METRICS, zeros), examples=zeros)

    def body(i, carry):
        state, history = carry
        state, metrics = train_step(spec, hyper, state, keys, data)
        return state, jax.tree.map(lambda all_, now: all_.at[i].set(now), history, metrics)

    return jax.lax.fori_loop(0, num_steps, body, (state, history))


@partial(jax.jit, static_argnums=0)
def init_lanes(
    spec: Spec, hyper: Hyperparameters, keys: RunKeys, mean_d: Float[Array, " d"] | None
) -> State:
    """`init_state` of every lane: hyper, keys and the result have a leading axis of lanes."""
    return jax.vmap(partial(init_state, spec), in_axes=(0, 0, None))(hyper, keys, mean_d)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def train_lanes(
    spec: Spec,
    hyper: Hyperparameters,
    state: State,
    keys: RunKeys,
    images: Shaped[Array, "n d"],
    num_steps: Int[Array, ""],
) -> tuple[State, Metrics]:
    """`train_chunk` of every lane; the images and the number of steps are shared.

    Metrics are [lane, chunk_steps]. The memory of `state` is reused: keep a copy of what you need.
    """
    lane = partial(train_chunk, spec)
    if len(state.step) == 1:
        # XLA's batched products with a batch of one take up to a third longer (two-core CPU).
        # (Reshaped, not indexed, which jax 0.7's check of key reuse takes for a use of the key.)
        hyper, state, keys = jax.tree.map(
            lambda leaf: leaf.reshape(leaf.shape[1:]), (hyper, state, keys)
        )
        result = lane(hyper, state, keys, images, num_steps)
        return jax.tree.map(lambda leaf: leaf[None], result)
    return jax.vmap(lane, in_axes=(0, 0, 0, None, None))(hyper, state, keys, images, num_steps)

"""The fit of a sampler by gradient descent: one program for all lanes."""

from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from vae_jax.devices.lanes import Layout, layout, map_lanes, replicate, shard_lanes, to_host

BATCH = 256
LEARNING_RATE = 1e-3  # at the first step; decays by a cosine to 0 at the last
MAX_NORM = 10.0  # of a gradient: a batch with one far code can't throw the params away


class Fittable(Protocol):
    """A sampler with a loss; hashable."""

    @property
    def steps(self) -> int: ...

    def init(self, key: Key[Array, ""], size: int, /) -> Any: ...

    def loss(self, params: Any, key: Key[Array, ""], z_bl: Float[Array, "b l"], /) -> Array: ...


@partial(jax.jit, static_argnums=(0, 1))
def descended(
    sampler: Fittable,
    layout: Layout,
    keys: Key[Array, " lanes"],
    codes: Float[Array, "lanes n l"],
    steps: Int[Array, ""],
) -> Any:
    """The params of each lane after the steps, each on a random minibatch of its codes."""

    def lane(key: Key[Array, ""], codes_nl: Float[Array, "n l"], steps: Int[Array, ""]) -> Any:
        n, size = codes_nl.shape
        first_key, steps_key = jax.random.split(key)
        params = sampler.init(first_key, size)
        adam = optax.chain(optax.clip_by_global_norm(MAX_NORM), optax.scale_by_adam())

        def step(i: Int[Array, ""], state: tuple[Any, Any]) -> tuple[Any, Any]:
            params, moments = state
            rows_key, loss_key = jax.random.split(jax.random.fold_in(steps_key, i))
            rows_b = jax.random.randint(rows_key, (min(BATCH, n),), 0, n)
            gradients = jax.grad(sampler.loss)(params, loss_key, codes_nl[rows_b])
            updates, moments = adam.update(gradients, moments)
            rate = LEARNING_RATE * 0.5 * (1 + jnp.cos(jnp.pi * i / steps))
            return jax.tree.map(lambda p, u: p - rate * u, params, updates), moments

        params, _ = jax.lax.fori_loop(0, steps, step, (params, adam.init(params)))
        return params

    return map_lanes(layout, lane, (keys, codes), (steps,))


def descend(
    sampler: Fittable, keys: Key[Array, " lanes"], codes: Float[np.ndarray, "lanes n l"]
) -> Any:
    """The params of each lane, leaves [lanes, ...], on the host."""
    of_lanes = layout(len(codes))
    lanes = shard_lanes(of_lanes, (keys, np.asarray(codes, np.float32)))
    steps = replicate(of_lanes, np.int32(sampler.steps))
    return to_host(of_lanes, descended(sampler, of_lanes, *lanes, steps))

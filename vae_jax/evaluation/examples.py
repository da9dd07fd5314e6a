"""Measures every example under every lane; the noise depends only on (key, index).

So no result depends on how the examples are batched.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, Shaped

from vae_jax.data import binarization
from vae_jax.devices.lanes import Layout, map_lanes, replicate
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import Variables

# (settings, model, variables, key, x [1, d], y [1] or None) -> a tree of arrays [1, ...].
Measure = Callable[..., Any]


@partial(jax.jit, static_argnums=(0, 1, 2))
def measure_lanes(
    measure: Measure,
    layout: Layout,
    at_once: int,
    settings: Any,
    model_spec: ModelSpec,
    variables: Variables,
    keys: Key[Array, " lanes"],
    images: Shaped[Array, "b d"],
    label_b: Int[Array, " b"] | None,
    index_b: Int[Array, " b"],
) -> Any:
    """`measure` of stored images, [lanes, b, ...], `at_once` of them side by side; 0: all.

    settings, model_spec, variables and keys have a leading axis of lanes.
    """

    def lane(
        settings: Any,
        model_spec: ModelSpec,
        variables: Variables,
        key: Key[Array, ""],
        images: Shaped[Array, "b d"],
        label_b: Int[Array, " b"] | None,
        index_b: Int[Array, " b"],
    ) -> Any:
        model = make_model(model_spec)

        def one(example: Any) -> Any:
            image_d, label, index = example
            example_key = jax.random.fold_in(key, index)
            x_bd, label_b = (
                binarization.scale(image_d[None]),
                None if label is None else label[None],
            )
            values = measure(settings, model, variables, example_key, x_bd, label_b)
            return jax.tree.map(lambda leaf_b: leaf_b[0], values)

        examples = (images, label_b, index_b)
        if at_once == 0:
            return jax.vmap(one)(examples)
        return jax.lax.map(one, examples, batch_size=at_once)

    per_lane, shared = (settings, model_spec, variables, keys), (images, label_b, index_b)
    return map_lanes(layout, lane, per_lane, shared)


def measure_batches(
    measure: Measure,
    layout: Layout,
    at_once: int,
    settings: Any,
    model_spec: ModelSpec,
    variables: Variables,
    keys: Key[Array, " lanes"],
    images: Shaped[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"] | None,
    *,
    batch_size: int,
) -> Iterator[Any]:
    """`measure_lanes` of n images, a batch at a time, dispatched without waiting.

    The last batch is padded to the same length; `joined` removes the padding.
    """
    n = len(images)
    batch_size = min(batch_size, n)
    for start in range(0, n, batch_size):
        index_b = np.arange(start, start + batch_size, dtype=np.int32)
        rows = np.minimum(index_b, n - 1)
        batch = (images[rows], None if labels is None else labels[rows], index_b)
        yield measure_lanes(
            measure, layout, at_once, settings, model_spec, variables, keys,
            *replicate(layout, batch),
        )  # fmt: skip


@partial(jax.jit, static_argnums=1)
def joined(batches: list[Any], n: int) -> Any:
    """The results of n images, [padded lanes, n, ...]."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1)[:, :n], *batches)

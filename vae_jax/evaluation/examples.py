"""Measuring every example under every lane, with noise that is a function of (key, index) alone.

So no result depends on how the examples are batched.
"""

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, Shaped

from vae_jax.data import binarization
from vae_jax.devices.lanes import Layout, map_lanes, replicate
from vae_jax.models import make_model
from vae_jax.models.model import ModelHyper, ModelSpec, Params

# (spec: static, hyper: traced, model, params, key, x [1, d]) -> a tree of arrays [1, ...].
Measure = Callable[..., Any]


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def measure_lanes(
    measure: Measure,
    spec: Hashable,
    model_spec: ModelSpec,
    layout: Layout,
    at_once: int,
    params: Params,
    keys: Key[Array, " lanes"],
    hyper: Any,
    model_hyper: ModelHyper,
    images: Shaped[Array, "b d"],
    label_b: Int[Array, " b"] | None,
    index_b: Int[Array, " b"],
) -> Any:
    """`measure` of stored images, [lanes, b, ...], `at_once` of them side by side; 0: all."""

    def lane(params, key, hyper, model_hyper, images, label_b, index_b):
        def one(example):
            image_d, label, index = example
            model = make_model(model_spec, model_hyper, None if label is None else label[None])
            x_bd = binarization.scale(image_d[None])
            found = measure(spec, hyper, model, params, jax.random.fold_in(key, index), x_bd)
            return jax.tree.map(lambda leaf_b: leaf_b[0], found)

        examples = (images, label_b, index_b)
        if at_once == 0:
            return jax.vmap(one)(examples)
        return jax.lax.map(one, examples, batch_size=at_once)

    per_lane, shared = (params, keys, hyper, model_hyper), (images, label_b, index_b)
    return map_lanes(layout, lane, per_lane, shared)


def measure_batches(
    measure: Measure,
    spec: Hashable,
    model_spec: ModelSpec,
    layout: Layout,
    at_once: int,
    params: Params,
    keys: Key[Array, " lanes"],
    hyper: Any,
    model_hyper: ModelHyper,
    images: Shaped[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"] | None,
    *,
    batch_size: int,
) -> Iterator[Any]:
    """`measure_lanes` of n images, a batch at a time: dispatched to the device, not waited for.

    The last batch is as long as the others: `joined` cuts off what is too much.
    """
    n = len(images)
    batch_size = min(batch_size, n)
    for start in range(0, n, batch_size):
        index_b = np.arange(start, start + batch_size, dtype=np.int32)
        rows = np.minimum(index_b, n - 1)
        batch = (images[rows], None if labels is None else labels[rows], index_b)
        yield measure_lanes(
            measure, spec, model_spec, layout, at_once, params, keys, hyper, model_hyper,
            *replicate(layout, batch),
        )  # fmt: skip


def joined(batches: list[Any], n: int) -> Any:
    """The results of n images, [padded lanes, n, ...]."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1)[:, :n], *batches)

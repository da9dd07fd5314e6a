"""An objective and the terms of its bound, example by example, for every lane."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from vae_jax.data import binarization
from vae_jax.lanes import Layout, over_lanes, put_shared
from vae_jax.models import make_model
from vae_jax.models.model import ModelHyper, ModelSpec, Params
from vae_jax.objectives import objective
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec

Terms = dict[str, Array]  # "loss" and each of objectives' Terms, in nats


def evaluate(
    model_spec: ModelSpec,
    model_hyper: ModelHyper,
    spec: ObjectiveSpec,
    hyper: ObjectiveHyper,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Int[Array, " b"] | None,
    index_b: Int[Array, " b"],
) -> Terms:
    """The loss and the terms of each example [b], its noise a function of (key, index) alone.

    So the result does not depend on how the examples are batched. The loss is the bound's, without
    a regulariser, which is of a batch.
    """

    def one(index, x_d, label):
        model = make_model(model_spec, model_hyper, None if label is None else label[None])
        stream = jax.random.fold_in(key, index)
        loss, terms = objective(model, params, stream, x_d[None], hyper, spec, regularized=False)
        return {"loss": loss} | {name: term_b[0] for name, term_b in terms._asdict().items()}

    return jax.vmap(one)(index_b, x_bd, label_b)


@partial(jax.jit, static_argnums=(0, 1, 2))
def evaluate_lanes(
    model_spec: ModelSpec,
    spec: ObjectiveSpec,
    layout: Layout,
    params: Params,
    keys: Key[Array, " lanes"],
    hyper: ObjectiveHyper,
    model_hyper: ModelHyper,
    images: Shaped[Array, "b d"],
    label_b: Int[Array, " b"] | None,
    index_b: Int[Array, " b"],
) -> Terms:
    """`evaluate` of every lane, from stored images: [lanes, b]."""

    def lane(params, key, hyper, model_hyper, images, label_b, index_b):
        x_bd = binarization.scale(images)
        return evaluate(model_spec, model_hyper, spec, hyper, params, key, x_bd, label_b, index_b)

    per_lane, shared = (params, keys, hyper, model_hyper), (images, label_b, index_b)
    return over_lanes(layout, lane, per_lane, shared)


def evaluate_split(
    model_spec: ModelSpec,
    spec: ObjectiveSpec,
    layout: Layout,
    params: Params,
    keys: Key[Array, " lanes"],
    hyper: ObjectiveHyper,
    model_hyper: ModelHyper,
    images: Shaped[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"] | None,
    *,
    batch_size: int,
) -> Terms:
    """`evaluate_lanes` of n images, in batches: [padded lanes, n], in nats, unreduced.

    Dispatched to the device without waiting for it. The last batch is padded, the padding cut off.
    """
    n = len(images)
    batch_size = min(batch_size, n)
    parts = []
    for start in range(0, n, batch_size):
        index_b = np.arange(start, start + batch_size, dtype=np.int32)
        rows = np.minimum(index_b, n - 1)
        batch = (images[rows], None if labels is None else labels[rows], index_b)
        parts.append(
            evaluate_lanes(
                model_spec, spec, layout, params, keys, hyper, model_hyper,
                *put_shared(layout, batch),
            )
        )  # fmt: skip
    return jax.tree.map(lambda *terms: jnp.concatenate(terms, axis=1)[:, :n], *parts)

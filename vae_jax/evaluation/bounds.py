"""An objective and the terms of its bound, example by example, for every lane."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from vae_jax.data import binarization
from vae_jax.lanes import Layout, over_lanes, put_shared
from vae_jax.models.vae import VAE, ModelSpec, Params, vae
from vae_jax.objectives import OBJECTIVES
from vae_jax.objectives.objective import Objective, ObjectiveHyper, ObjectiveSpec

Terms = dict[str, Array]  # "loss" and each of objectives' Terms, in nats


def evaluate(
    model: VAE,
    objective: Objective,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    index_b: Int[Array, " b"],
    hyper: ObjectiveHyper,
    num_samples: int,
) -> Terms:
    """The loss and the terms of each example [b], its noise a function of (key, index) alone.

    So the result does not depend on how the examples are batched.
    """

    def one(index, x_d):
        stream = jax.random.fold_in(key, index)
        loss, terms = objective(model, params, stream, x_d[None], hyper, num_samples)
        return {"loss": loss} | {name: term_b[0] for name, term_b in terms._asdict().items()}

    return jax.vmap(one)(index_b, x_bd)


@partial(jax.jit, static_argnums=(0, 1, 2))
def evaluate_lanes(
    model_spec: ModelSpec,
    spec: ObjectiveSpec,
    layout: Layout,
    params: Params,
    keys: Key[Array, " lanes"],
    hyper: ObjectiveHyper,
    latent_mask: Float[Array, "lanes l"] | None,
    images: Shaped[Array, "b d"],
    index_b: Int[Array, " b"],
) -> Terms:
    """`evaluate` of every lane, from stored images: [lanes, b]."""
    objective = OBJECTIVES[spec.name]

    def lane(params, key, hyper, mask_l, images, index_b):
        model, x_bd = vae(model_spec, mask_l), binarization.scale(images)
        return evaluate(model, objective, params, key, x_bd, index_b, hyper, spec.num_samples)

    return over_lanes(layout, lane, (params, keys, hyper, latent_mask), (images, index_b))


def evaluate_split(
    model_spec: ModelSpec,
    spec: ObjectiveSpec,
    layout: Layout,
    params: Params,
    keys: Key[Array, " lanes"],
    hyper: ObjectiveHyper,
    latent_mask: Float[Array, "lanes l"] | None,
    images: Shaped[np.ndarray, "n d"],
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
        batch = put_shared(layout, (images[np.minimum(index_b, n - 1)], index_b))
        parts.append(
            evaluate_lanes(model_spec, spec, layout, params, keys, hyper, latent_mask, *batch)
        )
    return jax.tree.map(lambda *terms: jnp.concatenate(terms, axis=1)[:, :n], *parts)

"""Bounds on log p(x), example by example, for every lane."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from vae_jax.data import binarization
from vae_jax.models.vae import VAE, ModelSpec, Params, vae
from vae_jax.objectives.elbo import elbo_terms
from vae_jax.objectives.objective import Terms


def evaluate_elbo(
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    index_b: Int[Array, " b"],
    num_samples: int,
) -> Terms:
    """The ELBO's terms of each example, its noise a function of (key, index) alone.

    So the result does not depend on how the examples are batched.
    """

    def one(index, x_d):
        terms = elbo_terms(model, params, jax.random.fold_in(key, index), x_d[None], num_samples)
        return jax.tree.map(lambda term_b: term_b[0], terms)

    return jax.vmap(one)(index_b, x_bd)


@partial(jax.jit, static_argnums=(0, 1))
def evaluate_elbo_lanes(
    spec: ModelSpec, num_samples: int, params: Params, keys: Key[Array, " lanes"], images, index_b
) -> Terms:
    """`evaluate_elbo` of every lane, from stored images [b, d]; terms are [lanes, b]."""
    x_bd = binarization.scale(images)
    lane = partial(evaluate_elbo, vae(spec), x_bd=x_bd, index_b=index_b, num_samples=num_samples)
    return jax.vmap(lambda params, key: lane(params, key))(params, keys)


def elbo_of_split(
    spec: ModelSpec,
    params: Params,
    keys: Key[Array, " lanes"],
    images: Shaped[np.ndarray, "n d"],
    *,
    batch_size: int,
    num_samples: int,
) -> Terms:
    """The ELBO's terms for n images, in batches: [lanes, n], in nats, unreduced.

    Dispatched to the device without waiting for it. The last batch is padded, the padding cut off.
    """
    n = len(images)
    batch_size = min(batch_size, n)
    parts = []
    for start in range(0, n, batch_size):
        index_b = np.arange(start, start + batch_size)
        batch = images[np.minimum(index_b, n - 1)]
        parts.append(evaluate_elbo_lanes(spec, num_samples, params, keys, batch, index_b))
    return jax.tree.map(lambda *terms: jnp.concatenate(terms, axis=1)[:, :n], *parts)

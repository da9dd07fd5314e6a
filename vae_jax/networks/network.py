"""What a network is: two pure functions, and the numbers that choose them."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class NetworkSpec(NamedTuple):
    """The static choice of one network: hashable, so that equal specs share a compiled program."""

    name: str
    widths: tuple[int, ...]
    activation: str


class Encoder(NamedTuple):
    """init: (key, mask_l) -> params. apply: (params, x [b, d]) -> {head: [b, l]}.

    `mask_l` is 0 for a latent unit that is padding, whose weights are then 0; None: there is none.
    """

    init: Callable
    apply: Callable


class Decoder(NamedTuple):
    """init: (key, output_bias [d_out] or None: zeros, mask_l) -> params; mask_l as in Encoder.

    apply: (params, z [..., l]) -> [..., d_out].
    """

    init: Callable
    apply: Callable


ACTIVATIONS = {
    "elu": nn.elu,
    "gelu": nn.gelu,
    "leaky_relu": nn.leaky_relu,
    "relu": nn.relu,
    "silu": nn.silu,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
}

hidden_init = nn.initializers.lecun_normal()


def latent_columns_init(key, shape, dtype=jnp.float32):
    """Weights [hidden, l] of variance 1 / hidden; column j depends on (key, j) alone."""
    hidden, latent_size = shape
    keys_l = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(latent_size))
    columns = jax.vmap(lambda k: jax.random.normal(k, (hidden,), dtype))(keys_l)
    return columns.T / jnp.sqrt(hidden).astype(dtype)


def latent_rows_init(key, shape, dtype=jnp.float32):
    """Weights [l, hidden] of variance 1 / l; row j, up to that scale, depends on (key, j) alone."""
    latent_size, hidden = shape
    return latent_columns_init(key, (hidden, latent_size), dtype).T * jnp.sqrt(
        hidden / latent_size
    ).astype(dtype)


def mask_columns(layer, mask_l):
    """The params of a dense layer to the latent units, 0 for padding."""
    return {"kernel": layer["kernel"] * mask_l[None], "bias": layer["bias"] * mask_l}


def mask_rows(layer, mask_l):
    """The params of a dense layer from the latent units, 0 for padding.

    The rows that stay have the scale that `latent_rows_init` gives to as many units alone.
    """
    rows_l = mask_l * jnp.sqrt(len(mask_l) / jnp.sum(mask_l))
    return {**layer, "kernel": layer["kernel"] * rows_l[:, None]}

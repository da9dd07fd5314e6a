"""What networks share: keys, initial weights and layers; interface.py says what a network is."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from vae_jax.networks.interface import Context, Decoder, Encoder, Heads, Mask, Outputs, Params
from vae_jax.sections.checks import WIDEST, several, whole
from vae_jax.sections.declare import choice, static

Layer = dict[str, Array]  # the params of one: {"kernel": ..., "bias": ...}
Map = Float[Array, "b height width c"]  # features of an image

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": nn.elu,
    "gelu": nn.gelu,
    "leaky_relu": nn.leaky_relu,
    "relu": nn.relu,
    "silu": nn.silu,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
}


def no_norm(h: Map, name: str) -> Map:
    """No normalisation."""
    return h


def number_of_groups(channels: int) -> int:
    """At most 8 groups, with at least 4 channels each; 1 group if that is not possible.

    Smaller groups would be worse than no norm: on a map of one pixel, a group of one channel is
    always 0 after the norm, and a group of two always +-1.
    """
    return max((g for g in range(1, 9) if channels % g == 0 and channels >= 4 * g), default=1)


def group_norm(h: Map, name: str) -> Map:
    """GroupNorm (Wu and He 2018): mean 0 and variance 1 over each group of channels, all pixels."""
    # Two passes for the variance: E[h^2] - E[h]^2 cancels where the mean is large.
    return nn.GroupNorm(
        number_of_groups(h.shape[-1]), epsilon=1e-5, use_fast_variance=False, name=name
    )(h)


def widths_key() -> Any:
    """The key of the sizes of its layers."""
    doc = "hidden units, or channels of a convolution, from the network's input on; (): none"
    return static((400,), several(whole(1, WIDEST)), doc)


def activation_key() -> Any:
    """The key of the nonlinearity."""
    return choice(ACTIVATIONS, "relu", "the nonlinearity")


# Called as NORMS[norm](h [b, height, width, channels], name) inside a compact module.
NORMS = {"none": no_norm, "group": group_norm}

hidden_init = nn.initializers.lecun_normal()


def latent_columns_init(
    key: Key[Array, ""], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, "hidden l"]:
    """Weights [hidden, l] of variance 1 / hidden; column j depends on (key, j) alone."""
    hidden, latent_size = shape
    keys_l = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(latent_size))
    columns = jax.vmap(lambda k: jax.random.normal(k, (hidden,), dtype))(keys_l)
    return columns.T / jnp.sqrt(hidden).astype(dtype)


def latent_rows_init(
    key: Key[Array, ""], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, "l hidden"]:
    """Weights [l, hidden] of variance 1 / l; row j, up to that scale, depends on (key, j) alone."""
    latent_size, hidden = shape
    return latent_columns_init(key, (hidden, latent_size), dtype).T * jnp.sqrt(
        hidden / latent_size
    ).astype(dtype)


def mask_columns(layer: Layer, mask_l: Float[Array, " l"]) -> Layer:
    """The params of a dense layer to the latent units, 0 for padding."""
    return {"kernel": layer["kernel"] * mask_l[None], "bias": layer["bias"] * mask_l}


def mask_rows(layer: Layer, mask_l: Float[Array, " l"]) -> Layer:
    """The params of a dense layer from the latent units, 0 for padding.

    The rows that stay have the scale that `latent_rows_init` gives to as many units alone.
    """
    rows_l = mask_l * jnp.sqrt(len(mask_l) / jnp.sum(mask_l))
    return {**layer, "kernel": layer["kernel"] * rows_l[:, None]}


# Heads that start smaller than others: the maps of a flow, so that it starts near the identity.
FIRST_SCALES = {"flow": 0.01}


def head_init(name: str, init: nn.initializers.Initializer) -> nn.initializers.Initializer:
    """How the weights of the head of that name start, where `init` is how others do."""
    scale = FIRST_SCALES.get(name)
    if scale is None:
        return init
    return lambda key, shape, *dtype: scale * init(key, shape, *dtype)


class Head(nn.Module):
    """The params of one of the `linear_heads`."""

    size: int

    @nn.compact
    def __call__(self, features: int) -> tuple[Float[Array, "f l"], Float[Array, " l"]]:
        init = head_init(str(self.name), latent_columns_init)
        kernel = self.param("kernel", init, (features, self.size))
        return kernel, self.param("bias", nn.initializers.zeros, (self.size,))


def linear_heads(heads: Heads, h_bf: Float[Array, "b f"]) -> Outputs:
    """The last layer of every encoder: {head: [b, size]}, linear in the features h [b, f].

    All heads share one matrix product: one product per head would be thin and slow.
    """
    names, sizes = zip(*heads, strict=True)
    kernels, biases = zip(
        *(Head(size, name=name)(h_bf.shape[-1]) for name, size in heads), strict=True
    )
    joint = h_bf @ jnp.concatenate(kernels, axis=-1) + jnp.concatenate(biases)[None]
    ends = list(itertools.accumulate(sizes))
    return dict(zip(names, jnp.split(joint, ends[:-1], axis=-1), strict=True))


def context_of(context: Context, rows: int, context_size: int) -> Float[Array, "n c"]:
    """The context [rows, context_size]; none at all is one of no columns."""
    context = jnp.zeros((rows, 0)) if context is None else context
    if context.shape != (rows, context_size):
        raise ValueError(
            f"the context is {context.shape}, where this network takes {(rows, context_size)}"
        )
    return context


def refuse_other_images(x: Any, size: int) -> None:
    """Raises TypeError unless x is [n, size], of real numbers."""
    if jnp.ndim(x) != 2 or x.shape[1] != size or not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"x is {x.dtype} of shape {tuple(x.shape)}; it should be real numbers of shape "
            f"(n, {size}): from vae_jax.data.binarization import scale; "
            "x = scale(images.reshape(len(images), -1))"
        )


def encoder_of(
    module: nn.Module, image_shape: tuple[int, int, int], heads: Heads, context_size: int
) -> Encoder:
    """The Encoder of a Flax module (x [b, d], context [b, c]) -> {head: [b, size]}."""

    def init(key: Key[Array, ""], mask_l: Mask = None) -> Params:
        x_bd, context = jnp.zeros((1, math.prod(image_shape))), jnp.zeros((1, context_size))
        params = module.init(key, x_bd, context)["params"]
        if mask_l is None:
            return params
        if any(size != len(mask_l) for _, size in heads):
            raise ValueError(f"heads {heads} cannot be masked by {len(mask_l)} latent units")
        return params | {head: mask_columns(params[head], mask_l) for head, _ in heads}

    def apply(params: Params, x_bd: Float[Array, "b d"], context: Context = None) -> Outputs:
        refuse_other_images(x_bd, math.prod(image_shape))
        context = context_of(context, len(x_bd), context_size)
        outputs: Any = module.apply({"params": params}, x_bd, context)
        return outputs

    return Encoder(init, apply)


def started(
    params: Any, first_layers: tuple[str, ...], context_size: int, output_bias: Any, mask_l: Any
) -> Any:
    """A decoder's first params with the bias of its layer "output", and without padded units.

    Args:
      first_layers: the dense layers that see context and z.
    """
    if mask_l is not None:
        mask = jnp.concatenate([jnp.ones(context_size), mask_l])
        params |= {layer: mask_rows(params[layer], mask) for layer in first_layers}
    if output_bias is not None:
        # A bias for every [d, p]; or one for every [channel, p]: then the mean over the pixels.
        size = len(params["output"]["bias"])
        bias = jnp.mean(jnp.reshape(output_bias, (-1, size)), axis=0)
        params |= {"output": {**params["output"], "bias": bias}}
    return params


def decoder_of(
    module: nn.Module,
    first_layers: tuple[str, ...],
    image_shape: tuple[int, int, int],
    params_per_dim: int,
    latent_size: int,
    context_size: int,
) -> Decoder:
    """The Decoder of a Flax module (context and z) [n, c + l] -> [n, d * p].

    `first_layers` names the dense layers that see z. The context comes before z, so that adding a
    latent unit moves no row of their weights. The last layer's name is "output".
    """

    def init(
        key: Key[Array, ""],
        output_bias: Float[Array, "d p"] | None = None,
        mask_l: Mask = None,
    ) -> Params:
        params = module.init(key, jnp.zeros((1, context_size + latent_size)))["params"]
        return started(params, first_layers, context_size, output_bias, mask_l)

    def apply(
        params: Params, z_nl: Float[Array, "n l"], context: Context = None
    ) -> Float[Array, "n d p"]:
        context = context_of(context, len(z_nl), context_size)
        inputs = jnp.concatenate([context, z_nl], axis=-1)
        outputs: Any = module.apply({"params": params}, inputs)
        return outputs.reshape(len(z_nl), math.prod(image_shape), params_per_dim)

    return Decoder(init, apply)

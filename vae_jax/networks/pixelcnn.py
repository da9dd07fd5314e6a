"""A decoder whose values depend on those before them: gated masked convolutions in two stacks.

The values of an image are in the order (row, column, channel). The stack "above" sees the rows
above a pixel; the stack "left" sees "above", the pixels to the left, and of the pixel's own
channels those before. The kernels end where they must not see: nothing is hidden from a pixel but
what comes after it.

References: van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders; Gulrajani
et al. 2017, PixelVAE: A Latent Variable Model for Natural Images.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.networks.convolution import windowed
from vae_jax.networks.interface import Decoder, DecoderNetwork, ImageShape
from vae_jax.networks.mlp import MLP
from vae_jax.networks.network import (
    ACTIVATIONS,
    activation_key,
    context_of,
    hidden_init,
    latent_rows_init,
    started,
    widths_key,
)
from vae_jax.sections.checks import Check, whole, wrong
from vae_jax.sections.declare import section, static

LARGEST_KERNEL = 99


class Window(NamedTuple):
    """The pixels before its own that a pixel sees: of so many rows above, each from so many columns
    to the left to as many to the right; and as many to the left in its own row."""

    rows: int
    columns: int


def window(layers: int, kernel_size: int) -> Window:
    """What `layers` masked layers see: each adds half a kernel, in every direction."""
    return Window(layers * (kernel_size // 2), layers * (kernel_size // 2))


def odd(low: int, high: int) -> Check:
    """An odd number from low to high."""
    check_whole = whole(low, high)

    def check(key: str, value: Any) -> int:
        value = check_whole(key, value)
        if value % 2 == 0:
            raise wrong(key, value, f"an odd number, at least {low}: a pixel is in its middle")
        return value

    return check


def channel_of(features: int, channels: int) -> np.ndarray:
    """The channel that each feature belongs to: as many features for each, side by side."""
    return np.arange(features) * channels // features


class Masked(nn.Module):
    """h [..., i] -> [..., o] of each pixel; an output sees the inputs that its mask has."""

    mask: tuple[tuple[bool, ...], ...]
    use_bias: bool = False

    @nn.compact
    def __call__(self, h: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
        mask = jnp.array(self.mask, h.dtype)
        out = h @ (self.param("kernel", hidden_init, mask.shape) * mask)
        if not self.use_bias:
            return out
        bias = self.param("bias", nn.initializers.zeros, mask.shape[1:])
        return out + jnp.expand_dims(bias, range(h.ndim - 1))


def as_mask(mask: np.ndarray) -> tuple[tuple[bool, ...], ...]:
    return tuple(map(tuple, mask.tolist()))


def gated(h: Float[Array, "*n 2f"]) -> Float[Array, "*n f"]:
    """tanh(value) * sigmoid(gate); a value and its gate belong to one channel."""
    value, gate = jnp.split(h, 2, axis=-1)
    return jnp.tanh(value) * nn.sigmoid(gate)


class GatedLayer(nn.Module):
    """One layer of both stacks, each [n, height, width, features]; a map of z is added to both.

    The first one sees the values themselves, and not a pixel's own.
    """

    features: int
    kernel_size: int
    channels: int
    is_first: bool

    @nn.compact
    def __call__(
        self, above: Float[Array, "n h w i"], left: Float[Array, "n h w i"], map_z: Any
    ) -> tuple[Float[Array, "n h w f"], Float[Array, "n h w f"]]:
        reach, inputs, pairs = self.kernel_size // 2, left.shape[-1], 2 * self.features
        own, into = channel_of(inputs, self.channels), channel_of(self.features, self.channels)
        seen = own[:, None] < into[None] if self.is_first else own[:, None] <= into[None]

        if self.is_first:  # "above" has the own row from the next layer on: it is of those above
            above = jnp.pad(above, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
        rows = reach if self.is_first else reach + 1
        shape = (rows, self.kernel_size, inputs, pairs)
        kernel = self.param("above", hidden_init, shape)
        vertical = windowed(above, kernel, ((rows - 1, 0), (reach, reach)))

        kernel = self.param("left", hidden_init, (1, reach + 1, inputs, pairs))
        mask = np.ones(kernel.shape, np.float32)
        mask[0, -1] = np.tile(seen, (1, 2))  # the last column is the pixel itself
        horizontal = windowed(left, kernel * mask, ((0, 0), (reach, 0)))
        horizontal += nn.Dense(pairs, use_bias=False, kernel_init=hidden_init, name="down")(
            vertical
        )

        to_above, to_left = jnp.split(
            nn.Dense(2 * pairs, kernel_init=hidden_init, name="z")(map_z), 2, axis=-1
        )
        out = Masked(as_mask(into[:, None] <= into[None]), name="out")(gated(horizontal + to_left))
        # The first layer's input is the value itself: no path goes around it.
        return gated(vertical + to_above), out if self.is_first else left + out


class Values(nn.Module):
    """A map of z [n, height, width, f] and x [n, d] -> raw [n, d, p]."""

    network: Any  # the section below
    image_shape: ImageShape
    params_per_dim: int

    @nn.compact
    def __call__(self, map_z: Float[Array, "n h w f"], x_nd: Float[Array, "n d"]) -> Any:
        height, width, channels = self.image_shape
        network, p = self.network, self.params_per_dim
        above = left = 2 * x_nd.reshape(-1, *self.image_shape) - 1  # beyond the edges are zeros
        for i in range(network.layers):
            layer = GatedLayer(
                network.features, network.kernel_size, channels, i == 0, name=f"layer_{i}"
            )
            above, left = layer(above, left, map_z)
        own, into = channel_of(network.features, channels), np.repeat(np.arange(channels), p)
        output = Masked(as_mask(own[:, None] <= into[None]), use_bias=True, name="output")
        raw = output(ACTIVATIONS[network.activation](left))
        raw += nn.Dense(channels * p, use_bias=False, kernel_init=hidden_init, name="beside")(map_z)
        return raw.reshape(len(x_nd), height * width * channels, p)


class MapOfZ(nn.Module):
    """Context and z [n, c + l] -> hidden layers -> "map" [n, height, width, features]."""

    network: Any
    image_shape: ImageShape

    @nn.compact
    def __call__(self, z: Float[Array, "n c+l"]) -> Float[Array, "n h w f"]:
        height, width, _ = self.image_shape
        widths, features = self.network.widths, self.network.features
        h = MLP(widths, self.network.activation).layers(z, latent_rows_init)
        last = hidden_init if widths else latent_rows_init
        h = nn.Dense(height * width * features, kernel_init=last, name="map")(h)
        h = h.reshape(len(z), height, width, features)
        return ACTIVATIONS[self.network.activation](h) if widths else h


@section
class PixelCNN(DecoderNetwork):
    """p(x | z) = prod_i p(x_i | x_<i, z), by an MLP of z and masked convolutions of x.

    A value sees those at most layers (kernel_size - 1) / 2 rows above, and as many columns beside
    it: less than the image leaves more for z to say.

    References: van den Oord et al. 2016; Gulrajani et al. 2017.
    """

    widths: tuple[int, ...] = widths_key()
    activation: str = activation_key()
    layers: int = static(3, whole(1, 1_000), "masked layers")
    features: int = static(
        16, whole(1, 10_000), "features of a pixel, in each stack and in z's map"
    )
    kernel_size: int = static(5, odd(3, LARGEST_KERNEL), "rows and columns of a kernel, unmasked")

    def decoder(
        self,
        image_shape: ImageShape,
        params_per_dim: int,
        latent_size: int,
        context_size: int = 0,
    ) -> Decoder:
        """A decoder whose `apply` gives the map of z, and `given` reads it and x."""
        height, width, _ = image_shape
        of_z, of_x = MapOfZ(self, image_shape), Values(self, image_shape, params_per_dim)
        first_layer = "hidden_0" if self.widths else "map"

        def init(key: Key[Array, ""], output_bias: Any = None, mask_l: Any = None) -> Any:
            keys = jax.random.split(key)
            map_z = jnp.zeros((1, height, width, self.features))
            params = of_z.init(keys[0], jnp.zeros((1, context_size + latent_size)))["params"]
            params |= of_x.init(keys[1], map_z, jnp.zeros((1, math.prod(image_shape))))["params"]
            return started(params, (first_layer,), context_size, output_bias, mask_l)

        def apply(params: Any, z_nl: Float[Array, "n l"], context: Any = None) -> Any:
            inputs = jnp.concatenate([context_of(context, len(z_nl), context_size), z_nl], axis=-1)
            return of_z.apply({"params": params}, inputs)

        def given(params: Any, map_z: Any, x_nd: Float[Array, "n d"]) -> Any:
            return of_x.apply({"params": params}, map_z, x_nd)

        return Decoder(init, apply, given)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        channels = data.image_shape[-1]
        if self.features % channels:
            yield (
                f"model.decoder.features = {self.features} should be a multiple of {channels}, the "
                "images' channels: each has features of its own, which see those before it"
            )

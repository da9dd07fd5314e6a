"""Convolutional networks, plain and residual, for images of any height, width and channels.

An image is flattened in the order (height, width, channel), the channel fastest. Each width is one
stage. In the encoder it halves the map's size, rounded up; in the decoder it doubles it, cropped to
the encoder's size at that stage.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.networks.convolution import Convolution, Upsampling
from vae_jax.networks.interface import ImageShape, Network, Outputs
from vae_jax.networks.network import (
    ACTIVATIONS,
    NORMS,
    Decoder,
    Encoder,
    Heads,
    Map,
    activation_key,
    decoder_of,
    encoder_of,
    hidden_init,
    latent_rows_init,
    linear_heads,
    widths_key,
)
from vae_jax.sections.declare import choice, section

# Lecun's variance: with stride 2, a quarter of a transposed kernel's rows reach any one pixel.
upsampling_init = nn.initializers.variance_scaling(4.0, "fan_in", "truncated_normal")


class ConvEncoder(nn.Module):
    """x [b, d] -> for each width a convolution of stride 2, the block, the activation -> heads.

    The context is added as channels that are constant over the image.
    """

    network: "Conv"
    image_shape: ImageShape
    heads: Heads

    @nn.compact
    def __call__(self, x_bd: Float[Array, "b d"], context: Float[Array, "b c"]) -> Outputs:
        b, (height, width, _) = len(x_bd), self.image_shape
        channels = jnp.broadcast_to(context[:, None, None], (b, height, width, context.shape[-1]))
        h = jnp.concatenate([x_bd.reshape(b, *self.image_shape), channels], axis=-1)
        for i, features in enumerate(self.network.widths):
            h = Convolution(features, 4, 2, hidden_init, name=f"hidden_{i}")(h)
            h = ACTIVATIONS[self.network.activation](self.network.block(h, i))
        return self.out(h)

    def out(self, h: Map) -> Outputs:
        """The heads, of the last map."""
        return linear_heads(self.heads, h.reshape(len(h), -1))


def map_sizes(image_shape: ImageShape, stages: int) -> list[tuple[int, int]]:
    """The maps' (height, width) from the smallest to the image's, each about twice the last."""
    height, width, _ = image_shape
    return [(-(-height // 2**i), -(-width // 2**i)) for i in range(stages, -1, -1)]


class ConvDecoder(nn.Module):
    """Context and z [n, c + l] -> "map", a dense layer to the smallest map, with the first width's
    channels -> for each width a transposed convolution of stride 2, the block, the activation ->
    "output", a 3 x 3 convolution to `output_channels` [n, height, width, output_channels].

    The kernels' size, 4 x 4, is a multiple of the stride: every pixel gets as many terms (Odena et
    al. 2016, Deconvolution and Checkerboard Artifacts).
    """

    network: "Conv"
    image_shape: ImageShape
    output_channels: int

    @nn.compact
    def __call__(self, z: Float[Array, "n l"]) -> Map:
        widths, activation = self.network.widths, ACTIVATIONS[self.network.activation]
        smallest, *larger = map_sizes(self.image_shape, len(widths))
        channels = widths[0] if widths else self.image_shape[-1]
        h = nn.Dense(
            smallest[0] * smallest[1] * channels, kernel_init=latent_rows_init, name="map"
        )(z)
        h = h.reshape(len(z), *smallest, channels)
        if widths:
            h = activation(h)
        for i, (features, (height, width)) in enumerate(zip(widths, larger, strict=True)):
            h = Upsampling(features, upsampling_init, name=f"hidden_{i}")(h)
            h = activation(self.network.block(h[:, :height, :width], i))
        return Convolution(self.output_channels, 3, 1, hidden_init, name="output")(h)


def encoder(
    network: "Conv", image_shape: ImageShape, heads: Heads, context_size: int = 0
) -> Encoder:
    """An encoder from flattened images, widths from the image up; `widths=()` makes it linear."""
    module = ConvEncoder(network, image_shape, heads)
    return encoder_of(module, image_shape, heads, context_size)


def decoder(
    network: "Conv",
    image_shape: ImageShape,
    params_per_dim: int,
    latent_size: int,
    context_size: int = 0,
) -> Decoder:
    """A decoder to flattened images, widths from z down; `widths=()` makes it linear.

    The output's bias has one number for each channel and parameter, the same for every pixel.
    """
    module = ConvDecoder(network, image_shape, image_shape[-1] * params_per_dim)
    return decoder_of(module, ("map",), image_shape, params_per_dim, latent_size, context_size)


@section
class Conv(Network):
    """For each width a convolution of stride 2 and the activation."""

    widths: tuple[int, ...] = widths_key()
    activation: str = activation_key()

    encoder, decoder = encoder, decoder

    def block(self, h: Map, stage: int) -> Map:
        """What a stage does between convolution and activation: h [b, height, width, channels].

        To be called inside a compact module.
        """
        return h


@section
class ResNet(Conv):
    """As conv, with a residual block before each activation.

    It is h + W activation(norm(V activation(norm(h)))); V and W are 3 x 3 convolutions.

    References: He et al. 2016, Identity Mappings in Deep Residual Networks.
    """

    norm: str = choice(NORMS, "none", "of the features, before each activation of a block")

    def block(self, h: Map, stage: int) -> Map:
        """The residual block, h [b, height, width, channels]."""
        branch = h
        for i in range(2):
            branch = NORMS[self.norm](branch, f"block_{stage}_norm_{i}")
            branch = ACTIVATIONS[self.activation](branch)
            name = f"block_{stage}_conv_{i}"
            branch = Convolution(h.shape[-1], 3, 1, hidden_init, name=name)(branch)
        return h + branch

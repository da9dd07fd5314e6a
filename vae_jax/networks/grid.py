"""A convolutional network whose latent units are places of a grid: no layer joins all of an image.

The grid is the encoder's smallest map. z is in the order (row, column, unit at the place).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.networks.conv import ConvEncoder, ResNet, map_sizes, upsampling_init
from vae_jax.networks.convolution import Convolution, Upsampling
from vae_jax.networks.interface import ImageShape, Outputs
from vae_jax.networks.network import (
    ACTIVATIONS,
    Decoder,
    Encoder,
    Heads,
    Map,
    decoder_of,
    encoder_of,
    head_init,
    hidden_init,
    linear_heads,
)
from vae_jax.sections.declare import section


class GridEncoder(ConvEncoder):
    """The maps of a `ConvEncoder` -> heads, each linear in the features of a place.

    A head that has not as many numbers at each place, such as the maps of a flow, is linear in the
    mean over all places.
    """

    def out(self, h: Map) -> Outputs:
        places = h.shape[1] * h.shape[2]
        of_all = tuple((name, size) for name, size in self.heads if size % places)
        outputs = linear_heads(of_all, jnp.mean(h, axis=(1, 2))) if of_all else {}
        for name, size in self.heads:
            if name not in outputs:
                init = head_init(name, hidden_init)
                at_place = Convolution(size // places, 1, 1, init, name=name)(h)
                outputs[name] = at_place.reshape(len(h), -1)
        return outputs


class GridDecoder(nn.Module):
    """Context and z -> "map", a 3 x 3 convolution of the grid -> the stages of a `ConvDecoder`."""

    network: "Grid"
    image_shape: ImageShape
    output_channels: int
    context_size: int

    @nn.compact
    def __call__(self, z: Float[Array, "n l"]) -> Map:
        widths, activation = self.network.widths, ACTIVATIONS[self.network.activation]
        (height, width), *larger = map_sizes(self.image_shape, len(widths))
        context, z = z[:, : self.context_size], z[:, self.context_size :]
        shape = (len(z), height, width, self.context_size)
        h = jnp.concatenate(
            [
                jnp.broadcast_to(context[:, None, None], shape),
                z.reshape(len(z), height, width, -1),
            ],
            axis=-1,
        )
        channels = widths[0] if widths else self.image_shape[-1]
        h = activation(Convolution(channels, 3, 1, hidden_init, name="map")(h))
        for i, (features, (height, width)) in enumerate(zip(widths, larger, strict=True)):
            h = Upsampling(features, upsampling_init, name=f"hidden_{i}")(h)
            h = activation(self.network.block(h[:, :height, :width], i))
        return Convolution(self.output_channels, 3, 1, hidden_init, name="output")(h)


@section
class Grid(ResNet):
    """As resnet, with units at the places of its smallest map, and no dense layer between them.

    References: van den Oord et al. 2017, section 4.1 (codes on a grid).
    """

    can_be_masked: ClassVar = False

    def encoder(self, image_shape: ImageShape, heads: Heads, context_size: int = 0) -> Encoder:
        return encoder_of(GridEncoder(self, image_shape, heads), image_shape, heads, context_size)

    def decoder(
        self,
        image_shape: ImageShape,
        params_per_dim: int,
        latent_size: int,
        context_size: int = 0,
    ) -> Decoder:
        channels = image_shape[-1] * params_per_dim
        module = GridDecoder(self, image_shape, channels, context_size)
        return decoder_of(module, (), image_shape, params_per_dim, latent_size, context_size)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        height, width = map_sizes(data.image_shape, len(self.widths))[0]
        if config.model.latent_size % (height * width):
            where = "encoder" if config.model.encoder is self else "decoder"
            yield (
                f"model.{where}.name = 'grid' with {len(self.widths)} widths has a grid of "
                f"{height} x {width} places; model.latent_size = {config.model.latent_size} should "
                f"be a multiple of {height * width}"
            )

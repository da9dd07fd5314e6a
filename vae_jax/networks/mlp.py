"""Multilayer perceptrons, for images of any height, width and channels."""

import math
from typing import ClassVar, Protocol

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.networks.interface import ImageShape, Network, Outputs
from vae_jax.networks.network import (
    ACTIVATIONS,
    Decoder,
    Encoder,
    Heads,
    activation_key,
    decoder_of,
    encoder_of,
    hidden_init,
    latent_rows_init,
    linear_heads,
    widths_key,
)
from vae_jax.sections.declare import section

Features = Float[Array, "n features"]


class Layered(Protocol):
    """What `encoder` and `decoder` read of a section: the layers between input and output."""

    @property
    def widths(self) -> tuple[int, ...]:
        """The sizes of the layers; (): there are none."""

    @property
    def first_layers(self) -> tuple[str, ...]:
        """The names of the layers that see the input."""

    def layers(self, h: Features, first_init: nn.initializers.Initializer) -> Features:
        """h [n, inputs] -> [n, features], inside a compact module.

        `first_init`: the kernel_init of the layers that see h.
        """


class MLPEncoder(nn.Module):
    """x and context [b, d + c] -> hidden layers -> a linear head [b, size] for each of `heads`."""

    network: Layered
    heads: Heads

    @nn.compact
    def __call__(self, x_bd: Float[Array, "b d"], context: Float[Array, "b c"]) -> Outputs:
        h = jnp.concatenate([x_bd, context], axis=-1)
        return linear_heads(self.heads, self.network.layers(h, hidden_init))


class MLPDecoder(nn.Module):
    """Context and z [n, c + l] -> hidden layers -> linear output [n, output_size]."""

    network: Layered
    output_size: int

    @nn.compact
    def __call__(self, z: Features) -> Features:
        h = self.network.layers(z, latent_rows_init)
        last = hidden_init if self.network.widths else latent_rows_init
        return nn.Dense(self.output_size, kernel_init=last, name="output")(h)


def encoder(
    network: Layered, image_shape: ImageShape, heads: Heads, context_size: int = 0
) -> Encoder:
    """An encoder from flattened images; `widths=()` makes it linear."""
    return encoder_of(MLPEncoder(network, heads), image_shape, heads, context_size)


def decoder(
    network: Layered,
    image_shape: ImageShape,
    params_per_dim: int,
    latent_size: int,
    context_size: int = 0,
) -> Decoder:
    """A decoder to flattened images; `widths=()` makes it linear."""
    module = MLPDecoder(network, math.prod(image_shape) * params_per_dim)
    first_layers = network.first_layers if network.widths else ("output",)
    return decoder_of(module, first_layers, image_shape, params_per_dim, latent_size, context_size)


@section
class MLP(Network):
    """h <- activation(W h + b)."""

    widths: tuple[int, ...] = widths_key()
    activation: str = activation_key()

    first_layers: ClassVar = ("hidden_0",)
    encoder, decoder = encoder, decoder

    def layers(self, h: Features, first_init: nn.initializers.Initializer) -> Features:
        """The layers, as `Layered` says."""
        for i, width in enumerate(self.widths):
            init = hidden_init if i else first_init
            h = nn.Dense(width, kernel_init=init, name=f"hidden_{i}")(h)
            h = ACTIVATIONS[self.activation](h)
        return h


@section
class GatedMLP(Network):
    """h <- (W h + b) * sigmoid(V h + c). The gate is the nonlinearity.

    References: Dauphin et al. 2017, Language Modeling with Gated Convolutional Networks; Tomczak
    and Welling 2018, VAE with a VampPrior.
    """

    widths: tuple[int, ...] = widths_key()

    first_layers: ClassVar = ("hidden_0", "gate_0")
    encoder, decoder = encoder, decoder

    def layers(self, h: Features, first_init: nn.initializers.Initializer) -> Features:
        """The layers, as `Layered` says."""
        for i, width in enumerate(self.widths):
            init = hidden_init if i else first_init
            gate = nn.Dense(width, kernel_init=init, name=f"gate_{i}")(h)
            h = nn.Dense(width, kernel_init=init, name=f"hidden_{i}")(h) * nn.sigmoid(gate)
        return h


@section
class ResidualMLP(MLP):
    """h <- W h + b, then h <- P h + W activation(h) + b for each further width; activation(h) last.

    P is the identity, or a linear projection where the width changes. The activation comes before
    the weights, so that the skip path from the first layer to the last has only the projections.

    References: He et al. 2016, Identity Mappings in Deep Residual Networks.
    """

    def layers(self, h: Features, first_init: nn.initializers.Initializer) -> Features:
        """The layers, as `Layered` says."""
        activation = ACTIVATIONS[self.activation]
        for i, width in enumerate(self.widths):
            if i == 0:
                h = nn.Dense(width, kernel_init=first_init, name="hidden_0")(h)
                continue
            block = nn.Dense(width, kernel_init=hidden_init, name=f"hidden_{i}")(activation(h))
            if h.shape[-1] != width:
                h = nn.Dense(width, False, kernel_init=hidden_init, name=f"projection_{i}")(h)
            h = h + block
        return activation(h) if self.widths else h

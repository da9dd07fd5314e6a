"""Multilayer perceptrons, for images of any height, width and channels."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vae_jax.networks.network import (
    ACTIVATIONS,
    Decoder,
    Encoder,
    Heads,
    NetworkSpec,
    decoder_of,
    encoder_of,
    hidden_init,
    latent_rows_init,
    linear_heads,
)

# (spec, h [n, inputs], kernel_init of the layers that see h) -> h [n, features]: hidden layers, to
# be called inside a compact module.
Layers = Callable


def plain_layers(spec: NetworkSpec, h, first_init):
    """h <- activation(W h + b)."""
    for i, width in enumerate(spec.widths):
        h = nn.Dense(width, kernel_init=hidden_init if i else first_init, name=f"hidden_{i}")(h)
        h = ACTIVATIONS[spec.activation](h)
    return h


def gated_layers(spec: NetworkSpec, h, first_init):
    """h <- (W h + b) * sigmoid(V h + c). The gate is the nonlinearity: `activation` has no effect.

    References: Dauphin et al. 2017, Language Modeling with Gated Convolutional Networks; Tomczak
    and Welling 2018, VAE with a VampPrior.
    """
    for i, width in enumerate(spec.widths):
        init = hidden_init if i else first_init
        gate = nn.Dense(width, kernel_init=init, name=f"gate_{i}")(h)
        h = nn.Dense(width, kernel_init=init, name=f"hidden_{i}")(h) * nn.sigmoid(gate)
    return h


def residual_layers(spec: NetworkSpec, h, first_init):
    """h <- W h + b, then h <- P h + W activation(h) + b for each further width; activation(h) last.

    P is the identity, or a linear projection where the width changes. The activation comes before
    the weights, so that nothing but the projections stands on the way from the first layer to the
    last.

    References: He et al. 2016, Identity Mappings in Deep Residual Networks.
    """
    activation = ACTIVATIONS[spec.activation]
    for i, width in enumerate(spec.widths):
        if i == 0:
            h = nn.Dense(width, kernel_init=first_init, name="hidden_0")(h)
            continue
        block = nn.Dense(width, kernel_init=hidden_init, name=f"hidden_{i}")(activation(h))
        if h.shape[-1] != width:
            h = nn.Dense(width, False, kernel_init=hidden_init, name=f"projection_{i}")(h)
        h = h + block
    return activation(h) if spec.widths else h


class MLPEncoder(nn.Module):
    """x and context [b, d + c] -> hidden layers -> a linear head [b, size] for each of `heads`."""

    layers: Layers
    spec: NetworkSpec
    heads: Heads

    @nn.compact
    def __call__(self, x_bd, context):
        h = jnp.concatenate([x_bd, context], axis=-1)
        return linear_heads(self.heads, self.layers(self.spec, h, hidden_init))


class MLPDecoder(nn.Module):
    """Context and z [n, c + l] -> hidden layers -> linear output [n, output_size]."""

    layers: Layers
    spec: NetworkSpec
    output_size: int

    @nn.compact
    def __call__(self, z):
        h = self.layers(self.spec, z, latent_rows_init)
        last = hidden_init if self.spec.widths else latent_rows_init
        return nn.Dense(self.output_size, kernel_init=last, name="output")(h)


def encoder(
    layers: Layers,
    spec: NetworkSpec,
    image_shape: tuple[int, int, int],
    heads: Heads,
    context_size: int = 0,
) -> Encoder:
    """An encoder from flattened images; `widths=()` makes it linear."""
    return encoder_of(MLPEncoder(layers, spec, heads), image_shape, heads, context_size)


def decoder(
    layers: Layers,
    spec: NetworkSpec,
    image_shape: tuple[int, int, int],
    params_per_dim: int,
    latent_size: int,
    context_size: int = 0,
) -> Decoder:
    """A decoder to flattened images; `widths=()` makes it linear."""
    module = MLPDecoder(layers, spec, math.prod(image_shape) * params_per_dim)
    if not spec.widths:
        first_layers: tuple[str, ...] = ("output",)
    elif layers is gated_layers:
        first_layers = ("hidden_0", "gate_0")
    else:
        first_layers = ("hidden_0",)
    return decoder_of(module, first_layers, image_shape, params_per_dim, latent_size, context_size)

"""Multilayer perceptrons, for images of any height, width and channels."""

import math

import flax.linen as nn
import jax.numpy as jnp

from vae_jax.networks.network import (
    ACTIVATIONS,
    Decoder,
    Encoder,
    NetworkSpec,
    hidden_init,
    latent_columns_init,
    latent_rows_init,
    mask_columns,
    mask_rows,
)


class MLPEncoder(nn.Module):
    """x [b, d] -> hidden layers -> one linear head [b, l] for each name in `heads`."""

    spec: NetworkSpec
    heads: tuple[str, ...]
    latent_size: int

    @nn.compact
    def __call__(self, x_bd):
        h = x_bd
        for i, width in enumerate(self.spec.widths):
            h = nn.Dense(width, kernel_init=hidden_init, name=f"hidden_{i}")(h)
            h = ACTIVATIONS[self.spec.activation](h)
        return {
            head: nn.Dense(self.latent_size, kernel_init=latent_columns_init, name=head)(h)
            for head in self.heads
        }


class MLPDecoder(nn.Module):
    """z [..., l] -> hidden layers -> linear output [..., d_out]."""

    spec: NetworkSpec
    output_size: int

    @nn.compact
    def __call__(self, z):
        h = z
        for i, width in enumerate(self.spec.widths):
            first = latent_rows_init if i == 0 else hidden_init
            h = nn.Dense(width, kernel_init=first, name=f"hidden_{i}")(h)
            h = ACTIVATIONS[self.spec.activation](h)
        last = hidden_init if self.spec.widths else latent_rows_init
        return nn.Dense(self.output_size, kernel_init=last, name="output")(h)


def encoder(
    spec: NetworkSpec, image_shape: tuple[int, int, int], heads: tuple[str, ...], latent_size: int
) -> Encoder:
    """An encoder from flattened images; `widths=()` makes it linear."""
    module = MLPEncoder(spec, heads, latent_size)

    def init(key, mask_l=None):
        params = module.init(key, jnp.zeros((1, math.prod(image_shape))))["params"]
        if mask_l is not None:
            params |= {head: mask_columns(params[head], mask_l) for head in heads}
        return params

    return Encoder(
        init=init,
        apply=lambda params, x_bd: module.apply({"params": params}, x_bd),
    )


def decoder(
    spec: NetworkSpec, image_shape: tuple[int, int, int], params_per_dim: int, latent_size: int
) -> Decoder:
    """A decoder to flattened images, `params_per_dim` numbers a dimension; `widths=()`: linear."""
    module = MLPDecoder(spec, math.prod(image_shape) * params_per_dim)

    def init(key, output_bias=None, mask_l=None):
        params = module.init(key, jnp.zeros((1, latent_size)))["params"]
        if mask_l is not None:
            first = "hidden_0" if spec.widths else "output"
            params |= {first: mask_rows(params[first], mask_l)}
        if output_bias is not None:
            params |= {"output": {**params["output"], "bias": output_bias}}
        return params

    return Decoder(init=init, apply=lambda params, z: module.apply({"params": params}, z))

"""Encoders and decoders: the only rooms that know Flax. To add one, list it here.

An encoder is built from (spec, image_shape, heads, context_size=0), a decoder from
(spec, image_shape, params_per_dim, latent_size, context_size=0); image_shape is
(height, width, channels), the context what both are told beside x and z, such as one-hot labels.
"""

from functools import partial

from vae_jax.networks import conv, mlp

ENCODERS = {
    "mlp": partial(mlp.encoder, mlp.plain_layers),
    "gated_mlp": partial(mlp.encoder, mlp.gated_layers),
    "residual_mlp": partial(mlp.encoder, mlp.residual_layers),
    "conv": partial(conv.encoder, conv.no_block),
    "resnet": partial(conv.encoder, conv.residual_block),
}
DECODERS = {
    "mlp": partial(mlp.decoder, mlp.plain_layers),
    "gated_mlp": partial(mlp.decoder, mlp.gated_layers),
    "residual_mlp": partial(mlp.decoder, mlp.residual_layers),
    "conv": partial(conv.decoder, conv.no_block),
    "resnet": partial(conv.decoder, conv.residual_block),
}

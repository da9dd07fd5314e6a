"""Encoders and decoders: the only rooms that know Flax. To add one, list it here.

An encoder is built from (spec, image_shape, heads, latent_size), a decoder from
(spec, image_shape, params_per_dim, latent_size); image_shape is (height, width, channels).
"""

from vae_jax.networks import mlp

ENCODERS = {"mlp": mlp.encoder}
DECODERS = {"mlp": mlp.decoder}

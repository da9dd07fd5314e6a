"""Encoders and decoders: the only modules that use Flax. To add one, write its section and list it.

network.py says what a section has.
"""

from vae_jax.networks.conv import Conv, ResNet
from vae_jax.networks.mlp import MLP, GatedMLP, ResidualMLP

NETWORKS = {
    "conv": Conv,
    "gated_mlp": GatedMLP,
    "mlp": MLP,
    "residual_mlp": ResidualMLP,
    "resnet": ResNet,
}

"""Encoders and decoders: the only modules that use Flax. To add one, write its section and list it.

interface.py says what it has.
"""

from vae_jax.networks.conv import Conv, ResNet
from vae_jax.networks.grid import Grid
from vae_jax.networks.interface import DecoderNetwork, EncoderNetwork, Network
from vae_jax.networks.mlp import MLP, GatedMLP, ResidualMLP
from vae_jax.networks.pixelcnn import PixelCNN
from vae_jax.networks.spectral import SpectralMLP

__all__ = [
    "DECODERS",
    "ENCODERS",
    "MLP",
    "NETWORKS",
    "Conv",
    "DecoderNetwork",
    "EncoderNetwork",
    "GatedMLP",
    "Network",
    "ResNet",
    "ResidualMLP",
]

NETWORKS: dict[str, type[Network]] = {
    "conv": Conv,
    "gated_mlp": GatedMLP,
    "grid": Grid,
    "mlp": MLP,
    "residual_mlp": ResidualMLP,
    "resnet": ResNet,
    "spectral_mlp": SpectralMLP,
}
# By key: a network of the user's own may be one of them alone.
ENCODERS: dict[str, type[EncoderNetwork]] = {**NETWORKS}
DECODERS: dict[str, type[DecoderNetwork]] = {**NETWORKS, "pixelcnn": PixelCNN}

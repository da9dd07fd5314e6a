"""Models that leave: a folder of weights and of functions that runs without this package."""

from vae_jax.exports.exported import Exported, load_exported
from vae_jax.exports.write import export

__all__ = ["Exported", "export", "load_exported"]

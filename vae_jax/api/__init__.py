"""For use from Python: train a model, load one, and use it on images."""

from vae_jax.api.fitted import Sampler
from vae_jax.api.folders import load, read_images, save, train
from vae_jax.api.samplers import fit_sampler
from vae_jax.api.trained import Trained

__all__ = ["Sampler", "Trained", "fit_sampler", "load", "read_images", "save", "train"]

"""A VQ-VAE: 16 codes of a book of 64 entries for each image.

vae-jax train --config=mnist_vq --workdir=runs/vq
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.posterior = "vq"
    config.model.prior = "uniform"
    config.model.latent_size = 16
    config.model.codebook.entries = 64
    config.model.codebook.width = 16
    config.training.num_epochs = 15
    config.training.seeds = (0, 1, 2)
    config.evaluation.metrics = ("elbo", "codebook")
    return config

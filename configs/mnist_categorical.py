"""A VAE with discrete latents: 20 variables of 10 values.

vae-jax train --config=mnist_categorical --workdir=runs/categorical
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.posterior = "categorical"
    config.model.prior = "uniform"
    config.model.latent_size = 20
    config.model.categories = 10
    config.model.decoder.output_bias_from_data = True
    config.objective.gradient = "straight_through"
    config.training.num_epochs = 10
    config.training.seeds = (0, 1, 2)
    config.evaluation.metrics = ("elbo", "latents")
    return config

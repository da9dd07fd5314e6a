"""Seconds."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.latent_size = 2
    config.model.encoder.widths = (32,)
    config.model.decoder.widths = (32,)
    config.training.batch_size = 500
    config.training.num_epochs = 2
    config.training.seeds = (0, 1)
    return config

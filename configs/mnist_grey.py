"""The classic tutorial to the letter."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.binarization = "none"
    config.model.latent_size = 2
    config.model.encoder.widths = (512,)
    config.model.decoder.widths = (512,)
    config.training.batch_size = 50
    config.training.num_epochs = 10
    return config

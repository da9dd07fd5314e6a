"""The first run: a two-dimensional latent space of binarised MNIST, over three seeds."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.latent_size = 2
    config.model.encoder.widths = (512,)
    config.model.decoder.widths = (512,)
    config.model.decoder.output_bias_from_data = True
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule.name = "cosine"
    config.training.batch_size = 200
    config.training.num_epochs = 18
    config.training.seeds = (0, 1, 2)
    return config

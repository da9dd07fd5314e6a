"""784-400-20."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.training.seeds = (0, 1, 2)
    return config

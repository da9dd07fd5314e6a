"""The model of `mnist_iwae.py` with k = 5 draws, a larger batch and 20 epochs, over three seeds.

  vae-jax train --config=configs/mnist_iwae_short.py --workdir=runs/mnist_iwae_short

Time: TODO
Expect: TODO
"""

from ml_collections import ConfigDict

from configs import mnist_iwae


def get_config() -> ConfigDict:
    config = mnist_iwae.get_config()
    config.dataset.validation_size = 5_000
    config.objective.num_samples = 5
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule.name = "cosine"
    config.optimizer.schedule.boundaries = ()
    config.training.batch_size = 100
    config.training.num_epochs = 20
    config.training.seeds = (0, 1, 2)
    config.evaluation.every_epochs = 2
    return config

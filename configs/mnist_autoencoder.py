"""An autoencoder: a code of 16 units without a density, and nothing that keeps it in bounds.

The reference of configs/mnist_rae.py and of docs/which_samples.md. There is no bound on log p(x).

  vae-jax train --config=configs/mnist_autoencoder.py --workdir=runs/mnist_autoencoder

Time: TIME
Expect: EXPECT
"""

from ml_collections import ConfigDict

from configs import mnist_rae


def get_config() -> ConfigDict:
    config = mnist_rae.get_config()
    config.objective.beta = 0.0
    config.objective.penalty = "none"
    config.objective.penalty_weight = 1.0
    return config

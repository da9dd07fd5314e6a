"""How many latent units, at which beta: 75 lanes in one program.

vae-jax sweep --config=configs/sweeps/latent_size.py --workdir=runs/latent_size
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.training.seeds = (0, 1, 2, 3, 4)
    config.training.num_epochs = 5
    return config


def sweep(hyper):
    return hyper.product(
        [
            hyper.sweep("model.latent_size", (2, 5, 10, 20, 50)),
            hyper.sweep("objective.beta", (0.5, 1.0, 2.0)),
        ]
    )

"""How many latent units, at which weight of the KL? 75 lanes in one program, padded to 50 units.

784-400-z-400-784, 5 epochs with a cosine schedule, five seeds each.

  vae-jax sweep --config=configs/sweeps/latent_size.py --workdir=runs/latent_size

Time: 7:39 (two shared cores of a Xeon with AVX-512, jax 0.10.2, 2026-11-28).
Expect: the best test ELBO, -107.6 +- 0.1 nats (mean and standard error over seeds 0 to 4), at 20
units and beta 1; 50 units are worse than 20 after so few epochs, at every beta.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule.name = "cosine"
    config.training.batch_size = 200
    config.training.num_epochs = 5
    config.training.seeds = (0, 1, 2, 3, 4)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.product(
        [
            hyper.sweep("model.latent_size", (2, 5, 10, 20, 50)),
            hyper.sweep("objective.beta", (0.5, 1.0, 2.0)),
        ]
    )

"""How much does the seed matter? 32 lanes in one program.

784-400-20-400-784, batch 200, 3 epochs.

  vae-jax sweep --config=configs/sweeps/seeds.py --workdir=runs/seeds

Time: 2:19 (two shared cores of a Xeon with AVX-512, jax 0.10.2, 2026-11-23).
Expect: test ELBO -111.83 +- 0.04 nats (mean and standard error over seeds 0 to 31),
between -112.2 and -111.4.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.training.batch_size = 200
    config.training.num_epochs = 3
    config.training.seeds = tuple(range(32))
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.fixed("model.latent_size", 20)

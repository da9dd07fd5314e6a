"""How wide and how deep? Six programs of three seeds, each compiled while the one before trains.

Encoder and decoder have the same widths; 20 latent units, 3 epochs.

  vae-jax sweep --config=configs/sweeps/architecture.py --workdir=runs/architecture

Time: 1:34 (two shared cores of a Xeon with AVX-512, jax 0.10.2, 2026-11-23).
Expect: test ELBO -129.4 +- 0.2, -118.3 +- 0.1, -112.1 +- 0.1 nats for one layer of 100, 200, 400
units (mean and standard error over seeds 0, 1, 2); a second layer gains nothing in so few epochs.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import default

WIDTHS = ((100,), (200,), (400,), (100, 100), (200, 200), (400, 400))


def get_config() -> ConfigDict:
    config = default.get_config()
    config.training.batch_size = 200
    config.training.num_epochs = 3
    config.training.seeds = (0, 1, 2)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.zipit(
        [
            hyper.sweep("model.encoder.widths", WIDTHS),
            hyper.sweep("model.decoder.widths", WIDTHS),
        ]
    )

"""How much does z say, by how far a PixelVAE's decoder sees? Four programs of one lane.

One, two and three masked layers of 5 x 5 kernels see 2, 4 and 6 rows above and columns beside. At
beta 100 the decoder learns without z: the last setting is a PixelCNN alone.

  vae-jax sweep --config=configs/sweeps/pixelvae_window.py --workdir=runs/pixelvae_window

Time: 8:39, with 5.0 GB of memory (two shared cores of an EPYC, jax 0.10.2, 2026-11-30).
Expect: test ELBO -93.91, -89.39 and -87.98 nats with a KL of 9.1, 8.0 and 7.6 for one, two and
three layers (seed 0); the PixelCNN alone, -91.19 with a KL of 0.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import mnist_pixelvae


def get_config() -> ConfigDict:
    config = mnist_pixelvae.get_config()
    config.training.seeds = (0,)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    settings = [(1, 1.0), (2, 1.0), (3, 1.0), (3, 100.0)]
    return [{"model.decoder.layers": layers, "objective.beta": beta} for layers, beta in settings]

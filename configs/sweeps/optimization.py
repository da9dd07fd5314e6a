"""Which learning rate, beta and warm-up suit the VAE of mnist_20d.py? 64 random settings.

784-400-20-400-784, up to 10 epochs, one seed.

  vae-jax search --config=configs/sweeps/optimization.py --workdir=runs/optimization

Time: 6:20 for the search, 155 epochs of 640 (two shared cores of a Xeon at 2.5 GHz, jax 0.10.2,
2026-11-28).
Expect: validation ELBO -104.59, test ELBO -103.40 nats (one seed), at learning rate 2.1e-3, beta
0.80 and a warm-up of 2.9 epochs.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    return default.get_config()


def sweep(hyper: Any) -> list[dict[str, Any]]:
    learning_rate, beta = hyper.log_uniform(1e-4, 1e-1), hyper.log_uniform(0.25, 4.0)
    return hyper.zipit(
        [
            hyper.sample("optimizer.learning_rate", learning_rate, n=64, seed=0),
            hyper.sample("objective.beta", beta, n=64, seed=0),
            hyper.sample("objective.warmup_epochs", hyper.uniform(0.0, 5.0), n=64, seed=0),
        ]
    )

"""Which learning rates work with each weight of the KL? 64 lanes in one program.

784-400-20-400-784, 3 epochs: eight learning rates sampled log-uniformly from 1e-4 to 0.1, times
four betas, times two seeds.

  vae-jax sweep --config=configs/sweeps/learning_rate_beta.py --workdir=runs/learning_rate_beta

Time: 4:29 (two shared cores of a Xeon with AVX-512, jax 0.10.2, 2026-11-23).
Expect: the best test ELBO, -109.8 +- 0.3 nats (mean and standard error over seeds 0, 1), at
learning rate 1.6e-3 and beta 1; at 0.021 beta 0.5 still learns (-124.7), beta 4 no longer (-197.6).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.training.batch_size = 200
    config.training.num_epochs = 3
    config.training.seeds = (0, 1)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    learning_rate = hyper.log_uniform(1e-4, 1e-1)
    return hyper.product(
        [
            hyper.sample("optimizer.learning_rate", learning_rate, n=8, seed=0),
            hyper.sweep("objective.beta", (0.5, 1.0, 2.0, 4.0)),
        ]
    )

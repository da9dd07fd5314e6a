"""A search for the optimiser's numbers and the KL's warm-up, for `experiments/search.py`.

784-400-20-400-784, 3 epochs, one seed a setting.

  python -m experiments.search --config=configs/search.py --workdir=runs/search

Time: 2:22, four batches of eight (two shared cores of a Xeon with AVX-512, jax 0.10.2, 2026-11-23).
Expect: a best validation ELBO of -109.3 nats, at learning rate 4.3e-3, b1 0.72 and a warm-up of 1.2
epochs; the first, random batch's best is -110.3.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.training.batch_size = 200
    config.training.num_epochs = 3
    return config


def search(hyper):
    return {
        "optimizer.learning_rate": hyper.log_uniform(1e-4, 3e-2),
        "optimizer.b1": hyper.uniform(0.5, 0.99),
        "objective.warmup_epochs": hyper.uniform(0.0, 3.0),
    }

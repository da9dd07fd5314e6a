"""An autoencoder: a code of 16 units without a density, and nothing that keeps it in bounds.

The reference of configs/mnist_rae.py and of docs/which_samples.md. There is no bound on log p(x).

  vae-jax train --config=configs/mnist_autoencoder.py --workdir=runs/mnist_autoencoder

Time: 1:31 without the metric samples (two shared cores of an EPYC, busy with other work, jax
0.10.2, 2026-11-30).
Expect: test reconstruction -71.07 nats; Frechet distance of samples 264 +- 12 of the prior, 52 +- 1
of one Gaussian, 8.2 +- 0.1 of a mixture of ten (means and standard errors over seeds 0, 1, 2; the
feature space of docs/which_samples.md).
"""

from ml_collections import ConfigDict

from configs import mnist_rae


def get_config() -> ConfigDict:
    config = mnist_rae.get_config()
    config.objective.beta = 0.0
    config.objective.penalty = "none"
    config.objective.penalty_weight = 1.0
    return config

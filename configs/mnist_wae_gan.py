"""A Wasserstein autoencoder with a critic: a code of 8 units that looks like N(0, 1).

After Tolstikhin et al. 2018, with an MLP; lambda is 10 nats. There is no bound on log p(x); see
docs/adversarial.md.

  vae-jax train --config=configs/mnist_wae_gan.py --workdir=runs/mnist_wae_gan

Time: 2:11 of processor time, 1:58 beside other processes, with 1.2 GB of memory (two shared cores
of an Intel Xeon, jax 0.10.2, 2026-11-30).
Expect: test reconstruction -98.0 +- 0.4 nats; samples: Frechet distance 43.5 +- 0.1, precision
0.84, recall 0.77, coverage 0.58 (means and standard errors over seeds 0 and 1; the feature space of
the run); a penalty of 0.91, so the critic can tell the codes from p(z).
"""

from ml_collections import ConfigDict

from configs import mnist_aae


def get_config() -> ConfigDict:
    config = mnist_aae.get_config()
    config.objective.name = "wae_gan"
    config.objective.penalty_weight = 10.0
    return config

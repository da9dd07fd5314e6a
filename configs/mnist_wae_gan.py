"""A Wasserstein autoencoder with a critic: a code of 8 units that looks like N(0, 1).

After Tolstikhin et al. 2018, with an MLP; lambda is 10 nats. There is no bound on log p(x); see
docs/adversarial.md.

  vae-jax train --config=configs/mnist_wae_gan.py --workdir=runs/mnist_wae_gan

Time: not run to its end here.
Expect: not run to its end here; after one epoch (one seed), a reconstruction of -120 nats and a
penalty of 1.0 (validation).
"""

from ml_collections import ConfigDict

from configs import mnist_aae


def get_config() -> ConfigDict:
    config = mnist_aae.get_config()
    config.objective.name = "wae_gan"
    config.objective.penalty_weight = 10.0
    return config

"""A VQ-VAE: 16 codes of a book of 64 entries for each image.

After van den Oord et al. 2017, with MLPs; see docs/codebooks.md.

  vae-jax train --config=configs/mnist_vq.py --workdir=runs/vq

Time: 1:52, with 1.2 GB of memory (two shared cores of an AMD EPYC, jax 0.10.2, 2026-11-30).
Expect: test ELBO -122.7 +- 0.2 nats with a KL of 66.5 (16 log 64), perplexity 61.6 +- 0.4 of 64
(means and standard errors over seeds 0, 1, 2).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.posterior = "vq"
    config.model.prior = "uniform"
    config.model.latent_size = 16
    config.model.codebook.entries = 64
    config.model.codebook.width = 16
    config.training.num_epochs = 15
    config.training.seeds = (0, 1, 2)
    config.evaluation.metrics = ("elbo", "codebook")
    return config

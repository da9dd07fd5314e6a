"""A VAE with discrete latents: 20 variables of 10 values.

After Jang et al. 2017, with MLPs; see docs/categorical.md.

  vae-jax train --config=configs/mnist_categorical.py --workdir=runs/categorical

Time: 4:12 beside other work (two shared cores of an AMD EPYC, jax 0.10.2, 2026-11-30).
Expect: test ELBO -119.2 +- 0.1 nats, KL 21.7 +- 0.1 (means and standard errors over seeds 0, 1, 2).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.posterior = "categorical"
    config.model.prior = "uniform"
    config.model.latent_size = 20
    config.model.categories = 10
    config.model.decoder.output_bias_from_data = True
    config.objective.gradient = "straight_through"
    config.training.num_epochs = 10
    config.training.seeds = (0, 1, 2)
    config.evaluation.metrics = ("elbo", "latents")
    return config

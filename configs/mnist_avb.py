"""Adversarial variational Bayes: q(z | x) without a density, its KL estimated by a critic.

After Mescheder et al. 2017, with MLPs and the adaptive contrast. What the critic estimates is no
bound on log p(x); see docs/adversarial.md.

  vae-jax train --config=configs/mnist_avb.py --workdir=runs/mnist_avb

Not run here to its end, so there are no numbers to expect.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.latent_size = 8
    config.model.posterior = "implicit"
    config.objective.name = "avb"
    config.optimizer.schedule.name = "cosine"
    config.training.num_epochs = 6
    config.training.seeds = (0, 1)
    config.training.keep = "last"
    config.evaluation.metrics = ("elbo", "latents", "nll", "samples")
    config.evaluation.num_importance_samples = 1_000
    config.evaluation.nll.images = 1_000
    return config

"""Adversarial variational Bayes: q(z | x) without a density, its KL estimated by a critic.

After Mescheder et al. 2017, with MLPs and the adaptive contrast. What the critic estimates is no
bound on log p(x); see docs/adversarial.md.

  vae-jax train --config=configs/mnist_avb.py --workdir=runs/mnist_avb

Time: about 9 minutes beside many other processes (two shared cores of an AMD EPYC, jax 0.10.2,
2026-11-30).
Expect: nll 115.86 +- 0.08 nats of 1,000 test images by 1,000 samples each, an upper bound: of 1,000
samples 25 count, and in 5% of the images one has over half of the weight. critic_bound -115.19 +-
0.06, an estimate that is above -nll; reconstruction -102.6 +- 0.1, critic_kl 12.58 +- 0.08; Frechet
distance of samples 91 +- 5 (means and standard errors over seeds 0 and 1).
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

"""A regularised autoencoder: a code of 16 units without a density, and a penalty on the decoder.

After Ghosh et al. 2020, with an MLP. There is no bound on log p(x); see docs/autoencoders.md.

  vae-jax train --config=configs/mnist_rae.py --workdir=runs/mnist_rae

Time: 1:34, with 1.5 GB of memory (two shared cores of an EPYC, jax 0.10.2, 2026-11-30).
Expect: test reconstruction -71.08 +- 0.02 nats; Frechet distance of samples 219 +- 9 of the prior,
52 +- 1 of one Gaussian, 8.4 +- 0.4 of a mixture of ten (means and standard errors over seeds 0, 1,
2; the feature space of the run).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.latent_size = 16
    config.model.posterior = "deterministic"
    config.objective.name = "rae"
    config.objective.beta = 0.01
    config.objective.penalty = "gradient"
    config.objective.penalty_weight = 0.01
    config.optimizer.schedule.name = "cosine"
    config.training.num_epochs = 10
    config.training.seeds = (0, 1, 2)
    config.evaluation.metrics = ("elbo", "latents", "samples")
    config.evaluation.samplers = ("prior", "gaussian", "mixture")
    return config

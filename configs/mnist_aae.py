"""An adversarial autoencoder: a code of 8 units that a critic makes look like N(0, 1).

After Makhzani et al. 2015, with an MLP. There is no bound on log p(x); see docs/adversarial.md.

  vae-jax train --config=configs/mnist_aae.py --workdir=runs/mnist_aae

Time: 3:01 of processor time, 12:14 beside many other processes, with 1.3 GB of memory (two shared
cores of an AMD EPYC, jax 0.10.2, 2026-11-30).
Expect: test reconstruction -107.0 +- 0.3 nats; samples: Frechet distance 139 +- 5, precision 0.93,
recall 0.50, coverage 0.42 (means and standard errors over seeds 0 and 1; the feature space of the
run); critic_loss 0.31 at the end: the codes, of standard deviation 1.4 to 1.9, are still wider than
p(z).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.latent_size = 8
    config.model.posterior = "deterministic"
    config.objective.name = "aae"
    config.optimizer.schedule.name = "cosine"
    config.training.num_epochs = 10
    config.training.seeds = (0, 1)
    config.training.keep = "last"
    config.evaluation.metrics = ("elbo", "latents", "samples")
    return config

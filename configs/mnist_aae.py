"""An adversarial autoencoder: a code of 8 units that a critic makes look like N(0, 1).

After Makhzani et al. 2015, with an MLP. There is no bound on log p(x); see docs/adversarial.md.

  vae-jax train --config=configs/mnist_aae.py --workdir=runs/mnist_aae

Time: TIME
Expect: EXPECT
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

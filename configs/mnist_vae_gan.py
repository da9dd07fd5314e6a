"""VAE-GAN: the reconstruction error is in the features of a critic of images.

After Larsen et al. 2016, with MLPs, on grey values. There is no bound on log p(x); see
docs/adversarial.md.

  vae-jax train --config=configs/mnist_vae_gan.py --workdir=runs/mnist_vae_gan

Time: 2:44 of processor time, 4:08 beside other processes, with 1.3 GB of memory (two shared cores
of an Intel Xeon, jax 0.10.2, 2026-11-30).
Expect: samples: Frechet distance 68 +- 3, precision 0.68, recall 0.78, coverage 0.30 (means and
standard errors over seeds 0 and 1; the feature space of the run); KL 10.5 +- 0.5 nats; critic_loss
0.62 at the end.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.binarization = "none"
    config.model.latent_size = 20
    config.model.likelihood = "bernoulli"  # whose mean reaches 0 and 1, as the images do
    config.objective.name = "vae_gan"
    # The features' errors are a few nats: with beta 1, the KL would be all that counts.
    config.objective.beta = 0.1
    config.objective.critic.widths = (128, 128)
    config.objective.critic.learning_rate = 1e-4
    config.optimizer.b1 = 0.5
    config.optimizer.schedule.name = "cosine"
    config.training.num_epochs = 8
    config.training.seeds = (0, 1)
    config.training.keep = "last"
    config.evaluation.metrics = ("elbo", "latents", "samples")
    return config

"""A ladder VAE of five layers of latents, 64-32-16-8-4; compare `mnist_hierarchy.py`.

The sizes of Sønderby et al. 2016, with one hidden layer of each width where they have two, without
batch normalisation, and 12 epochs with 6 of KL warm-up where they have 2,000 with 200.

  vae-jax train --config=configs/mnist_ladder.py --workdir=runs/mnist_ladder

Time: 2:50, with 2.9 GB of memory (two shared cores of an EPYC, jax 0.10.2, 2026-11-30).
Expect: test ELBO -98.95 +- 0.15 nats, nll of 200 images at most 91.3 +- 0.3 by 1,000 samples; KL by
layer, the top first, 0.32, 0.31, 0.10, 8.1, 22.0; active units 0.7, 0.7, 0.7, 5.7, 60 (means and
standard errors over seeds 0, 1, 2). So the upper layers are hardly in use here, and not at all in
one of the three seeds.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "ladder"
    config.model.latent_size = 64
    config.model.encoder.widths = (512,)
    config.model.decoder.widths = (512,)
    config.model.decoder.output_bias_from_data = True
    config.model.upper.latent_sizes = (32, 16, 8, 4)
    config.model.upper.widths = (256, 128, 64, 32)
    config.objective.warmup_epochs = 6.0
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule.name = "cosine"
    config.training.batch_size = 200
    config.training.num_epochs = 12
    config.training.seeds = (0, 1, 2)
    config.evaluation.every_epochs = 2
    config.evaluation.metrics = ("elbo", "latents", "nll")
    config.evaluation.num_importance_samples = 1_000
    config.evaluation.nll.images = 200
    return config

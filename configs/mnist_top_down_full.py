"""A larger convolutional hierarchy, for a GPU: three blocks of 32 latent channels, static MNIST.

The sizes of a published convolutional ladder with a bound of -82.14 nats and -log p(x) of 79.24 by
1,000 samples: 64 channels, four residual blocks between the layers, maps of 14, 7 and 4 pixels.
It has dropout and a learned prior of the top layer too, which are not here.

  vae-jax train --config=configs/mnist_top_down_full.py --workdir=runs/mnist_top_down_full

Time: not run.
Expect: not run.
"""

from ml_collections import ConfigDict

from configs import mnist_top_down


def get_config() -> ConfigDict:
    config = mnist_top_down.get_config()
    config.dataset.binarization = "static"
    config.model.blocks.numbers = (1, 1, 1)
    config.model.blocks.latents = 32
    config.model.blocks.width = 64
    config.model.blocks.bottleneck = 64
    config.model.blocks.encoder = 4
    config.objective.layer_free_bits = (0.5, 0.5, 0.5)
    config.optimizer.learning_rate = 1e-3
    config.training.num_epochs = 400
    config.training.ema_decay = 0.9995
    config.evaluation.nll.images = 10_000
    config.evaluation.num_importance_samples = 1_000
    return config

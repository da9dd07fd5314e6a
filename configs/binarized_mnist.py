"""Twenty latent units on the one fixed binarisation of MNIST that papers use.

  vae-jax train --config=configs/binarized_mnist.py --workdir=runs/binarized_mnist

Time: TIME
Expect: EXPECT
"""

from ml_collections import ConfigDict

from configs import mnist_20d


def get_config() -> ConfigDict:
    config = mnist_20d.get_config()
    config.dataset.name = "binarized_mnist"
    config.dataset.binarization = "none"
    config.dataset.validation_size = 0  # its own
    return config

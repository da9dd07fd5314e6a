"""Two stochastic layers, of 100 and 50 units, trained by the IWAE's bound with k = 5.

The second architecture of Burda, Grosse and Salakhutdinov 2015, with 20 epochs for their 3,280.

  vae-jax train --config=configs/mnist_two_layers.py --workdir=runs/mnist_two_layers

Time: 6:32 (two shared cores of a Xeon with AVX-512, jax 0.10.2, 2026-11-23).
Expect: test bound by 50 samples -92.92 +- 0.06 nats, ELBO -99.0 +- 0.1 (mean and standard error
over three seeds).
"""

from ml_collections import ConfigDict

from configs import mnist_iwae_short


def get_config() -> ConfigDict:
    config = mnist_iwae_short.get_config()
    config.model.name = "two_layers"
    config.model.latent_size = 100
    config.model.top.latent_size = 50
    config.model.top.widths = (100, 100)
    return config

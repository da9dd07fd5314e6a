"""The classic tutorial as it is usually written: grey pixels with a Bernoulli likelihood.

784-512-2-512-784, ReLU, batch 50, Adam 1e-3, 10 epochs. Its ELBO bounds a pseudo-likelihood: a
Bernoulli of grey values is no distribution over images. The code says so, and it belongs in no
table.

  vae-jax train --config=configs/mnist_grey.py --workdir=runs/mnist_grey

Time: 36 s (two shared cores of a Xeon with AVX-512, jax 0.10.2, 2026-11-23).
Expect: test pseudo-ELBO -154.2 nats (seed 0).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.binarization = "none"
    config.model.latent_size = 2
    config.model.encoder.widths = (512,)
    config.model.decoder.widths = (512,)
    config.training.batch_size = 50
    config.training.num_epochs = 10
    return config

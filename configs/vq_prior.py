"""An autoregressive prior over the codes of a finished run of mnist_vq, whose other parts stay.

vae-jax train --config=mnist_vq --workdir=runs/vq
vae-jax train --config=vq_prior --workdir=runs/vq_prior --config.training.start_from=runs/vq
"""

from ml_collections import ConfigDict

from configs import mnist_vq


def get_config() -> ConfigDict:
    config = mnist_vq.get_config()
    config.model.prior = "causal"
    config.training.trained = ("prior",)
    config.training.num_epochs = 10
    return config

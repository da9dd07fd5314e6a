"""The semi-supervised model M2 with 100 labels of MNIST: how much weight has the classifier?

784-100-20, ten labels of each digit, 20 labelled images in each minibatch of 128.

  vae-jax sweep --config=configs/sweeps/few_labels.py --workdir=runs/few_labels

Time: 18 min (two cores of an AMD EPYC with a load of 15, jax 0.10.2, 2026-11-30).
Expect: test accuracy 0.586 +- 0.011 at weight 1, 0.764 +- 0.004 at weight 100 (mean and standard
error over seeds 0 and 1); test ELBO -118.7 +- 0.3 and -119.1 +- 0.2 nats.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "m2"
    config.model.encoder.widths = (100,)
    config.model.decoder.widths = (100,)
    config.objective.name = "m2"
    config.dataset.num_labels = 100
    config.training.labelled_per_batch = 20
    config.training.num_epochs = 4
    config.training.seeds = (0, 1)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.sweep("objective.classification_weight", (1.0, 10.0, 100.0))

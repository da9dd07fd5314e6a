"""Grey or colour photographs of your own: a folder of image files, or an .npz; few are enough.

  vae-jax train --config=configs/photos.py --workdir=runs/photos --config.dataset.path=~/pictures \
    --config.dataset.image_size=32,32

What the images are decides the likelihood (docs/own_images.md). For few images: convolutions, as
they have few params; flips and shifts, which make other images of each; a learning rate that falls
to 0. Take about 3,000 steps: 300 epochs of 300 images, 80 of 1,000, 8 of 10,000
(--config.training.num_epochs=80). For letters and digits, whose mirror images are others:
--config.dataset.augmentation=shift.

Time: about 21 minutes for two seeds and 300 images of 32 x 32 pixels (two busy cores of an AMD
EPYC, with much other work beside it, jax 0.10.2, 2026-11-30).
Expect: on the squares of photographs of docs/photographs.md, 6.05 +- 0.04 bits/dim from 300 images,
5.70 from 1,000 and 5.57 from 10,000 (seeds 0 and 1).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.name = "arrays"
    config.dataset.augmentation = ("flip", "shift")
    config.model.latent_size = 64
    config.model.encoder.name = "conv"
    config.model.encoder.widths = (32, 64, 128)
    config.model.encoder.activation = "silu"
    config.model.decoder.name = "conv"
    config.model.decoder.widths = (64, 32, 16)
    config.model.decoder.activation = "silu"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule.name = "cosine"
    config.training.batch_size = 25
    config.training.num_epochs = 300
    config.training.patience = 60
    config.evaluation.every_epochs = 5
    return config

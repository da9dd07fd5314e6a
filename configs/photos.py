"""Grey or colour photographs of your own: a folder of image files, or an .npz.

  vae-jax train --config=photos --config.dataset.path=~/pictures --config.dataset.image_size=32,32 \
    --workdir=runs/photos

What the images are decides the likelihood (docs/configs.md). A convolutional network, with KL
warm-up.

Time: TIME
Expect: EXPECT
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.name = "arrays"
    config.model.latent_size = 32
    config.model.encoder.widths = (512, 256)
    config.model.decoder.widths = (256, 512)
    config.objective.warmup_epochs = 10.0
    config.training.batch_size = 50
    config.training.num_epochs = 100
    config.training.keep = "best"
    return config

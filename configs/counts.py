"""Counts in vectors, such as the genes of single cells (scVI): an .npz, a folder of .npy, or .h5ad.

  vae-jax train --config=configs/counts.py --workdir=runs/counts --config.dataset.path=cells.npz

The decoder gives each variable's share of the example's total, a negative binomial has one
dispersion for each variable, and the encoder sees log(1 + x) (Lopez et al. 2018). With
--config.model.conditional=True, encoder and decoder are given the label: such as the batch that a
cell was measured in. docs/counts.md has more.

Beta rises over half of the epochs: without, one seed of three used no latent unit.

Time: 2:31 for three seeds of the cells of docs/counts.md (two busy cores of an Intel Xeon, with
much other work beside it, jax 0.10.2, 2026-12-01).
Expect: test ELBO -795.2 +- 0.4 nats there; with --config.model.conditional=True, -792.9 +- 0.2
(mean and standard error over three seeds).
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.name = "arrays"
    config.model.latent_size = 10
    config.model.encoder.widths = (128, 128)
    config.model.decoder.widths = (128, 128)
    config.model.likelihood = "negative_binomial"
    config.model.likelihood_size_factor = "total"
    config.model.likelihood_dispersion = "variable"
    config.objective.warmup_epochs = 50
    config.training.num_epochs = 100
    config.training.patience = 20
    return config

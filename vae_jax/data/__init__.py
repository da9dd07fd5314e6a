"""Datasets as arrays. To add one, write a function that returns a Source and list it here.

Each is chosen by `dataset.name` and called with the config's `dataset` section.
"""

from vae_jax.data import arrays, mnist, sprites, tfds

# The keys of that section that a dataset reads, beside those that all do.
READS: dict[str, tuple[str, ...]] = {"arrays": ("path",), "tfds": ("tfds_name", "path")}

DATASETS = {
    "arrays": lambda section: arrays.load(section.path),
    "mnist": lambda section: mnist.load(),
    "sprites": lambda section: sprites.load(),
    "tfds": lambda section: tfds.load(section.tfds_name, section.path),
}

"""3D Shapes: a solid in a room, from every combination of six factors (Burgess and Kim 2018)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vae_jax.data.source import Source
from vae_jax.errors import UserError
from vae_jax.words import to_install

FILE = "3dshapes.h5"
BLOCK = 2_000  # images that are read at a time, at least
SHAPE = 4  # the factor that is the label
SEED = 0  # of the split, which the authors do not give


def shapes3d(paths: Mapping[str, Path]) -> Source:
    """470,000 training and 10,000 test images, 64 x 64 x 3, uint8, with their six factors.

    The factors, as whole numbers: the hues of the floor, the wall and the solid, its size, its
    shape, and where it is seen from. The label is the shape. The test set is random. Beside the
    images, a block of them is in memory.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{FILE} is read by h5py: {to_install('h5py')}") from error
    with h5py.File(paths[FILE]) as file:
        images, values = file["images"], file["labels"][:]
        n, num_test = len(images), min(10_000, len(images) // 10)
        is_test = np.zeros(n, bool)
        is_test[np.random.default_rng(SEED).permutation(n)[:num_test]] = True
        train = np.empty((n - num_test, *images.shape[1:]), np.uint8)
        test = np.empty((num_test, *images.shape[1:]), np.uint8)
        # Whole chunks of the file: a part of one is unpacked as a whole.
        rows = max(BLOCK, images.chunks[0] if images.chunks else 0)
        for start in range(0, n, rows):
            block, own = images[start : start + rows], is_test[start : start + rows]
            in_test = int(is_test[:start].sum())
            train[start - in_test :][: (~own).sum()] = block[~own]
            test[in_test:][: own.sum()] = block[own]
    factors = np.stack([np.unique(column, return_inverse=True)[1] for column in values.T], axis=1)
    factors = factors.astype(np.int64)
    return Source(
        "shapes3d",
        train,
        factors[~is_test, SHAPE],
        test,
        factors[is_test, SHAPE],
        train_factors=factors[~is_test],
        test_factors=factors[is_test],
        notes=("its authors give no split: the test set is random",),
    )

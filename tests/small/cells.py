"""Made counts of cells and genes, of several types and batches."""

import warnings
from typing import NamedTuple

import numpy as np


class Cells(NamedTuple):
    """Counts [n, d], and the type and the batch of each cell [n]."""

    counts: np.ndarray
    types: np.ndarray
    batches: np.ndarray


def made_cells(n: int, d: int, types: int = 6, batches: int = 2, seed: int = 0) -> Cells:
    """Negative binomial counts: a profile of each type, an effect of each batch, a size of each
    cell, a dispersion of each gene."""
    rng = np.random.default_rng(seed)
    profiles = rng.normal(-1, 1.5, d) + rng.normal(size=(types, d)) * (
        rng.random((types, d)) < 0.15
    )
    effects = rng.normal(0, 0.5, (batches, d))
    r, sizes = np.exp(rng.normal(0.5, 0.7, d)), np.exp(rng.normal(7.5, 0.5, (n, 1)))
    type_n, batch_n = rng.integers(0, types, n), rng.integers(0, batches, n)
    shares = np.exp(profiles[type_n] + effects[batch_n])
    means = sizes * shares / shares.sum(axis=1, keepdims=True)
    return Cells(rng.poisson(rng.gamma(r, means / r)), type_n, batch_n)


def write_cells(path, cells: Cells, test: int) -> None:
    """An .npz whose labels are the batches; the last `test` cells are the test set."""
    counts, batches = cells.counts, cells.batches
    np.savez(
        path,
        train_images=counts[:-test],
        test_images=counts[-test:],
        train_labels=batches[:-test],
        test_labels=batches[-test:],
    )


def write_h5ad(path, cells: Cells) -> None:
    """An .h5ad of sparse floats, with the batches and the types in obs."""
    import anndata
    import pandas as pd
    import scipy.sparse

    names = {"batch": cells.batches, "cell_type": cells.types}
    obs = pd.DataFrame(
        {name: pd.Categorical([f"{name} {i}" for i in own]) for name, own in names.items()},
        index=[f"cell {i}" for i in range(len(cells.counts))],
    )
    matrix = scipy.sparse.csr_matrix(cells.counts.astype(np.float32))
    write_annotated(path, anndata.AnnData(matrix, obs=obs))


def write_annotated(path, data) -> None:
    """Writes an AnnData; what its libraries say of each other is no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.write_h5ad(path)

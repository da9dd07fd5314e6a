"""A matrix of examples and variables, dense or sparse, without a test set: an .npz of
scipy.sparse, or an .h5ad of anndata."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.counts import LARGE, SMALL
from vae_jax.data.covariates import rows_of
from vae_jax.data.source import Source, checked_source
from vae_jax.errors import Unreadable, UserError
from vae_jax.words import as_name, reason, to_install

SPARSE = {"format", "shape", "data"}  # arrays that the .npz of a sparse matrix has
BLOCK = 2_000  # rows that are dense floats at a time
TEST_PART = 10  # one of so many examples is in the test set
SEED = 0  # of the order in which examples are taken


def load_sparse(path: str) -> Source:
    """The matrix of an .npz that scipy.sparse.save_npz wrote.

    Raises:
      UserError: it can't be read, or holds what no data are.
    """
    return of_matrix(opened(path), Beside(), path)


def opened(path: str) -> Any:
    """The sparse matrix of an .npz, by rows."""
    import scipy.sparse

    try:
        return scipy.sparse.load_npz(path).tocsr()
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise Unreadable(f"{path} can't be read as a sparse matrix ({reason(error)})") from error


def read_sparse(path: str) -> np.ndarray:
    """The rows of the sparse matrix of an .npz, dense, in their order."""
    return all_rows(opened(path))


def all_rows(matrix: Any) -> np.ndarray:
    """The rows of a matrix, dense, in their order."""
    return dense(matrix, np.arange(matrix.shape[0]), type_of(matrix))


class Beside(NamedTuple):
    """What there is beside a matrix, of its rows."""

    labels: np.ndarray | None = None  # [n]
    covariates: np.ndarray | None = None  # [n, c]
    names: tuple[str, ...] = ()  # of the covariates


def load_h5ad(path: str, layer: str, labels: str, covariates: Sequence[str] = ()) -> Source:
    """The source of an .h5ad; arguments and errors as in `opened_h5ad`."""
    return of_matrix(*opened_h5ad(path, layer, labels, covariates), path)


def opened_h5ad(
    path: str, layer: str, labels: str, covariates: Sequence[str] = ()
) -> tuple[Any, Beside]:
    """X, or a layer, of an .h5ad; and columns of obs.

    Args:
      layer: its name; "": X.
      labels: the name of the column, such as "cell_type" or "batch"; "": there are no labels.
      covariates: the names of columns; (): there are no covariates.

    Raises:
      UserError: anndata, the file, the layer or a column is missing, or holds what no data are.
    """
    if not path:
        raise UserError(
            "dataset.path is empty; dataset.name = 'anndata' needs the path of an .h5ad"
        )
    if not Path(path).is_file():
        raise Unreadable(f"{path} is no file; --config.dataset.path should be an .h5ad")
    data = read_h5ad(path)
    layers = ", ".join(name for name in data.layers if name) or "none"  # of the newest, None is X
    if layer and layer not in data.layers:
        raise UserError(
            f"{path} has no layer {layer!r} (it has: {layers}); "
            "dataset.layer should be one of them, or '' for X"
        )
    if labels and labels not in data.obs:
        raise UserError(
            f"{path} has no column {labels!r} in obs (it has: {', '.join(data.obs) or 'none'}); "
            "dataset.labels should be one of them, or ''"
        )
    for name in covariates:
        if name not in data.obs:
            raise UserError(
                f"{path} has no column {name!r} in obs (it has: {', '.join(data.obs) or 'none'}); "
                "dataset.covariates should be some of them, or ()"
            )
    matrix = data.layers[layer] if layer else data.X
    if matrix is None:
        raise UserError(f"{path} has no X; dataset.layer should be one of {layers}")
    columns = [rows_of(labels_of(data.obs[name], path), f"{path}: {name}") for name in covariates]
    return matrix, Beside(
        labels_of(data.obs[labels], path) if labels else None,
        np.concatenate(columns, axis=1) if columns else None,
        tuple(covariates),
    )


def read_h5ad(path: str) -> Any:
    """The AnnData of a file."""
    try:
        import anndata
    except ImportError as error:
        raise UserError(f".h5ad files are read by anndata: {to_install('anndata')}") from error
    try:
        with warnings.catch_warnings():  # of what its libraries say of each other
            warnings.simplefilter("ignore")
            return anndata.read_h5ad(path)
    except Exception as error:  # of anndata, h5py or the system
        raise Unreadable(f"{path} can't be read as an .h5ad ({reason(error)})") from error


def labels_of(column: Any, path: str) -> np.ndarray:
    """The labels of a column of obs: names, or whole numbers."""
    if column.isna().any():
        raise UserError(
            f"{path}: {int(column.isna().sum()):,} rows have no {column.name!r}; leave them out, "
            "or give them a name"
        )
    values = column.to_numpy()
    return values if values.dtype.kind in "iubf" else values.astype(str)


def of_matrix(matrix: Any, beside: Beside, path: str) -> Source:
    """The source of a matrix [n, d]; of its rows, in an order of their own, the last tenth is the
    test set."""
    if matrix.ndim != 2 or min(matrix.shape) < 1 or matrix.shape[0] < 2:
        raise UserError(f"{path} has shape {matrix.shape}; it should be (n, d), n at least 2")
    rows = np.random.default_rng(SEED).permutation(matrix.shape[0])
    test = rows[-max(1, len(rows) // TEST_PART) :]
    train = rows[: -len(test)]
    dtype = type_of(matrix)
    source = checked_source(
        dense(matrix, train, dtype),
        None if beside.labels is None else beside.labels[train],
        dense(matrix, test, dtype),
        None if beside.labels is None else beside.labels[test],
        name=path,
        train_covariates=None if beside.covariates is None else beside.covariates[train],
        test_covariates=None if beside.covariates is None else beside.covariates[test],
        covariate_names=beside.names,
    )
    note = f"test set: a tenth of the {len(rows):,} rows, drawn at random (always the same)"
    return source._replace(name=as_name(Path(path).name), notes=(note,))


def type_of(matrix: Any) -> np.dtype:
    """The type of the dense matrix. Whole numbers from 0 upwards are counts, also as floats, which
    is how such files hold them."""
    values = matrix.data if hasattr(matrix, "toarray") else np.asarray(matrix)
    if values.dtype.kind not in "biuf":
        raise UserError(f"the matrix holds {values.dtype}; it should hold numbers")
    if values.dtype.kind == "b" or not values.size:
        return np.dtype(bool)
    with np.errstate(invalid="ignore"):
        are_counts = values.min() >= 0 and not (values % 1).any()
    if not are_counts:
        return values.dtype
    # What is too large for both is refused by its own type.
    return next((t for t in (SMALL, LARGE) if values.max() <= np.iinfo(t).max), values.dtype)


def dense(matrix: Any, rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Some rows of a matrix, not sparse, in this type."""
    out = np.empty((len(rows), matrix.shape[1]), dtype)
    for start in range(0, len(rows), BLOCK):
        block = matrix[rows[start : start + BLOCK]]
        out[start : start + BLOCK] = block.toarray() if hasattr(block, "toarray") else block
    return out

"""Covariates: from every kind of source to conditions, and back from rows of them."""

import numpy as np
import pandas as pd
import pytest

from tests.small.cells import made_cells, write_h5ad
from vae_jax.data import DATASETS
from vae_jax.data.covariates import (
    Conditions,
    Covariate,
    conditions_of,
    levels_of,
    named_rows,
    names_of,
)
from vae_jax.data.dataset import classes as said
from vae_jax.data.dataset import dataset, described, other_data, without_images
from vae_jax.data.others import from_path
from vae_jax.data.own import arrays, npy_folder
from vae_jax.data.source import checksum
from vae_jax.errors import UserError

ROWS = [["b", 10], ["a", 2], ["b", 2], ["a", 10], ["b", 10], ["a", 9]]
PARTS = {"validation_size": 5, "binarization": "none", "binarization_seed": 0}


def test_a_condition_is_a_combination_of_levels():
    found = conditions_of(ROWS[:4], ROWS[4:], (4, 2), "mine", ("batch", "donor"))
    # Names in their order, numbers by their value.
    assert found.covariates == (
        Covariate("batch", ("a", "b")),
        Covariate("donor", ("2", "9", "10")),
    )
    assert found.train.tolist() == [5, 0, 3, 2]
    assert found.test.tolist() == [5, 1]
    batch, donor = levels_of(found.train, found.covariates)
    assert batch.tolist() == [1, 0, 1, 0]
    assert donor.tolist() == [2, 0, 0, 2]
    assert names_of(found.covariates) == ("a / 2", "a / 9", "a / 10", "b / 2", "b / 9", "b / 10")
    assert conditions_of(None, None, (4, 2), "mine") == Conditions()


def test_rows_name_their_conditions():
    expected = ["b / 10", "a / 2", "b / 2", "a / 10", "b / 10", "a / 9"]
    for rows in (ROWS, np.array(ROWS, object), pd.DataFrame(ROWS), list(map(tuple, ROWS))):
        assert named_rows(rows) == expected
    assert named_rows([["b"], ["a"]]) == ["b", "a"]
    assert named_rows(expected) is expected
    assert named_rows(np.array([1.0, 2.0])).tolist() == [1, 2]
    assert named_rows(np.array([[1.0, 2.0]])) == ["1 / 2"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (ROWS[:4], None, "has no test_covariates"),
        (ROWS[:3], ROWS[4:], r"should be \(4, c\) and \(2, c\)"),
        (ROWS[:4], ["a", "b"], r"shapes \(4, 2\) and \(2, 1\)"),
        (np.zeros((4, 1, 1)), ROWS[4:], r"should be \(n,\), or \(n, c\)"),
        ([0.5, 1, 2, 3], [1, 2], "not all whole numbers"),
        ([["a / b", "c"]] * 4, [["a", "b / c"]] * 2, "has ' / ' in its name"),
    ],
)
def test_what_is_refused(train, test, message):
    with pytest.raises(UserError, match=message):
        conditions_of(train, test, (4, 2), "mine")


def test_too_many_combinations_are_refused():
    rows = np.stack([np.arange(400), np.arange(400)], axis=1)
    with pytest.raises(UserError, match="400 x 400 = 160,000 combinations"):
        conditions_of(rows, rows, (400, 400), "mine")


@pytest.fixture
def cells():
    return made_cells(60, 6)


def columns(cells):
    return np.stack([cells.batches, cells.types], axis=1)


def test_arrays_and_folders_have_them(cells, tmp_path):
    """The same conditions from an .npz and from a folder, beside the labels."""
    of_set = {
        "images": cells.counts, "labels": cells.types, "covariates": columns(cells)
    }  # fmt: skip
    files = {f"train_{name}": own[10:] for name, own in of_set.items()}
    files |= {f"test_{name}": own[:10] for name, own in of_set.items()}
    np.savez(tmp_path / "x.npz", **files)
    (tmp_path / "folder").mkdir()
    for name, array in files.items():
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    one = arrays.load(str(tmp_path / "x.npz"))
    for choice in ("yes", "no"):
        other = npy_folder.load(tmp_path / "folder", choice)
        np.testing.assert_array_equal(one.conditions.train, other.conditions.train)
    np.testing.assert_array_equal(one.conditions.test, 6 * cells.batches[:10] + cells.types[:10])
    np.testing.assert_array_equal(one.train_labels, cells.types[10:])
    others = from_path(tmp_path / "x.npz", (), (1, 6, 1))
    assert others.covariates.tolist() == columns(cells)[:10].astype(str).tolist()


def test_a_dataset_knows_them(cells, tmp_path):
    files = arrays.checked_split(cells.counts, cells.types, covariates=columns(cells))
    np.savez(tmp_path / "x.npz", **files)
    source = arrays.load(str(tmp_path / "x.npz"))
    data = dataset(source, **PARTS)
    assert data.given_sizes == (2, 6)
    assert data.num_given == len(data.given_names) == 12
    assert data.num_classes == 6
    for split, rows in ((data.train, slice(0, 49)), (data.validation, slice(49, 54))):
        np.testing.assert_array_equal(split.labels, cells.types[rows])
        np.testing.assert_array_equal(split.given, 6 * cells.batches[rows] + cells.types[rows])
    assert said(data).endswith("covariates: covariate 0 of 2 levels, covariate 1 of 6 levels")
    assert "60" not in described(data)
    # They are part of its identity: by what they are of each example, and by their names.
    gone = without_images(data.identity)
    assert gone.covariates == data.covariates
    assert gone.train.given.max() == 11
    turned = source.conditions._replace(train=source.conditions.train[::-1])
    without = source._replace(conditions=Conditions())
    for other in (source._replace(conditions=turned), without):
        assert checksum(other) != checksum(source)
        assert other_data(data.identity, dataset(other, **PARTS).identity)
    assert dataset(without, **PARTS).train.given.tolist() == data.train.labels.tolist()


def test_columns_of_an_h5ad(cells, tmp_path):
    pytest.importorskip("anndata")
    write_h5ad(tmp_path / "x.h5ad", cells)
    section = DATASETS["anndata"](
        path=str(tmp_path / "x.h5ad"), labels="cell_type", covariates=("batch", "cell_type")
    )
    source = section.load()
    first, second = source.conditions.covariates
    assert first == Covariate("batch", ("batch 0", "batch 1"))
    assert second.name == "cell_type"
    rows = np.concatenate([source.train_images, source.test_images]).reshape(60, 6)
    given = np.concatenate([source.conditions.train, source.conditions.test])
    own = (6 * cells.batches + cells.types).tolist()
    expected = {(*row, of_row) for row, of_row in zip(cells.counts.tolist(), own, strict=True)}
    assert {(*row, i) for row, i in zip(rows.tolist(), given.tolist(), strict=True)} == expected
    np.testing.assert_array_equal(source.train_labels, source.conditions.train % 6)
    others = from_path(tmp_path / "x.h5ad", (), (1, 6, 1), "", "", ("batch",))
    assert others.covariates[:, 0].tolist() == [f"batch {i}" for i in cells.batches]
    with pytest.raises(UserError, match=r"has no column 'donor' in obs .it has: batch, cell_type."):
        DATASETS["anndata"](path=str(tmp_path / "x.h5ad"), covariates=("donor",)).load()

"""Vectors and counts: what is taken for which, from arrays, sparse matrices and .h5ad files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from tests.small.cells import write_annotated
from vae_jax.api.arguments import batch_of, in_shape, pictures, scaled
from vae_jax.config.build import make_config
from vae_jax.config.decide import decided
from vae_jax.config.schema import defaults
from vae_jax.data import DATASETS, stored
from vae_jax.data.binarization import scaled as as_x
from vae_jax.data.counts import MOST_COUNT
from vae_jax.data.dataset import dataset, described
from vae_jax.data.others import from_path
from vae_jax.data.own import arrays
from vae_jax.data.own.matrix import load_h5ad, load_sparse
from vae_jax.data.source import checked_source, kind
from vae_jax.data.stored import open_stored
from vae_jax.errors import UserError
from vae_jax.views.profiles import HEIGHT, picture_shape, profiles

RNG = np.random.default_rng(0)
N, D = 40, 6
COUNTS = RNG.poisson(RNG.gamma(0.3, 1e3, (N, D)))
SPARSE = RNG.poisson(0.2, (N, D)) * RNG.integers(1, 900, (N, D))


def source(images, test=None):
    return checked_source(images[5:], None, images[:5] if test is None else test, None, "mine")


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (COUNTS, "counts"),
        (COUNTS.astype(np.int32), "counts"),
        (COUNTS.astype(np.uint64), "counts"),
        (COUNTS % 2, "binary"),
        (COUNTS > 9, "binary"),
        ((COUNTS % 256).astype(np.uint8), "levels"),
        (COUNTS.astype(np.float32), "real"),
        (RNG.normal(size=(N, D)), "real"),
    ],
)
def test_what_vectors_are(images, expected):
    found = source(images)
    assert kind(found) == expected
    assert found.train_images.shape == (N - 5, 1, D, 1)
    x = as_x(found.train_images.reshape(N - 5, D))
    assert x.dtype == np.float32 if expected != "binary" else x.max() == 1
    if expected == "counts":
        np.testing.assert_array_equal(x, images[5:])  # as they are
        np.testing.assert_array_equal(
            scaled(images[:5][:, None, :, None], found.units, "counts"), images[:5]
        )
        for other in (images[:5].astype(np.float64), images[:5].astype(np.int64)):
            np.testing.assert_array_equal(
                scaled(other[:, None, :, None], found.units, "counts"), images[:5]
            )


def test_counts_of_both_sets_have_one_type():
    test = COUNTS[:5].copy()
    test[0, 0] = 100_000
    found = source(COUNTS % 50, test)
    assert found.train_images.dtype == found.test_images.dtype == np.int32
    assert found.units.high == 100_000


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (COUNTS - 1, "counts should be from 0 to 16,777,216, and real numbers floats"),
        (COUNTS + MOST_COUNT + 1, "counts should be from 0 to 16,777,216"),
        (np.full((N, 2, 3), 300), "counts should be vectors"),
        (np.full((N, D), 1j), "holds complex128"),
    ],
)
def test_what_is_refused(images, message):
    with pytest.raises(UserError, match=message):
        source(images)


def test_numbers_of_a_file_that_are_too_large_are_refused(tmp_path, monkeypatch):
    """Also where their lower 32 bits are small numbers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(stored, "FOUND", {})
    np.save(tmp_path / "x.npy", COUNTS + 2**32 * (COUNTS.max() == COUNTS))
    images = open_stored(tmp_path / "x.npy", "x")
    with pytest.raises(UserError, match="counts should be from 0 to"):
        checked_source(images, None, COUNTS, None, "mine")


@pytest.mark.parametrize("given", [RNG.normal(size=(2, D)), -COUNTS[:2], COUNTS[:2] / 7])
def test_afterwards_what_is_no_count_is_refused(given):
    units = source(COUNTS).units
    with pytest.raises(UserError, match=r"counts"):
        scaled(given[:, None, :, None], units, "counts")


def test_a_vector_comes_and_goes_as_one():
    shape = (1, D, 1)
    for given, n in ((COUNTS, N), (COUNTS[:3, None], 3), (COUNTS[0], 1)):
        batch, single = batch_of(given, shape)
        assert len(batch) == n
        assert single == (given.ndim == 1)
    assert in_shape(shape, np.zeros((3, D))).shape == (3, D)
    with pytest.raises(UserError, match=r"should be \(n, 6\)"):
        batch_of(COUNTS[:, :3], shape)


def test_the_data_say_what_they_are():
    parts = {"validation_size": 5, "binarization": "none", "binarization_seed": 0}
    data = dataset(source(COUNTS), **parts)
    assert data.is_counts
    assert data.is_vectors
    assert not data.in_unit
    assert described(data).startswith("35 vectors of 6 variables; 5 kept for validation; values 0")
    assert ", counts" in described(data)
    real = dataset(source(RNG.normal(size=(N, D))), **parts)
    assert real.is_vectors
    assert not real.is_counts


def test_choices_that_are_left_to_counts():
    values = defaults() | {"dataset.name": "arrays", "dataset.path": "x.npz"}
    config = decided(make_config(values), source(COUNTS))
    assert config.values["model.likelihood"] == "negative_binomial"
    assert config.values["model.encoder.inputs"] == "log1p"
    assert config.values["dataset.binarization"] == "none"


def test_a_sparse_matrix(tmp_path):
    """In any of its forms, and of floats: the same counts; each row once."""
    found = []
    for i, form in enumerate((scipy.sparse.csr_matrix, scipy.sparse.coo_matrix)):
        path = str(tmp_path / f"{i}.npz")
        scipy.sparse.save_npz(path, form(SPARSE.astype([np.float32, np.int64][i])))
        found.append(arrays.load(path))
    one, other = found
    np.testing.assert_array_equal(one.train_images, other.train_images)
    assert kind(one) == "counts"
    assert "drawn at random" in one.notes[0]
    rows = np.concatenate([one.train_images, one.test_images]).reshape(N, D)
    assert len(one.test_images) == N // 10
    assert sorted(map(tuple, rows)) == sorted(map(tuple, SPARSE))
    assert not np.array_equal(rows, SPARSE)  # an order of their own


def test_a_damaged_sparse_matrix(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, format="csr", shape=np.array([2, 2]), data=np.ones(3))
    with pytest.raises(UserError, match="can't be read as a sparse matrix"):
        load_sparse(str(path))


@pytest.fixture
def h5ad(tmp_path):
    """The path of a small .h5ad."""
    anndata = pytest.importorskip("anndata")
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{i % 2}" for i in range(N)]),
            "number": np.arange(N) % 3,
            "half": np.arange(N) / 2,
            "gaps": pd.Categorical([None if i == 3 else "a" for i in range(N)]),
        },
        index=[f"cell {i}" for i in range(N)],
    )
    data = anndata.AnnData(scipy.sparse.csr_matrix(SPARSE.astype(np.float32)), obs=obs)
    data.layers["log"] = np.log1p(SPARSE).astype(np.float32)
    path = tmp_path / "cells.h5ad"
    write_annotated(path, data)
    return str(path)


def test_an_h5ad(h5ad):
    """Rows with their labels."""
    section = DATASETS["anndata"](path=h5ad, labels="batch")
    found = section.load()
    assert kind(found) == "counts"
    assert found.class_names == ("b0", "b1")
    rows = np.concatenate([found.train_images, found.test_images]).reshape(N, D)
    labels = np.concatenate([found.train_labels, found.test_labels])
    pairs = {(*row, i % 2) for i, row in enumerate(SPARSE.tolist())}
    assert {
        (*row, label) for row, label in zip(rows.tolist(), labels.tolist(), strict=True)
    } == pairs
    assert kind(load_h5ad(h5ad, "log", "number")) == "real"


@pytest.mark.parametrize(
    ("layer", "labels", "message"),
    [
        ("counts", "", "has no layer 'counts' .it has: log."),
        ("", "cell_type", "has no column 'cell_type' in obs .it has: batch, number, half, gaps."),
        ("", "half", "float64 that are not all whole numbers"),
        ("", "gaps", "1 rows have no 'gaps'"),
    ],
)
def test_wrong_keys_of_an_h5ad(h5ad, layer, labels, message):
    with pytest.raises(UserError, match=message):
        load_h5ad(h5ad, layer, labels)


def test_what_is_no_h5ad(tmp_path):
    pytest.importorskip("anndata")
    (tmp_path / "x.h5ad").write_bytes(b"text")
    for path, message in (
        ("", "is empty"),
        (str(tmp_path / "no.h5ad"), "is no file"),
        (str(tmp_path / "x.h5ad"), "can't be read as an .h5ad"),
    ):
        with pytest.raises(UserError, match=message):
            load_h5ad(path, "", "")


def test_profiles_are_bars_to_one_scale():
    """Of real numbers, up and down from 0; the dark part of a column is the size of its value."""
    x = np.array([[0.0, 1.0, -1.0, 2.0]])
    units = source(np.array([[-2.0, 2.0]] * 9)).units
    shown = profiles(x, units)
    assert shown.shape == (1, *picture_shape((1, 4, 1)))
    dark = (1 - shown[0, :, ::12, 0]).sum(axis=0) / 0.75
    np.testing.assert_allclose(dark, HEIGHT * np.array([0, 1, 1, 2]) / 4, atol=1e-5)
    above = (shown[0, : HEIGHT // 2, ::12, 0] < 1).any(axis=0)
    np.testing.assert_array_equal(above, [False, True, False, True])


def test_profiles_of_many_variables_show_the_greatest():
    x = np.zeros((2, 500))
    x[1, 77] = 1
    shown = profiles(x, source(np.array([[0.0, 1.0]] * 9)).units)
    assert shown.shape[1:] == picture_shape((1, 500, 1))
    assert (shown[0] == 1).all()
    assert ((shown[1] < 1).any(axis=(0, 2))).sum() == 1


def test_pictures_of_counts_are_logs():
    units = source(COUNTS).units
    shown = pictures(COUNTS[:2], (1, D, 1), units)
    dark = (1 - shown[0, :, :: 48 // D, 0]).sum(axis=0) / 0.75
    expected = HEIGHT * np.log1p(COUNTS[0]) / np.log1p(COUNTS.max())
    np.testing.assert_allclose(dark, expected, atol=1e-4)
    assert pictures(COUNTS[:2] * 0.5, (1, D, 1), units).shape == shown.shape  # a model's means


def test_an_h5ad_is_measured_on(h5ad):
    """All its rows, in their order."""
    found = from_path(Path(h5ad), (), (1, D, 1), "", "batch")
    np.testing.assert_array_equal(found.images, SPARSE)
    assert found.labels.tolist() == [f"b{i % 2}" for i in range(N)]

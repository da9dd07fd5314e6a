"""A run of two lanes that tests of its evaluation share."""

import shutil
from functools import partial

import pytest

from tests.small.runs import run, write_tiny_npz
from vae_jax.config.schema import nest
from vae_jax.evaluation import features


@pytest.fixture(scope="package")
def trained(tmp_path_factory):
    """A run of two lanes, evaluated as it ends: its folder and config."""
    at = tmp_path_factory.mktemp("trained")
    values = run(write_tiny_npz(at / "tiny.npz"), at / "run", training__num_epochs=1)
    return at / "run", nest(values)


@pytest.fixture
def few_steps(monkeypatch):
    """Of a feature space's training: this data set takes no more."""
    shorter = partial(features.train_features, steps=100)
    monkeypatch.setattr(features, "train_features", shorter)


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run", trained[1]

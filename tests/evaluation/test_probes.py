"""Codes that tell the label, and codes that do not."""

import sys

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.evaluation.probes import linear_accuracy, neighbour_accuracy

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 1_200)
CORNERS = 6.0 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
BLOBS = CORNERS[LABELS] + RNG.normal(size=(1_200, 3))
PROBES = {"neighbours": neighbour_accuracy, "linear": linear_accuracy}


def scored(probe, codes, labels=LABELS):
    return probe(codes[:800], labels[:800], codes[800:], labels[800:])


@pytest.mark.parametrize("name", PROBES)
def test_blobs_are_told_apart_and_noise_is_not(name):
    assert scored(PROBES[name], BLOBS) > 0.98
    assert scored(PROBES[name], RNG.normal(size=(1_200, 3))) < 0.35


def test_a_ring_around_a_blob_is_for_neighbours_alone():
    labels = LABELS % 2
    angle = RNG.uniform(0, 2 * np.pi, 1_200)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.where(labels, 5.0, 1.0)[:, None]
    assert scored(neighbour_accuracy, ring, labels) > 0.98
    assert scored(linear_accuracy, ring, labels) < 0.7


def test_one_class_alone_is_always_right():
    assert scored(linear_accuracy, BLOBS, np.full(1_200, 3)) == 1


def test_too_few_codes_and_a_missing_package_are_told(monkeypatch):
    with pytest.raises(UserError, match="5 nearest codes need as many; there are 3"):
        neighbour_accuracy(BLOBS[:3], LABELS[:3], BLOBS, LABELS)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for probe in PROBES.values():
        with pytest.raises(UserError, match="need scikit-learn: pip install blackjax scikit"):
            scored(probe, BLOBS)

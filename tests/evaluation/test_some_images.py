"""Which images a metric of some of them takes."""

import numpy as np
import pytest

from vae_jax.data.dataset import Split
from vae_jax.evaluation.metrics.metric import some, some_rows

IMAGES = np.arange(20)[:, None]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, [0, 1, 2, 3, 4]),
        (np.arange(20) % 4, [0, 1, 2, 3, 4]),  # all classes are there
        (np.arange(20) // 5, [0, 4, 8, 12, 16]),  # sorted by class
        (np.full(20, 3), [0, 1, 2, 3, 4]),
    ],
)
def test_the_first_unless_they_lack_a_class(labels, expected):
    split = Split(IMAGES, labels, None)
    assert some_rows(split, 5).tolist() == expected
    found = some(split, 5)
    assert found.images[:, 0].tolist() == expected
    if labels is not None:
        np.testing.assert_array_equal(found.labels, labels[expected])


def test_more_than_there_are_is_all():
    assert some_rows(Split(IMAGES, np.arange(20) // 5, None), 99).tolist() == list(range(20))

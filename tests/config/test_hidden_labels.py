"""Labels that are hidden from training."""

import numpy as np

from tests.small.runs import values_of, write_tiny_npz
from vae_jax.config.build import make_config
from vae_jax.runs.run import make_dataset


def test_hidden_labels_are_as_many_of_each_class_and_the_same_every_time(tmp_path):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    m2 = {"model.name": "m2", "objective.name": "m2", "dataset.num_labels": 30}
    values = values_of(npz) | m2
    whole, data, again = (
        make_dataset(make_config(v)) for v in (values | {"dataset.num_labels": 0}, values, values)
    )
    labels = data.train.labels
    np.testing.assert_array_equal(labels, again.train.labels)
    assert np.bincount(labels + 1).tolist() == [220, 10, 10, 10]
    np.testing.assert_array_equal(labels[labels >= 0], whole.train.labels[labels >= 0])
    np.testing.assert_array_equal(data.validation.labels, whole.validation.labels)
    assert data.identity["num_labels"] == 30

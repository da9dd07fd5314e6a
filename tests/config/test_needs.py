"""What does not go together is told in one sentence, before anything is loaded or compiled."""

import numpy as np
import pytest

from configs import default
from tests.conftest import write_tiny_npz
from tests.runs.test_train import values_of
from vae_jax.config import needs as combinations
from vae_jax.config.build import make_spec
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.runs.run import make_dataset, make_run

REFUSED = [
    (
        {"objective.num_samples": 0},
        "num_samples = 0 should be a whole number, at least 1",
    ),
    (
        {"model.posterior": "planar"},
        "no closed form for model.posterior = 'planar' and",
    ),
    ({"model.posterior": "full", "model.prior": "mixture"}, "it should be 'sampled'"),
    ({"model.name": "two_layers"}, "no closed form for model.name = 'two_layers'"),
    (
        {"objective.name": "iwae", "objective.gradient": "sticking_the_landing"},
        "does not fit objective.name = 'iwae' .*biased.*should be doubly_reparameterized or",
    ),
    ({"objective.gradient": "sticking_the_landing"}, "objective.kl should be 'sampled'"),
    ({"objective.gradient": "doubly_reparameterized"}, "should be reparameterized or sticking"),
    ({"objective.name": "miwae", "objective.gradient": "wake_wake"}, "does not fit.*'miwae'"),
    (
        {
            "objective.name": "iwae",
            "objective.gradient": "doubly_reparameterized",
            "model.posterior": "inverse_autoregressive",
        },
        "needs log q.* of a given z, which model.posterior = 'inverse_autoregressive' knows of",
    ),
    (
        {"objective.name": "miwae", "objective.num_groups": 2, "objective.num_samples": 5},
        "objective.num_groups = 2 should divide objective.num_samples = 5",
    ),
    (
        {"objective.name": "piwae", "objective.num_groups": 2, "objective.num_samples": 4},
        "should divide evaluation.num_samples = 1",
    ),
    ({"objective.name": "iwae", "objective.free_bits": 0.5}, "is for objective.name = 'elbo'"),
    ({"objective.name": "m2", "model.name": "m2", "objective.capacity": 3.0}, "for objective.name"),
    (
        {"objective.free_bits": 0.1, "objective.kl": "sampled"},
        "objective.free_bits_group should be 0",
    ),
    (
        {"objective.free_bits": 0.1, "objective.free_bits_group": 7},
        "should divide model.latent",
    ),
    ({"objective.free_bits_group": 7}, "should divide model.latent"),
    (
        {"objective.kl": "sampled", "objective.free_bits_group": 2},
        "objective.free_bits_group should be 0",
    ),
    (
        {"objective.corruption": "salt_and_pepper", "objective.corruption_amount": 1.5},
        "it should be at most 1",
    ),
    ({"model.name": "m2"}, "the model 'm2' and the objective 'm2' belong together"),
    (
        {"model.name": "m2", "objective.name": "m2", "evaluation.metrics": ("nll",)},
        "has labels to draw too; leave it out",
    ),
    (
        {"model.posterior": "full", "evaluation.metrics": ("elbo", "surgery")},
        "these are 'vae', 'full' and 'standard_normal'",
    ),
    (
        {"model.name": "m2", "objective.name": "m2", "evaluation.metrics": ("samples",)},
        "has labels to draw too; leave it out",
    ),
    (
        {
            "model.name": "two_layers",
            "objective.kl": "sampled",
            "evaluation.metrics": ("gaps",),
        },
        "'gaps' fits q.* to an image, and that of model.name = 'two_layers' has a network in it",
    ),
    (
        {
            "model.prior": "mixture",
            "objective.kl": "sampled",
            "evaluation.metrics": ("nll_active",),
        },
        "the learned_gaussian or standard_normal prior; these are 'vae', 'diagonal' and 'mixture'",
    ),
    ({"objective.name": "m2"}, "the model 'm2' and the objective 'm2' belong together"),
    (
        {"objective.name": "m2", "model.name": "m2", "model.conditional": True},
        "infers the labels itself; model.conditional should be False",
    ),
    (
        {"model.name": "two_layers", "model.prior": "mixture", "objective.kl": "sampled"},
        "has a prior and a posterior of its own",
    ),
    (
        {"model.name": "two_layers", "model.conditional": True, "objective.kl": "sampled"},
        "takes no labels",
    ),
    (
        {"model.prior": "vampprior", "model.posterior": "full", "objective.kl": "sampled"},
        "mixture of diagonal posteriors",
    ),
    (
        {"model.prior": "vampprior", "model.conditional": True, "objective.kl": "sampled"},
        "pseudo-inputs without labels",
    ),
    (
        {"model.prior": "realnvp", "model.latent_size": 1, "objective.kl": "sampled"},
        "model.latent_size = 1 can't be split, it should be at least 2",
    ),
    ({"dataset.num_labels": 100}, "dataset.num_labels = 100 is for model.name = 'm2'"),
    ({"training.labelled_per_batch": 10}, "is for model.name = 'm2'"),
    (
        {"model.name": "m2", "objective.name": "m2", "training.labelled_per_batch": 500},
        "should be at most training.batch_size = 128",
    ),
    (
        {"objective.regularizer": "dip_ii", "model.posterior": "full"},
        "'dip_ii' is written for a diagonal Gaussian; model.posterior = 'full' should be",
    ),
    (
        {
            "objective.regularizer": "total_correlation_stratified",
            "model.name": "two_layers",
            "objective.kl": "sampled",
        },
        "is not for model.name = 'two_layers'",
    ),
    ({"objective.regularizer": "mmd", "training.batch_size": 1}, "should be at least 2"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_choices_that_do_not_go_together(changes, message):
    with pytest.raises(UserError, match=message) as error:
        check(nest(check(default.get_config()) | changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("metric", "package"), sorted(combinations.EXTRAS.items()))
def test_a_metric_whose_package_is_not_installed(metric, package, monkeypatch):
    monkeypatch.setattr(combinations.importlib.util, "find_spec", lambda name: None)
    changes = {"evaluation.metrics": (metric,)}
    name = package.replace("sklearn", "scikit-learn")
    with pytest.raises(UserError, match=rf"needs {name}: pip install -e '.\[evaluation\]'"):
        check(nest(check(default.get_config()) | changes))


def rewritten(path, **arrays):
    """The tiny data set with other arrays; None: without one."""
    with np.load(path) as npz:
        content = {name: npz[name] for name in npz.files} | arrays
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    return path


def floats(path, low=0.0, high=1.0):
    with np.load(path) as npz:
        parts = ("train_images", "test_images")
        scaled = {p: (low + (high - low) * (npz[p] / 255)).astype(np.float32) for p in parts}
    return rewritten(path, **scaled)


GREY = {"dataset.binarization": "none"}
OF_DATA = [
    (lambda p: floats(p, -1, 1), GREY, "'bernoulli' is for data in 0 to 1, and these go beyond"),
    (
        lambda p: floats(p, 0, 2),
        {"model.likelihood": "beta", **GREY},
        "is for data in 0 to 1",
    ),
    (lambda p: floats(p, -1, 1), {}, "dataset.binarization = 'dynamic' is for data in 0 to 1"),
    (
        floats,
        {"model.likelihood": "categorical", **GREY},
        "floats: give them as uint8",
    ),
    (floats, {"model.likelihood": "poisson", **GREY}, "is for whole numbers, 0 to 255"),
    (lambda p: p, {"model.likelihood": "categorical"}, "binarization = 'dynamic' should be 'none'"),
    (lambda p: p, {"model.likelihood": "continuous_bernoulli"}, "is for grey values"),
    (
        lambda p: rewritten(p, train_labels=None),
        {"model.conditional": True},
        "model.conditional = True needs labels, and the data have none",
    ),
    (
        lambda p: rewritten(p, test_labels=None),
        {"evaluation.metrics": ("probes",)},
        "evaluation.metrics = 'probes' needs labels",
    ),
    (
        lambda p: p,
        {"evaluation.metrics": ("gaps",), **GREY},
        "'gaps' of grey values under .* is no likelihood",
    ),
    (
        lambda p: rewritten(p, test_labels=np.full(50, 3)),
        {"model.conditional": True},
        "the test set has 3, the training set 0 to 2",
    ),
    (
        lambda p: rewritten(p, train_labels=np.arange(300) % 3 - 5),
        {"model.conditional": True},
        "needs labels from 0 upwards",
    ),
    (
        lambda p: rewritten(p, test_labels=np.arange(50) % 3 - 1),
        {"model.conditional": True},
        "needs labels from 0 upwards",
    ),
    (
        lambda p: p,
        {"model.prior": "vampprior", "model.prior_components": 251, "objective.kl": "sampled"},
        "at most the 250 there are",
    ),
    (
        lambda p: p,
        {"model.name": "m2", "objective.name": "m2", "dataset.num_labels": 10},
        "should be as many of each of the 3 classes",
    ),
    (
        lambda p: p,
        {"model.name": "m2", "objective.name": "m2", "dataset.num_labels": 300},
        "should be at most the labels there are; class",
    ),
    (
        lambda p: rewritten(p, train_labels=None),
        {"model.name": "m2", "objective.name": "m2", "dataset.num_labels": 30},
        "dataset.num_labels = 30 needs labels",
    ),
]


@pytest.mark.parametrize(("change", "changes", "message"), OF_DATA)
def test_data_that_do_not_go_with_the_model(tmp_path, change, changes, message):
    values = values_of(change(write_tiny_npz(tmp_path / "tiny.npz"))) | changes
    with pytest.raises(UserError, match=message) as error:
        make_run(values, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_real_numbers_go_with_a_likelihood_of_real_numbers(tmp_path):
    values = values_of(floats(write_tiny_npz(tmp_path / "tiny.npz"), -3, 3)) | GREY
    values |= {"model.likelihood": "gaussian_shared_scale"}
    make_spec(values, make_dataset(values))


def test_hidden_labels_are_as_many_of_each_class_and_the_same_every_time(tmp_path):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    m2 = {"model.name": "m2", "objective.name": "m2", "dataset.num_labels": 30}
    values = values_of(npz) | m2
    whole, data, again = (
        make_dataset(v) for v in (values | {"dataset.num_labels": 0}, values, values)
    )
    labels = data.train.labels
    np.testing.assert_array_equal(labels, again.train.labels)
    assert np.bincount(labels + 1).tolist() == [220, 10, 10, 10]
    np.testing.assert_array_equal(labels[labels >= 0], whole.train.labels[labels >= 0])
    np.testing.assert_array_equal(data.validation.labels, whole.validation.labels)
    assert data.identity["num_labels"] == 30


def test_labels_that_are_hidden_already_are_no_class(tmp_path):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    values = values_of(rewritten(npz, train_labels=np.arange(300) % 4 - 1)) | {
        "model.name": "m2",
        "objective.name": "m2",
        "dataset.num_labels": 30,
    }
    labels = make_dataset(values).train.labels
    assert np.bincount(labels + 1)[1:].tolist() == [10, 10, 10]

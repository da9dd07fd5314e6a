"""What does not go together is told in one sentence, before anything is loaded or compiled."""

import importlib.util

import numpy as np
import pytest

from configs import default
from tests.small.runs import values_of, write_tiny_npz
from vae_jax.config.build import make_config
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
        "no closed form for .*model.posterior = 'planar'",
    ),
    ({"model.posterior": "full", "model.prior": "mixture"}, "it should be 'sampled'"),
    ({"model.name": "two_layers"}, "no closed form for model.name = 'two_layers'"),
    (
        {"objective.name": "iwae", "objective.gradient": "sticking_the_landing"},
        "'sticking_the_landing' does not go with objective.name = 'iwae'; it should be doubly_rep",
    ),
    ({"objective.gradient": "sticking_the_landing"}, "objective.kl should be 'sampled'"),
    ({"objective.gradient": "doubly_reparameterized"}, "should be reparameterized or sticking"),
    (
        {"objective.name": "miwae", "objective.gradient": "wake_wake"},
        "does not go with objective.name = .miwae.",
    ),
    (
        {
            "objective.name": "iwae",
            "objective.gradient": "doubly_reparameterized",
            "model.posterior": "inverse_autoregressive",
        },
        "needs log q.* of a given z, which .*model.posterior = 'inverse_autoregressive' knows of",
    ),
    (
        {"objective.name": "miwae", "objective.num_groups": 2, "objective.num_samples": 5},
        "objective.num_groups = 2 should divide objective.num_samples = 5",
    ),
    (
        {
            "objective.name": "piwae",
            "objective.num_groups": 2,
            "objective.num_samples": 4,
            "evaluation.num_samples": 1,
        },
        "should divide evaluation.num_samples = 1",
    ),
    (
        {"objective.name": "iwae", "objective.free_bits": 0.5},
        "it is for objective.name = 'elbo', and",
    ),
    (
        {"objective.name": "m2", "model.name": "m2", "objective.capacity": 3.0},
        "it is for objective.name = 'elbo'",
    ),
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
        "objective.corruption_amount = 1.5 should be a number, at least 0 and at most 1",
    ),
    ({"model.name": "m2"}, "infers labels.*objective.name should be 'm2'"),
    (
        {"model.name": "m2", "objective.name": "m2", "evaluation.metrics": ("nll",)},
        "has labels to sample too; leave it out",
    ),
    (
        {"model.posterior": "full", "evaluation.metrics": ("elbo", "surgery")},
        "these are model.name = 'vae', model.prior = 'standard_normal', model.posterior = 'full'",
    ),
    (
        {"model.name": "m2", "objective.name": "m2", "evaluation.metrics": ("samples",)},
        "has labels to sample too; leave it out",
    ),
    (
        {
            "model.name": "two_layers",
            "objective.kl": "sampled",
            "evaluation.metrics": ("gaps",),
        },
        "'gaps' fits one layer's q.* to an image, and model.name = 'two_layers' has more layers",
    ),
    (
        {
            "model.prior": "mixture",
            "objective.kl": "sampled",
            "evaluation.metrics": ("nll_active",),
        },
        "needs latent units that can be left out, and those of .*model.prior = 'mixture'.* can't",
    ),
    ({"objective.name": "m2"}, "needs a model that infers labels.*model.name should be 'm2'"),
    (
        {"objective.name": "m2", "model.name": "m2", "model.conditional": True},
        "model.conditional = True has no effect: it is for model.name = 'vae', and that is 'm2'",
    ),
    (
        {"model.name": "two_layers", "model.prior": "mixture", "objective.kl": "sampled"},
        "model.prior = 'mixture' has no effect: it is for model.name = 'm2' or 'vae'",
    ),
    (
        {"model.name": "two_layers", "model.conditional": True, "objective.kl": "sampled"},
        "model.conditional = True has no effect: it is for model.name = 'vae'",
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
    ({"dataset.num_labels": 100}, "dataset.num_labels = 100 is for a model that infers labels"),
    ({"training.labelled_per_batch": 10}, "is for a model that infers labels"),
    (
        {"model.name": "m2", "objective.name": "m2", "training.labelled_per_batch": 500},
        "should be at most training.batch_size = 128",
    ),
    (
        {"objective.regularizer": "dip_ii", "model.posterior": "full"},
        "'dip_ii' is written for a diagonal Gaussian.*'full' has another.*should be 'diagonal'",
    ),
    (
        {
            "objective.regularizer": "total_correlation_stratified",
            "model.name": "two_layers",
            "objective.kl": "sampled",
        },
        "is for one layer of latents, and model.name = 'two_layers' has more",
    ),
    ({"objective.regularizer": "mmd", "training.batch_size": 1}, "should be at least 2"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_choices_that_do_not_go_together(changes, message):
    with pytest.raises(UserError, match=message) as error:
        check(nest(check(default.get_config()).values | changes))
    assert "\n" not in str(error.value)


PACKAGES = {"ais": "blackjax", "disentanglement": "scikit-learn", "probes": "scikit-learn"}


@pytest.mark.parametrize(("metric", "name"), PACKAGES.items())
def test_a_metric_whose_package_is_not_installed(metric, name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    changes = {"evaluation.metrics": (metric,)}
    with pytest.raises(UserError, match=f"needs {name}: pip install blackjax scikit"):
        check(nest(check(default.get_config()).values | changes))


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


def dark(path, white):
    with np.load(path) as npz:
        images = {p: (npz[p] * (white / 255)).astype(np.uint8) for p in npz.files if "images" in p}
    return rewritten(path, **images)


GREY = {"dataset.binarization": "none"}
OF_DATA = [
    (
        lambda p: floats(p, -1, 1),
        GREY,
        "'bernoulli' is for data in 0 to 1, and these are -1 to 0.796; give",
    ),
    (
        lambda p: floats(p, 0, 2),
        {"model.likelihood": "beta", **GREY},
        "is for data in 0 to 1",
    ),
    (lambda p: floats(p, -1, 1), {}, "dataset.binarization = 'dynamic' is for data in 0 to 1"),
    (
        floats,
        {"model.likelihood": "categorical", **GREY},
        "floats, 0 to 0.[0-9]+: give them as uint8",
    ),
    (
        floats,
        {"model.likelihood": "poisson", **GREY},
        "is for whole numbers; these data are floats",
    ),
    (lambda p: p, {"model.likelihood": "categorical"}, "binarization = 'dynamic' should be 'none'"),
    (lambda p: p, {"model.likelihood": "continuous_bernoulli"}, "is for grey values"),
    (
        lambda p: rewritten(p, train_labels=None),
        {"model.conditional": True},
        "model.name = 'vae'.* needs labels, and the data have none",
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
        "every class in the training set; those of class 3 are in the validation set",
    ),
    (
        lambda p: rewritten(p, train_labels=3 * (np.arange(300) % 3)),
        {"model.conditional": True},
        "every class in the training set; those of class 1 are in",
    ),
    (
        lambda p: dark(p, 17),
        {},
        r"uint8, 0 to 15, of shape \(6, 6, 1\); 255 is white, .*; give floats with 1 for white",
    ),
    (
        lambda p: rewritten(p, train_labels=np.arange(300) // 270),  # the last 50 are validation
        {"model.conditional": True},
        "every class in the training set; those of class 1 are in",
    ),
    (
        lambda p: rewritten(p, train_labels=np.arange(300) % 4 - 1),
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
        make_run(make_config(values), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_few_levels_are_counts_where_counts_are_asked_for(tmp_path):
    values = values_of(dark(write_tiny_npz(tmp_path / "tiny.npz"), 17)) | GREY
    make_run(make_config(values | {"model.likelihood": "poisson"}), tmp_path)


def test_real_numbers_go_with_a_likelihood_of_real_numbers(tmp_path):
    values = values_of(floats(write_tiny_npz(tmp_path / "tiny.npz"), -3, 3)) | GREY
    values |= {"model.likelihood": "gaussian_shared_scale"}
    make_run(make_config(values), tmp_path)


def test_labels_that_are_hidden_already_are_no_class(tmp_path):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    values = values_of(rewritten(npz, train_labels=np.arange(300) % 4 - 1)) | {
        "model.name": "m2",
        "objective.name": "m2",
        "dataset.num_labels": 30,
    }
    labels = make_dataset(make_config(values)).train.labels
    assert np.bincount(labels + 1)[1:].tolist() == [10, 10, 10]

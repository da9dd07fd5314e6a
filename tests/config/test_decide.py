"""What a config leaves to its data is what suits the images, and the usual for MNIST."""

import numpy as np
import pytest

from configs import default, mnist_grey
from vae_jax.config.build import overridden
from vae_jax.config.check import check
from vae_jax.config.decide import as_decided, decided, undecided
from vae_jax.config.schema import nest
from vae_jax.data.source import Source
from vae_jax.errors import UserError

PLAIN = check(default.get_config())
ARRAYS = check(nest(PLAIN.values | {"dataset.name": "arrays", "dataset.path": "mine.npz"}))
CHOSEN = ("dataset.binarization", "model.likelihood", "dataset.validation_size")


def source(images):
    return Source("mine", images, None, images[:1], None)


def chosen(config, images):
    found = decided(config, source(images))
    assert undecided(found) == []
    return tuple(found.values[key] for key in CHOSEN)


def images(dtype=np.uint8, n=50):
    grey = np.linspace(0, 1, n * 6).reshape(n, 2, 3, 1)
    return (255 * grey).astype(np.uint8) if dtype == np.uint8 else grey.astype(np.float32)


def test_by_what_the_images_are():
    inputs = "model.encoder.inputs"
    assert set(undecided(ARRAYS)) == {inputs, "dataset.in_memory", *CHOSEN}
    assert decided(ARRAYS, source(images())).values["dataset.in_memory"] == "yes"
    assert decided(ARRAYS, source(images())).values[inputs] == "standardized"
    assert decided(ARRAYS, source(np.round(images(np.float32)))).values[inputs] == "raw"
    assert chosen(ARRAYS, images()) == ("none", "discretized_logistic", 5)
    assert chosen(ARRAYS, images(np.float32)) == ("none", "gaussian_optimal_scale", 5)
    assert chosen(ARRAYS, np.round(images(np.float32))) == ("none", "bernoulli", 5)
    assert chosen(ARRAYS, 3 * images(np.float32) - 1) == ("none", "gaussian_optimal_scale", 5)


def test_one_choice_that_is_made_leads_to_the_other():
    for likelihood, binarization in (
        ("bernoulli", "dynamic"),
        ("gaussian", "none"),
        ("poisson", "none"),
    ):
        config = overridden(ARRAYS, {"model.likelihood": likelihood})
        assert chosen(config, images())[:2] == (binarization, likelihood)
    config = overridden(ARRAYS, {"dataset.binarization": "threshold"})
    assert chosen(config, images())[:2] == ("threshold", "bernoulli")


def test_mnist_is_what_it_was():
    assert decided(PLAIN, source(images())).model.inputs == "raw"
    assert chosen(PLAIN, images(n=60_000)) == ("dynamic", "bernoulli", 5_000)
    grey = check(mnist_grey.get_config())
    assert chosen(grey, images(n=60_000)) == ("none", "bernoulli", 5_000)


@pytest.mark.parametrize(("n", "size"), [(2, 1), (19, 1), (1_665, 166), (25_000, 5_000)])
def test_the_validation_set_fits(n, size):
    assert chosen(ARRAYS, images(n=n))[2] == size


def test_a_source_s_own_validation_set_is_taken():
    own = source(images())._replace(validation_size=17)
    assert decided(ARRAYS, own).dataset.validation_size == 17


def test_grey_levels_that_became_floats_are_told():
    with pytest.raises(UserError, match=r"mine: .* float32 of whole numbers, 0 to 255; grey"):
        decided(ARRAYS, source(np.round(255 * images(np.float32))))


def test_a_folder_s_choices_are_kept():
    made = dict(zip(CHOSEN, ("none", "beta", 7), strict=True))
    there = overridden(ARRAYS, made | {"model.encoder.inputs": "raw"})
    assert as_decided(ARRAYS, there) == there
    own = overridden(ARRAYS, {"model.likelihood": "laplace"})
    assert as_decided(own, there).values["model.likelihood"] == "laplace"

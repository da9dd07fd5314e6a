import jax
import numpy as np
import pytest

from vae_jax.data.binarization import BINARIZATIONS, BLOCK, sample, sampled_once, scale
from vae_jax.data.dataset import dataset, mean_image, spread
from vae_jax.data.source import Source
from vae_jax.errors import UserError


@pytest.fixture
def source():
    rng = np.random.default_rng(0)
    return Source(
        name="toy",
        train_images=rng.integers(0, 256, (20, 2, 3, 1), dtype=np.uint8),
        train_labels=np.arange(20),
        test_images=rng.integers(0, 256, (6, 2, 3, 1), dtype=np.uint8),
        test_labels=np.arange(6),
    )


def made(source, binarization="none", seed=0, validation_size=5):
    return dataset(
        source,
        validation_size=validation_size,
        binarization=binarization,
        binarization_seed=seed,
    )


def test_the_validation_set_is_the_end_of_the_training_set(source):
    data = made(source)
    flat = source.train_images.reshape(20, 6)
    np.testing.assert_array_equal(data.train.images, flat[:15])
    np.testing.assert_array_equal(data.validation.images, flat[15:])
    np.testing.assert_array_equal(data.validation.labels, np.arange(15, 20))
    np.testing.assert_array_equal(data.test.images, source.test_images.reshape(6, 6))
    assert data.image_shape == (2, 3, 1)


@pytest.mark.parametrize("binarization", BINARIZATIONS)
def test_each_binarization(source, binarization):
    data = made(source, binarization)
    grey = [source.train_images.reshape(20, 6)[:15], source.test_images.reshape(6, 6)]
    for split, before in zip((data.train, data.test), grey, strict=True):
        if binarization == "none" or (binarization == "dynamic" and split is data.train):
            np.testing.assert_array_equal(split.images, before)
        else:
            assert set(np.unique(split.images)) == {0, 255}
        if binarization == "threshold":
            np.testing.assert_array_equal(split.images == 255, before / 255 > 0.5)
    assert data.dynamic == (binarization == "dynamic")
    assert data.binary == (binarization != "none")


def test_grey_values_that_are_all_black_or_white_are_binary(source):
    white = source._replace(
        train_images=np.where(source.train_images > 99, 255, 0).astype(np.uint8),
        test_images=np.where(source.test_images > 99, 255, 0).astype(np.uint8),
    )
    assert made(white).binary
    floats = source._replace(
        train_images=np.round(source.train_images / 255).astype(np.float32),
        test_images=np.round(source.test_images / 255).astype(np.float32),
    )
    assert made(floats).binary


def test_what_is_sampled_once_is_a_function_of_the_seed(source):
    first, again, other = made(source, "static"), made(source, "static"), made(source, "static", 1)
    np.testing.assert_array_equal(first.train.images, again.train.images)
    assert (first.train.images != other.train.images).any()
    dynamic = made(source, "dynamic")
    np.testing.assert_array_equal(first.test.images, dynamic.test.images)


def test_pixels_are_sampled_with_their_grey_value_s_chance():
    n = 2 * BLOCK + 17  # more than two blocks, the last one short
    grey = np.tile(np.array([0, 51, 128, 255], np.uint8), (n, 1))
    sampled = sampled_once(jax.random.key(0), grey) / 255
    assert sampled.shape == grey.shape
    assert sampled[:, 0].max() == 0
    assert sampled[:, 3].min() == 1
    p = np.array([0.2, 128 / 255])
    z_scores = (sampled[:, 1:3].mean(axis=0) - p) / np.sqrt(p * (1 - p) / n)
    assert np.abs(z_scores).max() < 4.4
    # Blocks are not copies of one another.
    assert (sampled[:BLOCK, 1] != sampled[BLOCK : 2 * BLOCK, 1]).any()


def test_scale_and_sample_of_floats():
    x = scale(np.array([[0.0, 0.25, 1.0]], np.float32))
    np.testing.assert_array_equal(x, [[0.0, 0.25, 1.0]])
    np.testing.assert_allclose(scale(np.array([[0, 51, 255]], np.uint8)), [[0, 0.2, 1]])
    assert set(np.unique(sample(jax.random.key(0), x))) <= {0.0, 1.0}


def test_the_mean_image(source):
    data = made(source)
    np.testing.assert_allclose(
        mean_image(data.train), data.train.images.mean(axis=0) / 255, rtol=1e-6
    )


def test_identity_tells_datasets_apart(source):
    one = made(source).identity
    changed = source._replace(test_images=source.test_images + np.uint8(1))
    assert made(changed).identity["checksum"] != one["checksum"]
    assert one["train_size"] == 15
    assert one["test_size"] == 6


@pytest.mark.parametrize("validation_size", [0, 20, 21])
def test_a_validation_set_of_nothing_or_everything_is_refused(source, validation_size):
    with pytest.raises(UserError, match=r"dataset.validation_size"):
        made(source, validation_size=validation_size)


def test_the_spread_is_the_deviation_from_the_pixel_means(source):
    split = made(source).train
    expected = np.sqrt(np.mean(np.var(split.images / 255, axis=0)))
    assert spread(split, mean_image(split)) == pytest.approx(expected, rel=1e-5)
    alike = split._replace(images=np.full((4, 6), 9, np.uint8))
    assert spread(alike, mean_image(alike)) == pytest.approx(1e-3)

"""Every factor changes the image as it says, and nothing reaches the border."""

import numpy as np
import pytest
from scipy import stats

from vae_jax.data.dataset import dataset
from vae_jax.data.sets.sprites import FACTORS, SHAPES, render, sample_factors
from vae_jax.data.source import Source

NAMES = list(FACTORS)
BASE = sample_factors(3, 40)


def changed(factors, name, value):
    factors = np.array(factors)
    factors[:, NAMES.index(name)] = value
    return factors


def centre(images):
    """(x, y) of the centre of mass [n, 2]."""
    white = images[..., 0] / 255
    at = np.arange(64)
    mass = white.sum(axis=(1, 2))
    return np.stack([(white.sum(1) @ at) / mass, (white.sum(2) @ at) / mass], axis=1)


def test_images_are_binary_and_away_from_the_border():
    images = render(sample_factors(0, 500))
    assert images.shape == (500, 64, 64, 1)
    assert images.dtype == np.uint8
    assert set(np.unique(images)) == {0, 255}
    assert not images[:, [0, -1]].any()
    assert not images[:, :, [0, -1]].any()
    assert (images > 0).any(axis=(1, 2, 3)).all()


def test_the_same_factors_are_the_same_image_however_many_are_rendered():
    factors = sample_factors(5, 1_003)
    np.testing.assert_array_equal(render(factors)[1_000:], render(factors[1_000:]))
    np.testing.assert_array_equal(sample_factors(5, 20), sample_factors(5, 20))
    assert (sample_factors(5, 20) != sample_factors(6, 20)).any()


def test_x_moves_right_y_moves_down_and_neither_the_other_way():
    for name, axis in (("x", 0), ("y", 1)):
        low, high = (centre(render(changed(BASE, name, value))) for value in (0, FACTORS[name] - 1))
        assert (high[:, axis] - low[:, axis] > 20).all()
        np.testing.assert_allclose(high[:, 1 - axis], low[:, 1 - axis], atol=0.6)


def test_every_step_of_scale_grows_the_area():
    areas = np.stack(
        [render(changed(BASE, "scale", v)).sum(axis=(1, 2, 3), dtype=int) for v in range(6)]
    )
    assert (np.diff(areas, axis=0) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_each_factor_changes_every_image(name):
    one, other = (render(changed(BASE, name, value)) for value in (0, FACTORS[name] // 2 - 1 or 1))
    assert (one != other).any(axis=(1, 2, 3)).all()


def differing_pixels(shape, turns):
    """Of the largest shape in the middle, turned by so many fortieths of a circle."""
    factors = np.array([[shape, 5, rotation, 16, 16] for rotation in (0, turns)])
    one, other = render(factors)
    return int((one != other).sum())


def test_shapes_have_the_symmetry_they_should():
    assert [shape.__name__ for shape in SHAPES] == ["square", "ellipse", "heart"]
    edge = 40  # pixels that rounding may turn
    assert differing_pixels(0, 10) <= edge < differing_pixels(0, 5)
    assert differing_pixels(1, 20) <= edge < differing_pixels(1, 10)
    assert min(differing_pixels(2, turns) for turns in (5, 10, 20, 30)) > edge


def test_factors_are_uniform():
    factors = sample_factors(0, 20_000)
    for column, count in zip(factors.T, FACTORS.values(), strict=True):
        assert stats.chisquare(np.bincount(column, minlength=count)).pvalue > 1e-4
        assert column.max() == count - 1


def test_factors_stay_with_their_images():
    train, test = sample_factors(0, 30), sample_factors(1, 7)
    source = Source("few", render(train), train[:, 0], render(test), test[:, 0], train, test)
    data = dataset(source, validation_size=10, binarization="none", binarization_seed=0)
    for split, factors in (
        (data.train, train[:20]),
        (data.validation, train[20:]),
        (data.test, test),
    ):
        np.testing.assert_array_equal(split.factors, factors)
        np.testing.assert_array_equal(split.images.reshape(-1, 64, 64, 1), render(factors))
        np.testing.assert_array_equal(split.labels, factors[:, 0])
    assert data.num_classes == 3
    assert data.binary

"""Grids of images: which image is where, and what the labels beside it say."""

import numpy as np
import pytest

from tests.small.figures import drawn
from vae_jax.figures.images import (
    hardest,
    interpolations,
    manifold,
    reconstructions,
    samples,
    tiled,
    traversals,
)

pytestmark = pytest.mark.usefixtures("with_pixels")
RNG = np.random.default_rng(0)


def shown_in(fig):
    """The axes of a figure, and the pixels of its image."""
    (axes,) = fig.axes
    (image,) = axes.images
    return axes, image.get_array()


def labels(ticks) -> list[str]:
    return [tick.get_text() for tick in ticks]


def test_tiles_are_where_they_belong():
    images = RNG.random((2, 3, 4, 5, 1))
    canvas = tiled(images)
    assert canvas.shape == (2 * 5 - 1, 3 * 6 - 1, 1)
    np.testing.assert_array_equal(canvas[5:9, 12:17], images[1, 2])
    assert (canvas[4] == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_shown_as_they_are_from_black_to_white(channels):
    images = RNG.random((3, 2, 6, 6, channels))
    axes, pixels = shown_in(drawn(samples, images, shown="E[x | z]"))
    np.testing.assert_allclose(pixels[7:13, 7:13], images[1, 1].squeeze())
    assert axes.images[0].get_clim() == (0, 1)
    assert not axes.get_xticks().size
    assert not axes.get_yticks().size


def test_each_input_is_above_its_output():
    inputs, outputs = RNG.random((2, 2, 3, 6, 6, 1))
    axes, pixels = shown_in(drawn(reconstructions, inputs, outputs))
    np.testing.assert_allclose(pixels[14:20, 7:13], inputs[1, 1, ..., 0])
    np.testing.assert_allclose(pixels[21:27, 7:13], outputs[1, 1, ..., 0])
    assert labels(axes.get_yticklabels()) == ["input", "output"] * 2
    # Each label is at the height of its row.
    assert [int(y // 7) for y in axes.get_yticks()] == [0, 1, 2, 3]


def test_the_hardest_images_have_their_nll_beside_them():
    axes, _ = shown_in(drawn(hardest, RNG.random((1, 3, 6, 6, 1)), np.array([31.2, 20.0, 9.9])))
    assert axes.get_xlabel() == "the hardest test images: nll from 31 to 10 nats"


@pytest.mark.parametrize("n", [3, 6, 20, 21])
def test_ticks_of_the_manifold_are_at_equal_distances(n):
    axes, _ = shown_in(drawn(manifold, RNG.random((n, n, 4, 4, 1)), np.linspace(-2, 2, n)))
    steps = np.diff(axes.get_xticks())
    assert len(steps) >= 2
    assert (steps == steps[0]).all()


def test_the_manifold_s_first_unit_goes_right_and_its_second_up():
    images = RNG.random((3, 3, 4, 9, 1))
    axes, pixels = shown_in(drawn(manifold, images, np.array([-1.5, 0.0, 1.5])))
    np.testing.assert_allclose(pixels[:4, :9], images[0, 0, ..., 0])
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, right, bottom, top) == (0, 3, 0, 3)
    assert labels(axes.get_xticklabels()) == ["-1.5", "0.0", "1.5"]
    np.testing.assert_array_equal(axes.get_yticks(), [0.5, 1.5, 2.5])
    assert labels(axes.get_yticklabels()) == ["-1.5", "0.0", "1.5"]
    assert axes.get_aspect() == pytest.approx(4 / 9)  # pixels are square
    assert axes.get_xlabel().startswith("latent unit 0")
    assert axes.get_ylabel().startswith("latent unit 1")


def test_a_traversal_is_a_row_with_its_unit_and_columns_with_their_values():
    images = RNG.random((2, 5, 4, 6, 1))
    axes, pixels = shown_in(drawn(traversals, images, [3, 0], np.linspace(-3, 3, 5)))
    np.testing.assert_allclose(pixels[5:9, 14:20], images[1, 2, ..., 0])
    assert labels(axes.get_yticklabels()) == ["3", "0"]
    assert [int(y // 5) for y in axes.get_yticks()] == [0, 1]
    assert labels(axes.get_xticklabels()) == ["-3.0", "0.0", "3.0"]
    assert [int(x // 7) for x in axes.get_xticks()] == [0, 2, 4]


def test_an_interpolation_goes_from_0_to_1():
    axes, pixels = shown_in(drawn(interpolations, RNG.random((2, 5, 6, 6, 1)), shown="E[x | z]"))
    assert pixels.shape == (2 * 7 - 1, 5 * 7 - 1)
    assert labels(axes.get_xticklabels()) == ["0.0", "0.5", "1.0"]
    assert [int(x // 7) for x in axes.get_xticks()] == [0, 2, 4]

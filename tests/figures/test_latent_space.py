"""Codes in the plane: where the dots are, and how far the axes go."""

import numpy as np
import pytest

from tests.small.figures import drawn
from vae_jax.figures import latent_space as latent_space_figures
from vae_jax.figures.latent_space import (
    aggregate_posterior,
    apart,
    latent_space,
    principal_components,
    principal_plane,
)

pytestmark = pytest.mark.usefixtures("with_pixels")
RNG = np.random.default_rng(0)


def dots(scatter) -> np.ndarray:
    return np.asarray(scatter.get_offsets())


def test_principal_components_are_the_directions_of_most_variance():
    codes = RNG.normal(size=(5_000, 2)) * [3.0, 1.0]
    rotation, _ = np.linalg.qr(RNG.normal(size=(5, 5)))
    projected, explained = principal_components(codes @ rotation[:2])
    np.testing.assert_allclose(
        np.abs(np.corrcoef(projected[:, 0], codes[:, 0])[0, 1]), 1, atol=1e-3
    )
    np.testing.assert_allclose(explained, [0.9, 0.1], atol=0.01)


def test_the_plane_of_codes_holds_their_components():
    codes = RNG.normal(size=(60, 4))
    mean, directions, explained = principal_plane(codes)
    projected, _ = principal_components(codes)
    np.testing.assert_allclose((codes - mean) @ directions, projected, atol=1e-9)
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-9)
    assert explained[0] >= explained[1]


def test_the_plane_of_many_units_is_the_same(monkeypatch):
    codes = RNG.normal(size=(40, 9)) * np.arange(1, 10)
    mean, directions, explained = principal_plane(codes)
    monkeypatch.setattr(latent_space_figures, "MANY_UNITS", 5)
    others = principal_plane(codes)
    np.testing.assert_array_equal(others[0], mean)
    np.testing.assert_allclose(np.abs((others[1] * directions).sum(axis=0)), 1, atol=1e-9)
    np.testing.assert_allclose(others[2], explained, rtol=1e-9)


def test_two_units_are_shown_as_they_are_by_label():
    codes, label_n = RNG.normal(size=(50, 2)), np.arange(50) % 3
    fig = drawn(latent_space, codes, label_n, limit=4.0, class_names=["cat", "dog", "cow"])
    (axes,) = fig.axes
    for label, scatter in enumerate(axes.collections):
        np.testing.assert_array_equal(dots(scatter), codes[label_n == label])
    assert [scatter.get_label() for scatter in axes.collections] == ["cat", "dog", "cow"]
    assert len({tuple(s.get_facecolor()[0]) for s in axes.collections}) == 3
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["cat", "dog", "cow"]
    assert axes.get_xlim() == axes.get_ylim() == (-4, 4)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent unit 0", "latent unit 1")


def test_many_units_are_projected_and_the_axes_say_so():
    codes = RNG.normal(size=(50, 5))
    fig = drawn(latent_space, codes, None, limit=4.0)  # a limit is of two units alone
    (axes,) = fig.axes
    projected, explained = principal_components(codes)
    np.testing.assert_array_equal(dots(axes.collections[0]), projected)
    assert f"({100 * explained[1]:.0f}% of the variance" in axes.get_ylabel()
    assert axes.get_xlim() != (-4, 4)
    assert not fig.legends


def test_one_unit_is_spread_out():
    codes = RNG.normal(size=(50, 1))
    (axes,) = drawn(latent_space, codes, None).axes
    offsets = dots(axes.collections[0])
    np.testing.assert_array_equal(offsets[:, 0], codes[:, 0])
    assert len(np.unique(offsets[:, 1])) == 50
    assert axes.get_ylabel() == "(only spread)"


def test_labels_of_classes_do_not_lie_on_one_another():
    names = ["laboratory", "photograph", "street", "forest", "kitchen"]
    codes, label_n = RNG.normal(size=(200, 2)) * 0.1, np.arange(200) % 5
    fig = drawn(latent_space, codes, label_n, class_names=names)
    boxes = [t.get_bbox_patch().get_window_extent() for t in fig.axes[0].texts]
    assert len(boxes) == 5
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:i])


def test_boxes_that_are_apart_stay_where_they_are():
    centres = np.array([[0.0, 0.0], [3.0, 0.0]])
    np.testing.assert_array_equal(apart(centres, np.full((2, 2), 2.0)), centres)
    moved = apart(np.zeros((2, 2)), np.full((2, 2), 2.0))
    assert np.abs(moved[0] - moved[1]).max() >= 2


def test_posterior_and_prior_stand_side_by_side_on_equal_axes():
    posterior, prior = RNG.normal(size=(2, 50, 2))
    left, right = drawn(aggregate_posterior, posterior, prior, [3, 0], limit=5.0).axes
    assert left.get_title().startswith("q(z)")
    assert right.get_title().startswith("p(z)")
    np.testing.assert_array_equal(dots(left.collections[0]), posterior)
    np.testing.assert_array_equal(dots(right.collections[0]), prior)
    for axes in (left, right):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent unit 3", "latent unit 0")
        assert axes.get_xlim() == axes.get_ylim() == (-5, 5)


def test_of_one_unit_both_densities_are_shown():
    posterior, prior = RNG.normal(size=(2, 200, 1))
    for axes in drawn(aggregate_posterior, posterior, prior, [7]).axes:
        area = sum(bar.get_height() * bar.get_width() for bar in axes.patches)
        assert area == pytest.approx(1)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent unit 7", "density")

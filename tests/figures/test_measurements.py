"""What an evaluation measured: every number is drawn, at its place."""

import numpy as np
import pytest

from tests.small.figures import drawn
from vae_jax.figures.measurements import latent_units, likelihood, rate_distortion
from vae_jax.figures.style import COLOURS

pytestmark = pytest.mark.usefixtures("with_pixels")


def test_a_curve_for_each_lane_and_a_bar_for_each_finite_image():
    curves, nll_n = np.array([[90.0, 85.0, 84.0], [91.0, 86.0, 85.0]]), np.linspace(60, 110, 30)
    fig = drawn(likelihood, (1, 10, 60), curves, (4, 9), nll_n, prefix="pseudo-")
    left, right = fig.axes
    for line, curve, seed in zip(left.lines, curves, (4, 9), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([(1, 10, 60), curve]))
        assert line.get_label() == f"seed {seed}"
    assert left.get_xscale() == "log"
    assert left.get_ylabel() == "pseudo-nll (nats per example)"
    assert sum(bar.get_height() for bar in right.patches) == 30
    assert right.lines[0].get_label() == "mean 85.00"
    assert right.get_xlabel() == "pseudo-nll of a test image (nats)"


def test_units_stand_by_their_activity_with_their_numbers():
    activity, kl = np.array([0.0, 2.0, 0.5]), np.array([0.1, 3.0, 1.0])
    left, right = drawn(latent_units, activity, kl, active=0.01).axes
    # 0 can't be drawn on a logarithmic axis.
    assert [bar.get_height() for bar in left.patches] == [2.0, 0.5, 1e-8]
    assert [bar.get_height() for bar in right.patches] == [3.0, 1.0, 0.1]
    assert left.get_yscale() == "log"
    assert left.lines[0].get_label() == "active above 0.01"
    for axes in (left, right):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "0"]


def test_units_without_a_kl_are_one_panel_and_many_have_no_numbers():
    assert len(drawn(latent_units, np.ones(3), None, active=0.01).axes) == 1
    (axes, _) = drawn(latent_units, np.ones(30), np.ones(30), active=0.01).axes
    assert len(axes.patches) == 30
    assert len(axes.get_xticks()) < 30


def test_rate_and_distortion_are_the_dots_of_their_setting():
    groups = {"a": [(5.0, 80.0), (6.0, 78.0)], "b": [(9.0, 70.0)]}
    fig = drawn(rate_distortion, groups, prefix="pseudo-")
    (axes,) = fig.axes
    for scatter, (name, points) in zip(axes.collections, groups.items(), strict=True):
        np.testing.assert_array_equal(scatter.get_offsets(), points)
        assert scatter.get_label() == name
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert axes.get_xlabel() == "rate: KL(q(z | x) || p(z)) (nats per example)"
    assert axes.get_ylabel() == "distortion: -pseudo-reconstruction (nats per example)"
    for line in axes.lines:  # of equal ELBO
        assert np.ptp(line.get_xydata().sum(axis=1)) == pytest.approx(0, abs=1e-9)


def test_many_settings_have_one_colour_and_no_names():
    many = {str(i): [(i, 100.0 - i)] for i in range(2 * len(COLOURS) + 1)}
    fig = drawn(rate_distortion, many, prefix="")
    assert not fig.legends
    assert len({tuple(s.get_facecolor()[0]) for s in fig.axes[0].collections}) == 1


def test_a_label_of_rate_and_distortion_hides_no_point():
    groups = {str(i): [(5 + 0.1 * i, 80.0 - 0.1 * i)] for i in range(6)}
    (axes, *_) = drawn(rate_distortion, groups, prefix="").axes
    labels = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
    assert labels
    for scatter in axes.collections:
        (point,) = axes.transData.transform(scatter.get_offsets())
        assert not any(box.contains(*point) for box in labels)
        assert all(text.zorder < scatter.zorder for text in axes.texts)

"""What a sweep found: each setting is at the place of its swept values."""

import numpy as np
import pytest

from tests.small.figures import drawn
from vae_jax.figures.sweeps import MOST_LINES, Point, against_key, curves, heat_map

pytestmark = pytest.mark.usefixtures("with_pixels")


def point(elbo: float, **values) -> Point:
    mean = {"bound": elbo, "elbo": elbo, "reconstruction": elbo + 10, "kl": 10.0}
    return Point({k.replace("__", "."): v for k, v in values.items()}, mean, dict.fromkeys(mean, 1))


def test_a_line_for_each_setting_of_the_other_key():
    points = [
        point(-100 + size + beta, model__latent_size=size, objective__beta=beta)
        for beta in (1.0, 4.0) for size in (8, 2)
    ]  # fmt: skip
    fig = drawn(against_key, points, "model.latent_size", prefix="pseudo-")
    bound, _, kl = fig.axes
    assert bound.get_xlabel() == "model.latent_size"
    assert bound.get_ylabel() == "pseudo-ELBO (nats per example)"
    assert kl.get_ylabel() == "KL (nats per example)"
    drawn_lines = [bars.lines[0].get_xydata() for bars in bound.containers]
    np.testing.assert_allclose(drawn_lines[0], [(2, -97), (8, -91)])  # in order
    np.testing.assert_allclose(drawn_lines[1], [(2, -94), (8, -88)])
    (legend,) = fig.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["objective.beta 1", "objective.beta 4"]


def test_names_stand_side_by_side_and_many_settings_are_dots():
    named = [point(-100.0, model__prior=name) for name in ("mixture", "standard_normal")]
    (axes, *_) = drawn(against_key, named, "model.prior", prefix="").axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["mixture", "standard_normal"]
    many = [point(-100.0, a=i, b=j) for i in (0, 1) for j in range(MOST_LINES + 1)]
    fig = drawn(against_key, many, "a", prefix="")
    assert not fig.legends
    assert {bars.lines[0].get_linestyle() for bars in fig.axes[0].containers} == {"None"}


def test_a_heat_map_has_each_setting_s_bound_in_its_cell():
    points = [point(-10.0 * i - j, a=i, b=j) for i in (2, 1) for j in (3, 4, 5)][:-1]
    axes, bar = drawn(heat_map, points, prefix="").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("b", "a")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["3", "4", "5"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "2"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[(0, 0)] == "-13.0"
    assert cells[(2, 1)] == "-25.0"
    assert (2, 0) not in cells  # that was not trained
    assert bar.get_ylabel() == "ELBO (nats per example)"


def test_curves_are_the_mean_over_lanes_and_their_range():
    lanes = [
        [{"epoch": e, "bound": b + e, "elbo": b + e, "reconstruction": 0.0, "kl": 1.0}
         for e in (1, 2)]
        for b in (-10.0, -6.0)
    ]  # fmt: skip
    fig = drawn(curves, {"beta 1": lanes}, prefix="")
    axes = fig.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(1, -7), (2, -6)])
    (path,) = axes.collections[0].get_paths()
    assert (path.vertices[:, 1].min(), path.vertices[:, 1].max()) == (-9, -4)
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["beta 1"]


def test_terms_that_no_setting_has_are_left_out():
    """As of an autoencoder, which has no ELBO."""
    values = {"bound": -90.0, "elbo": None, "reconstruction": -90.0, "kl": None}
    points = [Point({"a": i}, values, dict.fromkeys(values, 1)) for i in (1, 2)]
    (axes,) = drawn(against_key, points, "a", prefix="").axes
    assert axes.get_ylabel() == "reconstruction (nats per example)"
    rows = [{"epoch": e, "bound": -9.0, "reconstruction": -9.0, "objective": -8.0} for e in (1, 2)]
    names = [axes.get_ylabel() for axes in drawn(curves, {"one": [rows]}, prefix="").axes]
    assert names == ["objective (nats per example)", "reconstruction (nats per example)"]

"""A figure of numbers over seeds: what it shows, and what it leaves out."""

import math

import numpy as np

from experiments.papers import chart
from experiments.papers.table import Estimate, estimate
from vae_jax.figures import style


def test_a_figure_has_means_with_intervals_and_no_point_that_a_logarithm_lacks(
    tmp_path, with_pixels
):
    three, one = estimate([1.0, 2.0, 3.0]), Estimate(5.0, math.nan, 1)
    none, below = estimate([]), estimate([-2.0, -1.0])
    curves = [chart.Curve("a", (1, 10, 100, 1_000), (three, one, none, below))]
    again = [chart.Curve("a", (1,), (three,)), chart.Curve("b", (4,), (below,))]
    panels = [
        chart.Panel("first", "x", "y", curves, log_y=True),
        chart.Panel("second", "x", "y", again, line=0.0),
    ]
    with style.shown() as figures:
        chart.draw(tmp_path / "f.png", "title", panels)
    first, second = figures["f"].axes
    (drawn,) = first.containers
    line, _, (bars,) = drawn
    np.testing.assert_array_equal(line.get_xydata(), [[1, 2], [10, 5]])
    low, high = three.interval
    ends = [bar[:, 1].tolist() for bar in bars.get_segments()]
    np.testing.assert_allclose(ends, [[low, high], [5, 5]])
    a, b = second.containers
    assert a[0].get_color() == line.get_color() != b[0].get_color()
    np.testing.assert_array_equal(b[0].get_xydata(), [[4, -1.5]])
    (legend,) = figures["f"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    chart.draw(tmp_path / "f.png", "title", panels)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")

"""Training curves: each row of metrics.jsonl is a point of its lane's line."""

import numpy as np
import pytest

from tests.small.figures import ROWS, drawn
from vae_jax.figures.training_curves import kl_by_layer, training_curves

pytestmark = pytest.mark.usefixtures("with_pixels")


def test_each_lane_has_a_line_of_each_split_in_each_panel():
    fig = drawn(training_curves, ROWS, prefix="pseudo-")
    bound, reconstruction, kl = fig.axes
    assert bound.get_ylabel() == "pseudo-ELBO (nats per example)"
    assert reconstruction.get_ylabel() == "pseudo-reconstruction (nats per example)"
    assert kl.get_ylabel() == "KL (nats per example)"
    names = [f"seed {seed}, {split}" for seed in (4, 5) for split in ("train", "validation")]
    assert [line.get_label() for line in bound.lines] == names
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    for i, line in enumerate(bound.lines):
        rows = [(0.5, -95.0), (1.0, -90.0), (2.0, -80.0)]
        np.testing.assert_allclose(line.get_xydata(), [(x, y + i // 2) for x, y in rows])
    widths = [line.get_linewidth() for line in bound.lines]
    assert widths[0] < widths[1]  # the validation is bold


def test_the_first_epoch_does_not_flatten_the_rest():
    (bound, *_) = drawn(training_curves, ROWS, prefix="").axes
    low, high = bound.get_ylim()
    assert -95 < low < -90
    assert -79 < high < -76


def test_no_curves_yet():
    fig = drawn(training_curves, [], prefix="")
    assert not any(axes.lines for axes in fig.axes)
    assert not fig.legends
    assert fig.axes[0].get_xlabel() == "epoch"


def test_the_kl_of_each_layer_is_a_band_the_top_layer_at_the_top():
    kls = {"layer 0 (top)": [1.0, 2.0], "layer 1 (bottom)": [10.0, 20.0]}
    (axes,) = drawn(kl_by_layer, [1.0, 2.0], kls).axes
    bottom, top = axes.collections
    assert [band.get_label() for band in (bottom, top)] == ["layer 1 (bottom)", "layer 0 (top)"]
    (outline,) = top.get_paths()
    assert outline.vertices[:, 1].min() == 10
    assert outline.vertices[:, 1].max() == 22
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(kls)
    assert axes.get_xlim() == (1, 2)

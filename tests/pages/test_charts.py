"""The charts of the pages and their headings, from made records: no run, no browser."""

import re

import numpy as np
import pytest

from vae_jax.figures.style import COLOURS, GREY
from vae_jax.figures.sweeps import Point
from vae_jax.pages import charts, findings, sweep_charts
from vae_jax.pages.curves import WIDE, curves
from vae_jax.pages.picture import ellipse
from vae_jax.pages.report import TEMPLATE, chart_list, parts
from vae_jax.reports.paper_table import Group, make_table

KEYS = ("model.latent_size", "objective.beta")


def lane(number, elbo, size=2, beta=1.0, **more):
    return {
        "lane": number, "seed": number, "status": "done", "best_epoch": 3.0, "elbo": elbo,
        "bound": elbo, "validation_bound": elbo, "kl": 5.0 + number, "reconstruction": elbo + 5,
        "bits_per_dim": 0.2, "bound_of": "probability", "bound_name": "",
        "model.latent_size": size, "objective.beta": beta,
    } | more  # fmt: skip


def table(*groups):
    made = [Group({key: own[0][key] for key in KEYS}, list(own)) for own in groups]
    return make_table(list(KEYS), made, "")


def heading(*groups):
    made = table(*groups)
    return findings.of_results(made, findings.best_setting(made))


def of_type(chart, name):
    return [model for model in chart.references() if type(model).__name__ == name]


def test_a_heading_says_what_is_best():
    few = [lane(0, -110.0), lane(1, -110.2)]
    many = [lane(2, -107.53, 20), lane(3, -107.69, 20)]
    test = "test ELBO -107.61 ± 0.08 nats"
    assert heading(few, many) == f"20 latent units are best: {test}"
    other = [lane(4, -120.0, 20, 4.0)]
    assert heading(few, many, other) == f"20 latent units and beta 1 are best: {test}"
    assert heading(few) == "Test ELBO -110.10 ± 0.10 nats"
    assert heading([lane(0, -1.5)]) == "Test ELBO -1.50 nats"


@pytest.mark.parametrize("other", [{"bound_of": "density"}, {"dataset.path": "b.npz"}])
def test_nothing_is_best_where_bounds_cannot_be_compared(other):
    first = {"dataset.path": "a.npz"} if "dataset.path" in other else {}
    groups = [[lane(0, -9.0, **first)], [lane(1, -1.0, 5, **other)]]
    assert heading(*groups) == "Results of 2 settings"
    lanes = [own for group in groups for own in group]
    assert findings.of_key(KEYS[0], lanes, KEYS[:1]) == "Test set by model.latent_size"
    assert findings.of_training(lanes, 3) == "Training curves"


def test_what_is_within_the_error_of_the_best_is_named():
    close = findings.best_setting(
        table([lane(0, -10.0), lane(1, -11.0)], [lane(2, -10.2, 5), lane(3, -11.2, 5)],
              [lane(4, -30.0, 9), lane(5, -30.1, 9)])
    )  # fmt: skip
    assert close.close == "model.latent_size 5, objective.beta 1"


@pytest.mark.parametrize(
    ("elbos", "status", "text"),
    [((-213.0, -215.46), "done", "-214.2 ± 1.2"), ((-13_205.0, -13_315.0), "done", "-13,260 ± 55"),
     ((-1.0,), "done", "-1.00"), ((-1.0,), "diverged", "-")],
)  # fmt: skip
def test_a_mean_has_the_digits_of_its_error(elbos, status, text):
    own = table([lane(i, elbo, status=status) for i, elbo in enumerate(elbos)])
    assert findings.measured(own, findings.bound_column(own), 0) == text


def points():
    return [
        Point({KEYS[0]: size, KEYS[1]: beta}, {"elbo": -100.0 + size - beta}, {"elbo": 3.0})
        for size in (2, 5, 10)
        for beta in (0.5, 1.0)
    ]


def test_settings_of_the_other_key_have_colours_and_a_legend():
    chart, legend = sweep_charts.against_key(KEYS[0], points(), ["elbo"])
    assert legend == [("objective.beta 0.5", COLOURS[0]), ("objective.beta 1", COLOURS[1])]
    lines = next(m.data for m in of_type(chart, "ColumnDataSource") if len(m.data["x"]) == 2)
    assert lines["x"] == [[2, 5, 10]] * 2
    assert lines["y"] == [[-98.5, -95.5, -90.5], [-99.0, -96.0, -91.0]]
    (ticker,) = of_type(chart, "FixedTicker")
    assert ticker.ticks == [2, 5, 10]
    # Error bars are glyphs, which the frame has room for.
    assert not of_type(chart, "Whisker")
    assert of_type(chart, "Segment")


def test_numbers_at_ticks_are_plain_and_epochs_whole():
    rows = [
        {"lane": 0, "split": "validation", "epoch": e, "step": e, "bound": -13260.0, "elbo": -1.0}
        for e in (1, 2)
    ]
    chart = curves(rows, {0: "a"}, {0: COLOURS[0]}, best=0)
    for axis in of_type(chart, "LinearAxis") + of_type(chart, "LogAxis"):
        assert type(axis.formatter).__name__ == "NumeralTickFormatter"
        if axis.axis_label.text == "epoch":
            assert axis.ticker.min_interval == 1
    widths = [m.data["width"] for m in of_type(chart, "ColumnDataSource") if m.data["lane"]]
    assert all(set(own) == {WIDE} for own in widths)


def test_lanes_have_the_colours_of_the_figure():
    """Those of their setting; twelve of a run have twelve."""
    rows = [
        {"lane": i, "seed": i, "split": "validation", "epoch": 1, "step": 1, "bound": -1.0}
        for i in range(12)
    ]
    names = {i: f"lane {i}" for i in range(12)}
    alone = chart_list(rows, [], [], names)[0]
    assert [colour for _, colour in alone.legend] == list(COLOURS)
    assert len(set(COLOURS)) == 12
    lanes = [lane(i, -50.0 - i, size=2 + i // 2) for i in range(12)]
    swept = chart_list(rows, lanes, list(KEYS), names)
    training = next(own for own in swept if own.id == "training")
    assert training.legend == [(f"{KEYS[0]} {2 + i}", COLOURS[i]) for i in range(6)]
    rates = next(own for own in swept if own.id == "rates")
    assert rates.legend == training.legend


def test_rate_and_distortion_has_lines_of_equal_elbo():
    fig, _ = sweep_charts.rate_distortion({"a": [lane(0, -100.0), lane(9, -90.0)]}, {})
    (lines,) = [m.data for m in of_type(fig, "ColumnDataSource") if "xs" in m.data]
    sums = [
        [x + y for x, y in zip(*ends, strict=True)] for ends in zip(*lines.values(), strict=True)
    ]
    assert len(sums) > 1
    assert all(a == pytest.approx(b) and a == pytest.approx(round(a, 6)) for a, b in sums)
    texts = [t for m in of_type(fig, "ColumnDataSource") for t in m.data.get("text", [])]
    assert texts
    assert {t.split()[0] for t in texts} == {"ELBO"}


def test_parallel_coordinates_have_a_colour_bar():
    rows = [{KEYS[0]: 2, "elbo": -9.0}, {KEYS[0]: 5, "elbo": -4.0}]
    fig = sweep_charts.parallel([KEYS[0]], rows, "elbo")
    (bar,) = of_type(fig, "ColorBar")
    assert (bar.title, bar.color_mapper.low, bar.color_mapper.high) == ("elbo", -9.0, -4.0)


def test_units_are_numbered_from_0_and_one_is_only_spread():
    images = np.zeros((3, 2, 2, 1))
    fig = charts.latent_space(np.eye(3)[:, :2], images, None, ("latent unit 0", "latent unit 1"))
    assert fig.match_aspect
    one = charts.latent_space(np.ones((3, 1)), images, None, ("latent unit 0", "latent unit 1"))
    assert one.yaxis[0].axis_label.text == "(only spread)"
    units = charts.latent_units(np.array([0.1, 2.0]))
    axis = units.xaxis[0]
    assert {at: t.text for at, t in axis.major_label_overrides.items()} == {0: "1", 1: "0"}


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted(luminance(c) + 0.05 for c in (one, other))
    return high / low


def test_everything_is_seen_in_light_and_dark():
    page = TEMPLATE.read_text()
    schemes = re.findall(r"--text.*?}", page, re.DOTALL)[:2]
    for scheme, ground in zip(schemes, ("#ffffff", "#000000"), strict=True):
        found = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        assert found["page"] == ground
        for name in ("text", "note", "warn"):
            assert contrast(found[name], ground) >= 4.5
        assert contrast(GREY, ground) >= 4.5
        for colour in (*COLOURS, *sweep_charts.shades()):
            assert contrast(colour, ground) >= 3


def test_a_heading_may_break_after_a_dot_or_a_line():
    assert parts("model.latent_size") == ["model.", "latent_", "size"]
    assert "".join(parts("a/b.c__d")) == "a/b.c__d"


def test_the_ellipse_of_a_gaussian_has_its_axes():
    width, height, angle = ellipse(np.diag([4.0, 1.0]))
    assert (width, height) == pytest.approx((8.0, 4.0))  # two standard deviations to each side
    assert np.sin(angle) == pytest.approx(0, abs=1e-6)
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    width, height, angle = ellipse(turn @ np.diag([4.0, 1.0]) @ turn.T)
    assert (width, height, np.tan(angle)) == pytest.approx((8.0, 4.0, np.tan(0.3)))

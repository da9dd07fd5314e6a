"""The charts of a sweep's results: by key, parallel coordinates, rate and distortion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax.figures.style import elbo_lines, free_place
from vae_jax.figures.sweeps import MOST_LINES, Point, far_apart, independent, text
from vae_jax.pages.charts import (
    GREY,
    NUMBERS,
    Plot,
    Widget,
    bokeh,
    chooser,
    colour,
    figure,
    mark_ticks,
)

# From the lowest to the highest value. Its ends and all between are seen on white and on black.
LOW, HIGH = (0x5A, 0x5A, 0xF5), (0xE0, 0x68, 0x00)
Legend = list[tuple[str, str]]  # names and their colours


def numeric(values: Sequence[Any]) -> bool:
    """Whether all values are numbers."""
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def is_wide(values: Sequence[float]) -> bool:
    """Whether values are better seen on a logarithmic axis."""
    return min(values) > 0 and max(values) >= 8 * min(values)


def against_key(key: str, points: Sequence[Point], metrics: Sequence[str]) -> tuple[Widget, Legend]:
    """Each metric against a swept key, mean and standard error; the metric can be chosen.

    As in the figure: each setting of the other keys has a colour, and a line if `key` is a number.
    """
    models, points = bokeh().models, list(points)
    others = independent(points, key)
    names = [", ".join(f"{o} {text(p.values[o])}" for o in others) for p in points]
    settings = list(dict.fromkeys(names))
    scattered = len(settings) > MOST_LINES  # as for a random search
    colours = {name: colour(0 if scattered else i) for i, name in enumerate(settings)}
    values = [point.values[key] for point in points]
    numbers = numeric(values)
    xs: list[Any] = values if numbers else [text(value) for value in values]
    data: dict[str, Any] = {
        "x": xs,
        "label": [", ".join(f"{k} {text(v)}" for k, v in p.values.items()) for p in points],
        "colour": [colours[name] for name in names],
    }
    for metric in metrics:
        mean = np.array([p.mean[metric] for p in points], float)  # None becomes NaN
        error = np.array([p.se[metric] for p in points], float)
        data |= {metric: mean, f"{metric}_low": mean - error, f"{metric}_high": mean + error}
    wide = numbers and is_wide(values)
    more: dict[str, Any] = {"x_axis_type": "log" if wide else "linear"}
    fig = figure("", key, "", **(more if numbers else {"x_range": list(dict.fromkeys(xs))}))
    if numbers and far_apart(sorted(set(values)), wide):
        mark_ticks(fig.xaxis, {value: text(value) for value in sorted(set(values))})
    rows = {name: [i for i, other in enumerate(names) if other == name] for name in settings}
    if numbers:
        rows = {name: sorted(line, key=lambda i: values[i]) for name, line in rows.items()}
    lines = {"x": [[xs[i] for i in line] for line in rows.values()],
             "colour": [colours[name] for name in rows]}  # fmt: skip
    for metric in metrics:
        lines[metric] = [[float(data[metric][i]) for i in line] for line in rows.values()]
    first = metrics[0]
    shown = {"y": data[first], "low": data[f"{first}_low"], "high": data[f"{first}_high"]}
    source = models.ColumnDataSource(data | shown)
    connected = models.ColumnDataSource(lines | {"y": lines[first]})
    if numbers and not scattered:
        fig.multi_line("x", "y", source=connected, line_color="colour", line_width=1.5)
    # Glyphs, not an annotation: the frame is as large as they need.
    fig.segment("x", "low", "x", "high", source=source, line_color="colour")
    for end in ("low", "high"):
        fig.scatter("x", end, source=source, marker="dash", size=10, line_color="colour")
    dots = fig.scatter("x", "y", source=source, size=7, color="colour")
    tooltips = [("", "@label"), ("", "@y{0.00}")]
    fig.add_tools(models.HoverTool(renderers=[dots], tooltips=tooltips))
    choice = chooser(first, metrics)
    choice.js_on_change(
        "value",
        models.CustomJS(
            args={"s": source, "lines": connected},
            code="const m = cb_obj.value; s.data = {...s.data, y: s.data[m], "
            "low: s.data[m + '_low'], high: s.data[m + '_high']}; "
            "lines.data = {...lines.data, y: lines.data[m]}",
        ),
    )
    legend = [] if scattered or not others else list(colours.items())
    return bokeh().layouts.column(choice, fig, sizing_mode="stretch_width"), legend


def parallel(keys: Sequence[str], rows: Sequence[dict[str, Any]], metric: str) -> Plot:
    """Parallel coordinates: a line for each lane over swept keys and a metric, which colours it."""
    models = bokeh().models
    axes = [*keys, metric]
    heights, labels = {}, {}
    for axis in axes:
        heights[axis], labels[axis] = on_axis([row[axis] for row in rows])
    order = np.argsort(heights[metric])
    results = [float(rows[i][metric]) for i in order]
    mapper = models.LinearColorMapper(palette=shades(), low=min(results), high=max(results))
    source = models.ColumnDataSource(
        {
            "x": [list(range(len(axes)))] * len(rows),
            "y": [[heights[axis][i] for axis in axes] for i in order],
            "metric": results,
            "label": [", ".join(f"{axis} {shown(rows[i][axis])}" for axis in axes) for i in order],
        }
    )
    fig = figure("", "", "", x_range=(-0.3, len(axes) - 0.7), y_range=(-0.12, 1.12))
    fig.multi_line(
        "x", "y", source=source, line_width=2, line_color={"field": "metric", "transform": mapper}
    )
    fig.add_tools(models.HoverTool(tooltips=[("", "@label")]))
    short = [axis.rsplit(".", 1)[-1] for axis in axes]
    mark_ticks(fig.xaxis, dict(enumerate(short if len({*short}) == len(short) else axes)))
    fig.yaxis.visible = False
    for i, axis in enumerate(axes):
        for y, words in zip((-0.09, 1.04), labels[axis], strict=True):
            fig.text([i], [y], text=[words], text_color=GREY, text_font_size="11px",
                     text_align="center")  # fmt: skip
    bar = models.ColorBar(
        color_mapper=mapper, title=metric, width=10, title_text_color=GREY,
        major_label_text_color=GREY, background_fill_alpha=0,
        formatter=models.NumeralTickFormatter(format=NUMBERS),
    )  # fmt: skip
    fig.add_layout(bar, "right")
    return fig


def on_axis(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, str]]:
    """The heights of values on an axis from 0 to 1, and what stands at its two ends."""
    if numeric(values):
        low, high = min(values), max(values)
        place = np.log if is_wide(values) else np.asarray
        ends = place(np.array([low, high], float))
        width = ends[1] - ends[0] or 1.0
        return (place(np.array(values, float)) - ends[0]) / width, (f"{low:.4g}", f"{high:.4g}")
    names = list(dict.fromkeys(map(str, values)))
    height_of = {name: i / max(1, len(names) - 1) for i, name in enumerate(names)}
    return np.array([height_of[str(value)] for value in values]), (names[0], names[-1])


def shades(n: int = 64) -> list[str]:
    """Colours from LOW to HIGH."""
    mixed = np.linspace(LOW, HIGH, n).round().astype(int)
    return ["#{:02x}{:02x}{:02x}".format(*row) for row in mixed]


def shown(value: Any) -> str:
    """A value as hovering shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rate_distortion(
    groups: Mapping[str, Sequence[dict[str, Any]]], names: Mapping[int, str], prefix: str = ""
) -> tuple[Plot, Legend]:
    """One point for each lane: rate (KL) and distortion (negative reconstruction), nats.

    The ELBO is constant along each dashed line.

    Args:
      groups: the lanes of each setting, which has a colour.
      names: of the lanes.
      prefix: "pseudo-" if it is no likelihood.
    """
    pairs = [(name, lane) for name, lanes in groups.items() for lane in lanes]
    pairs = [
        (name, lane)
        for name, lane in pairs
        if lane["kl"] is not None and lane["reconstruction"] is not None
    ]
    colours = {name: colour(i) for i, name in enumerate(groups)}
    x = [lane["kl"] for _, lane in pairs]
    y = [-lane["reconstruction"] for _, lane in pairs]
    left, right = with_margin(x)
    low, high = with_margin(y)
    fig = figure(
        "", "rate: KL, nats", f"distortion: -{prefix}reconstruction, nats",
        x_range=(left, right), y_range=(low, high),
    )  # fmt: skip
    draw_elbo_lines(fig, list(zip(x, y, strict=True)), (left, right, low, high), prefix)
    source = bokeh().models.ColumnDataSource(
        {
            "x": x,
            "y": y,
            "colour": [colours[name] for name, _ in pairs],
            "label": [names.get(lane["lane"], f"lane {lane['lane']}") for _, lane in pairs],
            "elbo": [lane["elbo"] for _, lane in pairs],
        }
    )
    dots = fig.scatter("x", "y", size=8, color="colour", source=source)
    tooltips = [
        ("", "@label"), ("rate", "@x{0.00}"), ("distortion", "@y{0.00}"), ("ELBO", "@elbo{0.00}")
    ]  # fmt: skip
    fig.add_tools(bokeh().models.HoverTool(renderers=[dots], tooltips=tooltips))
    return fig, list(colours.items())


def draw_elbo_lines(
    fig: Plot,
    points: Sequence[tuple[float, float]],
    plane: tuple[float, float, float, float],
    prefix: str,
) -> None:
    """Draws lines of constant ELBO, and its values where there is room between the points.

    plane: left, right, low and high edge.
    """
    lines = elbo_lines(*plane)
    fig.multi_line(
        [list(ends) for _, ends, _ in lines], [list(heights) for _, _, heights in lines],
        line_color=GREY, line_dash="dashed", line_alpha=0.6,
    )  # fmt: skip
    taken = list(points)
    for total, ends, heights in lines:
        # As large a part of the plane as on a phone.
        place = free_place(ends, heights, taken, plane, (0.36, 0.1))
        if place is not None:
            taken.append(place)
            fig.text(
                [place[0]], [place[1]], text=[f"{prefix}ELBO {-total:,g}"], text_color=GREY,
                text_font_size="11px", text_align="center", text_baseline="bottom",
            )  # fmt: skip


def with_margin(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis that holds these values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin

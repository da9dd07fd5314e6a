"""The charts of the report page, made with bokeh from rows and arrays alone.

Bokeh is used because it also serves the explorer and Dask's dashboard. Its script is embedded, so
that a page opens without a network.

A user's text is no markup. Bokeh escapes it in tooltips, draws it on a canvas in ticks and legends,
and hands it to the browser as text in its own choices. It reads the labels of a MultiChoice as
HTML (`chooser_of_many`), and axis labels and overridden ticks as mathematics (`plain_text`).
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax.errors import UserError
from vae_jax.figures.images import tiled as grid
from vae_jax.figures.style import COLOURS

GREY = "#888888"  # of text and lines: readable on light and on dark
HOVERED = 48  # pixels of the largest side of an image that hovering shows
IMAGE = '<img src="{}" width="72" style="image-rendering:pixelated">'


def bokeh():
    """The package's modules. Raises UserError if it is not installed."""
    try:
        import bokeh.embed
        import bokeh.layouts
        import bokeh.models
        import bokeh.plotting
        import bokeh.resources
    except ImportError as error:
        raise UserError("a page needs bokeh: pip install -e '.[pages]'") from error
    return bokeh


def figure(title: str, x: str, y: str, **more: Any):
    """An empty chart in our colours, which fit a light and a dark page."""
    fig = bokeh().plotting.figure(
        title=title,
        height=340,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,wheel_zoom,reset,save",
        background_fill_alpha=0,
        border_fill_alpha=0,
        **more,
    )
    fig.title.text_color = GREY
    for axis, label in ((fig.xaxis, x), (fig.yaxis, y)):
        axis.axis_label = plain_text(label)
        axis.axis_label_text_color = GREY
        axis.major_label_text_color = GREY
        axis.axis_line_color = GREY
        axis.major_tick_line_color = GREY
        axis.minor_tick_line_color = None
    fig.grid.grid_line_alpha = 0.25
    fig.toolbar.logo = None
    return fig


def chooser(first: str, metrics: Sequence[str]):
    """A choice of metric; its text is dark, since its background is white on a dark page too."""
    return bokeh().models.Select(
        title="metric",
        value=first,
        options=list(metrics),
        width=160,
        stylesheets=[".bk-input { color: #1c1c1c }"],
    )


def chooser_of_many(title: str, names: Mapping[str, str]):
    """A choice of several of {value: name}; its value is a list of the values."""
    # Its script (choices.js) puts the names into the page as HTML.
    options = [(value, html.escape(name)) for value, name in names.items()]
    return bokeh().models.MultiChoice(title=title, options=options, max_width=600)


def plain_text(text: str):
    """The text as it is, where bokeh would take what is between $$ and $$ as mathematics."""
    return bokeh().models.PlainText(text=text)


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def address(image: np.ndarray, most: int) -> str:
    """A data address of an image [height, width, channels], values 0 to 1, as WebP.

    Grey levels are kept exactly; colours are not, which takes a fifth of the bytes. An image with
    a side of more than `most` pixels is scaled down.
    """
    from PIL import Image

    levels = np.clip(255 * np.asarray(image, np.float32) + 0.5, 0, 255).astype(np.uint8)
    own = Image.fromarray(levels[..., :3] if levels.shape[-1] >= 3 else levels[..., 0])
    own.thumbnail((most, most))
    buffer = io.BytesIO()
    own.save(buffer, format="WEBP", lossless=own.mode == "L", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [n, height, width, channels] as one, `columns` in a row, with grey lines between."""
    shape = images.shape[1:]
    grey = np.full((-len(images) % columns, *shape), 0.5)
    return grid(np.concatenate([images, grey]).reshape(-1, columns, *shape), shade=0.5)


def against_key(key: str, points: Sequence[dict[str, Any]], metrics: Sequence[str]):
    """Each metric against a swept key, mean and standard error; the metric can be chosen.

    points: {"value", "label", metric: mean, metric + "_se"}.
    """
    models = bokeh().models
    numeric = all(isinstance(point["value"], (int, float)) for point in points)
    values: list[Any] = [point["value"] if numeric else str(point["value"]) for point in points]
    if numeric:
        positive = min(values) > 0 and max(values) / min(values) > 30
        more: dict[str, Any] = {"x_axis_type": "log" if positive else "linear"}
    else:
        more = {"x_range": list(dict.fromkeys(values))}
    data: dict[str, Any] = {"x": values, "label": [point["label"] for point in points]}
    for name in metrics:
        mean = np.array([np.nan if p[name] is None else p[name] for p in points], float)
        error = np.array([0.0 if p[f"{name}_se"] is None else p[f"{name}_se"] for p in points])
        data |= {name: mean, f"{name}_low": mean - error, f"{name}_high": mean + error}
    first = metrics[0]
    data |= {"y": data[first], "low": data[f"{first}_low"], "high": data[f"{first}_high"]}
    source = models.ColumnDataSource(data)
    fig = figure("", key, "", **more)
    fig.scatter("x", "y", size=8, color=colour(2), source=source)
    fig.add_layout(
        models.Whisker(
            base="x",
            lower="low",
            upper="high",
            source=source,
            line_color=colour(2),
            upper_head=models.TeeHead(line_color=colour(2)),
            lower_head=models.TeeHead(line_color=colour(2)),
        )
    )
    fig.add_tools(models.HoverTool(tooltips=[("", "@label"), ("", "@y{0.00}")]))
    choice = chooser(first, metrics)
    choice.js_on_change(
        "value",
        models.CustomJS(
            args={"s": source},
            code="const m = cb_obj.value; s.data = {...s.data, y: s.data[m], "
            "low: s.data[m + '_low'], high: s.data[m + '_high']}",
        ),
    )
    return bokeh().layouts.column(choice, fig, sizing_mode="stretch_width")


def parallel(keys: Sequence[str], rows: Sequence[dict[str, Any]], metric: str):
    """Parallel coordinates: a line for each lane over swept keys and a metric, which colours it."""
    models = bokeh().models
    axes = [*keys, metric]
    heights, labels = {}, {}
    for axis in axes:
        values = [row[axis] for row in rows]
        if all(isinstance(value, (int, float)) for value in values):
            low, high = min(values), max(values)
            logs = low > 0 and high / low > 30
            place = np.log if logs else np.asarray
            ends = place(np.array([low, high], float))
            width = ends[1] - ends[0] or 1.0
            heights[axis] = (place(np.array(values, float)) - ends[0]) / width
            labels[axis] = (f"{low:.4g}", f"{high:.4g}")
        else:
            names = list(dict.fromkeys(map(str, values)))
            places = {name: i / max(1, len(names) - 1) for i, name in enumerate(names)}
            heights[axis] = np.array([places[str(value)] for value in values])
            labels[axis] = (names[0], names[-1])
    order = np.argsort(heights[metric])
    mapper = bokeh().models.LinearColorMapper(palette="Viridis256", low=0, high=1)
    source = models.ColumnDataSource(
        {
            "x": [list(range(len(axes)))] * len(rows),
            "y": [[heights[axis][i] for axis in axes] for i in order],
            "best": [heights[metric][i] for i in order],
            "label": [", ".join(f"{axis} {shown(rows[i][axis])}" for axis in axes) for i in order],
        }
    )
    fig = figure("", "", "", x_range=(-0.3, len(axes) - 0.7), y_range=(-0.12, 1.12))
    fig.multi_line(
        "x", "y", source=source, line_width=1.5, line_color={"field": "best", "transform": mapper}
    )
    fig.add_tools(models.HoverTool(tooltips=[("", "@label")]))
    fig.xaxis.ticker = list(range(len(axes)))
    fig.xaxis.major_label_overrides = {i: plain_text(axis) for i, axis in enumerate(axes)}
    fig.yaxis.visible = False
    for i, axis in enumerate(axes):
        for y, text in zip((-0.09, 1.04), labels[axis], strict=True):
            fig.text([i], [y], text=[text], text_color=GREY, text_font_size="11px",
                     text_align="center")  # fmt: skip
    return fig


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rate_distortion(lanes: Sequence[dict[str, Any]], names: dict[int, str]):
    """One point for each lane: rate (KL) and distortion (negative reconstruction), nats."""
    known = [lane for lane in lanes if lane["kl"] is not None]
    source = bokeh().models.ColumnDataSource(
        {
            "x": [lane["kl"] for lane in known],
            "y": [-lane["reconstruction"] for lane in known],
            "label": [names.get(lane["lane"], f"lane {lane['lane']}") for lane in known],
            "elbo": [lane["elbo"] for lane in known],
        }
    )
    fig = figure("", "rate: KL, nats", "distortion: -reconstruction, nats")
    fig.scatter("x", "y", size=8, color=colour(2), source=source)
    fig.add_tools(
        bokeh().models.HoverTool(
            tooltips=[
                ("", "@label"),
                ("rate", "@x{0.00}"),
                ("distortion", "@y{0.00}"),
                ("ELBO", "@elbo{0.00}"),
            ]
        )
    )
    return fig


def latent_space(codes: np.ndarray, images: np.ndarray, labels: Sequence[str] | None, axes: str):
    """Codes [n, 2], coloured by label; hovering shows the image."""
    fig = figure("", f"{axes} 1", f"{axes} 2")
    fig.height = 520
    names = ["images"] * len(codes) if labels is None else list(labels)
    for i, name in enumerate(sorted(set(names))):
        own = np.array([other == name for other in names])
        fig.scatter(
            "x",
            "y",
            size=5,
            alpha=0.75,
            color=colour(i),
            legend_label=name,
            source=bokeh().models.ColumnDataSource(
                {
                    "x": codes[own, 0],
                    "y": codes[own, 1],
                    "name": [name] * int(own.sum()),
                    "image": [IMAGE.format(address(image, HOVERED)) for image in images[own]],
                }
            ),
        )
    fig.add_tools(
        bokeh().models.HoverTool(
            # Only the image is HTML; bokeh 3.5 takes names in a template of both for HTML too.
            tooltips=[("", "@image{safe}"), ("", "@name (@x{0.00}, @y{0.00})")]
        )
    )
    fig.legend.click_policy = "hide"
    fig.legend.visible = labels is not None and len(set(names)) <= 20
    fig.legend.label_text_color = GREY
    fig.legend.background_fill_alpha = 0
    fig.legend.border_line_alpha = 0
    fig.add_layout(fig.legend[0], "right")
    return fig


def latent_units(kl_l: np.ndarray):
    """The mean KL of each latent unit, largest first, nats."""
    order = np.argsort(-kl_l)
    source = bokeh().models.ColumnDataSource(
        {"x": np.arange(len(order)), "kl": kl_l[order], "unit": order}
    )
    fig = figure("", "latent unit, largest first", "mean KL, nats")
    fig.vbar("x", top="kl", width=0.8, color=colour(2), source=source)
    fig.add_tools(bokeh().models.HoverTool(tooltips=[("unit", "@unit"), ("KL", "@kl{0.000}")]))
    return fig

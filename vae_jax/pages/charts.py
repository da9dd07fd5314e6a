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
from types import ModuleType
from typing import Any

import numpy as np

from vae_jax.errors import UserError
from vae_jax.figures.images import tiled as grid
from vae_jax.figures.latent_space import spread
from vae_jax.figures.style import COLOURS, GREY
from vae_jax.words import to_install

HOVERED = 48  # pixels of the largest side of an image that hovering shows
NUMBERS = "0,0.[000000]"  # -13,260; 0.05
MOST_NAMED = 20  # classes in a legend, bars with the number of their unit
# Of widgets, whose insides a page's own style does not reach but by these variables. A page without
# them is light. The arrows are in one grey, which is seen on white and on black.
WIDGETS = """
.bk-input, .bk-btn, .bk-tab, .choices__inner, .choices__input, .choices__list--dropdown,
.choices__list--dropdown .choices__item {
  color: var(--text, #1c1c1c); background-color: var(--page, #ffffff);
  border-color: var(--edge, #8a8a8a) }
select:not([multiple]).bk-input { background-image: url('data:image/svg+xml;utf8,<svg \
viewBox="0 0 25 20" xmlns="http://www.w3.org/2000/svg"><path d="M 0,0 25,0 12.5,20 Z" \
fill="%23767676"/></svg>') }
.bk-spin-btn { --color: #767676 }
.noUi-target { background: var(--soft, #fafafa) !important; box-shadow: none !important;
  border-color: var(--edge, #8a8a8a) !important }
.noUi-connect { background: var(--line, #dddddd) !important }
.noUi-handle { background: var(--page, #ffffff) !important; box-shadow: none !important;
  border-color: var(--text, #1c1c1c) !important }
.bk-btn.bk-active, .bk-tab.bk-active, .choices__list--dropdown .is-highlighted {
  color: var(--text, #1c1c1c) !important; background-color: var(--soft, #e6e6e6) !important }
.bk-btn.bk-active, .bk-tab.bk-active {
  font-weight: bold; box-shadow: inset 0 -3px var(--text, #1c1c1c) !important }
.bk-header { border-color: var(--line, #dddddd) !important }
"""
# Of bokeh, which is imported when a page is made.
Plot = Any
Widget = Any
IMAGE = '<img src="{}" width="72" style="image-rendering:pixelated">'


def bokeh() -> ModuleType:
    """The package's modules. Raises UserError if it is not installed."""
    try:
        import bokeh.embed
        import bokeh.layouts
        import bokeh.models
        import bokeh.plotting
        import bokeh.resources
    except ImportError as error:
        raise UserError(f"a page needs bokeh: {to_install('pages')}") from error
    return bokeh


def figure(title: str, x: str, y: str, **more: Any) -> Plot:
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
    for axis, label, names in ((fig.xaxis, x, fig.x_range), (fig.yaxis, y, fig.y_range)):
        axis.axis_label = plain_text(label)
        axis.axis_label_text_color = GREY
        axis.major_label_text_color = GREY
        axis.axis_line_color = GREY
        axis.major_tick_line_color = GREY
        axis.minor_tick_line_color = None
        if not isinstance(names, bokeh().models.FactorRange):
            axis.formatter = bokeh().models.NumeralTickFormatter(format=NUMBERS)
    fig.grid.grid_line_color = fig.outline_line_color = GREY
    fig.grid.grid_line_alpha = fig.outline_line_alpha = 0.25
    fig.toolbar.logo = None
    return fig


def chooser(first: str, metrics: Sequence[str]) -> Widget:
    """A choice of metric."""
    return bokeh().models.Select(
        title="metric",
        value=first,
        options=list(metrics),
        width=160,
        stylesheets=[WIDGETS],
    )


def chooser_of_many(title: str, names: Mapping[str, str]) -> Widget:
    """A choice of several of {value: name}; its value is a list of the values."""
    # Its script (choices.js) puts the names into the page as HTML.
    options = [(value, html.escape(name)) for value, name in names.items()]
    return bokeh().models.MultiChoice(
        title=title, placeholder="choose one or more", options=options, max_width=600,
        sizing_mode="stretch_width", stylesheets=[WIDGETS],
    )  # fmt: skip


def plain_text(text: str) -> Any:
    """The text as it is, where bokeh would take what is between $$ and $$ as mathematics."""
    return bokeh().models.PlainText(text=text)


def colour(i: int) -> str:
    """The i-th colour of a chart; they begin anew after the last."""
    return COLOURS[i % len(COLOURS)]


def address(image: np.ndarray, most: int) -> str:
    """A data address of an image [height, width, channels], values 0 to 1, as WebP.

    Grey levels are kept exactly; colours are not, which takes a fifth of the bytes. An image with
    a side of more than `most` pixels is scaled down.
    """
    from PIL import Image

    levels = np.clip(255 * np.asarray(image, np.float32) + 0.5, 0, 255).astype(np.uint8)
    picture = Image.fromarray(levels[..., :3] if levels.shape[-1] >= 3 else levels[..., 0])
    picture.thumbnail((most, most))
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=picture.mode == "L", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [n, height, width, channels] as one, `columns` in a row, with grey lines between."""
    shape = images.shape[1:]
    grey = np.full((-len(images) % columns, *shape), 0.5)
    return grid(np.concatenate([images, grey]).reshape(-1, columns, *shape), shade=0.5)


def mark_ticks(axis: Any, labels: Mapping[float, str]) -> None:
    """Gives an axis of a chart ticks at these values alone, with these texts."""
    axis.ticker = bokeh().models.FixedTicker(ticks=list(labels))
    axis.major_label_overrides = {value: plain_text(text) for value, text in labels.items()}


def scatter_by_class(
    fig: Plot, points: np.ndarray, names: Sequence[str] | None, size: int, **more: Any
) -> None:
    """Draws points [n, 2] coloured by name; in the legend below, a click on a name hides them.

    more: columns of the sources, [n] each.
    """
    name_of_point = [""] * len(points) if names is None else list(names)
    kinds = sorted(set(name_of_point), key=lambda name: (not name.isdigit(), len(name), name))
    for i, name in enumerate(kinds):
        rows = [j for j, other in enumerate(name_of_point) if other == name]
        columns = {key: [column[j] for j in rows] for key, column in more.items()}
        source = {"x": points[rows, 0], "y": points[rows, 1], "name": [name] * len(rows), **columns}
        legend = {} if names is None else {"legend_label": name}
        fig.scatter(
            "x", "y", size=size, alpha=0.75, color=colour(i), line_color=None,
            source=bokeh().models.ColumnDataSource(source), **legend,
        )  # fmt: skip
    if names is not None and len(kinds) <= MOST_NAMED:
        legend_below(fig, kinds)
    elif names is not None:
        fig.legend.visible = False


def legend_below(fig: Plot, names: Sequence[str]) -> None:
    """Moves the legend below the chart, in as many columns as a phone has room for."""
    fig.legend.click_policy = "hide"
    fig.legend.label_text_color = GREY
    fig.legend.background_fill_alpha = 0
    fig.legend.border_line_alpha = 0
    fig.legend.margin = fig.legend.padding = 2
    fig.legend.glyph_width = 14
    fig.legend.orientation = "horizontal"
    fig.legend.ncols = max(1, min(len(names), 300 // (34 + 8 * max(map(len, names)))))
    fig.add_layout(fig.legend[0], "below")


def latent_space(
    codes: np.ndarray, images: np.ndarray, labels: Sequence[str] | None, axes: Sequence[str]
) -> Plot:
    """Codes [n, 2] (or [n, 1]), coloured by label; hovering shows the image. axes: their names.

    A unit of one axis is as long as that of the other.
    """
    one = codes.shape[1] == 1
    fig = figure("", axes[0], "(only spread)" if one else axes[1], match_aspect=not one)
    fig.height, fig.max_width = 560, 760
    addresses = [IMAGE.format(address(image, HOVERED)) for image in images]
    points = spread(codes) if one else codes
    scatter_by_class(fig, points, labels, 5, image=addresses)
    fig.add_tools(
        bokeh().models.HoverTool(
            # Only the image is HTML; bokeh 3.5 takes names in a template of both for HTML too.
            tooltips=[("", "@image{safe}"), ("", "@name (@x{0.00}, @y{0.00})")]
        )
    )
    return fig


def latent_units(kl_l: np.ndarray) -> Plot:
    """The mean KL of each latent unit, largest first, nats."""
    order = np.argsort(-kl_l, kind="stable")
    source = bokeh().models.ColumnDataSource(
        {"x": np.arange(len(order)), "kl": kl_l[order], "unit": order}
    )
    fig = figure("", "latent unit, largest KL first", "mean KL, nats")
    fig.vbar("x", top="kl", width=0.8, color=colour(0), source=source)
    fig.y_range.start = 0
    fig.xaxis.major_tick_line_color = None
    few = len(order) <= MOST_NAMED
    mark_ticks(fig.xaxis, {i: str(unit) for i, unit in enumerate(order)} if few else {})
    fig.add_tools(bokeh().models.HoverTool(tooltips=[("unit", "@unit"), ("KL", "@kl{0.000}")]))
    return fig

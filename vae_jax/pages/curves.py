"""Training curves of a page: all lanes of a split are one glyph."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax.objectives.objective import KL_OF_LAYER
from vae_jax.pages.charts import WIDGETS, Widget, bokeh, chooser, chooser_of_many, figure

FAINT = 0.06  # of the lanes that are not chosen
WIDE, USUAL = 3.5, 1.5  # pixels: the best lane, the others
SPLITS = {"train": "dotted", "validation": "solid"}  # and their lines
FIRST = ("bound", "elbo", "objective", "reconstruction", "kl")  # of the terms
OF_A_ROW = ("lane", "seed", "step", "epoch", "split", "loss")  # not terms, or the last of them
FEW = 3  # points of a curve that are also marked: a single one is no line


def curves(
    rows: Sequence[dict[str, Any]],
    names: dict[int, str],
    colours: dict[int, str],
    best: int | None = None,
) -> Widget:
    """The metrics of each lane against epochs: hover, zoom, lanes and splits switched on and off.

    Args:
      rows: of metrics.jsonl.
      names: of the lanes that are shown.
      colours: of these lanes.
      best: the lane whose curve is bold.
    """
    models = bokeh().models
    of_layers = sorted({name for row in rows for name in row if name.startswith(KL_OF_LAYER)})
    others = sorted({name for row in rows for name in row} - {*FIRST, *of_layers, *OF_A_ROW})
    metrics = [
        name
        for name in (*FIRST, *others, *of_layers, "loss")
        if any(row.get(name) is not None for row in rows)
    ] or ["bound"]
    if all(row.get("bound") == row.get("reconstruction") for row in rows):  # there is no bound
        metrics = [name for name in metrics if name != "bound"] or ["bound"]
    lanes = chooser_of_many("lanes to highlight", {str(lane): name for lane, name in names.items()})
    everything: list[Any] = []
    panels = []
    for scale in ("linear", "log"):
        data = {}
        for split in SPLITS:
            columns = by_lane(rows, split, names, metrics, absolute=scale == "log")
            shown = [int(number) for number in columns["number"]]
            columns["colour"] = [colours[lane] for lane in shown]
            columns["width"] = [WIDE if lane == best else USUAL for lane in shown]
            data[split] = columns
        panel, sources = panel_of(data, metrics, scale)
        panels.append(panel)
        everything += sources
    lanes.js_on_change(
        "value",
        models.CustomJS(
            args={"sources": everything, "faint": FAINT},
            code="const own = cb_obj.value; for (const s of sources) s.data = {...s.data, alpha: "
            "Array.from(s.data.number, lane => own.length && !own.includes(lane) ? faint : 1)}",
        ),
    )
    tabs = models.Tabs(tabs=panels, sizing_mode="stretch_width", stylesheets=[WIDGETS])
    return bokeh().layouts.column(lanes, tabs, sizing_mode="stretch_width")


def panel_of(
    data: Mapping[str, dict[str, list]], metrics: Sequence[str], scale: str
) -> tuple[Widget, list[Any]]:
    """The curves on one scale of the axis, as a tab, and the sources of its glyphs.

    data: {split: its columns}.
    """
    models, first = bokeh().models, metrics[0]
    fig = figure("", "epoch", "nats", y_axis_type=scale)
    fig.xaxis.ticker = models.BasicTicker(min_interval=1)  # whole epochs
    shown, sources = [], []
    for split, dash in SPLITS.items():
        source = models.ColumnDataSource(data[split] | {"y": data[split][first]})
        style = {"line_color": "colour", "line_alpha": "alpha", "line_width": "width"}
        glyphs = [fig.multi_line("epoch", "y", source=source, line_dash=dash, **style)]
        sources.append(source)
        if max(map(len, data[split]["epoch"]), default=0) <= FEW:  # a single point is no line
            points = models.ColumnDataSource(flat(source.data))
            sources.append(points)
            marks = {"size": 5, "color": "colour", "alpha": "alpha"}
            glyphs.append(fig.scatter("epoch", "y", source=points, **marks))
        shown.append(glyphs)
    fig.add_tools(
        models.HoverTool(
            tooltips=[
                ("", "@lane, @split"), ("epoch", "$snap_x{0.##}"), ("", "$snap_y{0.00}")
            ],
            renderers=[glyphs[0] for glyphs in shown],
        )
    )  # fmt: skip
    choice = chooser(first, metrics)
    choice.js_on_change(
        "value",
        models.CustomJS(
            args={"sources": sources},
            code="for (const s of sources) s.data = {...s.data, y: s.data[cb_obj.value]}",
        ),
    )
    splits = models.CheckboxButtonGroup(
        labels=list(SPLITS), active=[0, 1], stylesheets=[WIDGETS],
        styles={"align-self": "flex-end"},
    )  # fmt: skip
    splits.js_on_change(
        "active",
        models.CustomJS(
            args={"lines": shown},
            code="lines.forEach((own, i) => own.forEach("
            "line => { line.visible = cb_obj.active.includes(i) }))",
        ),
    )
    title = "linear" if scale == "linear" else "logarithm of the size"
    layout = bokeh().layouts.column(
        bokeh().layouts.row(choice, splits), fig, sizing_mode="stretch_width"
    )
    return models.TabPanel(child=layout, title=title), sources


def by_lane(
    rows: Sequence[dict[str, Any]],
    split: str,
    names: dict[int, str],
    metrics: Sequence[str],
    *,
    absolute: bool,
) -> dict[str, list]:
    """The columns of a source with an entry a lane: its curve of each metric."""
    curves_of: dict[int, list[dict[str, Any]]] = {lane: [] for lane in names}
    for row in rows:
        if row["split"] == split and row["lane"] in curves_of:
            curves_of[row["lane"]].append(row)

    def values_of(curve: list[dict[str, Any]], metric: str) -> list[float]:
        values = [np.nan if row.get(metric) is None else row[metric] for row in curve]
        return [abs(value) for value in values] if absolute else values

    lanes = [lane for lane, curve in curves_of.items() if curve]
    curves = [curves_of[lane] for lane in lanes]
    return {
        "number": [str(lane) for lane in lanes],
        "lane": [names[lane] for lane in lanes],
        "split": [split] * len(lanes),
        "alpha": [1.0] * len(lanes),
        "epoch": [[row["epoch"] for row in curve] for curve in curves],
        **{metric: [values_of(curve, metric) for curve in curves] for metric in metrics},
    }


def flat(data: dict[str, Any]) -> dict[str, list]:
    """The columns of a source with an entry a lane as those of one with an entry a point."""
    lengths = [len(epochs) for epochs in data["epoch"]]
    columns = {}
    for name, column in data.items():
        if name in ("number", "lane", "split", "colour", "width", "alpha"):
            columns[name] = [v for v, n in zip(column, lengths, strict=True) for _ in range(n)]
        else:
            columns[name] = [value for values in column for value in values]
    return columns

"""Training curves of a page: all lanes of a split are one glyph."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vae_jax.pages.charts import WIDGETS, bokeh, chooser, chooser_of_many, figure

FAINT = 0.06  # of the lanes that are not chosen
WIDE, USUAL = 3.5, 1.5  # pixels: the best lane, the others
FEW = 3  # points of a curve that are also marked: a single one is no line


def curves(
    rows: Sequence[dict[str, Any]],
    names: dict[int, str],
    colours: dict[int, str],
    best: int | None = None,
):
    """The metrics of each lane against epochs: hover, zoom, lanes and splits switched on and off.

    Args:
      rows: of metrics.jsonl.
      names: of the lanes that are shown.
      colours: of these lanes.
      best: the lane whose curve is bold.
    """
    models = bokeh().models
    metrics = [
        name
        for name in ("bound", "elbo", "objective", "reconstruction", "kl", "loss")
        if any(row.get(name) is not None for row in rows)
    ] or ["bound"]
    first = metrics[0]
    lanes = chooser_of_many("lanes to highlight", {str(lane): name for lane, name in names.items()})
    everything: list[Any] = []
    panels = []
    for scale in ("linear", "log"):
        fig = figure("", "epoch", "nats", y_axis_type=scale)
        fig.xaxis.ticker = models.BasicTicker(min_interval=1)  # whole epochs
        shown, sources = [], []
        for split, dash in (("train", "dotted"), ("validation", "solid")):
            data = by_lane(rows, split, names, metrics, absolute=scale == "log")
            shown_lanes = [int(number) for number in data["number"]]
            data["colour"] = [colours[lane] for lane in shown_lanes]
            data["width"] = [WIDE if lane == best else USUAL for lane in shown_lanes]
            source = models.ColumnDataSource(data | {"y": data[first]})
            style = {"line_color": "colour", "line_alpha": "alpha", "line_width": "width"}
            own = [fig.multi_line("epoch", "y", source=source, line_dash=dash, **style)]
            sources.append(source)
            if max(map(len, data["epoch"]), default=0) <= FEW:  # a single point is no line
                points = models.ColumnDataSource(flat(source.data))
                sources.append(points)
                marks = {"size": 5, "color": "colour", "alpha": "alpha"}
                own.append(fig.scatter("epoch", "y", source=points, **marks))
            shown.append(own)
        fig.add_tools(
            models.HoverTool(
                tooltips=[
                    ("", "@lane, @split"), ("epoch", "$snap_x{0.##}"), ("", "$snap_y{0.00}")
                ],
                renderers=[own[0] for own in shown],
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
            labels=["train", "validation"], active=[0, 1], stylesheets=[WIDGETS],
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
        everything += sources
        title = "linear" if scale == "linear" else "logarithm of the size"
        layout = bokeh().layouts.column(
            bokeh().layouts.row(choice, splits), fig, sizing_mode="stretch_width"
        )
        panels.append(models.TabPanel(child=layout, title=title))
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

    def values(own: list[dict[str, Any]], metric: str) -> list[float]:
        found = [np.nan if row.get(metric) is None else row[metric] for row in own]
        return [abs(value) for value in found] if absolute else found

    there = {lane: own for lane, own in curves_of.items() if own}
    return {
        "number": [str(lane) for lane in there],
        "lane": [names[lane] for lane in there],
        "split": [split] * len(there),
        "alpha": [1.0] * len(there),
        "epoch": [[row["epoch"] for row in own] for own in there.values()],
        **{metric: [values(own, metric) for own in there.values()] for metric in metrics},
    }


def flat(data: dict[str, Any]) -> dict[str, list]:
    """The same with an entry a point."""
    lengths = [len(own) for own in data["epoch"]]
    found = {}
    for name, column in data.items():
        if name in ("number", "lane", "split", "colour", "width", "alpha"):
            found[name] = [v for v, n in zip(column, lengths, strict=True) for _ in range(n)]
        else:
            found[name] = [value for own in column for value in own]
    return found

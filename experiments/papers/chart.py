"""A figure of numbers over seeds: curves of their means, with 95% intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.papers.table import Estimate
from vae_jax.figures import style


class Curve(NamedTuple):
    """The numbers `y` at the places `x`."""

    label: str
    x: Sequence[float]
    y: Sequence[Estimate]


class Panel(NamedTuple):
    """Curves in one pair of axes; those of equal labels have equal colours in all panels."""

    title: str
    x: str  # what the axes show
    y: str
    curves: Sequence[Curve]
    log_y: bool = False  # then what is not above 0 is left out
    line: float | None = None  # a level to compare with


@style.own_style
def draw(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """The panels side by side; x is logarithmic."""
    fig = style.figure(2.0 + 3.2 * len(panels), 3.2, title)
    colours: dict[str, str] = {}
    for axes, panel in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        style.logarithmic(axes.xaxis)
        if panel.log_y:
            style.logarithmic(axes.yaxis)
        if panel.line is not None:
            axes.axhline(panel.line, color=style.GREY, linewidth=0.8, linestyle="dashed")
        for curve in panel.curves:
            is_new = curve.label not in colours
            colour = colours.setdefault(curve.label, style.COLOURS[len(colours)])
            points = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if is_shown(y, panel)]
            axes.errorbar(
                [x for x, _ in points],
                [y.mean for _, y in points],
                yerr=np.nan_to_num([y.interval[1] - y.mean for _, y in points]),  # nan: one seed
                color=colour,
                label=curve.label if is_new else None,
                marker="o",
                markersize=3,
                linewidth=1,
                capsize=2,
            )
        ticks = sorted({x for curve in panel.curves for x in curve.x})
        axes.set_xticks(ticks, [f"{x:,g}" for x in ticks])
        axes.xaxis.minorticks_off()
        axes.set_title(panel.title, fontsize=8)
        axes.set_xlabel(panel.x, fontsize=8)
        axes.set_ylabel(panel.y, fontsize=8)
        axes.tick_params(which="both", labelsize=7)
    style.legend(fig)
    style.save(fig, path)


def is_shown(y: Estimate, panel: Panel) -> bool:
    return y.seeds > 0 and not (panel.log_y and y.mean <= 0)

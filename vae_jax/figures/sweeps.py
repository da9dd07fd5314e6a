"""Plots of what a sweep found: metrics against the swept values."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vae_jax.figures import style

if TYPE_CHECKING:
    from matplotlib.axis import XAxis, YAxis

MOST_LINES = 10


class Point(NamedTuple):
    """A setting: its swept values, and each metric's mean and standard error over its lanes."""

    values: dict[str, Any]
    mean: dict[str, float]
    se: dict[str, float | None]  # None for a single lane


def text(value: Any) -> str:
    """A short text for a swept value."""
    if isinstance(value, (list, tuple)):
        return "-".join(map(text, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def place(axis: "XAxis | YAxis", values: Sequence[Any]) -> tuple[list[float], bool]:
    """The place of each value on an axis, and whether the values are numbers.

    Numbers are placed by their value, anything else side by side.
    """
    distinct = list(dict.fromkeys(map(repr, values)))
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if numeric:
        low, high = min(values), max(values)
        if low > 0 and high >= 8 * low:
            style.logarithmic(axis)
        if far_apart(sorted(set(values)), axis.axes.get_xscale() == "log"):
            axis.set_ticks(sorted(set(values)), [text(v) for v in sorted(set(values))])
            axis.set_ticks([], minor=True)
        return [float(v) for v in values], True
    labels = {repr(v): text(v) for v in values}
    long = sum(map(len, labels.values())) > 20
    axis.set_ticks(
        range(len(distinct)), [labels[name] for name in distinct], rotation=30 if long else 0
    )
    return [float(distinct.index(repr(v))) for v in values], False


def as_number(value: float | None) -> float:
    """The value; NaN for None, which is not drawn."""
    return math.nan if value is None else value


def far_apart(values: list[float], logarithmic: bool) -> bool:
    """Whether the labels of the values, in increasing order, fit without touching."""
    x = np.log(values) if logarithmic else np.array(values)
    return len(x) < 2 or float(np.min(np.diff(x))) >= (x[-1] - x[0]) / 8


def independent(points: list[Point], key: str) -> list[str]:
    """The other keys that have several values at the same value of `key`."""
    others = [other for other in points[0].values if other != key]
    seen: dict[tuple[str, str], set[str]] = {}
    for point in points:
        for other in others:
            values = seen.setdefault((repr(point.values[key]), other), set())
            values.add(repr(point.values[other]))
    return [o for o in others if any(len(v) > 1 for (_, other), v in seen.items() if other == o)]


@style.own_style
def against_key(path: Path, points: list[Point], key: str, *, title: str, prefix: str) -> None:
    """Each term against one key, with error bars; a line for each setting of the other keys."""
    others = independent(points, key)
    lines: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        lines.setdefault(tuple(f"{o} {text(point.values[o])}" for o in others), []).append(point)
    scattered = len(lines) > MOST_LINES  # as for a random search
    fig = style.figure(11, 3.8, title)
    panels = style.panels([p.mean for p in points])
    all_axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for axes, (metric, name) in zip(all_axes, panels.items(), strict=True):
        xs, numeric = place(axes.xaxis, [p.values[key] for p in points])
        where = {id(p): x for p, x in zip(points, xs, strict=True)}
        for i, (label, line) in enumerate(lines.items()):
            line = sorted(line, key=lambda p: where[id(p)])
            axes.errorbar(
                [where[id(p)] for p in line],
                [as_number(p.mean[metric]) for p in line],
                yerr=[p.se[metric] or 0 for p in line],
                color=style.COLOURS[0 if scattered else i % len(style.COLOURS)],
                marker="o",
                markersize=4,
                capsize=3,
                linewidth=1.2,
                linestyle="-" if numeric and not scattered else "none",
                label=", ".join(label) if axes is all_axes[0] and not scattered else None,
            )
        axes.set_xlabel(key)
        axes.set_ylabel(f"{prefix if metric != 'kl' else ''}{name} (nats per example)")
        axes.grid(alpha=0.3)
    if others and not scattered:
        style.legend(fig)
    style.save(fig, path)


@style.own_style
def heat_map(path: Path, points: list[Point], *, title: str, prefix: str) -> None:
    """The mean bound of each point, over a grid of the two swept keys."""
    row_key, column_key = points[0].values

    def in_order(key: str) -> list[Any]:
        distinct = list({repr(p.values[key]): p.values[key] for p in points}.values())
        numeric = all(isinstance(v, (int, float)) for v in distinct)
        return sorted(distinct) if numeric else distinct

    rows, columns = in_order(row_key), in_order(column_key)
    grid = np.full((len(rows), len(columns)), np.nan)
    for p in points:
        grid[rows.index(p.values[row_key]), columns.index(p.values[column_key])] = p.mean["bound"]
    fig = style.figure(max(3.6, 1.6 + 0.8 * len(columns)), 1.5 + 0.55 * len(rows), title)
    axes = fig.subplots()
    image = axes.imshow(grid, cmap="cividis", aspect="auto", origin="lower")
    middle = np.nanmean([np.nanmin(grid), np.nanmax(grid)])
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            colour = "black" if value > middle else "white"
            axes.text(j, i, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(columns)), [text(v) for v in columns])
    axes.set_yticks(range(len(rows)), [text(v) for v in rows])
    axes.set_xlabel(column_key)
    axes.set_ylabel(row_key)
    name = style.bound_name([p.mean for p in points])
    fig.colorbar(image, label=f"{prefix}{name} (nats per example)")
    style.save(fig, path)


@style.own_style
def curves(path: Path, settings: dict[str, list[list[dict]]], *, title: str, prefix: str) -> None:
    """Validation terms against epochs: each setting's mean over its lanes, and their range.

    settings: {label: the validation rows of each of its lanes}.
    """
    fig = style.figure(11, 3.8, title)
    panels = style.panels([row for lanes in settings.values() for lane in lanes for row in lane])
    all_axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for axes, (metric, name) in zip(all_axes, panels.items(), strict=True):
        for i, (label, lanes) in enumerate(settings.items()):
            by_epoch: dict[float, list[float]] = {}
            for row in (row for lane in lanes for row in lane):
                if row.get(metric) is not None:
                    by_epoch.setdefault(row["epoch"], []).append(row[metric])
            epochs = sorted(by_epoch)
            colour = style.COLOURS[i % len(style.COLOURS)]
            means = [float(np.mean(by_epoch[e])) for e in epochs]
            axes.plot(
                epochs,
                means,
                color=colour,
                linewidth=1.5,
                marker="o",
                markersize=3,
                label=label if axes is all_axes[0] else None,
            )
            low, high = ([f(by_epoch[e]) for e in epochs] for f in (min, max))
            axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{prefix if metric != 'kl' else ''}{name} (nats per example)")
        axes.grid(alpha=0.3)
    style.legend(fig)
    style.save(fig, path)

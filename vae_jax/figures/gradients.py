"""Plots the quality of gradient estimators."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_jax.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v")


@style.own_style
def gradients(
    path: Path,
    steps: Sequence[int],
    estimators: Sequence[tuple[str, str]],
    variance: Mapping[str, np.ndarray],
    signal_to_noise: Mapping[str, np.ndarray],
    *,
    floor: float,
    title: str,
) -> None:
    """Variance and signal-to-noise ratio against the training step, one line for each estimator.

    Args:
      steps: the training steps at which it was measured, increasing, drawn at equal distances.
      estimators: (bound, gradient) of each; lines of one bound have the same dashes.
      variance: {part of the params: [estimator, step]}; each part is a row of panels.
      signal_to_noise: the same.
      floor: the signal-to-noise ratio of pure noise.
    """
    parts = list(variance)
    fig = style.figure(10.5, 0.8 + 3.2 * len(parts), title)
    grid = fig.subplots(len(parts), 2, squeeze=False)
    for part, row in zip(parts, grid, strict=True):
        for axes, name, value_es in zip(
            row,
            ("variance", "signal-to-noise ratio"),
            (variance[part], signal_to_noise[part]),
            strict=True,
        ):
            draw_estimators(axes, estimators, value_es, labelled=axes is grid[0, 0])
            style.logarithmic(axes.yaxis)
            axes.tick_params(which="both", labelsize=8)
            axes.set_xticks(range(len(steps)), [f"{step:,}" for step in steps])
            axes.set_xlabel("training step (not to scale)")
            axes.set_ylabel(name)
            axes.set_title(part, fontsize=9)
            axes.grid(alpha=0.3)
        row[1].axhline(
            floor,
            color=style.GREY,
            linewidth=1,
            label="noise alone" if part == parts[0] else None,
        )
    fig.legend(loc="outside right center", fontsize=7, frameon=False, handlelength=4)
    style.save(fig, path)


def draw_estimators(
    axes: "Axes",
    estimators: Sequence[tuple[str, str]],
    value_es: np.ndarray,
    *,
    labelled: bool,
) -> None:
    """Draws a line for each estimator, of its values [estimator, step]."""
    bounds = list(dict.fromkeys(bound for bound, _ in estimators))
    for i, ((bound, gradient), value_s) in enumerate(zip(estimators, value_es, strict=True)):
        axes.plot(
            range(len(value_s)),
            np.where(value_s > 0, value_s, np.nan),  # a logarithmic axis cannot show 0
            color=style.COLOURS[i % len(style.COLOURS)],
            linestyle=STYLES[bounds.index(bound) % len(STYLES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=4,
            linewidth=1.4,
            label=f"{bound}, {gradient}" if labelled else None,
        )

"""Grids of images: samples, reconstructions, the latent manifold, traversals."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_jax.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def tiled(images: np.ndarray, shade: float = 1.0) -> np.ndarray:
    """Images [rows, columns, height, width, channels] in [0, 1] as one, with lines between them."""
    rows, columns, height, width, channels = images.shape
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), shade)
    for i in range(rows):
        for j in range(columns):
            y, x = i * (height + 1), j * (width + 1)
            canvas[y : y + height, x : x + width] = images[i, j]
    return canvas


def canvas(images: np.ndarray) -> np.ndarray:
    """A grid of images as one, in [0, 1]: [height, width, 3] of colour, else [height, width].

    Numbers of channels other than 1 and 3 are averaged.
    """
    grid = np.clip(tiled(images), 0, 1)
    return grid if grid.shape[-1] == 3 else grid.mean(axis=-1)


def show(
    axes: "Axes", images: np.ndarray, extent: tuple[float, float, float, float] | None = None
) -> None:
    """Draws a grid of images."""
    axes.imshow(canvas(images), cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")


def without_ticks(axes: "Axes") -> None:
    """Removes the ticks of both axes."""
    axes.set_xticks([])
    axes.set_yticks([])


@style.own_style
def samples(path: Path, images: np.ndarray, *, shown: str, title: str) -> None:
    """images [rows, columns, height, width, channels] for z from the prior; `shown`: what of it."""
    fig = style.figure(5, 5.4, title)
    axes = fig.subplots()
    show(axes, images)
    without_ticks(axes)
    axes.set_xlabel(f"{shown}, z sampled from the prior")
    style.save(fig, path)


@style.own_style
def reconstructions(path: Path, inputs: np.ndarray, outputs: np.ndarray, *, title: str) -> None:
    """inputs and outputs [rows, columns, height, width, channels], drawn as alternating rows."""
    rows = inputs.shape[0]
    pairs = np.stack([inputs, outputs], axis=1).reshape(2 * rows, *inputs.shape[1:])
    fig = style.figure(6, 0.58 * 2 * rows + 0.7, title)
    axes = fig.subplots()
    show(axes, pairs)
    height = inputs.shape[2] + 1
    axes.set_xticks([])
    axes.set_yticks([(i + 0.5) * height for i in range(2 * rows)], ["input", "output"] * rows)
    axes.tick_params(length=0)
    axes.set_xlabel("test images, each above its reconstruction from the posterior mean")
    style.save(fig, path)


@style.own_style
def rows(
    path: Path, images: np.ndarray, names: Sequence[str], *, axis: str, label: str, title: str
) -> None:
    """images [rows, columns, height, width, channels]; `names` of the rows, which `axis` is of."""
    count, columns, height, width, _ = images.shape
    side = 0.49 * columns
    fig = style.figure(side + 2.1, side * count * height / (columns * width) + 0.9, title)
    axes = fig.subplots()
    show(axes, images)
    axes.set_xticks([])
    axes.set_yticks([(i + 0.5) * (height + 1) for i in range(count)], names)
    axes.tick_params(length=0)
    axes.set_ylabel(axis)
    axes.set_xlabel(label)
    style.save(fig, path)


@style.own_style
def hardest(path: Path, images: np.ndarray, nll_n: np.ndarray, *, title: str) -> None:
    """images [rows, columns, height, width, channels] of highest nll [n], nats, highest first."""
    fig = style.figure(5, 0.49 * len(images) + 1.1, title)
    axes = fig.subplots()
    show(axes, images)
    without_ticks(axes)
    axes.set_xlabel(f"the hardest test images: nll from {nll_n[0]:.0f} to {nll_n[-1]:.0f} nats")
    style.save(fig, path)


@style.own_style
def manifold(path: Path, images: np.ndarray, values: np.ndarray, *, title: str) -> None:
    """images [n, n, height, width, channels] over a grid of two-dimensional z.

    Row i has z_2 = values[n - 1 - i] (upwards), column j has z_1 = values[j].
    """
    fig = style.figure(7, 7.3, title)
    axes = fig.subplots()
    height, width = images.shape[2:4]
    show(axes, images, extent=(0, len(values), 0, len(values)))
    axes.set_aspect(height / width)
    ticks = np.arange(0, len(values), math.ceil((len(values) - 1) / 4) or 1)  # equally far apart
    axes.set_xticks(ticks + 0.5, [f"{values[i]:.1f}" for i in ticks])
    axes.set_yticks(ticks + 0.5, [f"{values[i]:.1f}" for i in ticks])
    axes.set_xlabel("latent unit 0 (prior quantiles)")
    axes.set_ylabel("latent unit 1 (prior quantiles)")
    style.save(fig, path)


@style.own_style
def traversals(
    path: Path, images: np.ndarray, units: list[int], values: np.ndarray, *, title: str
) -> None:
    """images [units, values, height, width, channels]: one unit of z varies, the rest is fixed.

    Units are in the given order: the most active first.
    """
    fig = style.figure(6, 0.49 * len(units) + 1.1, title)
    axes = fig.subplots()
    _, _, height, width, _ = images.shape
    show(axes, images)
    axes.set_yticks([(i + 0.5) * (height + 1) for i in range(len(units))], map(str, units))
    ticks = range(0, len(values), 2)
    axes.set_xticks([(j + 0.5) * (width + 1) for j in ticks], [f"{values[j]:.1f}" for j in ticks])
    axes.set_xlabel("value of that unit, the others at one test image's posterior mean")
    axes.set_ylabel("latent unit")
    style.save(fig, path)


@style.own_style
def interpolations(path: Path, images: np.ndarray, *, shown: str, title: str) -> None:
    """images [pairs, steps, height, width, channels]: from one test image's code to another's."""
    rows, columns = images.shape[:2]
    fig = style.figure(0.49 * columns + 1.1, 0.49 * rows + 1.1, title)
    axes = fig.subplots()
    show(axes, images)
    axes.set_yticks([])
    width = images.shape[3] + 1
    ticks = (0, (columns - 1) // 2, columns - 1)
    axes.set_xticks([(j + 0.5) * width for j in ticks], [f"{j / (columns - 1):.1f}" for j in ticks])
    axes.set_xlabel(f"{shown}, z on the straight line between the codes of two test images")
    style.save(fig, path)

"""Plots the codes of the test set."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_jax.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

MANY_UNITS = 500


def principal_components(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes [n, l] projected on their first two principal components [n, 2], and the fraction
    of the variance that each component explains [2]."""
    mean, directions, explained = principal_plane(codes)
    return (codes - mean) @ directions, explained


def principal_plane(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean [l] of codes [n, l], their first two principal directions [l, 2], and the fraction
    of the variance that each explains [2]."""
    mean = codes.mean(axis=0)
    centred = codes - mean
    if centred.shape[1] > MANY_UNITS and len(centred) > 2:
        return mean, *two_directions(centred)
    variances, directions_ll = np.linalg.eigh(centred.T @ centred)  # the smallest variance first
    explained = variances[::-1][:2] / max(variances.sum(), 1e-30)
    return mean, directions_ll[:, ::-1][:, :2], explained


def two_directions(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two principal directions [l, 2] of centred codes [n, l], and what they explain [2].

    By Lanczos's method, for many units: an eigendecomposition takes l^3 operations.
    """
    from scipy.sparse.linalg import svds

    start = np.ones(min(centred.shape))
    _, scales, rows = svds(centred.astype(np.float64), k=2, v0=start)  # the smaller one first
    explained = np.square(scales[::-1]) / max(np.square(centred).sum(dtype=np.float64), 1e-30)
    return rows[::-1].T, explained


def spread(codes: np.ndarray) -> np.ndarray:
    """Codes of one unit [n, 1] with heights [n, 2] that let no point hide another."""
    heights = (np.arange(len(codes)) * 0.6180339887) % 1  # the golden ratio, modulo 1
    return np.column_stack([codes[:, 0], heights])


def apart(centres: np.ndarray, sizes: np.ndarray, rounds: int = 500) -> np.ndarray:
    """Centres [n, 2] of boxes with these sizes [n, 2], moved until no box lies on another."""
    places = np.array(centres, float)
    for _ in range(rounds):
        still = True
        for i in range(len(places)):
            for j in range(i):
                between = places[i] - places[j]
                overlap = (sizes[i] + sizes[j]) / 2 - np.abs(between)
                if (overlap > 1e-6).all():
                    still = False
                    axis = int(np.argmin(overlap))
                    step = (overlap[axis] / 2 + 1e-3) * (1 if between[axis] >= 0 else -1)
                    places[i, axis] += step
                    places[j, axis] -= step
        if still:
            break
    return places


@style.own_style
def latent_space(
    path: Path,
    codes: np.ndarray,
    labels: np.ndarray | None,
    *,
    title: str,
    class_names: Sequence[str] = (),
    limit: float | None = None,
) -> None:
    """A scatter plot of posterior means [n, l] by label; projects more than two units onto two.

    Args:
      class_names: the names of the labels 0, 1, ...; (): the numbers are shown.
      limit: both axes go from -limit to limit, for two units; None: as far as the codes do.
    """
    num_units = codes.shape[1]
    codes, names = in_plane(codes)
    fig = style.figure(6.4, 6, title)
    axes = fig.subplots()
    size = style.dot_size(len(codes))
    classes = [None] if labels is None else list(np.unique(labels))
    tags = []
    for i, label in enumerate(classes):
        chosen = codes if label is None else codes[labels == label]
        colour = style.COLOURS[i % len(style.COLOURS)]
        name = class_names[label] if label is not None and 0 <= label < len(class_names) else label
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=size, color=colour, label=name, linewidths=0, alpha=0.7
        )
        if label is not None and len(classes) <= 20:
            # The label at the class's median, so that classes are not told apart by colour alone.
            tags.append(tag(axes, str(name), np.median(chosen, axis=0), colour))
    if 1 < len(classes) <= 20:
        fig.legend(
            title="label",
            loc="outside right center",
            markerscale=math.sqrt(30 / size),
            frameon=False,
        )
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    if limit is not None and num_units == 2:
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    elif num_units != 1:
        axes.set_aspect("equal", adjustable="datalim")
    move_apart(fig, axes, tags)
    style.save(fig, path)


def in_plane(codes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The codes [n, l] as points [n, 2], and the names of the two axes."""
    if codes.shape[1] == 2:
        return codes, ["latent unit 0", "latent unit 1"]
    if codes.shape[1] == 1:
        return spread(codes), ["latent unit 0", "(only spread)"]
    points, explained = principal_components(codes)
    return points, [
        f"principal component {i} ({100 * e:.0f}% of the variance of the posterior means)"
        for i, e in enumerate(explained)
    ]


def tag(axes: "Axes", text: str, point: np.ndarray, colour: str) -> "Annotation":
    """Draws the label of a class."""
    return axes.annotate(
        text, (point[0], point[1]), textcoords="data", ha="center", va="center", weight="bold",
        fontsize=8,
        bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.85},
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8},
    )  # fmt: skip


def move_apart(fig: "Figure", axes: "Axes", tags: "Sequence[Annotation]") -> None:
    """Moves labels so that none lies on another; a line leads to the place that each is for."""
    if len(tags) < 2:
        return
    fig.draw_without_rendering()  # only now are sizes and places in pixels known
    patches = [patch for label in tags if (patch := label.get_bbox_patch()) is not None]
    boxes = [patch.get_window_extent() for patch in patches]
    centres = np.array([[(b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2] for b in boxes])
    places = apart(centres, np.array([[b.width + 2, b.height + 2] for b in boxes]))
    for label, place in zip(tags, axes.transData.inverted().transform(places), strict=True):
        label.set_position(place)


@style.own_style
def aggregate_posterior(
    path: Path,
    posterior_n2: np.ndarray,
    prior_n2: np.ndarray,
    units: list[int],
    *,
    title: str,
    limit: float | None = None,
) -> None:
    """One sample of q(z | x) for each test image, beside as many of p(z), in one or two units.

    posterior_n2, prior_n2: [n, 2] or [n, 1]; units: the indices of these latent units.
    limit: as in `latent_space`.
    """
    fig = style.figure(9, 3.4 if len(units) == 1 else 4.8, title)
    panels = [("q(z), the test images' posteriors", posterior_n2, style.COLOURS[0])]
    panels += [("p(z), the prior", prior_n2, style.COLOURS[6])]
    both = np.concatenate([posterior_n2, prior_n2])
    low, high = both.min(axis=0), both.max(axis=0)
    size = style.dot_size(len(posterior_n2))
    subplots = fig.subplots(1, 2, sharex=True, sharey=True)
    for axes, (name, z_n2, colour) in zip(subplots, panels, strict=True):
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(f"latent unit {units[0]}")
        if len(units) == 1:
            axes.hist(z_n2[:, 0], bins=60, range=(low[0], high[0]), density=True, color=colour)
            axes.set_ylabel("density")
        else:
            axes.scatter(z_n2[:, 0], z_n2[:, 1], s=size, color=colour, linewidths=0, alpha=0.5)
            axes.set_ylabel(f"latent unit {units[1]}")
            axes.set_aspect("equal", adjustable="box")
            if limit is not None:
                axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    style.save(fig, path)

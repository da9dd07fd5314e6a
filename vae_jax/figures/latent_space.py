"""Plots the codes of the test set."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_jax.figures import style


def principal_components(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes [n, l] projected on their first two principal components [n, 2], and the fraction
    of the variance that each component explains [2]."""
    centred = codes - codes.mean(axis=0)
    variances, directions_ll = np.linalg.eigh(centred.T @ centred)  # the smallest variance first
    explained = variances[::-1][:2] / max(variances.sum(), 1e-30)
    return centred @ directions_ll[:, ::-1][:, :2], explained


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
    names = ["latent unit 0", "latent unit 1"]
    if codes.shape[1] == 1:
        # Vertical offsets by the golden ratio, modulo 1, so that points do not hide one another.
        spread = (np.arange(len(codes)) * 0.6180339887) % 1
        codes, names = np.column_stack([codes[:, 0], spread]), ["latent unit 0", "(only spread)"]
    elif codes.shape[1] != 2:
        codes, explained = principal_components(codes)
        names = [
            f"principal component {i} of the posterior means ({100 * e:.0f}% of their variance)"
            for i, e in enumerate(explained)
        ]
    fig = style.figure(6.4, 6, title)
    axes = fig.subplots()
    size = style.dot_size(len(codes))
    classes = [None] if labels is None else list(np.unique(labels))
    for i, label in enumerate(classes):
        chosen = codes if label is None else codes[labels == label]
        colour = style.COLOURS[i % len(style.COLOURS)]
        name = class_names[label] if label is not None and 0 <= label < len(class_names) else label
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=size, color=colour, label=name, linewidths=0, alpha=0.7
        )
        if label is not None and len(classes) <= 20:
            # The label at the class's median, so that classes are not told apart by colour alone.
            axes.annotate(
                str(name), np.median(chosen, axis=0), ha="center", va="center", weight="bold",
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.85},
            )  # fmt: skip
    if 1 < len(classes) <= 20:
        fig.legend(
            title="label",
            loc="outside right center",
            markerscale=math.sqrt(30 / size),
            frameon=False,
        )
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    if limit is not None and names[0] == "latent unit 0" and names[1] == "latent unit 1":
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    elif names[1] != "(only spread)":
        axes.set_aspect("equal", adjustable="datalim")
    style.save(fig, path)


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

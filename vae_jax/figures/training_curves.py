"""Plots the training of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_jax.figures import style


@style.own_style
def training_curves(path: Path, rows: list[dict[str, Any]], *, title: str, prefix: str) -> None:
    """Rows of metrics.jsonl: one panel per term, one colour per lane; train thin, validation bold.

    `prefix` is written before the name of the bound ("pseudo-" if it bounds no likelihood).
    """
    panels = style.panels(rows)
    fig = style.figure(max(11, 3.7 * len(panels)), 3.6, title)
    lanes = sorted({(row["lane"], row["seed"]) for row in rows})
    all_axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for axes, (metric, name) in zip(all_axes, panels.items(), strict=True):
        for lane, seed in lanes:
            for split, width in (("train", 0.8), ("validation", 1.8)):
                points = [
                    (row["epoch"], row[metric])
                    for row in rows
                    if row["lane"] == lane and row["split"] == split and row.get(metric) is not None
                ]
                if points:
                    axes.plot(
                        *zip(*points, strict=True),
                        color=style.COLOURS[lane % len(style.COLOURS)],
                        linewidth=width,
                        marker="o" if split == "validation" else None,
                        markersize=3,
                        alpha=1.0 if split == "validation" else 0.6,
                        label=f"seed {seed}, {split}" if axes is all_axes[0] else None,
                    )
        axes.set_xlabel("epoch")
        plain = metric in ("kl", "critic_kl") or metric.endswith(style.OF_A_PLAYER)
        unit = "" if metric == style.PERPLEXITY else " (nats per example)"
        axes.set_ylabel(f"{'' if plain or not unit else prefix}{name}{unit}")
        axes.grid(alpha=0.3)
        # The values of the first steps would flatten all the rest.
        settled = [r[metric] for r in rows if r["epoch"] >= 1 and r.get(metric) is not None]
        if settled:
            margin = 0.1 * (max(settled) - min(settled)) + 1e-3
            axes.set_ylim(min(settled) - margin, max(settled) + margin)
    if 0 < len(lanes) <= 10:
        fig.legend(loc="outside right center", fontsize=7, frameon=False)
    style.save(fig, path)


@style.own_style
def kl_by_layer(
    path: Path, epochs: Sequence[float], kls: Mapping[str, Sequence[float]], *, title: str
) -> None:
    """The KL of each layer against epochs, stacked: the sum is the KL of the model.

    kls: {name of a layer: its KL at each epoch, nats}, the top layer first.
    """
    fig = style.figure(7, 3.6, title)
    axes = fig.subplots()
    colours = [style.COLOURS[i % len(style.COLOURS)] for i in range(len(kls))]
    # The top layer is drawn at the top, as it is in the list of names.
    names = list(kls)[::-1]
    axes.stackplot(
        epochs, [kls[name] for name in names], labels=names, colors=colours[::-1], alpha=0.85
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("KL of the validation set (nats per example)")
    axes.set_xlim(min(epochs), max(epochs))
    axes.set_ylim(0)
    axes.grid(alpha=0.3)
    axes.legend(reverse=True, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, frameon=False)
    style.save(fig, path)

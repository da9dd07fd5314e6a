"""Plots of what an evaluation measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_jax.figures import style


@style.own_style
def likelihood(
    path: Path,
    num_samples_j: Sequence[int],
    curve_kj: np.ndarray,
    seeds: Sequence[int],
    nll_n: np.ndarray,
    *,
    title: str,
    prefix: str,
) -> None:
    """-log p(x) against the number of samples, a line for each lane; and of one lane's examples.

    Args:
      num_samples_j: numbers of samples of z.
      curve_kj: the mean nll with that many samples, nats, a row for each lane.
      seeds: the seeds of the lanes.
      nll_n: the nll of each test example in the lane of the title, nats.
      prefix: written before the name ("pseudo-" if it is no likelihood).
    """
    fig = style.figure(9, 3.6, title)
    left, right = fig.subplots(1, 2)
    for lane, (seed, curve_j) in enumerate(zip(seeds, curve_kj, strict=True)):
        colour = style.COLOURS[lane % len(style.COLOURS)]
        left.plot(
            num_samples_j, curve_j, marker="o", markersize=3, color=colour, label=f"seed {seed}"
        )
    style.logarithmic(left.xaxis)
    left.set_xlabel("importance samples")
    left.set_ylabel(f"{prefix}nll (nats per example)")
    left.grid(alpha=0.3)
    if len(seeds) <= 10:
        left.legend(fontsize=7, frameon=False)
    right.hist(nll_n[np.isfinite(nll_n)], bins=50, color=style.COLOURS[0])
    right.axvline(np.mean(nll_n), color=style.COLOURS[6], label=f"mean {np.mean(nll_n):.2f}")
    right.legend(fontsize=7, frameon=False)
    right.set_xlabel(f"{prefix}nll of a test image (nats)")
    right.set_ylabel("test images")
    style.save(fig, path)


@style.own_style
def latent_units(
    path: Path, activity_l: np.ndarray, kl_l: np.ndarray | None, *, active: float, title: str
) -> None:
    """Each unit's activity (the variance of its posterior mean) and mean KL, the most active first.

    kl_l: nats; None: not known by unit. active: units with a greater activity count as active.
    """
    fig = style.figure(7, 3.4, title)
    order = np.argsort(-activity_l, kind="stable")
    xs = np.arange(len(order))
    axes = fig.subplots(1, 1 if kl_l is None else 2, squeeze=False)[0]
    axes[0].bar(xs, np.maximum(activity_l[order], 1e-8), color=style.COLOURS[0])
    axes[0].axhline(
        active, color=style.COLOURS[6], linestyle="--", label=f"active above {active:g}"
    )
    style.logarithmic(axes[0].yaxis)
    axes[0].set_ylabel("variance of the posterior mean")
    axes[0].legend(fontsize=7, frameon=False)
    if kl_l is not None:
        axes[1].bar(xs, kl_l[order], color=style.COLOURS[2])
        axes[1].set_ylabel("KL(q(z | x) || p(z)), nats")
    for one in axes:
        one.set_xlabel("latent unit, the most active first")
        if len(order) <= 20:
            one.set_xticks(xs, [str(unit) for unit in order], fontsize=7, rotation=90)
    style.save(fig, path)


@style.own_style
def codebook(path: Path, share_sc: np.ndarray, perplexity: float, *, title: str) -> None:
    """How often each entry of a book is taken, the most used first; a line for each stage."""
    fig = style.figure(6, 3.4, title)
    axes = fig.subplots()
    stages, entries = share_sc.shape
    for s, share_c in enumerate(share_sc):
        label = f"stage {s}" if stages > 1 else f"perplexity {perplexity:.1f} of {entries}"
        axes.stairs(
            100 * np.sort(share_c)[::-1],
            fill=stages == 1,
            color=style.COLOURS[s % len(style.COLOURS)],
            label=label,
        )
    axes.axhline(100 / entries, color="0.4", linestyle="--", label="all alike")
    axes.set_xlabel("entry of the book, the most used first")
    axes.set_ylabel("of the codes, %")
    axes.set_xlim(0, entries)
    axes.legend(fontsize=7, frameon=False)
    style.save(fig, path)


@style.own_style
def rate_distortion(
    path: Path,
    groups: dict[str, list[tuple[float, float]]],
    *,
    title: str,
    prefix: str,
) -> None:
    """Each lane's rate (its KL) and distortion (-reconstruction), nats, by name of its setting.

    If there are many settings, their names are left out.

    The ELBO is constant along each dashed line (Alemi et al. 2018, section 3).
    """
    named = 1 < len(groups) <= 2 * len(style.COLOURS)
    fig = style.figure(7.5 if named else 6, 4.4, title)
    axes = fig.subplots()
    for i, (name, points) in enumerate(groups.items()):
        again, colour = divmod(i, len(style.COLOURS)) if named else (0, 0)
        rates, distortions = zip(*points, strict=True)
        axes.scatter(
            rates, distortions, s=18, color=style.COLOURS[colour], marker="o^"[again], label=name
        )
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    taken = [point for points in groups.values() for point in points]
    for total, ends, heights in style.elbo_lines(left, right, low, high):
        axes.plot(ends, heights, "--", color="0.7", linewidth=0.7, zorder=0)
        place = style.free_place(ends, heights, taken, (left, right, low, high))
        if place is None:
            continue
        taken.append(place)
        # Below the points: a label hides none, also where there is no free place.
        axes.annotate(
            f"{prefix}ELBO {-total:g}", place, fontsize=7, color="0.4", ha="center", va="center",
            zorder=0.5, bbox={"fc": "white", "ec": "none", "pad": 0.5}, clip_on=True,
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_xlabel("rate: KL(q(z | x) || p(z)) (nats per example)")
    axes.set_ylabel(f"distortion: -{prefix}reconstruction (nats per example)")
    if named:
        style.legend(fig)
    style.save(fig, path)

"""What does beta buy: the rate-distortion curve of one architecture.

    python -m experiments.papers.rate_distortion --workdir=runs/papers/rate_distortion

Alemi et al. 2018, Fixing a Broken ELBO (section 3): with weight beta of the KL, training minimises
D + beta R, where the rate R is the KL and the distortion D is -E_q log p(x | z). So R falls and D
rises with beta, the points of one architecture trace the lower envelope of what it can reach, and
the slope of this curve dD/dR at a point is -beta, as far as training finds the optimum. R + D is
-ELBO, and is least at beta = 1.

All betas and seeds are lanes of one program. Slopes are by finite differences: between neighbouring
betas b < c, -(D(c) - D(b)) / (R(c) - R(b)) is a mean of the betas between them if both are optimal,
so the claim is that it lies between b and c. It is measured on the test set; where it is not the
training set's curve, that is overfitting.

Differences from the paper: a VAE 784-200-20 with a standard normal prior (the paper
compares architectures, some with autoregressive parts, on one fixed binarisation); 8 epochs.

What was found (seeds 0 to 2; 8:07 on two shared cores of an Intel Xeon, busy with other work; jax
0.10.2, 2026-12-01):

    beta   rate             distortion        price to the next beta
    0.1    57.50 +- 0.08     68.77 +- 0.13     0.114 +- 0.006
    0.2    46.86 +- 0.04     69.99 +- 0.13     0.336 +- 0.013
    0.5    34.78 +- 0.05     74.05 +- 0.13     0.751 +- 0.007
    1      25.80 +- 0.07     80.79 +- 0.11     1.533 +- 0.019
    2      16.01 +- 0.20     95.81 +- 0.57     3.585 +- 0.040
    5       6.21 +- 0.09    130.93 +- 0.53    12.07  +- 0.09
    10      0.00 +- 0.00    205.81 +- 0.00

The rate falls and the distortion rises at every step, and the price lies between the betas but from
5 to 10: at 10 all units collapse, with D + 10 R = 205.8, where the point of beta 5 has 193.0.
Training did not find the optimum there.
"""

import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.papers import study
from experiments.papers.table import Estimate, Row, estimate, lines, paired, verdict
from vae_jax.cli import main as cli
from vae_jax.figures import style
from vae_jax.words import aligned

BETAS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FIGURE = "rate_distortion_by_beta.png"


def get_config() -> ConfigDict:
    config = study.short_recipe(num_epochs=8)
    config.model.encoder.widths = (200,)
    config.model.decoder.widths = (200,)
    config.evaluation.num_samples = 10
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.sweep("objective.beta", BETAS)


Curve = dict[float, dict[int, tuple[float, float]]]  # {beta: {seed: (rate, distortion)}}


def curve(rows: list[study.Lane]) -> Curve:
    """Rate and distortion, nats, of the lanes that are measured."""
    betas = sorted({row["objective.beta"] for row in rows})
    found: Curve = {}
    for beta in betas:
        rates = study.by_seed(rows, "kl", objective__beta=beta)
        recons = study.by_seed(rows, "reconstruction", objective__beta=beta)
        both = rates.keys() & recons.keys()
        found[beta] = {seed: (rates[seed], -recons[seed]) for seed in sorted(both)}
    return found


def of(points: dict[int, tuple[float, float]], place: int) -> dict[int, float]:
    """The rate (place 0) or the distortion (place 1) by seed."""
    return {seed: point[place] for seed, point in points.items()}


def price(low: dict[int, tuple[float, float]], high: dict[int, tuple[float, float]]) -> Estimate:
    """-(difference of the distortion) / (difference of the rate), by seed."""
    return estimate(
        [
            (high[seed][1] - low[seed][1]) / (low[seed][0] - high[seed][0])
            for seed in sorted(low.keys() & high.keys())
            if low[seed][0] != high[seed][0]
        ]
    )


def between(found: Estimate, low: float, high: float) -> str:
    """Whether the interval of the price meets that of the two betas."""
    start, end = found.interval
    if start != start:
        return "open"
    return "yes" if start <= high and end >= low else "no"


def table(workdir: Path) -> str:
    points = curve(study.lanes(workdir))
    betas = [beta for beta in points if points[beta]]
    shown = [["beta", "rate", "distortion", "-ELBO", "price to the next", "between", "holds"]]
    rows = []
    for i, beta in enumerate(betas):
        rates, distortions = of(points[beta], 0), of(points[beta], 1)
        totals = estimate([r + d for r, d in points[beta].values()])
        cells = [
            f"{e.mean:.2f} ± {e.error:.2f}"
            for e in (estimate(list(rates.values())), estimate(list(distortions.values())), totals)
        ]
        more = ["", "", ""]
        if i + 1 < len(betas):
            after, its = betas[i + 1], points[betas[i + 1]]
            slope = price(points[beta], its)
            more = [f"{slope.mean:.3f} ± {slope.error:.3f}", f"{beta:g} to {after:g}"]
            more.append(between(slope, beta, after))
            ends = f"beta {beta:g} to {after:g}"
            rows.append(Row(f"rate, {ends}", paired(of(its, 0), rates), 0.0, "below"))
            rows.append(Row(f"distortion, {ends}", paired(of(its, 1), distortions), 0.0, "above"))
        shown.append([f"{beta:g}", *cells, *more])
    if len(betas) > 1:
        draw(workdir / FIGURE, points)
    kept = sum(verdict(row) == "yes" for row in rows)
    head = f"rate falls and distortion rises with beta: {kept} of {len(rows)} steps"
    return "\n".join([*aligned(shown), "", head, *lines(rows)])


@style.own_style
def draw(path: Path, points: Curve) -> None:
    """The points of all seeds, and the line of price beta through the means of each."""
    fig = style.figure(
        6, 4, "Rate and distortion by beta, each with its line D + beta R = constant"
    )
    axes = fig.subplots()
    for i, (beta, by_seed) in enumerate((b, p) for b, p in points.items() if p):
        colour = style.COLOURS[i % len(style.COLOURS)]
        rates, distortions = zip(*by_seed.values(), strict=True)
        axes.scatter(rates, distortions, s=18, color=colour, label=f"beta {beta:g}", zorder=2)
        rate, distortion = estimate(rates).mean, estimate(distortions).mean
        half = 0.18 * rate + 1.0
        axes.plot(
            [rate - half, rate + half],
            [distortion + beta * half, distortion - beta * half],
            color=colour,
            linewidth=0.9,
        )
    axes.set_xlabel("rate: KL(q(z | x) || p(z)) (nats per example)")
    axes.set_ylabel("distortion: -reconstruction (nats per example)")
    fig.legend(loc="outside right center", fontsize=7, frameon=False)
    style.save(fig, path)


STUDY = study.Study(get_config, sweep, table)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))

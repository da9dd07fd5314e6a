"""How many seeds does a claim need? A thousand seeds of one small VAE.

    python -m experiments.how_many_seeds --workdir=runs/how_many_seeds

trains 784-32-5-32-784 on MNIST (batch 128, 2 epochs, the last epoch's params) as two sweeps:

- `settings/`: the learning rates RATES, which differ by little, with the seeds 0 to 999 each: one
  program for each rate, its lanes the seeds;
- `sources/`: the first of them with two of the three sources of variance fixed at the seed 0, and
  with all three, seeds 0 to 199 each. What still differs is in the name: the initial params, the
  order of the images, or the noise (of z and of the binarisation); `none`: the noise of the test
  alone, which no key fixes.

Then it prints, and draws as how_many_seeds.png, the distribution of the test ELBO and of the nll
(the first 1,000 test images, 50 samples), the share of its variance by source, and how often 3, 5
and 10 seeds get the sign of the difference between the rates wrong, paired by seed and not, beside
what normal values would do. The difference of all seeds stands for the true one. A share is the
variance that a source alone gives, less that of the test's noise, over that of all together; it is
of one value of the other two, and the shares need not have the sum 1.

--seeds=500 --source_seeds=100 --config.sweep.max_lanes=100 took 61 minutes on one of two busy
cores of an Intel Xeon (jax 0.10.2, 2026-12-01); a program of 1,000 lanes takes 4 GB, and more time
for each lane. What was found is in docs/seeds.md: by the ELBO, the initial params give 83% of the
variance, pairing removes 96% of that of the difference, and three seeds get its sign wrong in 6% of
draws, unpaired in 41%.

The same command goes on where it was stopped, and prints the table at the end. With --table it
prints the table of the programs that are done so far, and trains nothing. --seeds=40
--source_seeds=20 is a smaller study; --config.KEY=VALUE another one, in another --workdir.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from configs import default
from vae_jax.cli import main as cli
from vae_jax.cli.flags import define_seeds
from vae_jax.commands.sweep import sweep as train_sweep
from vae_jax.config.build import Config, overridden
from vae_jax.config.check import check
from vae_jax.devices.setup import pin, use_cache, use_cores
from vae_jax.errors import UserError
from vae_jax.figures import style
from vae_jax.folders import folder
from vae_jax.folders.schemas import SweepResults
from vae_jax.reports.seeds import interquartile_mean, paired_difference, seeds_needed, wrong_sign
from vae_jax.sections.checks import MOST_LANES, OWN_SEED
from vae_jax.sweeps.plan import Datasets, make_sweep
from vae_jax.words import aligned

RATE = "optimizer.learning_rate"
RATES = (1e-3, 1.02e-3)
SEED_OF = {
    "initial params": "training.init_seed",
    "order": "training.order_seed",
    "noise": "training.noise_seed",
}
NONE = "none"  # the source: all three are fixed
METRICS = {"elbo": 1, "nll": -1}  # 1: the higher is better
COUNTS = (3, 5, 10)
DRAWN = (2, 3, 4, 5, 7, 10, 15, 20)
LEAST = 4  # seeds of a study
SUBSETS = 20_000  # of seeds, that are drawn for each count
FIGURE = "how_many_seeds.png"

Values = dict[int, dict[str, float]]  # by seed: each metric


class Errors(NamedTuple):
    """How often some seeds get the sign of a difference wrong."""

    found: float
    normal: float  # of normal values with the same mean and variance


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.latent_size = 5
    config.model.encoder.widths = (32,)
    config.model.decoder.widths = (32,)
    config.training.num_epochs = 2
    config.training.seeds = tuple(range(1_000))
    config.training.keep = "last"
    config.evaluation.every_epochs = 2
    config.evaluation.metrics = ("nll",)
    config.evaluation.num_importance_samples = 50
    config.evaluation.nll.images = 1_000
    return config


def define(values: flags.FlagValues) -> None:
    """Defines the flags of this command."""
    define_seeds(values)
    flags.DEFINE_integer(
        "source_seeds", 200, "the first ones", LEAST, MOST_LANES, flag_values=values
    )
    flags.DEFINE_bool("table", False, "only prints what there is", flag_values=values)


def settings_of_sources() -> list[dict[str, Any]]:
    """The overrides of the sweep over sources: each source alone, and none."""
    return [
        {key: 0 for own, key in SEED_OF.items() if own != source} for source in (*SEED_OF, NONE)
    ]


def source_of(lane: Mapping[str, Any]) -> str:
    """The source that differs between the seeds of a lane's setting."""
    free = [source for source, key in SEED_OF.items() if lane[key] == OWN_SEED]
    return free[0] if free else NONE


def train(workdir: Path, config: Config, overrides: list[dict[str, Any]], seeds: Any) -> None:
    """Trains a sweep over these seeds, or what is left of it."""
    data = Datasets()
    base = overridden(config, {"training.seeds": seeds})
    train_sweep(workdir, make_sweep(base, overrides, workdir, data), data)


def lanes_in(workdir: Path) -> list[dict[str, Any]]:
    """The lanes of a sweep that are trained so far."""
    if not (workdir / folder.RESULTS).exists():
        return []
    return folder.read_results(workdir, SweepResults)["lanes"]


def values_by(lanes: Sequence[Mapping[str, Any]], name: Any) -> dict[Any, Values]:
    """{what `name` calls a lane's setting: its values}, of lanes that have not diverged."""
    found: dict[Any, Values] = {}
    for lane in lanes:
        of = found.setdefault(name(lane), {})
        if lane["status"] != "diverged":
            of[lane["seed"]] = {metric: lane[metric] for metric in METRICS}
    return found


def numbers(values: Values, metric: str) -> np.ndarray:
    """The values of a metric, in the order of the seeds."""
    return np.array([values[seed][metric] for seed in sorted(values)], np.float64)


def pair(a: Values, b: Values, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of equal seeds."""
    both = {seed: a[seed] for seed in a.keys() & b.keys()}
    return numbers(both, metric), numbers({seed: b[seed] for seed in both}, metric)


def sign_errors(a_n: np.ndarray, b_n: np.ndarray, count: int, *, paired: bool) -> Errors:
    """How often the mean difference of `count` seeds has another sign than that of all.

    Paired: of the same seeds; else of other seeds of B than of A. Seeds are drawn without
    replacement, SUBSETS times; no difference counts half.
    """
    rng, total = np.random.default_rng(count), float(np.mean(a_n - b_n))
    # The places of random numbers in order are a permutation: their first are the seeds.
    picked = rng.random((SUBSETS, len(a_n))).argpartition(2 * count - 1, axis=1)[:, : 2 * count]
    rng.permuted(picked, axis=1, out=picked)
    of_a = picked[:, :count]
    of_b = of_a if paired else picked[:, count:]
    found = np.mean(a_n[of_a], axis=1) - np.mean(b_n[of_b], axis=1)
    wrong = float(np.mean(found * total < 0) + np.mean(found == 0) / 2)
    return Errors(wrong, wrong_sign(total, deviation(a_n, b_n, paired=paired), count))


def deviation(a_n: np.ndarray, b_n: np.ndarray, *, paired: bool) -> float:
    """The standard deviation of a difference of one run of A and one of B."""
    if paired:
        return float(np.std(a_n - b_n, ddof=1))
    return math.hypot(np.std(a_n, ddof=1), np.std(b_n, ddof=1))


def shares(sources: Mapping[str, Values], all_n: np.ndarray, metric: str) -> dict[str, float]:
    """{source: its part of the variance of all}; that of the test's noise is taken from each."""
    variance = {source: np.var(numbers(of, metric), ddof=1) for source, of in sources.items()}
    alone, total = variance[NONE], np.var(all_n, ddof=1)
    parts = {source: variance[source] - alone for source in SEED_OF} | {NONE: alone}
    return {source: float(part / total) for source, part in parts.items()}


def distribution_lines(rates: Mapping[float, Values]) -> list[str]:
    """A row for each rate and metric."""
    rows = [["rate", "metric", "seeds", "mean", "sd", "IQM [95%]", "lowest", "highest", "skewness"]]
    for rate, values in rates.items():
        for metric in METRICS:
            x_n = numbers(values, metric)
            iqm, sd = interquartile_mean(x_n), np.std(x_n, ddof=1)
            skewness = float(np.mean(((x_n - x_n.mean()) / np.std(x_n)) ** 3))
            rows.append(
                [
                    f"{rate:g}", metric, f"{len(x_n):,}", f"{x_n.mean():.3f}", f"{sd:.3f}",
                    f"{iqm.value:.3f} [{iqm.low:.3f}, {iqm.high:.3f}]", f"{x_n.min():.2f}",
                    f"{x_n.max():.2f}", f"{skewness:.2f}",
                ]
            )  # fmt: skip
    return aligned(rows)


def source_lines(sources: Mapping[str, Values], of_all: Values) -> list[str]:
    """A row for each source: the deviation that it alone gives, and its share of the variance."""
    rows = [
        ["what differs", "seeds", *(f"{name} {m}" for m in METRICS for name in ("sd", "share"))]
    ]
    for source, values in sources.items():
        row = [source if source != NONE else "the test's noise alone", f"{len(values):,}"]
        for metric in METRICS:
            part = shares(sources, numbers(of_all, metric), metric)[source]
            row += [f"{np.std(numbers(values, metric), ddof=1):.3f}", f"{part:.1%}"]
        rows.append(row)
    row = ["all", f"{len(of_all):,}"]
    for metric in METRICS:
        row += [f"{np.std(numbers(of_all, metric), ddof=1):.3f}", ""]
    return aligned([*rows, row], left={0})


def sign_lines(a: Values, b: Values) -> list[str]:
    """What pairing is worth, and a row for each number of seeds."""
    lines = []
    rows = [
        [
            "seeds",
            *(f"{m} {p}" for m in METRICS for p in ("paired", "normal", "unpaired", "normal")),
        ]
    ]
    cells: dict[int, list[str]] = {count: [f"{count}"] for count in COUNTS}
    for metric in METRICS:
        a_n, b_n = pair(a, b, metric)
        of = paired_difference(a_n, b_n)
        needed = [
            seeds_needed(of.mean, deviation(a_n, b_n, paired=paired), paired=paired)
            for paired in (True, False)
        ]
        lines.append(
            f"{metric}: difference {of.mean:+.3f} [{of.low:+.3f}, {of.high:+.3f}] of {of.seeds:,} "
            f"seeds; pairing removes {of.removed:.1%} of the variance; seeds needed: "
            f"{needed[0]:g} paired, {needed[1]:g} unpaired"
        )
        for count in COUNTS:
            if 2 * count > len(a_n):
                cells[count] += ["-"] * 4
                continue
            for paired in (True, False):
                errors = sign_errors(a_n, b_n, count, paired=paired)
                cells[count] += [f"{errors.found:.1%}", f"{errors.normal:.1%}"]
    return [*lines, "the wrong sign, of so many seeds:", *aligned([*rows, *cells.values()])]


def table(settings: list[dict[str, Any]], sources: list[dict[str, Any]]) -> str:
    """All that is found so far."""
    rates = values_by(settings, lambda lane: lane[RATE])
    lines = [
        f"{folder_name} seed {lane['seed']} diverged at step {lane['diverged_step']}, left out"
        for folder_name, lanes in (("settings:", settings), ("sources:", sources))
        for lane in lanes
        if lane["status"] == "diverged"
    ]
    if not rates:
        return "\n".join([*lines, "no program is done yet"])
    lines += ["", "the distribution over seeds, nats", *distribution_lines(rates)]
    if (of_sources := values_by(sources, source_of)).keys() >= {*SEED_OF, NONE}:
        lines += ["", "by source, nats", *source_lines(of_sources, rates[min(rates)])]
    if len(rates) == len(RATES):
        low, high = (rates[rate] for rate in sorted(rates))
        lines += ["", f"{RATE} {min(rates):g} less {max(rates):g}, nats", *sign_lines(low, high)]
    return "\n".join(lines).lstrip("\n")


@style.own_style
def draw(path: Path, rates: Mapping[float, Values], sources: Mapping[str, Values]) -> None:
    """The distribution of the ELBO, its variance by source, and the wrong signs."""
    fig = style.figure(
        10.5, 3.3, "How many seeds? One small VAE on MNIST\nlines: of normal values; dots: found"
    )
    left, middle, right = fig.subplots(1, 3)
    low, high = sorted(rates)
    of_both = np.concatenate([numbers(values, "elbo") for values in rates.values()])
    bins = np.histogram_bin_edges(of_both, "fd")  # as wide as the number of seeds allows
    for i, rate in enumerate((low, high)):
        x_n, colour = numbers(rates[rate], "elbo"), style.COLOURS[i]
        left.hist(x_n, bins, color=colour, alpha=0.5, label=f"learning rate {rate:g}")
        left.axvline(x_n.mean(), color=colour, linewidth=1)
    left.set_ylim(0, 1.25 * left.get_ylim()[1])  # room for the legend
    left.set_xlabel("test ELBO, nats")
    left.set_ylabel("seeds")
    left.legend(fontsize=7, frameon=False)
    names = [*SEED_OF, NONE]
    for i, metric in enumerate(METRICS):
        parts = shares(sources, numbers(rates[low], metric), metric)
        place = np.arange(len(names)) + 0.4 * (i - 0.5)
        heights = [100 * parts[name] for name in names]
        middle.bar(place, heights, 0.38, color=style.COLOURS[i], label=metric)
    middle.set_xticks(range(len(names)), [*SEED_OF, "test's noise"], fontsize=7)
    middle.set_ylabel("% of the variance")
    middle.legend(fontsize=7, frameon=False)
    a_n, b_n = pair(rates[low], rates[high], "elbo")
    counts = [count for count in DRAWN if 2 * count <= len(a_n)]
    for i, paired in enumerate((True, False)):
        errors = [sign_errors(a_n, b_n, count, paired=paired) for count in counts]
        colour = style.COLOURS[i + 2]
        right.plot(counts, [100 * e.normal for e in errors], color=colour, linewidth=1)
        label = "paired by seed" if paired else "unpaired"
        right.plot(counts, [100 * e.found for e in errors], "o", color=colour, label=label)
    right.set_xticks(counts)
    right.set_ylim(0)
    right.set_xlabel("seeds of each rate")
    right.set_ylabel("% with the wrong sign (ELBO)")
    right.legend(fontsize=7, frameon=False)
    for axes in (left, middle, right):
        axes.tick_params(labelsize=7)
    style.save(fig, path)


def run(arguments: Sequence[str]) -> None:
    command = cli.parse(arguments, lambda workdir: (get_config(), {}), define)
    config, workdir, given = check(command.config), command.workdir, command.flags
    seeds = config.training.seeds
    if len(seeds) < LEAST:
        raise UserError(f"training.seeds should be at least {LEAST}, for a variance of each source")
    parts = {"settings": seeds, "sources": seeds[: given.source_seeds]}
    if not given.table:
        pin()
        use_cores()
        use_cache(command.flags.cache)
        overrides = [{RATE: rate} for rate in RATES], settings_of_sources()
        for (name, own), settings in zip(parts.items(), overrides, strict=True):
            train(workdir / name, config, settings, own)
    settings, sources = (lanes_in(workdir / name) for name in parts)
    print(table(settings, sources))
    rates, of_sources = values_by(settings, lambda lane: lane[RATE]), values_by(sources, source_of)
    if len(rates) == len(RATES) and of_sources.keys() >= {*SEED_OF, NONE}:
        draw(workdir / FIGURE, rates, of_sources)
        print(f"\nfigure       {workdir / FIGURE}")


if __name__ == "__main__":
    sys.exit(cli.answer(lambda: run(sys.argv[1:])))

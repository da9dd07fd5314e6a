"""Two settings seed by seed: the difference of each metric, and what it is worth."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import UserError
from vae_jax.reports.columns import Lane, Shown, better, columns_of, comparable, value, warnings
from vae_jax.reports.paper_table import Collected, Group, collected
from vae_jax.reports.seeds import (
    MOST_SEEDS,
    Difference,
    Interval,
    paired_difference,
    probability_above,
    seeds_needed,
)
from vae_jax.reports.sweep_report import setting_of
from vae_jax.reports.table import fitted, interval_cell, kept, measured_on
from vae_jax.runs.summary import all_columns
from vae_jax.words import page

HEADS = ("metric", "A", "B", "A - B", "95%", "P(A better)", "seeds", "unpaired", "removed")
MOST_NAMED = 10  # seeds, in a line
# What a metric's numbers depend on, by how its name begins.
SETTINGS = {"nll": "evaluation.num_importance_samples"}


class Side(NamedTuple):
    """One of the two settings."""

    name: str  # "A" or "B"
    lanes: dict[int, Lane]  # by seed
    results: dict[str, Any]  # of its folder

    def setting(self, key: str) -> Any:
        """The value of a key of the section evaluation; None: it is not known."""
        lane = next(iter(self.lanes.values()))
        return lane.get(key, self.results.get("evaluation", {}).get(key))


class Row(NamedTuple):
    """What the seeds say of a metric."""

    column: Shown
    a: float  # the mean over the seeds
    b: float
    difference: Difference
    better: Interval | None  # the probability that a run of A is better; None: neither direction is
    paired: float  # seeds that such a difference needs
    unpaired: float


def compare_paired(workdirs: Sequence[Path]) -> str:
    """The first setting of the folders against each other one, seed by seed, as text.

    Raises:
      UserError: there is one setting alone; or none can be compared with the first, as they have
        no two seeds in common, are of other data, or were measured in another way.
    """
    if not workdirs:
        raise UserError("compare --paired needs a run folder: vae-jax compare RUN RUN --paired")
    found = collected(workdirs)
    if len(found.groups) < 2:
        raise UserError(
            "--paired is of two settings, and there is one; give two runs, or a sweep of several"
        )
    first, *others = found.groups
    parts: list[str] = []
    refused: list[UserError] = []
    for other in others:
        try:
            parts.append(against(found, first, other))
        except UserError as error:
            refused.append(error)
            parts.append("\n".join([*names(found, first, other), f"not compared: {error}"]))
    if len(refused) == len(others):
        raise refused[0]
    return "\n\n".join([heading(found), *parts, notes()])


def notes() -> str:
    """What the columns are."""
    return f"""\
A - B, 95%: the mean difference over seeds, and its t interval
P(A better): the probability that one run of A is better than one of B, whatever their seeds
seeds, unpaired: so many show such a difference, paired or not (power 0.8, two-sided level 0.05)
removed: the part of the variance of A - B that equal seeds remove
{page("seeds")}"""


def heading(found: Collected) -> str:
    results = list(found.results.values())
    rules = " or ".join(dict.fromkeys(map(kept, results)))
    return f"{measured_on(results[0])}, nats per example, {rules}"


def against(found: Collected, one: tuple[Path, Group], other: tuple[Path, Group]) -> str:
    """The table of two settings."""
    a, b = (
        Side(name, {lane["seed"]: lane for lane in group.lanes}, found.results[workdir])
        for name, (workdir, group) in zip("AB", (one, other), strict=True)
    )
    seeds, left_out = common_seeds(a, b)
    rows = rows_of(a, b, seeds)
    cells = [HEADS, *map(written, rows)]
    unfinished = [
        f"{side.name} is not finished" for side in (a, b) if not side.results.get("finished", True)
    ]
    return "\n".join(
        [
            *names(found, one, other),
            *fitted([cell[:1] for cell in cells], [cell[1:] for cell in cells]),
            f"over the seeds {listed(seeds)}",
            *left_out,
            *unfinished,
            *warnings([*a.lanes.values(), *b.lanes.values()]),
        ]
    )


def names(found: Collected, one: tuple[Path, Group], other: tuple[Path, Group]) -> list[str]:
    """A line for each of the two settings: what tells it from the other."""
    labels = [group.labels for _, group in (one, other)]
    keys = [key for key in found.keys if labels[0][key] != labels[1][key]]
    return [f"{side}: {named(own, keys)}" for side, own in zip("AB", labels, strict=True)]


def named(labels: dict[str, Any], keys: Sequence[str]) -> str:
    """A setting by what tells it from the other: its run, its keys."""
    rest = [key for key in keys if key not in ("run", "training.seeds")]
    words = [str(labels["run"])] if "run" in keys else []
    return ", ".join([*words, *([setting_of(labels, rest)] if rest else [])])


def listed(seeds: Sequence[int]) -> str:
    """Such as "0, 1, 5" or "0, 1, ..., 999 (1,000)"."""
    words = [str(seed) for seed in seeds]
    if len(words) > MOST_NAMED:
        return f"{words[0]}, {words[1]}, ..., {words[-1]} ({len(words):,})"
    return ", ".join(words)


def common_seeds(a: Side, b: Side) -> tuple[list[int], list[str]]:
    """The seeds of which both have a lane that has not diverged; a line for what is left out.

    Raises:
      UserError: there are fewer than two.
    """
    both = sorted(a.lanes.keys() & b.lanes.keys())
    if len(both) < 2:
        has = f"A has {listed(sorted(a.lanes))}, and B {listed(sorted(b.lanes))}"
        which = f"one seed, {both[0]}, is" if both else "no seed is"
        raise UserError(f"{which} in both ({has}); --paired needs at least two that both have")
    lines = [
        f"seed {seed} of {side.name} diverged at step {lane['diverged_step']:,}: left out of both"
        for side in (a, b)
        for seed, lane in sorted(side.lanes.items())
        if seed in both and lane["status"] == "diverged"
    ]
    for side, other in ((a, b), (b, a)):
        if alone := sorted(side.lanes.keys() - other.lanes.keys()):
            lines.append(f"only {side.name} has the seeds {listed(alone)}: left out")
    sound = [s for s in both if "diverged" not in (a.lanes[s]["status"], b.lanes[s]["status"])]
    if len(sound) < 2:
        raise UserError(
            f"of the {len(both)} seeds that both have, {len(both) - len(sound)} diverged in one of "
            f"them, and --paired needs at least two; {page('troubles#diverged')}"
        )
    return sound, lines


def rows_of(a: Side, b: Side, seeds: Sequence[int]) -> list[Row]:
    """A row for each metric that both have of all these seeds.

    Raises:
      UserError: they are of other data, or were measured in another way.
    """
    pairs = [(a.lanes[seed], b.lanes[seed]) for seed in seeds]
    everyone = [lane for pair in pairs for lane in pair]
    if comparable(pairs[0][0])[1] != comparable(pairs[0][1])[1]:
        data = (", ".join(comparable(lane)[1]) for lane in pairs[0])
        raise UserError("A and B are of other data ({}; {})".format(*data))
    rows = []
    for column in columns_of(everyone):
        numbers = [[value(lane, column) for lane in pair] for pair in pairs]
        if any(number is None for pair in numbers for number in pair):
            continue
        refuse_other_settings(a, b, column)
        a_n, b_n = np.array(numbers, np.float64).T
        rows.append(row_of(column, a_n, b_n, better(column, everyone)))
    if not rows:
        raise UserError("A and B have no metric in common that can be compared")
    return rows


def refuse_other_settings(a: Side, b: Side, column: Shown) -> None:
    """Raises UserError if a metric of A was measured with other settings than that of B."""
    for start, key in SETTINGS.items():
        one, other = a.setting(key), b.setting(key)
        if column.name.startswith(start) and one != other:
            raise UserError(
                f"{column.name} is with {key} = {one} in A and {other} in B; measure one of them "
                "again with `vae-jax evaluate`"
            )


def row_of(column: Shown, a_n: np.ndarray, b_n: np.ndarray, direction: int) -> Row:
    """What the numbers of equal seeds say; direction: as in `better`."""
    difference = paired_difference(a_n, b_n)
    deviations = np.std(a_n - b_n, ddof=1), math.hypot(np.std(a_n, ddof=1), np.std(b_n, ddof=1))
    needed = [
        seeds_needed(difference.mean, float(deviation), paired=paired)
        for deviation, paired in zip(deviations, (True, False), strict=True)
    ]
    chance = probability_above(a_n, b_n) if direction > 0 else probability_above(b_n, a_n)
    return Row(
        column, float(a_n.mean()), float(b_n.mean()), difference,
        chance if direction else None, *needed,
    )  # fmt: skip


def written(row: Row) -> list[str]:
    """The cells of a row."""
    digits, of = all_columns()[row.column.name].digits, row.difference
    return [
        row.column.heading,
        f"{row.a:.{digits}f}",
        f"{row.b:.{digits}f}",
        f"{of.mean:+.{digits + 1}f}",
        f"[{of.low:+.{digits + 1}f}, {of.high:+.{digits + 1}f}]",
        interval_cell(row.better, 2),
        *map(as_count, (row.paired, row.unpaired)),
        "-" if of.removed is None else f"{of.removed:.0%}",
    ]


def as_count(seeds: float) -> str:
    """A number of seeds."""
    return f"{seeds:,.0f}" if math.isfinite(seeds) else f">{MOST_SEEDS:,}"

"""The columns of a table, and which of their numbers can be compared.

The bound of a density (of real numbers) and that of a probability (of levels, counts, or 0 and 1)
are not on one scale, and a pseudo-likelihood is on none. A bound of other images is another number
too. What can't be compared stands in columns of its own, and nothing is the best across it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.reports.seeds import Interval, interquartile_mean
from vae_jax.runs.summary import (
    ALWAYS,
    PSEUDO,
    all_columns,
    bound_of,
    learn_columns,
    summary,
)

Lane = dict[str, Any]  # of results.json

# Keys of the section dataset that leave the test images, or what they are samples of, the same.
SAME_DATA = ("dataset.validation_size", "dataset.num_labels", "dataset.binarization_seed")


class Shown(NamedTuple):
    """A column: a metric, of the lanes that have these properties."""

    name: str  # of the metric
    heading: str
    bound_of: str | None  # such as "density"; None: any
    bound_name: str | None  # such as "iwae(k=50)", "" for the ELBO; None: any
    images: float | None  # of how many images; None: of the test set

    def holds(self, lane: Lane) -> bool:
        return self[2:] == properties(self.name, lane)


def labelled(results: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> list[Lane]:
    """The lanes of results.json with `bound_of` and `bound_name`, which earlier versions lack.

    values: the config of the folder; None: it is not known.
    """
    learn_columns(results)
    return [
        {
            "bound_of": kind_of_old(lane, results, values or {}),
            "bound_name": bound_of_old(lane, results),
        }
        | lane
        for lane in results["lanes"]
    ]


def kind_of_old(lane: Lane, results: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """`bound_of` of a lane of an earlier version."""
    name = str(lane.get("model.likelihood", values.get("model.likelihood", "")))
    support: Any = LIKELIHOODS[name].support if name in LIKELIHOODS else None
    if results["pseudo_likelihood"] and support in ("binary", None):
        return PSEUDO
    return bound_of(support) if support else name


def bound_of_old(lane: Lane, results: Mapping[str, Any]) -> str:
    """`bound_name` of a lane of an earlier version, which wrote it for all lanes together."""
    name, samples = (lane.get(f"objective.{key}") for key in ("name", "num_samples"))
    if name == "elbo" or (name is None and samples is None):
        return "" if name == "elbo" else results.get("bound", "")
    if lane["bound"] == lane["elbo"]:
        return ""
    return f"{name or 'bound'}(k={samples})" if samples is not None else str(name)


def comparable(lane: Lane) -> tuple[str, tuple[str, ...]]:
    """What is equal of lanes whose bounds can be compared: what they are of, and the data."""
    if "bound_of" in lane:
        of = lane["bound_of"]
    else:  # of an earlier version, and not `labelled`
        of = kind_of_old(lane, {"pseudo_likelihood": False}, {})
    if not has_bound(lane):
        of = f"{lane['bound_name']} of a {of}"
    data = tuple(
        f"{key} {value}"
        for key, value in lane.items()
        if key.startswith("dataset.") and key not in SAME_DATA
    )
    return of, data


def kinds(lanes: Sequence[Lane]) -> dict[tuple[str, tuple[str, ...]], list[Lane]]:
    """The lanes whose bounds can be compared, in order of first appearance."""
    groups: dict[tuple[str, tuple[str, ...]], list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(comparable(lane), []).append(lane)
    return groups


def best_lanes(lanes: Sequence[Lane]) -> list[Lane]:
    """The lanes that have not diverged, the highest validation bound first.

    Lanes whose bounds can't be compared are not ranked by them: those that are comparable with the
    first come first. `kinds` tells whether there are others.
    """
    healthy = [
        lane
        for lane in lanes
        if lane["status"] != "diverged" and lane["validation_bound"] is not None
    ]
    return [
        lane
        for group in kinds(healthy).values()
        for lane in sorted(group, key=lambda lane: -lane["validation_bound"])
    ]


def properties(name: str, lane: Lane) -> tuple[str | None, str | None, float | None]:
    """What a metric's column depends on: what the bound is of, which bound, how many images."""
    column = all_columns()[name]
    return (
        lane["bound_of"] if column.of_likelihood else None,
        lane["bound_name"] if name in ("bound", "bits_per_dim") else None,
        lane.get(column.images) if column.images else None,
    )


def has_bound(lane: Lane) -> bool:
    """Whether there is a bound on log p(x). Else `bound_name` is the term that stands for it."""
    return lane.get("bound_name") not in lane


def columns_of(lanes: Sequence[Lane]) -> list[Shown]:
    """The columns that have values; the bound has none of its own where it is the ELBO.

    lanes: `labelled`.
    """
    several = {of: len({lane[of] for lane in lanes}) > 1 for of in ("bound_of", "bound_name")}
    columns = []
    for name, column in all_columns().items():
        holders = [lane for lane in lanes if lane.get(name) is not None]
        if name == "bound":  # it has a column of its own name where it is a term
            holders = [
                lane for lane in holders if lane["bound"] != lane["elbo"] and has_bound(lane)
            ]
        if not holders and column in ALWAYS and name not in ("bound", "bits_per_dim"):
            holders = [lane for lane in lanes[:1] if has_bound(lane)]
        for of, bound, images in dict.fromkeys(properties(name, lane) for lane in holders):
            shown = {"bits_per_dim": "bits/dim", "bound": bound or "bound"}.get(name, name)
            if name == "bits_per_dim" and several["bound_name"]:
                shown += f" of {bound or 'elbo'}"
            if images is not None:
                shown += f"({images:.0f})"
            if of == PSEUDO:
                shown = f"pseudo-{shown}"
            elif of and several["bound_of"]:
                shown += f" ({of})"
            columns.append(Shown(name, shown, of, bound, images))
    return columns


def value(lane: Lane, column: Shown) -> float | None:
    """The number of a lane in a column."""
    return lane.get(column.name) if column.holds(lane) else None


class Means(NamedTuple):
    """The mean of each column over the lanes; None where they have no numbers to average."""

    lanes: int  # that have not diverged
    mean: list[float | None]
    se: list[float | None]  # standard error over the lanes


def means(lanes: Sequence[Lane], columns: Sequence[Shown]) -> Means:
    """The means over the lanes that have not diverged."""
    of = summary(list(lanes))
    healthy = [lane for lane in lanes if lane["status"] != "diverged"]
    held = [all(column.holds(lane) for lane in healthy) for column in columns]

    def numbers(part: str) -> list[float | None]:
        pairs = zip(columns, held, strict=True)
        return [of[part][column.name] if whole else None for column, whole in pairs]

    return Means(of["lanes_in_mean"], numbers("mean"), numbers("se"))


def intervals(lanes: Sequence[Lane], columns: Sequence[Shown]) -> list[Interval | None]:
    """The interquartile mean of each column, over the lanes that have not diverged, with its
    interval; None where there is no mean."""
    healthy = [lane for lane in lanes if lane["status"] != "diverged"]
    pairs = zip(columns, means(lanes, columns).mean, strict=True)
    return [
        None if mean is None else interquartile_mean([lane[column.name] for lane in healthy])
        for column, mean in pairs
    ]


HIGHEST, LOWEST = ("bound", "elbo"), ("nll", "ais_nll", "bits_per_dim")  # what is better


def better(column: Shown, lanes: Sequence[Lane]) -> int:
    """1: the higher is better; -1: the lower; 0: neither is."""
    compared = {lane["bound_name"] for lane in lanes if not has_bound(lane)}
    return 1 if column.name in (*HIGHEST, *compared) else -1 if column.name in LOWEST else 0


def best_rows(groups: Sequence[Sequence[Lane]], columns: Sequence[Shown]) -> dict[int, int]:
    """{column: the group with the best mean}, of columns with several that can be compared."""
    best = {}
    rows = [means(lanes, columns).mean for lanes in groups]
    everyone = [lane for lanes in groups for lane in lanes]
    for j, column in enumerate(columns):
        sign = better(column, everyone)
        signed = {i: sign * mean for i, row in enumerate(rows) if (mean := row[j]) is not None}
        if sign and len(signed) > 1 and len(kinds([x for i in signed for x in groups[i]])) == 1:
            best[j] = max(signed, key=lambda i: signed[i])
    return best


def near_best(groups: Sequence[Sequence[Lane]], columns: Sequence[Shown]) -> dict[int, set[int]]:
    """{column: the groups whose mean is as good as the best}, of columns as in `best_rows`.

    A mean is as good if it differs by at most one standard error of the difference, which is the
    root of the sum of both squared errors; the error of a single lane is not known, and counts 0.
    """
    of = [means(lanes, columns) for lanes in groups]

    def near(i: int, j: int, best: int) -> bool:
        mean, other = of[i].mean[j], of[best].mean[j]
        if mean is None or other is None:
            return False
        return abs(mean - other) <= math.hypot(of[i].se[j] or 0.0, of[best].se[j] or 0.0)

    return {
        j: {i for i in range(len(groups)) if near(i, j, best)}
        for j, best in best_rows(groups, columns).items()
    }


def warnings(lanes: Sequence[Lane]) -> list[str]:
    """What can't be compared among the lanes, a line for each reason."""
    lines = []
    of = dict.fromkeys(lane["bound_of"] or "unknown" for lane in lanes)
    if len(of) > 1:
        lines.append(f"bounds of a {' and of a '.join(of)} can't be compared")
    if len({has_bound(lane) for lane in lanes}) > 1:
        names = dict.fromkeys(lane["bound_name"] for lane in lanes if not has_bound(lane))
        for name in names:
            lines.append(f"a {name} is no bound on log p(x), and can't be compared with one")
    if len({comparable(lane)[1] for lane in lanes}) > 1:
        lines.append("bounds of several datasets can't be compared")
    bounds = dict.fromkeys(lane["bound_name"] or "elbo" for lane in lanes if has_bound(lane))
    if len(bounds) > 1:
        lines.append(f"the bounds differ ({', '.join(bounds)}): a tighter one ranks higher")
    return lines

"""What the tables of papers share: a number over seeds, its interval, and whether a claim holds.

A row compares a number of ours, measured once for each seed, with a reference: the published
number, or 0 for a difference that a paper claims to have a sign. Differences between two settings
are taken seed by seed: equal seeds share initial params, order of data and noise where they can.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.evaluation.metrics.metric import standard_error
from vae_jax.reports.seeds import t_interval
from vae_jax.words import aligned

HEAD = ("", "published", "ours", "seeds", "95% interval", "away", "holds")


class Estimate(NamedTuple):
    """The mean of independent values, such as one for each seed."""

    mean: float
    error: float  # standard error; nan of one value
    seeds: int

    @property
    def interval(self) -> tuple[float, float]:
        """Student's 95% interval, exact for normal values; (nan, nan) of one value."""
        if self.seeds < 2:
            return np.nan, np.nan
        return t_interval(self.mean, self.error, self.seeds)


class Row(NamedTuple):
    """A number of ours beside its reference."""

    what: str
    ours: Estimate
    published: float | None  # None: nothing is compared
    # What is claimed of ours: it is the reference ("equal"), or on one side of it.
    claim: str = "none"  # "none", "equal", "above", "below"
    digits: int = 2


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error; nan of no values."""
    x = np.asarray(values, np.float64)
    if not len(x):
        return Estimate(np.nan, np.nan, 0)
    return Estimate(float(x.mean()), standard_error(x), len(x))


def paired(a: dict[int, float], b: dict[int, float]) -> Estimate:
    """a - b over the seeds that both have: {seed: value}."""
    return estimate([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """The least-squares slope of y by x."""
    return float(np.polyfit(np.asarray(x, np.float64), np.asarray(y, np.float64), 1)[0])


def away(row: Row) -> float:
    """(ours - published) in standard errors of ours; nan where there is none."""
    if row.published is None or not row.ours.error > 0:
        return np.nan
    return (row.ours.mean - row.published) / row.ours.error


def verdict(row: Row) -> str:
    """Whether the claim holds, by the interval.

    "equal" holds if the reference is inside. A side is "yes" or "no" if the interval lies on one
    side, else "open": these seeds do not say.
    """
    low, high = row.ours.interval
    if row.claim == "none" or row.published is None:
        return ""
    if np.isnan(low):
        return "open"
    if row.claim == "equal":
        return "yes" if low <= row.published <= high else "no"
    is_above, is_below = low > row.published, high < row.published
    if not (is_above or is_below):
        return "open"
    return "yes" if is_above == (row.claim == "above") else "no"


def shown(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None or np.isnan(value) else f"{value:{sign}.{digits}f}"


def cells(row: Row) -> list[str]:
    """The row's columns, as HEAD names them."""
    mean, error, seeds = row.ours
    ours = "not yet" if not seeds else shown(mean, row.digits)
    if error == error:
        ours += f" ± {error:.{row.digits}f}"
    low, high = row.ours.interval
    interval = "-" if np.isnan(low) else f"{low:.{row.digits}f} to {high:.{row.digits}f}"
    published = {"above": "> ", "below": "< "}.get(row.claim, "") + shown(row.published, row.digits)
    return [
        row.what,
        published if row.published is not None else "-",
        ours,
        str(seeds),
        interval,
        shown(away(row), 1, "+"),
        verdict(row),
    ]


def lines(rows: Sequence[Row]) -> list[str]:
    """The table, a line for each row."""
    return aligned([list(HEAD), *map(cells, rows)], left={0})

"""The headings of the report page: what was found, in a few words.

Nothing is called the best where bounds can't be compared (`reports/columns.py`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.figures.sweeps import text
from vae_jax.reports.columns import Lane, best_rows, has_bound, kinds, means, near_best
from vae_jax.reports.paper_table import Table, by_error
from vae_jax.reports.sweep_report import points, setting_of
from vae_jax.runs.summary import all_columns
from vae_jax.words import count

MOST_KEYS = 3  # of a setting, in a heading
USED = 0.01  # nats: the mean KL of a latent unit that carries something


class Best(NamedTuple):
    """The setting with the best mean bound."""

    group: int
    heading: str  # of the column, such as "ELBO"
    number: str  # "-107.6 ± 0.1"
    close: str  # the settings whose difference from it is within its standard error; may be ""


def bound_column(table: Table) -> int | None:
    """The first column of a bound; where there is none, that of what is compared."""
    lanes = [lane for group in table.groups for lane in group.lanes]
    compared = {lane["bound_name"] for lane in lanes if not has_bound(lane)}
    names = compared or {"bound", "elbo"}
    return next((j for j, column in enumerate(table.columns) if column.name in names), None)


def best_setting(table: Table) -> Best | None:
    """The best setting; None: there is one alone, or they can't be compared."""
    j = bound_column(table)
    groups = [group.lanes for group in table.groups]
    best = best_rows(groups, table.columns).get(j) if j is not None else None
    if j is None or best is None:
        return None
    near = near_best(groups, table.columns)[j] - {best}
    close = [setting_of(table.groups[i].labels, table.keys) for i in sorted(near)]
    more = [f"and {len(close) - 3} more"] if len(close) > 3 else []
    heading = heading_name(table.columns[j].heading)
    return Best(best, heading, measured(table, j, best), "; ".join([*close[:3], *more]))


def measured(table: Table, j: int, group: int) -> str:
    """A mean with its standard error, as many digits as the error says."""
    of = means(table.groups[group].lanes, table.columns)
    mean, digits = of.mean[j], all_columns()[table.columns[j].name].digits
    return "-" if mean is None else by_error(mean, of.se[j], digits, "±", ",")


def heading_name(heading: str) -> str:
    """The heading of a column in words."""
    return heading.replace("elbo", "ELBO")


def of_results(table: Table, best: Best | None) -> str:
    """The best setting, as "20 latent units and beta 1 are best: test ELBO -107.6 ± 0.1 nats"."""
    j = bound_column(table)
    if best is not None:
        labels = table.groups[best.group].labels
        test = f"test {best.heading} {best.number} nats"
        healthy = [group.labels for group in table.groups if means(group.lanes, []).lanes]
        keys = [key for key in table.keys if len({repr(values[key]) for values in healthy}) > 1]
        if not 0 < len(keys) <= MOST_KEYS:
            return f"The best of {len(table.groups)} settings: {test}"
        verb = "are" if len(keys) > 1 or "model.latent_size" in keys else "is"
        return f"{in_words(labels, keys)} {verb} best: {test}"
    if j is not None and len(table.groups) == 1:
        return f"Test {heading_name(table.columns[j].heading)} {measured(table, j, 0)} nats"
    return f"Results of {count(len(table.groups), 'setting')}"


def in_words(values: dict[str, Any], keys: Sequence[str]) -> str:
    """A setting in words, such as "20 latent units and beta 1"."""
    short = {key: key.rsplit(".", 1)[-1] for key in keys}
    names = list(short.values())
    phrases = []
    for key in keys:
        if key == "model.latent_size":
            phrases.append(f"{text(values[key])} latent unit{'' if values[key] == 1 else 's'}")
        else:
            name = short[key].replace("_", " ") if names.count(short[key]) == 1 else key
            phrases.append(f"{name} {text(values[key])}")
    *first, last = phrases
    return f"{', '.join(first)} and {last}" if first else last


def of_key(key: str, lanes: Sequence[Lane], keys: Sequence[str]) -> str:
    """The test set by a key, and its best value."""
    title = f"Test set by {key}"
    settings = points(list(lanes), list(keys))
    known = [(p.mean["bound"], p.values[key]) for p in settings if p.mean.get("bound") is not None]
    if len(kinds(lanes)) != 1 or len({lane["bound_name"] for lane in lanes}) != 1 or not known:
        return title
    return f"{title}: best at {text(max(known, key=lambda pair: pair[0])[1])}"


def of_training(ranked: Sequence[Lane], last: float) -> str:
    """The best validation bound, and when it was."""
    if not ranked or len(kinds(ranked)) != 1:
        return "Training curves"
    lane = ranked[0]
    name = heading_name(lane["bound_name"] or "elbo")
    return (
        f"Training: the best lane has a validation {name} of {lane['validation_bound']:,.1f}, "
        f"at epoch {lane['best_epoch']:g} of {last:g}"
    )


def of_rates(lanes: Sequence[Lane]) -> str:
    """From which to which KL the lanes go."""
    rates = [lane["kl"] for lane in lanes if lane["kl"] is not None]
    if not rates:
        return "Rate and distortion"
    return f"Rate and distortion: a KL of {min(rates):.1f} to {max(rates):.1f} nats"


def of_units(kl_l: np.ndarray) -> str:
    """How many latent units are in use."""
    used = int((kl_l > USED).sum())
    which = f"{used} of {count(len(kl_l), 'latent unit')}"
    return f"{which} {'has' if used == 1 else 'have'} a mean KL above {USED:g} nats"

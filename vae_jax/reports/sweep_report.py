"""A table and plots of what a finished run or sweep found, made from its records alone."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax.config.schema import nearest
from vae_jax.errors import UserError
from vae_jax.figures import style
from vae_jax.figures.sweeps import (
    MOST_LINES,
    Point,
    against_key,
    curves,
    heat_map,
    independent,
    text,
)
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of
from vae_jax.folders.schemas import RunResults, SweepResults
from vae_jax.reports.columns import Lane, best_lanes, columns_of, kinds, labelled, means, warnings
from vae_jax.reports.drawing import draw_or_tell, file_name, files_of, writable
from vae_jax.reports.run_figures import CHOSEN, draw_rate_distortion, existing_figures
from vae_jax.reports.table import (
    dataset_name,
    figure_lines,
    fitted,
    is_of_others,
    kept,
    measured_on,
    pooled_cells,
    remarks,
    table,
    too_narrow,
    what_is_shown,
)
from vae_jax.runs.summary import summary
from vae_jax.sections.declare import Values
from vae_jax.sweeps.records import pooled
from vae_jax.words import page

MOST_ROWS, MOST_DIVERGED = 40, 10
BEST = 5


def report(
    workdir: Path,
    where: Sequence[str] = (),
    by: Sequence[str] = (),
    drawn_as: Values | None = None,
    *,
    interval: bool = False,
) -> None:
    """Prints and plots a run's or a sweep's results.

    Args:
      workdir: the run folder.
      where: "key=value" of swept keys; only lanes with these values are used.
      by: keys that separate settings; lanes are pooled over the others; none: all that differ.
      drawn_as: a config that says how figures are written; None: the folder's.
      interval: interquartile means with their intervals, instead of means and standard errors.

    Raises:
      UserError: there are no results, a key was not swept, or no lane has such a value.
    """
    values = folder.recorded_config(workdir)  # raises if there is no run
    is_single, named = kind_of(workdir) is not Kind.SWEEP, values.get(CHOSEN, ())
    results = folder.read_results(workdir, RunResults if is_single else SweepResults)
    if is_single:
        if where or by:
            raise UserError(f"{workdir} holds a single run: --where and --by are for sweeps")
        print(table(workdir, results, interval=interval))
        print(figure_lines(existing_figures(workdir, named)))
        return
    lanes = selected(results | {"lanes": labelled(results, values)}, where)
    keys = [known(key, results["swept"]) for key in by] or [
        key for key in results["swept"] if len({repr(lane[key]) for lane in lanes}) > 1
    ]
    print(sweep_table(workdir, results, lanes, keys, where, interval=interval), flush=True)
    if writable(workdir):
        with style.written(files_of(drawn_as or values)):
            paths = draw(workdir, results, lanes, keys, by, where)
        # The figures of the best lane are in the folder too.
        by_stem = {path.stem: path for path in (*existing_figures(workdir, named), *paths)}
        print(figure_lines(list(by_stem.values())))


def known(key: str, swept: list[str]) -> str:
    """Returns the key. Raises UserError if it was not swept."""
    if key not in swept:
        if not swept:
            raise UserError(f"nothing was swept here but seeds; {key!r} can't be asked for")
        raise UserError(
            f"{key!r} was not swept here; did you mean {nearest(key, swept)!r}? "
            f"swept: {', '.join(swept)}"
        )
    return key


def selected(results: dict[str, Any], where: Sequence[str]) -> list[dict[str, Any]]:
    """The lanes that satisfy every "key=value"."""
    lanes = results["lanes"]
    if not lanes:
        raise UserError("no program of the sweep is finished yet")
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--where={condition} should be KEY=VALUE, as model.latent_size=10")
        known(key, results["swept"])
        chosen = [lane for lane in lanes if is_meant(lane[key], value)]
        if not chosen:
            known_values = dict.fromkeys(shown(lane[key]) for lane in lanes)
            raise UserError(f"no lane has {condition}; values of {key}: {', '.join(known_values)}")
        lanes = chosen
    return lanes


def is_meant(value: Any, written: str) -> bool:
    """Whether the text that a user wrote means this value of a lane."""
    try:
        literal = ast.literal_eval(written)
    except (ValueError, SyntaxError):
        literal = written
    if isinstance(literal, tuple):
        literal = list(literal)
    if isinstance(value, list) and not isinstance(literal, list):
        literal = [literal]
    return value == literal or written in (str(value), text(value))


def shown(value: Any) -> str:
    return str(tuple(value)) if isinstance(value, list) else str(value)


def points(lanes: list[dict[str, Any]], keys: list[str]) -> list[Point]:
    """The points to plot: one for each setting with a lane that has not diverged."""
    drawable = []
    for values, members in pooled(lanes, keys):
        of = summary(members)
        if of["lanes_in_mean"]:
            drawable.append(Point(values, of["mean"], of["se"]))
    return drawable


def in_order(groups: list[tuple[dict[str, Any], list]]) -> list[tuple[dict[str, Any], list]]:
    """The groups sorted key by key: numbers by size, other values in order of first appearance."""
    first: dict[str, int] = {}

    def rank(value: Any) -> float:
        return value if isinstance(value, (int, float)) else first[repr(value)]

    for values, _ in groups:
        for value in values.values():
            first.setdefault(repr(value), len(first))
    return sorted(groups, key=lambda group: [rank(value) for value in group[0].values()])


def sweep_table(
    workdir: Path,
    results: dict[str, Any],
    lanes: list[dict[str, Any]],
    keys: list[str],
    where: Sequence[str],
    *,
    interval: bool = False,
) -> str:
    """A row for each setting: mean ± standard error over its lanes, or their interquartile mean
    with its interval; then the best lanes."""
    done, programs, swept = (results[name] for name in ("programs_done", "programs", "swept"))
    groups = in_order(pooled(lanes, keys))
    settings = groups if len(groups) <= MOST_ROWS else best_groups(groups)[:MOST_ROWS]
    columns = columns_of(lanes)
    heads, bodies = [[*keys, "lanes"]], [[column.heading for column in columns]]
    for values, members in settings:
        heads.append([*(text(v) for v in values.values()), str(means(members, columns).lanes)])
        bodies.append(pooled_cells(members, columns, interval=interval))
    only = f", only {' and '.join(where)}" if where else ""
    lines = [
        *([] if done == programs else [f"unfinished: {done} of {programs} programs so far"]),
        f"{measured_on(results)}, nats per example, "
        f"{what_is_shown('lanes', interval=interval, sign='± ')}, {kept(results)}{only}",
        *fitted(heads, bodies),
    ]
    lines += too_narrow([members for _, members in settings]) if interval else []
    if len(groups) > MOST_ROWS:
        lines.append(f"the best {MOST_ROWS} of {len(groups)} settings; {folder.RESULTS} has all")
    hidden = [k for k in swept if k not in keys and len({repr(v[k]) for v in lanes}) > 1]
    if hidden:
        lines.append(f"a row pools lanes that differ in {', '.join(hidden)}; --where narrows them")
    lines += warnings(lanes)
    if results["pseudo_likelihood"]:
        lines.append("grey values in a Bernoulli: a pseudo-likelihood, not to be put in a table")
    lines += remarks(results)
    lines += diverged_lines(lanes, swept)
    lines += best_lines(best_lanes(lanes), swept)
    return "\n".join([*lines, "", f"results      {workdir / folder.RESULTS}"])


def diverged_lines(lanes: Sequence[Lane], swept: Sequence[str]) -> list[str]:
    """A line for each lane that diverged, up to MOST_DIVERGED, and where to read why."""
    diverged = [lane for lane in lanes if lane["status"] == "diverged"]
    lines = [
        f"lane {lane['lane']} ({setting_of(lane, swept)}, seed {lane['seed']}) diverged at "
        f"step {lane['diverged_step']:,}, left out"
        for lane in diverged[:MOST_DIVERGED]
    ]
    if len(diverged) > MOST_DIVERGED:
        lines.append(f"and {len(diverged) - MOST_DIVERGED} more diverged; see {folder.LANES}")
    return [*lines, f"why a lane diverges: {page('troubles#diverged')}"] if diverged else []


def best_groups(groups: list[tuple[dict[str, Any], list[Lane]]]) -> list:
    """The groups, the best mean bound first, among those whose bounds can be compared."""
    bounds = [summary(members)["mean"]["bound"] for _, members in groups]
    of = list(kinds([members[0] for _, members in groups]).values())
    rank = {lane["lane"]: i for i, lanes in enumerate(of) for lane in lanes}
    order = sorted(
        range(len(groups)),
        key=lambda i: (rank[groups[i][1][0]["lane"]], -(bounds[i] or -float("inf"))),
    )
    return [groups[i] for i in order]


def best_lines(ranked: list[Lane], swept: list[str]) -> list[str]:
    """The best lanes by validation, for each kind of bound by itself."""
    lines = []
    of_kinds = kinds(ranked)
    for (of, data), lanes in of_kinds.items():
        which = f" ({', '.join([*([of] if of else []), *data])})" if len(of_kinds) > 1 else ""
        lines += ["", f"best lanes by validation{which}"]
        for lane in lanes[:BEST]:
            bound = "-" if lane["bound"] is None else f"{lane['bound']:.2f}"
            lines.append(
                f"lane {lane['lane']:>4}: validation {lane['validation_bound']:.2f}, test {bound}; "
                f"{setting_of(lane, swept)}, seed {lane['seed']}, epoch {lane['best_epoch']:g}"
            )
    return lines


def setting_of(lane: dict[str, Any], keys: Sequence[str]) -> str:
    """The keys and their values in a few words."""
    return ", ".join(f"{key} {text(lane[key])}" for key in keys) or "the config as it is"


def draw(
    workdir: Path,
    results: dict[str, Any],
    lanes: list[dict[str, Any]],
    keys: list[str],
    by: Sequence[str],
    where: Sequence[str],
) -> list[Path]:
    """Draws every plot of these lanes, which the keys separate into settings; returns the paths.

    A question's plots lie beside those of the whole sweep: `by` and `where` are in their names.
    """
    figures_folder = workdir / folder.FIGURES
    prefix = "pseudo-" if results["pseudo_likelihood"] else ""
    condition = "".join(f"_where_{c}" for c in where)
    question = "".join(f"_by_{key}" for key in by) + condition
    title = f"{dataset_name(results)}\nmean and standard error over lanes"
    title += f", {' and '.join(where)}" * bool(where)
    title += "".join(f"\n{warning}" for warning in warnings(lanes))
    sweep_points = points(lanes, keys)
    if not sweep_points:
        return []
    paths: list[Path] = []
    for key in keys:
        path = figures_folder / file_name(f"by_{key}{others(by, key)}{condition}")
        paths += draw_or_tell(against_key, path, sweep_points, key, title=title, prefix=prefix)
    if len(keys) == 2 and independent(sweep_points, keys[0]):
        path = figures_folder / file_name(f"heat_map_{keys[0]}_{keys[1]}{condition}")
        paths += draw_or_tell(heat_map, path, sweep_points, title=title, prefix=prefix)
    healthy = [lane for lane in lanes if lane["status"] != "diverged"]
    paths += draw_rate_distortion(
        figures_folder / file_name(f"rate_distortion{question}"),
        {setting_of(values, keys): members for values, members in in_order(pooled(healthy, keys))},
        title=f"{dataset_name(results)}: one point for each lane",
        prefix=prefix,
    )
    if not is_of_others(results):  # those of the training are in the folder of the sweep itself
        path = figures_folder / file_name(f"training_curves{question}")
        paths += draw_or_tell(
            draw_curves, path, workdir, lanes, keys, prefix, dataset_name(results)
        )
    return paths


def others(by: Sequence[str], key: str) -> str:
    """The other keys that were asked for, as a part of a file's name."""
    return "".join(f"_{other}" for other in by if other != key)


def draw_curves(
    path: Path, workdir: Path, lanes: list[dict], keys: list[str], prefix: str, name: str
) -> None:
    """Draws each setting's curves; if there are many, only those of the best by validation."""
    rows: dict[int, list[dict]] = {}
    for row in folder.read_rows(workdir):
        if row["split"] == "validation":
            rows.setdefault(row["lane"], []).append(row)
    groups = pooled(lanes, keys)
    best = {lane["lane"]: rank for rank, lane in enumerate(best_lanes(lanes))}
    groups = sorted(groups, key=lambda g: min(best.get(v["lane"], len(lanes)) for v in g[1]))
    chosen = sorted(groups[:MOST_LINES], key=lambda g: g[1][0]["lane"])
    settings = {
        setting_of(values, keys): [rows.get(lane["lane"], []) for lane in members]
        for values, members in chosen
    }
    of = f", the best {MOST_LINES} of {len(groups)} settings" if len(groups) > MOST_LINES else ""
    curves(
        path,
        settings,
        title=f"{name}: validation, mean and range over lanes{of}",
        prefix=prefix,
    )

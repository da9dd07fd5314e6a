"""Results as tables in plain text."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax.data.shapes import is_vector
from vae_jax.folders import folder
from vae_jax.reports.columns import (
    Lane,
    Shown,
    columns_of,
    has_bound,
    intervals,
    labelled,
    means,
    value,
)
from vae_jax.reports.remarks import of_training
from vae_jax.reports.seeds import TRUSTED as TRUSTED_SEEDS
from vae_jax.reports.seeds import Interval
from vae_jax.runs.summary import all_columns
from vae_jax.words import aligned, count, page

WIDEST = 120  # characters of a table, however wide the terminal is
TRUSTED = 0.01  # the greatest accepted fraction of images with one dominating sample


def kept(results: dict[str, Any]) -> str:
    """Which epoch's params were evaluated."""
    if results.get("kept") == "last":
        return "each lane's last epoch"
    if results.get("objective_is_bound", True):
        return "each lane's best by validation"
    return "each lane's best by validation of the objective as at its end"


def cells(numbers: Sequence[float | None], columns: Sequence[Shown]) -> list[str]:
    """The printed numbers of these columns."""
    digits = all_columns()
    pairs = zip(numbers, columns, strict=True)
    return ["-" if v is None else f"{v:.{digits[c.name].digits}f}" for v, c in pairs]


MEANS = "mean {}standard error over {}"
INTERVALS = "interquartile mean [95% bootstrap interval] over {}"


def what_is_shown(over: str, *, interval: bool, sign: str = "and ") -> str:
    """What a table has of several lanes; over: "lanes" or "seeds"."""
    return INTERVALS.format(over) if interval else MEANS.format(sign, over)


def pooled_cells(lanes: Sequence[Lane], columns: Sequence[Shown], *, interval: bool) -> list[str]:
    """The cells of a setting: what its lanes have in each column."""
    if interval:
        digits = all_columns()
        found = zip(intervals(lanes, columns), columns, strict=True)
        return [interval_cell(of, digits[column.name].digits) for of, column in found]
    of = means(lanes, columns)
    pairs = zip(cells(of.mean, columns), cells(of.se, columns), strict=True)
    return [f"{mean} ± {se}" if se != "-" else mean for mean, se in pairs]


def interval_cell(of: Interval | None, digits: int) -> str:
    """Such as "-107.61 [-107.80, -107.42]"."""
    if of is None:
        return "-"
    if of.low is None:
        return f"{of.value:.{digits}f}"
    return f"{of.value:.{digits}f} [{of.low:.{digits}f}, {of.high:.{digits}f}]"


def too_narrow(groups: Sequence[Sequence[Lane]]) -> list[str]:
    """A line, if some intervals are of too few lanes to have the level that they say."""
    if not any(0 < means(lanes, []).lanes < TRUSTED_SEEDS for lanes in groups):
        return []
    return [
        f"an interval of fewer than {TRUSTED_SEEDS} seeds is narrower than it should be, and of "
        f"fewer than 3 there is none: {page('seeds')}"
    ]


def terminal_width() -> int:
    """The characters of a line; WIDEST where there is no terminal."""
    return min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)


def fitted(
    heads: Sequence[Sequence[str]], bodies: Sequence[Sequence[str]], narrowest: int = 0
) -> list[str]:
    """The lines of a table, or of several, one below the other, that fit the terminal's width.

    Args:
      heads: the first cells of each row, which every table begins with.
      bodies: the other cells of each row.
      narrowest: the least width of a column of `bodies`.
    """
    bodies = [[cell.rjust(narrowest) for cell in body] for body in bodies]
    head_widths, widths = (
        [max(map(len, column)) for column in zip(*rows, strict=True)] for rows in (heads, bodies)
    )
    room = terminal_width() - sum(head_widths) - 2 * len(head_widths)
    tables: list[list[int]] = [[]]  # the columns of each
    for i, width in enumerate(widths):
        if tables[-1] and sum(widths[j] + 2 for j in tables[-1]) + width > room:
            tables.append([])
        tables[-1].append(i)
    pairs = [*zip(heads, bodies, strict=True)]
    return [
        line
        for columns in tables
        for line in aligned([[*head, *(body[i] for i in columns)] for head, body in pairs])
    ]


def figure_lines(figures: list[Path]) -> str:
    """The lines that say how many figures there are, and where."""
    folders = Counter(path.parent for path in figures)
    return "\n".join(f"{count(n, 'figure')} in {parent}" for parent, n in folders.items())


def table(workdir: Path, results: dict[str, Any], *, interval: bool = False) -> str:
    """The final table for people: the lanes, their mean, and where the files are.

    interval: the interquartile mean with its interval, instead of the mean and its error.
    """
    lanes = labelled(results)
    lines = [
        *([] if results["finished"] else [unfinished(results)]),
        f"{measured_on(results)}, nats per example, {kept(results)}",
    ]
    columns = columns_of(lanes)
    heads = [["lane", "seed", "status", "best epoch"]]
    bodies = [[column.heading for column in columns]]
    for lane in lanes:
        head = (lane["lane"], lane["seed"], lane["status"], f"{lane['best_epoch']:g}")
        heads.append([*map(str, head)])
        bodies.append(cells([value(lane, column) for column in columns], columns))
    if results["lanes_in_mean"] > 1 and interval:
        found = intervals(lanes, columns)
        for name, part in (("iqm", "value"), ("low", "low"), ("high", "high")):
            heads.append(["", "", "", name])
            numbers = [None if of is None else getattr(of, part) for of in found]
            bodies.append(cells(numbers, columns))
    elif results["lanes_in_mean"] > 1:
        of = means(lanes, columns)
        heads += [["", "", "", "mean"], ["", "", "", "± se"]]
        bodies += [cells(of.mean, columns), cells(of.se, columns)]
    lines += fitted(heads, bodies, narrowest=8)
    if interval:
        lines.append(f"iqm, low, high: {what_is_shown('lanes', interval=True)}")
        lines += too_narrow([lanes])
    if results["pseudo_likelihood"]:
        lines.append("grey values in a Bernoulli: a pseudo-likelihood, not to be put in a table")
    lines += [warning for lane in results["lanes"] for warning in nll_warnings(lane)]
    lines += remarks(results)
    diverged = [lane for lane in results["lanes"] if lane["status"] == "diverged"]
    for lane in diverged:
        lines.append(f"lane {lane['lane']} diverged at step {lane['diverged_step']:,}, left out")
    if diverged:
        lines.append(f"why a lane diverges: {page('troubles#diverged')}")
    lines += [
        "",
        f"results      {workdir / folder.RESULTS}",
    ]
    if not is_of_others(results):
        lines += [
            f"metrics      {workdir / folder.METRICS}",
            f"checkpoints  {workdir / folder.CHECKPOINTS}",
        ]
    return "\n".join(lines)


def unfinished(results: dict[str, Any]) -> str:
    """How far a run is that is not finished."""
    if any(lane["status"] == "stopped" for lane in results["lanes"]):
        return f"stopped by its callback at step {results['step']:,}; trained again, it goes on"
    return f"unfinished: at step {results['step']:,}"


def folder_name(workdir: Path) -> str:
    """The name of a run folder, also of "." and ".."; of the root, its path."""
    path = Path(os.path.abspath(workdir))
    return path.name or str(path)


def dataset_name(results: dict[str, Any]) -> str:
    """The name of the dataset, how many test images it has, and how they are binarised."""
    identity = results["dataset"]
    if "several" in identity:
        return "several datasets"
    name = " ".join(Path(identity["name"]).name.split())
    if is_vector(tuple(identity.get("image_shape", ()))):
        return f"{name} ({count(identity['test_size'], 'vector')})"
    return (
        f"{name} ({count(identity['test_size'], 'image')}, binarisation: "
        f"{identity['binarization']})"
    )


def is_of_others(results: dict[str, Any]) -> bool:
    """Whether they are of other images than the test set of the run's own dataset."""
    return bool(trained_on(results))


def trained_on(results: dict[str, Any]) -> list[str]:
    """The names of the datasets of the runs, where the results are of other images; else []."""
    identity = results["dataset"]
    several = identity.get("several", [identity])
    return list(dict.fromkeys(one["trained_on"] for one in several if "trained_on" in one))


def measured_on(results: dict[str, Any]) -> str:
    """The images that are measured, such as "test set of mnist (10,000 images, ...)"."""
    if not (names := trained_on(results)):
        return f"test set of {dataset_name(results)}"
    datasets = " and ".join(" ".join(Path(name).name.split()) for name in names)
    return f"images of {dataset_name(results)}, by a model trained on {datasets}"


def remarks(results: dict[str, Any]) -> list[str]:
    """What a reader of the numbers has to know."""
    lines = []
    if results.get("corruption", "none") != "none":
        has_bounds = any(has_bound(lane) for lane in results["lanes"])
        terms = "elbo and kl are" if has_bounds else "the reconstruction is"
        lines.append(
            f"{terms} of corrupted inputs, as trained; latents, surgery and nll encode the clean "
            "ones"
        )
    of_others = is_of_others(results)  # the run's own results have what follows
    far = [lane for lane in results["lanes"] if lane.get("far_from_prior")]
    if far and not of_others:
        worst = max(far, key=lambda lane: lane["aggregate_posterior_kl"])
        lines.append(
            f"the codes of {count(len(far), 'lane')} are far from the prior (lane {worst['lane']}: "
            f"at least {worst['aggregate_posterior_kl']:.1f} nats): samples from the prior will "
            f"not look like the data: {page('photographs')}"
        )
    lines += [] if of_others else of_training(results["lanes"])
    for name, reason in results.get("not_measured", {}).items():
        lines.append(f"{name} could not be measured: {reason}")
    return lines


def nll_warnings(lane: dict[str, Any]) -> list[str]:
    """A line, if the importance weights of a lane's nll can't be trusted."""
    if lane.get("dominated", 0) <= TRUSTED:
        return []
    about = lane.get("importance_gap")
    # Below 0, the bound of AIS is the worse of the two, and says nothing of this one.
    by = f", by about {about:.2f} nats (ais)" if about is not None and about > 0 else ""
    more = (
        "raise evaluation.num_importance_samples"
        if about is not None
        else "raise evaluation.num_importance_samples, or measure ais too"
    )
    return [
        f"nll of lane {lane['lane']} is an upper bound{by}: in {lane['dominated']:.0%} of the "
        f"images one sample has over half of the weight; {more}"
    ]

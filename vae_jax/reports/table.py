"""Results as tables in plain text."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax.reports.columns import Shown, columns_of, labelled, means, value
from vae_jax.reports.remarks import of_training
from vae_jax.runs import folder
from vae_jax.runs.summary import all_columns
from vae_jax.words import count

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


def terminal_width() -> int:
    """The characters of a line; 80 where there is no terminal."""
    return min(shutil.get_terminal_size((80, 24)).columns, WIDEST)


def fitted(
    heads: Sequence[Sequence[str]], bodies: Sequence[Sequence[str]], narrowest: int = 0
) -> list[str]:
    """The lines of a table, or of several, one below the other, that fit the terminal's width.

    Args:
      heads: the first cells of each row, which every table begins with.
      bodies: the other cells of each row.
      narrowest: the least width of a column of `bodies`.
    """
    own = [max(map(len, column)) for column in zip(*heads, strict=True)]
    widths = [max(narrowest, *map(len, column)) for column in zip(*bodies, strict=True)]
    room = terminal_width() - sum(own) - 2 * len(own)
    tables: list[list[int]] = [[]]  # the columns of each
    for i, width in enumerate(widths):
        if tables[-1] and sum(widths[j] + 2 for j in tables[-1]) + width > room:
            tables.append([])
        tables[-1].append(i)
    return [
        line([*head, *(body[i] for i in columns)], [*own, *(widths[i] for i in columns)])
        for columns in tables
        for head, body in zip(heads, bodies, strict=True)
    ]


def figure_lines(figures: list[Path]) -> str:
    """The lines that say how many figures there are, and where."""
    folders = Counter(path.parent for path in figures)
    return "\n".join(f"{count(n, 'figure')} in {at}" for at, n in folders.items())


def table(workdir: Path, results: dict[str, Any]) -> str:
    """The final table for people: the lanes, their mean, and where the files are."""
    lanes = labelled(results)
    lines = [
        *([] if results["finished"] else [unfinished(results)]),
        f"test set of {dataset_name(results)}, nats per example, {kept(results)}",
    ]
    columns = columns_of(lanes)
    heads = [["lane", "seed", "status", "best epoch"]]
    bodies = [[column.heading for column in columns]]
    for lane in lanes:
        own = (lane["lane"], lane["seed"], lane["status"], f"{lane['best_epoch']:g}")
        heads.append([*map(str, own)])
        bodies.append(cells([value(lane, column) for column in columns], columns))
    if results["lanes_in_mean"] > 1:
        of = means(lanes, columns)
        heads += [["", "", "", "mean"], ["", "", "", "± se"]]
        bodies += [cells(of.mean, columns), cells(of.se, columns)]
    lines += fitted(heads, bodies, narrowest=8)
    if results["pseudo_likelihood"]:
        lines.append("grey values in a Bernoulli: a pseudo-likelihood, not to be put in a table")
    lines += [warning for lane in results["lanes"] for warning in nll_warnings(lane)]
    lines += remarks(results)
    diverged = [lane for lane in results["lanes"] if lane["status"] == "diverged"]
    for lane in diverged:
        lines.append(f"lane {lane['lane']} diverged at step {lane['diverged_step']:,}, left out")
    lines += [
        "",
        f"results      {workdir / folder.RESULTS}",
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
    at = Path(os.path.abspath(workdir))
    return at.name or str(at)


def dataset_name(results: dict[str, Any]) -> str:
    """The name of the dataset, how many test images it has, and how they are binarised."""
    identity = results["dataset"]
    if "several" in identity:
        return "several datasets"
    name = " ".join(Path(identity["name"]).name.split())
    return (
        f"{name} ({count(identity['test_size'], 'image')}, binarisation: "
        f"{identity['binarization']})"
    )


def remarks(results: dict[str, Any]) -> list[str]:
    """What a reader of the numbers has to know."""
    lines = []
    if results.get("corruption", "none") != "none":
        lines.append(
            "elbo and kl are of corrupted inputs, as trained; latents, surgery and nll encode the "
            "clean ones"
        )
    far = [lane for lane in results["lanes"] if lane.get("far_from_prior")]
    if far:
        worst = max(far, key=lambda lane: lane["aggregate_posterior_kl"])
        lines.append(
            f"the codes of {count(len(far), 'lane')} are far from the prior (lane {worst['lane']}: "
            f"at least {worst['aggregate_posterior_kl']:.1f} nats): samples from the prior will "
            "not look like the data; see docs/photographs.md"
        )
    lines += of_training(results["lanes"])
    for name, reason in results.get("not_measured", {}).items():
        lines.append(f"{name} could not be measured: {reason}")
    return lines


def nll_warnings(lane: dict[str, Any]) -> list[str]:
    """A line, if the importance weights of a lane's nll can't be trusted."""
    if lane.get("dominated", 0) <= TRUSTED:
        return []
    about = lane.get("importance_gap")
    by = f", by about {about:.2f} nats (ais)" if about is not None else ""
    more = (
        "raise evaluation.num_importance_samples"
        if about is not None
        else "raise evaluation.num_importance_samples, or measure ais too"
    )
    return [
        f"nll of lane {lane['lane']} is an upper bound{by}: in {lane['dominated']:.0%} of the "
        f"images one sample has over half of the weight; {more}"
    ]


def line(parts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{part:>{width}}" for part, width in zip(parts, widths, strict=True))

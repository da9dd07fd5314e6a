"""Results as tables in plain text."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax.reports.columns import Shown, columns_of, labelled, means, value
from vae_jax.reports.remarks import of_training
from vae_jax.runs import folder
from vae_jax.runs.summary import all_columns
from vae_jax.words import count

WIDTH = 84  # characters of a table's columns, without those that identify the lane
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


def blocks(columns: Sequence[Shown], narrowest: int = 8) -> list[list[Shown]]:
    """Divides the columns into tables, one below the other, that fit the width of a screen."""
    found: list[list[Shown]] = [[]]
    for column in columns:
        widths = [max(narrowest, len(c.heading)) + 2 for c in (*found[-1], column)]
        if sum(widths) > WIDTH and found[-1]:
            found.append([])
        found[-1].append(column)
    return found


def figure_lines(figures: list[Path]) -> str:
    """The lines that say where the figures are."""
    return "\n".join(f"figure       {path}" for path in figures)


def table(workdir: Path, results: dict[str, Any]) -> str:
    """The final table for people: the lanes, their mean, and where the files are."""
    lanes = labelled(results)
    lines = [
        *([] if results["finished"] else [f"unfinished: at step {results['step']}"]),
        f"test set of {dataset_name(results)}, nats per example, {kept(results)}",
    ]
    for columns in blocks(columns_of(lanes)):
        names = [column.heading for column in columns]
        rows = [["lane", "seed", "status", "best epoch", *names]]
        for lane in lanes:
            head = (str(lane["lane"]), str(lane["seed"]), lane["status"])
            numbers = cells([value(lane, column) for column in columns], columns)
            rows.append([*head, f"{lane['best_epoch']:g}", *numbers])
        if results["lanes_in_mean"] > 1:
            of = means(lanes, columns)
            rows.append(["", "", "", "mean", *cells(of.mean, columns)])
            rows.append(["", "", "", "± se", *cells(of.se, columns)])
        widths = [4, 10, 8, 10, *(max(8, len(name)) for name in names)]
        lines += ["  ".join(map(str.rjust, row, widths)) for row in rows]
    if results["pseudo_likelihood"]:
        lines.append("grey values in a Bernoulli: a pseudo-likelihood, not to be put in a table")
    lines += [warning for lane in results["lanes"] for warning in nll_warnings(lane)]
    lines += remarks(results)
    diverged = [lane for lane in results["lanes"] if lane["status"] == "diverged"]
    for lane in diverged:
        lines.append(f"lane {lane['lane']} diverged at step {lane['diverged_step']}, left out")
    lines += [
        "",
        f"results      {workdir / folder.RESULTS}",
        f"metrics      {workdir / folder.METRICS}",
        f"checkpoints  {workdir / folder.CHECKPOINTS}",
    ]
    return "\n".join(lines)


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

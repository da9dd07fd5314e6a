"""Results as tables in plain text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax.runs import folder
from vae_jax.runs.summary import ALWAYS, all_columns
from vae_jax.words import count

WIDTH = 84  # characters of a table's columns, without those that identify the lane
TRUSTED = 0.01  # the greatest accepted fraction of images with one dominating sample


def shown_metrics(lanes: list[dict[str, Any]]) -> list[str]:
    """The columns that have values, without the bound if it is the ELBO itself."""
    there = [
        name
        for name, column in all_columns().items()
        if column in ALWAYS or any(lane.get(name) is not None for lane in lanes)
    ]
    if all(lane["bound"] == lane["elbo"] for lane in lanes):
        there.remove("bound")
    if all(lane["bits_per_dim"] is None for lane in lanes):
        there.remove("bits_per_dim")
    return there


def kept(results: dict[str, Any]) -> str:
    """Which epoch's params were evaluated."""
    if results.get("kept") == "last":
        return "each lane's last epoch"
    if results.get("objective_is_bound", True):
        return "each lane's best by validation"
    return "each lane's best by validation of the objective as at its end"


def images_of(lanes: list[dict[str, Any]]) -> dict[str, int]:
    """{metric: the number of images}, of those that take fewer than the test set."""
    return {
        name: lane[column.images]
        for name, column in all_columns().items()
        for lane in lanes
        if column.images and lane.get(column.images) is not None
    }


def column(name: str, pseudo: str, results: dict[str, Any]) -> str:
    """The heading of a metric's column."""
    shown = name.replace("bits_per_dim", "bits/dim")
    if name == "bound":
        shown = results.get("bound") or shown
    images = images_of(results.get("lanes", []))
    if name in images:
        shown += f"({images[name]:.0f})"
    return f"{pseudo}{shown}" if all_columns()[name].of_likelihood else shown


def cells(numbers: dict[str, float | None], names: list[str]) -> list[str]:
    """The printed values of these metrics."""
    columns = all_columns()
    return ["-" if (v := numbers.get(n)) is None else f"{v:.{columns[n].digits}f}" for n in names]


def blocks(names: list[str], narrowest: int = 8) -> list[list[str]]:
    """Divides the columns into tables, one below the other, that fit the width of a screen."""
    found: list[list[str]] = [[]]
    for name in names:
        widths = [max(narrowest, len(n)) + 2 for n in (*found[-1], name)]
        if sum(widths) > WIDTH and found[-1]:
            found.append([])
        found[-1].append(name)
    return found


def figure_lines(figures: list[Path]) -> str:
    """The lines that say where the figures are."""
    return "\n".join(f"figure       {path}" for path in figures)


def table(workdir: Path, results: dict[str, Any]) -> str:
    """The final table for people: the lanes, their mean, and where the files are."""
    pseudo = "pseudo-" if results["pseudo_likelihood"] else ""
    lines = [
        *([] if results["finished"] else [f"unfinished: at step {results['step']}"]),
        f"test set of {dataset_name(results)}, nats per example, {kept(results)}",
    ]
    for metrics in blocks(shown_metrics(results["lanes"])):
        names = [column(name, pseudo, results) for name in metrics]
        rows = [["lane", "seed", "status", "best epoch", *names]]
        for lane in results["lanes"]:
            head = (str(lane["lane"]), str(lane["seed"]), lane["status"])
            rows.append([*head, f"{lane['best_epoch']:g}", *cells(lane, metrics)])
        if results["lanes_in_mean"] > 1:
            rows.append(["", "", "", "mean", *cells(results["mean"], metrics)])
            rows.append(["", "", "", "± se", *cells(results["se"], metrics)])
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
    at = workdir.resolve()
    return at.name or str(at)


def dataset_name(results: dict[str, Any]) -> str:
    """The name of the dataset, how many test images it has, and how they are binarised."""
    identity = results["dataset"]
    if "several" in identity:
        return "several datasets"
    return (
        f"{Path(identity['name']).name} ({count(identity['test_size'], 'image')}, binarisation: "
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

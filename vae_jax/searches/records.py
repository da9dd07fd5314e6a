"""What a search found: its results, their table, and the run folder of the best trial."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_jax import files
from vae_jax.config.build import facts_of
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Checkpoints, Progress, template
from vae_jax.folders.schemas import SearchResults, read_json
from vae_jax.reports.columns import has_bound
from vae_jax.reports.table import dataset_name, fitted
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import Lane, Run, lanes_of, make_program, make_start
from vae_jax.searches.plan import Plan
from vae_jax.searches.rounds import SearchState, lane_rows, stack
from vae_jax.training.search import Trial
from vae_jax.words import aligned, count

MOST_ROWS = 10


def is_finished(plan: Plan) -> bool:
    """Whether the search has results, and the run folder of its best trial is whole.

    Raises:
      UserError: the results are damaged.
    """
    path = plan.workdir / folder.RESULTS
    if not path.exists():
        return False
    record = read_json(path, SearchResults)
    return record["finished"] and is_whole(plan, plan.workdir / folder.BEST)


def is_whole(plan: Plan, workdir: Path) -> bool:
    """Whether the run folder of a trial can be read, with its results and its checkpoint."""
    try:
        lanes = lanes_of(folder.read_config(workdir))
        load_progress(make_program(lanes, workdir, plan.data))
        return folder.is_finished(workdir)
    except UserError:
        return False


def write_best(plan: Plan, search: SearchState, trial: Trial) -> tuple[Run, Progress]:
    """Writes the run folder of a trial that was trained to the end, as if it had been alone.

    Padded latent units are cut away.
    """
    workdir = plan.workdir / folder.BEST
    config = plan.config(trial.setting)
    run = make_program([Lane(0, plan.seed, {}, config)], workdir, plan.data)
    like, kept = template(run.spec, make_start(run)), search.kept[trial.number]
    done = jax.tree.map(
        lambda shape, leaf: leaf[tuple(map(slice, shape.shape))],
        like,
        Progress(*stack([kept]), np.array(search.wall_seconds)),
    )
    shutil.rmtree(workdir / folder.CHECKPOINTS, ignore_errors=True)  # they may be damaged
    folder.lay_out(
        workdir,
        config,
        about={"dataset": plan.data.identity, "lineage": trial.lineage},
        lanes=[{"lane": 0, "seed": plan.seed, "status": "done", "diverged_step": None}],
    )
    rows = rows_of(plan.workdir, trial, run.spec.steps_per_epoch)
    files.write_text(workdir / folder.METRICS, "".join(map(folder.row_line, rows)))
    with Checkpoints(workdir / folder.CHECKPOINTS, keep=1) as checkpoints:
        beside = folder.beside_checkpoint(workdir, plan.data.identity, config)
        checkpoints.save(run.total_steps, done, beside)
    return run, done


def rows_of(workdir: Path, trial: Trial, steps_per_epoch: int) -> list[dict[str, Any]]:
    """The rows of a trial; before it became a copy, those of the trial that was copied."""
    lineage_rows: list[dict[str, Any]] = []
    starts = [epochs * steps_per_epoch for epochs, _, _ in trial.lineage]
    ends = [*starts[1:], float("inf")]
    rows = folder.read_rows(workdir)
    for (_, number, _), start, end in zip(trial.lineage, starts, ends, strict=True):
        lineage_rows += [
            row | {"lane": 0}
            for row in rows
            if row["lane"] == number and start < row["step"] <= end
        ]
    return lineage_rows


def results(plan: Plan, search: SearchState, best: dict[str, Any]) -> dict[str, Any]:
    """The content of results.json. `best`: the results of the best lane on the test set."""
    facts = facts_of(plan.sweep.base, plan.data)
    return {
        "finished": True,
        "search": plan.sweep.base.values["search.name"],
        "swept": plan.sweep.swept,
        "lanes": lane_rows(plan, search.trials),
        "epochs": search.spent,
        "steps": search.spent * facts.steps_per_epoch,
        "epochs_of_all": len(search.trials) * plan.num_epochs,
        "best": best | {"folder": folder.BEST},
        "dataset": plan.data.identity,
        "wall_seconds": round(search.wall_seconds, 3),
    }


def report(workdir: Path) -> None:
    """Prints what a search found.

    Raises:
      UserError: it has no results yet.
    """
    if not (workdir / folder.RESULTS).exists():
        raise UserError(f"{workdir} has no results yet; `vae-jax search` goes on with it")
    print(table(workdir, read_json(workdir / folder.RESULTS, SearchResults)))


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def table(workdir: Path, record: dict[str, Any]) -> str:
    """The best trials, and what they took."""
    swept, lanes = record["swept"], record["lanes"]
    furthest = sorted(
        lanes, key=lambda lane: (-lane["epochs"], -(lane["validation_bound"] or -np.inf))
    )
    heads, bodies = [["lane"]], [[*swept, "status", "epochs", "validation"]]
    for lane in furthest[:MOST_ROWS]:
        cells = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in map(lane.get, swept)]
        last = (lane["status"], str(lane["epochs"]), number(lane["validation_bound"]))
        heads.append([str(lane["lane"])])
        bodies.append([*cells, *last])
    lines = fitted(heads, bodies)
    if len(lanes) > MOST_ROWS:
        lines.append(f"... and {len(lanes) - MOST_ROWS} more in {workdir / folder.LANES}")
    lines += ["", *comparison(record), ""]
    if (workdir / folder.BEST).exists():
        lines.append(f"run folder   {workdir / folder.BEST}")
    lines += [
        f"results      {workdir / folder.RESULTS}",
        f"metrics      {workdir / folder.METRICS}",
    ]
    return "\n".join(lines)


def comparison(record: dict[str, Any]) -> list[str]:
    """The lines that say what was spent, and the best found for it."""
    epochs, everything = record["epochs"], record["epochs_of_all"]
    best = record["best"] or {}
    term = "elbo" if has_bound(best) else best["bound_name"]
    numbers = "bound and test ELBO" if has_bound(best) else f"and test {term}"
    head = (
        f"{record['search']}: {epochs:,} of {everything:,} epochs ({record['steps']:,} steps), "
        f"{count(len(record['lanes']), 'setting')}; nats per example, validation {numbers} of "
        f"{dataset_name(record)}"
    )
    measured = number(best.get("validation_bound")), number(best.get(term))
    rows = [
        ["", "epochs", "settings", "validation", f"test {term}"],
        [record["search"], f"{epochs:,}", str(len(record["lanes"])), *measured],
    ]
    return [head, *aligned(rows)]

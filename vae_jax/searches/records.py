"""What a search found: its results, their table, and the run folder of the best trial."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_jax.config.build import facts_of, make_config
from vae_jax.errors import UserError
from vae_jax.reports.table import dataset_name, fitted, line
from vae_jax.runs import folder
from vae_jax.runs.checkpoint import Checkpoints, Progress, template
from vae_jax.runs.environment import environment
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import Lane, Run, lanes_of, make_program, make_start
from vae_jax.runs.schemas import SearchResults, read_json
from vae_jax.searches.plan import Plan
from vae_jax.searches.rounds import Standing, at_random, best_trial, lane_rows, searched, stack
from vae_jax.training.search import Trial
from vae_jax.words import count

MOST_ROWS = 10


def is_finished(plan: Plan) -> bool:
    """Whether the search has results, and the run folders of the trials that they name are whole.

    Raises:
      UserError: the results are damaged.
    """
    path = plan.workdir / folder.RESULTS
    if not path.exists():
        return False
    found = read_json(path, SearchResults)
    named = [found["best"], (found["random"] or {}).get("best")]
    folders = (folder.BEST, folder.RANDOM_BEST)
    return found["finished"] and all(
        is_whole(plan, plan.workdir / name)
        for name, best in zip(folders, named, strict=True)
        if best is not None
    )


def is_whole(plan: Plan, workdir: Path) -> bool:
    """Whether the run folder of a trial can be read, with its results and its checkpoint."""
    try:
        lanes = lanes_of(folder.read_config(workdir))
        load_progress(make_program(lanes, workdir, plan.data))
        return folder.is_finished(workdir)
    except UserError:
        return False


def write_best(plan: Plan, standing: Standing, trial: Trial, name: str) -> tuple[Run, Progress]:
    """Writes the run folder of a trial that was trained to the end, as if it had been alone.

    Padded latent units are cut away.
    """
    workdir = plan.workdir / name
    values = plan.values(trial.setting)
    run = make_program([Lane(0, plan.seed, {}, values)], workdir, plan.data)
    like, kept = template(run.spec, make_start(run)), standing.kept[trial.number]
    done = jax.tree.map(
        lambda shape, leaf: leaf[tuple(map(slice, shape.shape))],
        like,
        Progress(*stack([kept]), np.array(standing.wall_seconds)),
    )
    workdir.mkdir(exist_ok=True)
    folder.write_config(workdir, values)
    rows = rows_of(plan.workdir, trial, run.spec.steps_per_epoch)
    folder.write_text(workdir / folder.METRICS, "".join(map(folder.row_line, rows)))
    lanes = [{"lane": 0, "seed": plan.seed, "status": "done", "diverged_step": None}]
    folder.write_json(
        workdir / folder.ENVIRONMENT,
        environment(values) | {"dataset": plan.data.identity, "lineage": trial.lineage},
    )
    folder.write_lanes(workdir, lanes)
    shutil.rmtree(workdir / folder.CHECKPOINTS, ignore_errors=True)  # they may be damaged
    with Checkpoints(workdir / folder.CHECKPOINTS, keep=1) as checkpoints:
        beside = folder.beside_checkpoint(workdir, plan.data.identity, values)
        checkpoints.save(run.total_steps, done, beside)
    return run, done


def rows_of(workdir: Path, trial: Trial, steps_per_epoch: int) -> list[dict[str, Any]]:
    """The rows of a trial; before it became a copy, those of the trial that was copied."""
    own: list[dict[str, Any]] = []
    starts = [epochs * steps_per_epoch for epochs, _, _ in trial.lineage]
    ends = [*starts[1:], float("inf")]
    rows = folder.read_rows(workdir)
    for (_, number, _), start, end in zip(trial.lineage, starts, ends, strict=True):
        own += [
            row | {"lane": 0}
            for row in rows
            if row["lane"] == number and start < row["step"] <= end
        ]
    return own


def results(plan: Plan, standing: Standing, tested: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The content of results.json. `tested`: the results of the best lanes on the test set."""
    own = searched(plan, standing.trials)
    found = {name: lane | {"folder": name} for name, lane in tested.items()}
    facts = facts_of(make_config(plan.sweep.base), plan.data)
    return {
        "finished": True,
        "search": plan.sweep.base["search.name"],
        "swept": plan.sweep.swept,
        "lanes": lane_rows(plan, own),
        "epochs": standing.spent,
        "steps": standing.spent * facts.steps_per_epoch,
        "epochs_of_all": len(own) * plan.num_epochs,
        "best": found.get(folder.BEST),
        "random": random_results(plan, standing, found),
        "dataset": plan.data.identity,
        "wall_seconds": round(standing.wall_seconds, 3),
    }


def random_results(plan: Plan, standing: Standing, found: dict[str, Any]) -> dict[str, Any] | None:
    """Those of the random search; None if there was none."""
    if not plan.sweep.base["search.beside_random"]:
        return None
    trials = at_random(plan, standing)
    return {
        "settings": len(trials),
        "epochs": len(trials) * plan.num_epochs,
        "best": found.get(folder.RANDOM_BEST),
    }


def bests(plan: Plan, standing: Standing) -> dict[str, Trial]:
    """{the folder's name: the trial}, of the search and, if there is one, of the random search."""
    found = {folder.BEST: best_trial(searched(plan, standing.trials))}
    if plan.sweep.base["search.beside_random"]:
        found[folder.RANDOM_BEST] = best_trial(at_random(plan, standing))
    return {name: trial for name, trial in found.items() if trial is not None}


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


def table(workdir: Path, found: dict[str, Any]) -> str:
    """The best trials, and what they took."""
    swept, lanes = found["swept"], found["lanes"]
    furthest = sorted(
        lanes, key=lambda lane: (-lane["epochs"], -(lane["validation_bound"] or -np.inf))
    )
    heads, bodies = [["lane"]], [[*swept, "status", "epochs", "validation"]]
    for lane in furthest[:MOST_ROWS]:
        own = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in map(lane.get, swept)]
        last = (lane["status"], str(lane["epochs"]), number(lane["validation_bound"]))
        heads.append([str(lane["lane"])])
        bodies.append([*own, *last])
    lines = fitted(heads, bodies)
    if len(lanes) > MOST_ROWS:
        lines.append(f"... and {len(lanes) - MOST_ROWS} more in {workdir / folder.LANES}")
    lines += ["", *comparison(found), ""]
    for name in (folder.BEST, folder.RANDOM_BEST):
        if (workdir / name).exists():
            lines.append(f"run folder   {workdir / name}")
    lines += [
        f"results      {workdir / folder.RESULTS}",
        f"metrics      {workdir / folder.METRICS}",
    ]
    return "\n".join(lines)


def comparison(found: dict[str, Any]) -> list[str]:
    """The lines that say what was spent, and the best found for it."""
    epochs, everything = found["epochs"], found["epochs_of_all"]
    head = (
        f"{found['search']}: {epochs:,} of {everything:,} epochs ({found['steps']:,} steps), "
        f"{count(len(found['lanes']), 'setting')}; nats per example, validation bound and test "
        f"ELBO of {dataset_name(found)}"
    )
    rows = [["", "epochs", "settings", "validation", "test elbo"]]
    parts = [(found["search"], epochs, len(found["lanes"]), found["best"])]
    if found["random"]:
        own = found["random"]
        parts.append(("random", own["epochs"], own["settings"], own["best"]))
    for name, spent, settings, best in parts:
        best = best or {}
        measured = number(best.get("validation_bound")), number(best.get("elbo"))
        rows.append([name, f"{spent:,}", str(settings), *measured])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [head, *(line(row, widths) for row in rows)]

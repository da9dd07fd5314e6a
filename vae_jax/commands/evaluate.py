"""`vae-jax evaluate`: results, figures and a table of each lane's best params on the test set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_jax.config.check import check
from vae_jax.config.schema import differences
from vae_jax.devices.processes import is_first
from vae_jax.errors import UserError
from vae_jax.keys import Values
from vae_jax.reports.run_figures import draw_figures
from vae_jax.reports.sweep_report import report
from vae_jax.reports.table import figure_lines, table
from vae_jax.runs import folder
from vae_jax.runs.checkpoint import Progress
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import Run, make_run
from vae_jax.runs.summary import results, summary
from vae_jax.sweeps.plan import Datasets, is_sweep, program_run, read_sweep
from vae_jax.sweeps.records import collect


def evaluate(workdir: Path, config: Mapping[str, Any]) -> None:
    """Evaluates the run or sweep in `workdir` again.

    In `config` only evaluation.* and the path of the data may be new.

    Raises:
      UserError: a mistake in the config or the folder; nothing was touched.
    """
    values = evaluation_values(workdir, config)
    if is_sweep(workdir):
        evaluate_sweep(workdir, values)
        return
    run = make_run(values, workdir)
    with folder.locked(workdir):
        evaluate_best(run, load_progress(run, with_rows=True))


def evaluation_values(workdir: Path, config: Mapping[str, Any]) -> Values:
    """The checked config to evaluate with: the folder's, with another section `evaluation` or path.

    Raises:
      UserError: a mistake in the config.
    """
    folder.refuse_search(workdir)
    values = folder.as_there(workdir, check(config))
    different = differences(folder.read_config(workdir), values)
    if fixed := [line for line in different if not line.startswith("evaluation.")]:
        raise UserError(
            f"evaluate can change evaluation.* and dataset.path only; the run in {workdir} has "
            f"another config ({'; '.join(fixed)})"
        )
    return values


def write_results(run: Run, done: Progress) -> dict[str, Any]:
    """Writes results.json, which marks the run as finished, and returns its content."""
    found = results(run, done)
    if is_first():
        found |= summary(found["lanes"])
        folder.write_json(run.workdir / folder.RESULTS, found)
    return found


def evaluate_best(run: Run, done: Progress) -> list[dict[str, Any]]:
    """Writes results.json, prints the table and draws figures, for each lane's best params.

    Returns the results of each lane.
    """
    found = write_results(run, done)
    if is_first():
        print(table(run.workdir, found), flush=True)
        print(figure_lines(draw_figures(run, done, found["lanes"])))
    return found["lanes"]


def evaluate_sweep(workdir: Path, values: Values) -> None:
    """Evaluates again every program that is done."""
    data, sweep = Datasets(), read_sweep(workdir)._replace(base=values)
    for program in sweep.programs:
        at = sweep.folder(program)
        if folder.is_finished(at):
            run = program_run(sweep, program, data)
            with folder.locked(at):
                folder.write_json(
                    at / folder.RESULTS, results(run, load_progress(run, with_rows=True))
                )
    with folder.locked(workdir, wait=True):
        finished = folder.is_finished(workdir)
        collect(sweep, finished=finished)
    report(workdir)

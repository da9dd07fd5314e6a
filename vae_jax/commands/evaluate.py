"""`vae-jax evaluate`: results, figures and a table of each lane's best params on the test set."""

from pathlib import Path
from typing import Any

from vae_jax import files
from vae_jax.commands import sweep as sweeping
from vae_jax.config.build import Config
from vae_jax.config.decide import as_decided
from vae_jax.config.schema import differences
from vae_jax.devices.processes import is_first
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Progress
from vae_jax.folders.kinds import Kind, kind_of, refuse_others, refuse_search
from vae_jax.reports.drawing import attempt
from vae_jax.reports.run_figures import draw_figures
from vae_jax.reports.sweep_report import report
from vae_jax.reports.table import figure_lines, table
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import Run, make_run
from vae_jax.runs.summary import evaluate_run, summary
from vae_jax.sweeps.plan import Datasets, based_on, program_run, read_sweep
from vae_jax.sweeps.records import collect

FIGURE_KEYS = "log.figure"  # what they begin with


def evaluate(workdir: Path, config: Config) -> None:
    """Evaluates the run or sweep in `workdir` again.

    In `config` only evaluation.*, the path of the data and how figures are written may be new.

    Raises:
      UserError: a mistake in the config or the folder; nothing was touched.
    """
    config = evaluation_config(workdir, config)
    if kind_of(workdir) is Kind.SWEEP:
        evaluate_sweep(workdir, config)
        return
    run = make_run(config, workdir)
    with folder.locked(workdir):
        evaluate_best(run, load_progress(run, with_rows=True))


def evaluation_config(workdir: Path, config: Config) -> Config:
    """The config to evaluate with: the folder's, but for what `evaluate` may change.

    Raises:
      UserError: it differs in more.
    """
    refuse_search(workdir)
    refuse_others(workdir)
    recorded = folder.read_config(workdir, config.members)
    config = as_decided(config, recorded)
    different = differences(recorded.values, config.values)
    if fixed := [line for line in different if not line.startswith(("evaluation.", FIGURE_KEYS))]:
        raise UserError(
            f"evaluate can change evaluation.*, {FIGURE_KEYS}* and dataset.path only; the run in "
            f"{workdir} has another config ({'; '.join(fixed)})"
        )
    return config


def write_results(run: Run, done: Progress) -> dict[str, Any]:
    """Writes results.json, which marks the run as finished, and returns its content."""
    content = evaluate_run(run, done)
    if is_first():
        content |= summary(content["lanes"])
        files.write_json(run.workdir / folder.RESULTS, content)
    return content


def evaluate_best(run: Run, done: Progress) -> list[dict[str, Any]]:
    """Writes results.json, prints the table and draws figures, for each lane's best params.

    Returns the results of each lane.
    """
    content = write_results(run, done)
    if is_first():
        print(table(run.workdir, content), flush=True)
        print(figure_lines(draw_figures(run, done, content["lanes"])))
    return content["lanes"]


def evaluate_sweep(workdir: Path, config: Config) -> None:
    """Evaluates again every program that is done."""
    data, sweep = Datasets(), based_on(read_sweep(workdir, config.members), config)
    for program in sweep.programs:
        program_folder = sweep.folder(program)
        if folder.is_finished(program_folder):
            run = program_run(sweep, program, data)
            with folder.locked(program_folder):
                files.write_json(
                    program_folder / folder.RESULTS,
                    evaluate_run(run, load_progress(run, with_rows=True)),
                )
    with folder.locked(workdir, wait=True):
        finished = folder.is_finished(workdir)
        content = collect(sweep, finished=finished)
    report(workdir, drawn_as=config.values)
    attempt("the best lane", sweeping.draw_best_lane, sweep, content, data)

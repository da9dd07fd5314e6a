"""`vae-jax search`: trains the settings of a sweep, and stops those that are behind."""

from pathlib import Path

from vae_jax import files
from vae_jax.commands.evaluate import write_results
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.reports.run_figures import draw_figures
from vae_jax.reports.table import figure_lines
from vae_jax.runs.run import Datasets, refuse_too_few_devices
from vae_jax.runs.trackers import refuse_missing, trackers
from vae_jax.searches.plan import Plan, first_trials, open_search, read_search
from vae_jax.searches.records import is_finished, report, results, write_best
from vae_jax.searches.rounds import best_trial, train_search
from vae_jax.words import count


def search(workdir: Path, plan: Plan | None, data: Datasets) -> None:
    """Trains a search in `workdir`, or continues the one there, and writes what it found.

    Args:
      workdir: the search's folder.
      plan: what to search; None: the search in the folder.
      data: the datasets loaded so far.

    Raises:
      UserError: the folder holds something else, or nothing; every trial diverged.
      Stopped: SIGTERM or SIGINT came; all rounds that ended are saved.
    """
    if plan is None:
        plan = read_search(workdir, data)
    refuse_missing(plan.sweep.base)
    refuse_too_few_devices(plan.sweep.base)
    with folder.locked(workdir):
        open_search(plan)
        if is_finished(plan):
            print(f"{workdir} holds a finished search of these settings; there is nothing to do")
            return
        base = plan.sweep.base
        print(
            f"{count(len(plan.sweep.settings), 'setting')} "
            f"({', '.join(plan.sweep.swept) or 'as the config is'}) of up to "
            f"{count(plan.num_epochs, 'epoch')}, by {base.values['search.name']}; "
            f"{count(min(base.search.places, len(plan.sweep.settings)), 'place')} in 1 program; "
            f"run folder: {workdir}",
            flush=True,
        )
        with trackers(plan.run(first_trials(plan.sweep.settings))) as run_trackers:
            state = train_search(plan, [run_trackers.observer])
            best = best_trial(state.trials)
            if best is None:
                raise UserError(f"every trial in {workdir} diverged; search smaller learning rates")
            run, done = write_best(plan, state, best)
            lanes = write_results(run, done)["lanes"]
            figures = draw_figures(run, done, lanes)
            tested = lanes[0] | {"lane": best.number}
            run_trackers.results([tested])
        files.write_json(workdir / folder.RESULTS, results(plan, state, tested))
        report(workdir)
        print(figure_lines(figures))

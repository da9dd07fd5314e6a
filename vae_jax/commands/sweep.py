"""`vae-jax sweep`: trains all programs of a sweep, in this process or on a cluster."""

from pathlib import Path
from typing import Any

import jax

from vae_jax.errors import Failed, Stopped
from vae_jax.figures.sweeps import text
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of, refuse_others, refuse_run, refuse_search
from vae_jax.reports.drawing import attempt
from vae_jax.reports.run_figures import draw_lane
from vae_jax.reports.sweep_report import best_lanes, report
from vae_jax.runs.compilation import compile_run, parts_to_fit, total
from vae_jax.runs.load import load_progress
from vae_jax.runs.trackers import refuse_missing
from vae_jax.sweeps.cluster import Cluster
from vae_jax.sweeps.plan import (
    Datasets,
    SweepPlan,
    differing,
    program_run,
    read_sweep,
    refuse_other_sweep,
    write_sweep,
)
from vae_jax.sweeps.records import collect, failures
from vae_jax.sweeps.tasks import train_on
from vae_jax.sweeps.worker import unfinished, work
from vae_jax.words import aligned, count


def sweep(
    workdir: Path,
    plan: SweepPlan | None,
    data: Datasets,
    *,
    dry_run: bool = False,
    with_memory: bool = False,
    cluster: Cluster | None = None,
) -> None:
    """Trains a sweep in `workdir`, or continues the one there, and writes its records.

    Args:
      workdir: the sweep's folder.
      plan: what to train; None: the sweep in the folder.
      data: the datasets loaded so far.
      dry_run: print the plan, and touch nothing.
      with_memory: the plan says what memory it needs, for which its programs are compiled.
      cluster: trains the programs; None: this process does.

    Raises:
      UserError: the folder holds something else, or nothing.
      Stopped: SIGTERM or SIGINT came; all work done is saved.
      Failed: some programs raised.
    """
    if plan is None:
        plan = read_sweep(workdir)
    if dry_run:
        print(described(plan, data, with_memory=with_memory))
        return
    refuse_other_folder(plan)
    refuse_missing(plan.base)
    with folder.locked(workdir):
        recorded = open_sweep(plan)
        if folder.is_finished(workdir) and not unfinished(recorded):
            print(f"{workdir} holds a finished run of this sweep; there is nothing to do")
            return
        print(described(recorded, data), flush=True)
        if cluster is None:
            work(workdir, data)
        else:
            train_on(cluster, workdir)
        finish(workdir, data)


def described(sweep: SweepPlan, data: Datasets, *, with_memory: bool = False) -> str:
    """The plan: a line for each program, with how it differs from the others."""
    seeds, settings = len(sweep.base.training.seeds), len(sweep.settings)
    own_keys = differing([sweep.lane(program.lanes[0]).config for program in sweep.programs])
    rows = [["program", "lanes", "steps", *(["memory"] if with_memory else []), ""]]
    for program in sweep.programs:
        run = program_run(sweep, program, data)
        values = run.config.values
        what = [f"{key} {text(values[key])}" for key in own_keys if key != "model.latent_size"]
        if program.padded_latent_size:
            what.append(f"latent sizes padded to {program.padded_latent_size}")
        elif "model.latent_size" in own_keys:
            what.append(f"model.latent_size {values['model.latent_size']}")
        cells = [program.name, str(len(run.lanes)), f"{run.total_steps:,}"]
        if with_memory:
            memory = compile_run(run)
            parts = parts_to_fit(run, memory)
            cells.append(f"{total(run, memory) / 1e9:.1f} GB")
            if parts > 1:
                what.append(f"will be divided into {parts} to fit into memory")
        rows.append([*cells, ", ".join(what)])
    swept = ", ".join(sweep.swept) or "seeds alone"
    devices = count(jax.device_count(), f"{jax.devices()[0].platform} device")
    head = (
        f"{count(sweep.num_lanes, 'lane')} in {count(len(sweep.programs), 'program')}: "
        f"{count(settings, 'setting')} ({swept}) x {count(seeds, 'seed')}, on {devices}; "
        f"run folder: {sweep.workdir}"
    )
    return "\n".join([head, *aligned(rows, left={len(rows[0]) - 1})])


def finish(workdir: Path, data: Datasets) -> None:
    """Makes the records, figures and table of a sweep whose programs have all ended.

    Raises:
      Stopped: not all programs were trained.
      Failed: some programs raised.
    """
    sweep = read_sweep(workdir)
    failed = failures(sweep)
    results = collect(sweep)
    left = results["programs"] - results["programs_done"] - len(failed)
    if not failed and not left:
        collect(sweep, finished=True)
    # Printed and drawn after the record: nothing here costs a result.
    if results["lanes"]:
        attempt("the best lane", draw_best_lane, sweep, results, data)
        report(workdir)
    if left:
        raise Stopped(f"{left} of {len(sweep.programs)} programs are not done")
    if failed:
        raise Failed(
            f"{len(failed)} of {len(sweep.programs)} programs failed, each with its traceback: "
            + ", ".join(map(str, failed))
            + "; the same command tries them again"
        )


def draw_best_lane(sweep: SweepPlan, results: dict[str, Any], data: Datasets) -> None:
    """Draws the figures of the lane that is best by validation."""
    for best in best_lanes(results["lanes"])[:1]:
        program = next(p for p in sweep.programs if p.name == best["program"])
        run = program_run(sweep, program, data)
        index = program.lanes.index(best["lane"])
        draw_lane(run, load_progress(run), index, sweep.workdir / folder.FIGURES)


def refuse_other_folder(sweep: SweepPlan) -> None:
    """Raises UserError if the sweep's folder holds something else."""
    workdir = sweep.workdir
    refuse_others(workdir)
    refuse_search(workdir)
    if kind_of(workdir) is Kind.SWEEP:
        refuse_other_sweep(read_sweep(workdir, sweep.base.members), sweep)
    refuse_run(workdir)


def open_sweep(sweep: SweepPlan) -> SweepPlan:
    """Writes the sweep into its folder, unless it is there already; returns the one there."""
    workdir = sweep.workdir
    refuse_other_folder(sweep)  # another process may have been faster
    if kind_of(workdir) is not Kind.SWEEP:
        folder.lay_out(workdir, sweep.base, sweep.configs, about={})
        write_sweep(sweep)  # last: it marks the folder as a sweep
        collect(sweep)
    return read_sweep(workdir)

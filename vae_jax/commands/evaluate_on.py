"""`vae-jax evaluate --on=IMAGES`: each lane's best params, measured on other images.

The results are kept apart from the run's own, in on/NAME_CHECKSUM8/ of its folder.
"""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from vae_jax import files
from vae_jax.commands.evaluate import evaluation_config
from vae_jax.config.build import Config
from vae_jax.config.schema import nest
from vae_jax.data.others import Others, from_path
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Progress
from vae_jax.folders.environment import environment
from vae_jax.folders.kinds import Kind, kind_of
from vae_jax.folders.schemas import Results, read_json
from vae_jax.reports import run_figures
from vae_jax.reports.columns import best_lanes
from vae_jax.reports.drawing import attempt
from vae_jax.reports.sweep_report import report
from vae_jax.runs.load import load_progress
from vae_jax.runs.measure import best_steps
from vae_jax.runs.others import run_on, with_features_of
from vae_jax.runs.run import Run, make_run
from vae_jax.runs.summary import evaluate_run, summary
from vae_jax.sweeps.plan import (
    Datasets,
    SweepPlan,
    based_on,
    program_run,
    read_sweep,
    write_sweep,
)
from vae_jax.sweeps.records import pooled_results, program_results

ALREADY = "holds these results already; there is nothing to do"
Images = Path | Others  # a folder of image files or an .npz; or arrays


def evaluate_on(workdir: Path, config: Config, images: Images) -> Path:
    """Measures the run or sweep in `workdir` on the images; returns the folder of what was found.

    In `config` only evaluation.* and the path of the run's own data may be new. What is there
    already, of the same params, is not measured again.

    Raises:
      UserError: a mistake in the config or the folder; images that do not fit.
    """
    config = evaluation_config(workdir, config)
    folder.refuse_links(workdir, (folder.ON,))
    if kind_of(workdir) is Kind.SWEEP:
        return sweep_on(based_on(read_sweep(workdir, config.members), config), images)
    run = make_run(config, workdir)
    others = others_of(run, images)
    target = workdir / folder.ON / others.folder_name
    other_run, done = run_on(run, others, target), load_progress(run)
    with locked(target):
        folder.refuse_other_data(target, other_run.data.identity)
        if is_measured(other_run, done):
            print(f"{target} {ALREADY}")
        else:
            open_folder(target, other_run)
            content = measure_on_others(other_run, done, workdir)
            content |= summary(content["lanes"])
            files.write_json(target / folder.RESULTS, content)
            run_figures.draw_figures(other_run, done, content["lanes"])
        report(target)
    return target


def sweep_on(sweep: SweepPlan, images: Images) -> Path:
    """Measures every program of a sweep that is done on the images, as `evaluate_on` does a run."""
    data = Datasets()
    programs = [program for program in sweep.programs if folder.is_finished(sweep.folder(program))]
    if not programs:
        raise UserError(f"no program of the sweep in {sweep.workdir} is finished yet")
    runs = {program.name: program_run(sweep, program, data) for program in programs}
    others = {name: others_of(run, images) for name, run in runs.items()}
    target = sweep.workdir / folder.ON / others[programs[0].name].folder_name
    target_sweep = sweep._replace(workdir=target)
    own_runs = {
        program.name: run_on(runs[program.name], others[program.name], target_sweep.folder(program))
        for program in programs
    }
    first = own_runs[programs[0].name]
    with locked(target):
        folder.refuse_other_data(target, first.data.identity)
        is_new = False
        for program in programs:
            run, done = own_runs[program.name], load_progress(runs[program.name])
            if is_measured(run, done):
                continue
            if not is_new:
                open_folder(target, first, sweep.base)
                write_sweep(target_sweep)
                is_new = True
            run.workdir.mkdir(parents=True, exist_ok=True)
            files.write_json(
                run.workdir / folder.RESULTS, measure_on_others(run, done, sweep.folder(program))
            )
        if not is_new:
            print(f"{target} {ALREADY}")
        finished = folder.is_finished(sweep.workdir)
        content = pooled_results(
            target_sweep,
            [program_results(target_sweep, program) for program in programs],
            finished=finished,
        )
        files.write_json(target / folder.RESULTS, content)
        report(target)
        for best in best_lanes(content["lanes"])[:1]:
            run = own_runs[best["program"]]
            index = [lane.number for lane in run.lanes].index(best["lane"])
            done = load_progress(runs[best["program"]])
            lane = f"lane {best['lane']}"
            attempt(lane, run_figures.draw_lane, run, done, index, target / folder.FIGURES)
    return target


def others_of(run: Run, images: Images) -> Others:
    """The images, where they are files cut as the run's own were."""
    if isinstance(images, Others):
        return images
    names = ("dataset.layer", "dataset.labels", "dataset.covariates")
    size = run.config.value("dataset.image_size")
    return from_path(images, size, run.data.image_shape, *map(run.config.value, names))


def locked(workdir: Path) -> AbstractContextManager[None]:
    """The lock of a folder in on/, which is no link."""
    folder.refuse_links(workdir.parent, (workdir.name,))
    return folder.locked(workdir)


def open_folder(workdir: Path, run: Run, config: Config | None = None) -> None:
    """Writes which run, and which images, a folder in on/ is of; config: None: that of the run."""
    config = config or run.config
    files.write_json(
        workdir / folder.ENVIRONMENT, environment(config) | {"dataset": run.data.identity}
    )
    files.write_json(workdir / folder.CONFIG, nest(config.values))
    for note in run.data.notes:
        print(note, flush=True)


def measure_on_others(run: Run, done: Progress, home: Path) -> dict[str, Any]:
    """The results on the other images; home: the folder of the run itself."""
    with_features_of(home, run)
    return evaluate_run(run, done, records=home)


def is_measured(run: Run, done: Progress) -> bool:
    """Whether the results there are of these params and keys, and lack no metric."""
    path = run.workdir / folder.RESULTS
    if not path.exists() or any(":" in name for name in run.config.values["evaluation.metrics"]):
        return False  # what the user's own code measures, its checksum tells
    record = read_json(path, Results)
    steps = [lane["best_step"] for lane in record["lanes"]]
    return (
        not record.get("not_measured")
        and record["evaluation"] == keys_of(run.config)
        and record.get("step") == int(done.state.step[0])
        and steps == best_steps(done.best)
    )


def keys_of(config: Config) -> dict[str, Any]:
    """The section evaluation, as results.json has it."""
    section = {key: value for key, value in config.values.items() if key.startswith("evaluation.")}
    return json.loads(json.dumps(section))

"""`vae-jax train`: one run, from config to figures."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from vae_jax.commands.evaluate import evaluate_best
from vae_jax.config.build import Config, make_spec
from vae_jax.config.decide import as_decided
from vae_jax.devices.processes import is_first
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.kinds import refuse_others, refuse_sweep
from vae_jax.folders.lanes import mark_going_on
from vae_jax.objectives import annealed_step
from vae_jax.reports.drawing import attempt
from vae_jax.reports.run_figures import draw_training_curves
from vae_jax.runs.compilation import compile_training, shapes_of
from vae_jax.runs.observer import Observer
from vae_jax.runs.run import Run, lane_objective, make_run, refuse_too_few_devices
from vae_jax.runs.start import refuse_other_start
from vae_jax.runs.terminal import introduction, progress_bar
from vae_jax.runs.trackers import refuse_missing, trackers
from vae_jax.runs.train import lay_out, train_run

DRAW_SECONDS = 60  # least time between two plots of the training curves
ENDLESS = 10**12  # steps: more than any run has


def train(config: Config, workdir: Path, follower: Observer | None = None) -> None:
    """Trains `config`, or resumes it, with `workdir` as its run folder.

    A run of fewer epochs is continued to more, if its schedules allow that. Where `follower` ends
    the run, the run is evaluated, and goes on if it is trained again.

    Raises:
      UserError: a mistake in the data or the folder; nothing was touched.
      Stopped: SIGTERM or SIGINT came; all work done is saved.
    """
    began = time.monotonic()
    folder.refuse_new_idle(workdir, [config])
    refuse_others(workdir)
    refuse_sweep(workdir)
    if is_first():
        folder.clear_unbegun(workdir)
    recorded = folder.existing_config(workdir, config.members)
    if recorded is not None:
        config = as_decided(config, recorded)
    shorter = recorded if recorded is not None and folder.is_shorter(recorded, config) else None
    if shorter is None:
        folder.refuse_other_config(workdir, recorded, config)
        if folder.is_finished(workdir):
            print(f"{workdir} holds a finished run of this config; there is nothing to do")
            return
    refuse_missing(config)
    refuse_too_few_devices(config)
    run = make_run(config, workdir)
    folder.refuse_other_data(workdir, run.data.identity)
    if recorded is None:
        refuse_other_start(run)
    if shorter is not None:
        refuse_other_schedule(run, shorter)
    with folder.locked(workdir) if is_first() else contextlib.nullcontext():
        if is_first():
            if shorter is None:  # another process may have been faster
                recorded = folder.existing_config(workdir, run.config.members)
                folder.refuse_other_config(workdir, recorded, run.config)
            mark_going_on(workdir)
            lay_out(run)
        with compiled_ahead(run) as compiled, trackers(run) as run_trackers:
            with progress_bar(run) as bar:
                observers = [introduction(run), run_trackers.observer, compiled, bar, curves(run)]
                done = train_run(run, began, observers + ([follower] if follower else []))
            run_trackers.results(evaluate_best(run, done))


@contextlib.contextmanager
def compiled_ahead(run: Run) -> Iterator[Observer]:
    """Compiles the training program in the background, while the first params are made.

    The run waits for it before its first step. The result passes through the compilation cache;
    without a cache, nothing is compiled ahead.
    """
    if not jax.config.jax_enable_compilation_cache or jax.process_count() > 1:  # type: ignore[attr-defined]
        yield Observer()
        return
    pool = ThreadPoolExecutor(1)
    compiled = pool.submit(pinned()(compile_training), run, shapes_of(run))
    try:
        # If it failed, the run itself says so.
        yield Observer(begins=lambda first_steps: compiled.exception())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def curves(run: Run) -> Observer:
    """Draws the training curves after a validation, at most every DRAW_SECONDS."""
    drawn = time.monotonic()

    def validated(step: int, view: None, diverged_step: np.ndarray) -> None:
        nonlocal drawn
        if is_first() and time.monotonic() > drawn + DRAW_SECONDS:
            attempt("training curves", draw_training_curves, run)
            drawn = time.monotonic()

    return Observer(validated=validated)


def refuse_other_schedule(run: Run, shorter: Config) -> None:
    """Raises UserError if the shorter run can't be continued to the length of this one.

    The steps that it has taken must be those that a run of this length would have taken.
    """
    old, new = (make_spec([config], run.data) for config in (shorter, run.config))
    same = jax.tree.map(np.array_equal, old, new)
    before, warmup = shorter.training.num_epochs, annealed_step(lane_objective(run, 0), ENDLESS)
    if not all(jax.tree.leaves(same)) or warmup > before * run.spec.steps_per_epoch:
        raise UserError(
            f"{run.workdir} holds a run of {before} epochs, and its learning rate, warm-up or "
            f"capacity is another in one of {run.config.training.num_epochs}; take another "
            "--workdir"
        )

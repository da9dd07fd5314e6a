"""`vae-jax train`: one run, from config to figures."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_jax.commands.evaluate import evaluate_best
from vae_jax.config.build import make_spec
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_idle
from vae_jax.devices.processes import is_first
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError
from vae_jax.keys import Values
from vae_jax.objectives import annealed_step
from vae_jax.reports.drawing import attempted
from vae_jax.reports.run_figures import draw_training_curves
from vae_jax.runs import folder
from vae_jax.runs.progress import NOBODY, Follower
from vae_jax.runs.run import Run, lane_objective, make_run, refuse_too_few_devices
from vae_jax.runs.stopped import mark_going_on
from vae_jax.runs.trackers import refuse_missing, trackers
from vae_jax.runs.train import lane_rows, train_run
from vae_jax.sweeps.compilation import compile_training, shapes_of

ENDLESS = 10**12  # steps: more than any run has


def train(config: Mapping[str, Any], workdir: Path, follower: Follower = NOBODY) -> None:
    """Trains `config`, or resumes it, with `workdir` as its run folder.

    A run of fewer epochs is continued to more, if its schedules allow that. `follower` hears of its
    progress. Where it ends the run, the run is evaluated, and goes on if it is trained again.

    Raises:
      UserError: a mistake in the config, the data or the folder; nothing was touched.
      Stopped: SIGTERM or SIGINT came; all work done is saved.
    """
    began = time.monotonic()
    values = check(config)
    if not (workdir / folder.CONFIG).exists():  # a run of an earlier version goes on
        refuse_idle([values])
    folder.refuse_sweep(workdir)
    values = folder.as_there(workdir, values)
    there = folder.shorter_run(workdir, values)
    if there is None:
        folder.refuse_other_config(workdir, values)
    if there is None and folder.is_finished(workdir):
        print(f"{workdir} holds a finished run of this config; there is nothing to do")
        return
    refuse_missing(values)
    refuse_too_few_devices(values)
    run = make_run(values, workdir)
    folder.refuse_other_data(workdir, run.data.identity)
    if there is not None:
        refuse_other_schedule(run, there)
    with folder.locked(workdir) if is_first() else contextlib.nullcontext():
        if is_first():
            if there is None:
                folder.refuse_other_config(workdir, run.values)  # another process may be faster
            mark_going_on(workdir)
            folder.start(workdir, lane_rows(run, None), run.data.identity, run.values)
            folder.write_config(workdir, run.values)
        with compiled_ahead(run) as ready, trackers(run) as told:
            done = train_run(
                run,
                began,
                draw=partial(attempted, "training curves", draw_training_curves),
                follower=follower,
                ready=ready,
                trackers=told,
            )
            told.results(evaluate_best(run, done))


@contextlib.contextmanager
def compiled_ahead(run: Run) -> Iterator[Callable[[], object]]:
    """Compiles the training program in the background, while the first params are made.

    Returns a function that waits for the compilation. The result passes through the compilation
    cache; without a cache, nothing is compiled ahead.
    """
    if not jax.config.jax_enable_compilation_cache or jax.process_count() > 1:  # type: ignore[attr-defined]
        yield lambda: None
        return
    pool = ThreadPoolExecutor(1)
    compiled = pool.submit(pinned()(compile_training), run, shapes_of(run))
    try:
        yield compiled.exception  # if it failed, the run itself says so
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def refuse_other_schedule(run: Run, there: Values) -> None:
    """Raises UserError if the run of config `there` can't be continued to the length of this one.

    The steps that it has taken must be those that a run of this length would have taken.
    """
    old = make_spec([there | {"training.seeds": run.values["training.seeds"]}], run.data)
    new = make_spec([run.values], run.data)
    same = jax.tree.map(np.array_equal, old, new)
    before, warmup = there["training.num_epochs"], annealed_step(lane_objective(run, 0), ENDLESS)
    if not all(jax.tree.leaves(same)) or warmup > before * run.spec.steps_per_epoch:
        raise UserError(
            f"{run.workdir} holds a run of {before} epochs, and its learning rate, warm-up or "
            f"capacity is another in one of {run.values['training.num_epochs']}; take another "
            "--workdir"
        )

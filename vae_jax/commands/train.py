"""`vae-jax train`: one run, from config to figures."""

import contextlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vae_jax.commands.evaluate import evaluate_best
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.devices.processes import is_first
from vae_jax.reports.drawing import attempted
from vae_jax.reports.run_figures import draw_training_curves
from vae_jax.runs import folder, progress
from vae_jax.runs.run import make_run
from vae_jax.runs.train import lane_rows, train_run


def train(config: Mapping[str, Any], workdir: Path) -> None:
    """Trains `config`, or resumes it, with `workdir` as its run folder.

    Raises:
      UserError: a mistake in the config, the data or the folder; nothing was touched.
      Stopped: SIGTERM or SIGINT came; all work done is saved.
    """
    began = time.monotonic()
    values = check(config)
    folder.refuse_sweep(workdir)
    values = folder.as_there(workdir, values)
    folder.refuse_other_config(workdir, values)
    if folder.is_finished(workdir):
        print(f"{workdir} holds a finished run of this config; there is nothing to do")
        return
    if values["log.tensorboard"]:
        progress.TensorBoard(workdir, 0)  # raises if its package is missing
    run = make_run(values, workdir)
    folder.refuse_other_data(workdir, run.data.identity)
    with folder.locked(workdir) if is_first() else contextlib.nullcontext():
        if is_first():
            folder.refuse_other_config(workdir, run.values)  # another process may have been faster
            folder.start(workdir, lane_rows(run, None), run.data.identity)
            folder.write_json(workdir / folder.CONFIG, nest(run.values))
        done = train_run(
            run, began, draw=partial(attempted, "training curves", draw_training_curves)
        )
        evaluate_best(run, done)

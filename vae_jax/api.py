"""For use from Python: load a trained model from its run folder."""

from pathlib import Path
from typing import NamedTuple

from vae_jax.data.dataset import Dataset
from vae_jax.data.source import Unreadable
from vae_jax.errors import UserError
from vae_jax.models.model import Model, Variables
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import lane_model
from vae_jax.sweeps.plan import runs_in, runs_without_images


class Loaded(NamedTuple):
    """A trained lane, ready to use from Python."""

    model: Model
    variables: Variables
    data: Dataset | None  # None: the images are not where they were


def load(workdir: str | Path, lane: int = 0, data_path: str | Path | None = None) -> Loaded:
    """The model, the best variables of one lane, and the dataset of the run in `workdir`.

    Args:
      data_path: where the images are now; None: where they were. If there is nothing there, the
        model is loaded without them.

    Raises:
      UserError: the folder has no run, no checkpoint, or no such lane; `data_path` can't be read,
        or holds other images than the run was trained on.
    """
    workdir = Path(workdir).expanduser()
    there = True
    try:
        runs = runs_in(workdir, data_path)
    except Unreadable:
        if data_path is not None:
            raise
        runs, there = runs_without_images(workdir), False
    lanes = sum(len(run.lanes) for run in runs)
    for run in runs:
        for i, own in enumerate(run.lanes):
            if own.number == lane:
                model, variables = lane_model(run, load_progress(run).best.variables, i)
                return Loaded(model, variables, run.data if there else None)
    raise UserError(f"{workdir} has no lane {lane}; it has 0 to {lanes - 1}")

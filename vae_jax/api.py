"""For use from Python: load a trained model from its run folder."""

from pathlib import Path
from typing import NamedTuple

from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.models.model import Model, Variables
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import lane_model
from vae_jax.sweeps.plan import runs_in


class Loaded(NamedTuple):
    """A trained lane, ready to use from Python."""

    model: Model
    variables: Variables
    data: Dataset


def load(workdir: str | Path, lane: int = 0) -> Loaded:
    """The model, the best variables of one lane, and the dataset of the run in `workdir`.

    Raises:
      UserError: the folder has no run, no checkpoint, or no such lane.
    """
    workdir = Path(workdir)
    runs = runs_in(workdir)
    lanes = sum(len(run.lanes) for run in runs)
    for run in runs:
        for i, own in enumerate(run.lanes):
            if own.number == lane:
                return Loaded(*lane_model(run, load_progress(run).best.variables, i), run.data)
    raise UserError(f"{workdir} has no lane {lane}; it has 0 to {lanes - 1}")

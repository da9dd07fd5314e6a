"""What a folder holds: a run, a sweep or a search; and which commands it is not for."""

import enum
import os
from pathlib import Path

from vae_jax.errors import UserError
from vae_jax.folders.exported import refuse_export
from vae_jax.folders.folder import BEST, CONFIG, LANES, ON, SEARCH, SWEEP


class Kind(enum.Enum):
    """What a folder can hold. The value is the word for it."""

    RUN = "run"
    SWEEP = "sweep"
    SEARCH = "search"


# The file that makes a folder one of that kind. Sweeps and searches have a config.json too.
MARKS = {Kind.SEARCH: SEARCH, Kind.SWEEP: SWEEP, Kind.RUN: CONFIG}


def kind_of(workdir: Path) -> Kind | None:
    """What `workdir` holds; None: none of these, or it is not there.

    The readers are `folder.read_config` of a run, `sweeps.plan.read_sweep` of a sweep and
    `searches.plan.read_search` of a search.
    """
    return next((kind for kind, name in MARKS.items() if (workdir / name).exists()), None)


def refuse_run(workdir: Path) -> None:
    """Raises UserError if `workdir` holds a single run.

    A run that has just begun has no config.json yet. A sweep that has just begun has one, and no
    lanes.csv.
    """
    if kind_of(workdir) in (Kind.RUN, None) and (workdir / LANES).exists():
        raise UserError(f"{workdir} holds a single run; take another --workdir")


def refuse_sweep(workdir: Path) -> None:
    """Raises UserError if `workdir` holds a sweep, or a search."""
    if kind_of(workdir) is Kind.SWEEP:
        raise UserError(f"{workdir} holds a sweep; `vae-jax sweep` works there")
    refuse_search(workdir)


def refuse_search(workdir: Path) -> None:
    """Raises UserError if `workdir` holds a search."""
    if kind_of(workdir) is Kind.SEARCH:
        best = f", and the best run that it found is in {workdir / BEST}"
        raise UserError(
            f"{workdir} holds a search; `vae-jax search` works there"
            + best * (workdir / BEST / CONFIG).exists()
        )


def refuse_others(workdir: Path) -> None:
    """Raises UserError if the folder holds what a run measured on other images, or an exported
    model, and no run."""
    refuse_export(workdir)
    path = Path(os.path.abspath(workdir))
    if path.parent.name == ON and (path.parents[1] / CONFIG).exists():
        raise UserError(
            f"{workdir} holds what the run in {path.parents[1]} measured on other images; "
            "`vae-jax report` and `compare` read it, and all else takes the folder of that run"
        )

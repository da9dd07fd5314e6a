"""What run folders hold, as pandas DataFrames: lanes, metrics and results.

Every function takes one folder or several; with several, the column `run` has their names.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of
from vae_jax.folders.lanes import read_lanes
from vae_jax.folders.schemas import Results, SearchResults
from vae_jax.sections.checks import path_of
from vae_jax.words import to_install

if TYPE_CHECKING:
    from pandas import DataFrame

Folders = str | Path | Sequence[str | Path]


def pandas() -> ModuleType:
    """The package. Raises UserError if it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise UserError(f"tables as DataFrames need pandas: {to_install('notebook')}") from error
    return pandas


def folders_of(workdirs: Folders) -> list[Path]:
    """The folders, each of which holds a run.

    Raises:
      UserError: one does not.
    """
    several = [workdirs] if isinstance(workdirs, str | Path) else workdirs
    paths = [path_of(str(workdir)) for workdir in several]
    for workdir in paths:
        folder.recorded_config(workdir)
    return paths


def read_frames(workdirs: Folders, rows_of: Callable[[Path], list[dict[str, Any]]]) -> "DataFrame":
    """A frame of the rows of all folders."""
    paths = folders_of(workdirs)
    frames = []
    for workdir in paths:
        frame = pandas().DataFrame(rows_of(workdir))
        if len(paths) > 1:
            frame.insert(0, "run", str(workdir))
        frames.append(frame)
    return pandas().concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def lanes(workdirs: Folders) -> "DataFrame":
    """One row for each lane: seed, swept values, status."""
    return read_frames(workdirs, lane_rows)


def lane_rows(workdir: Path) -> list[dict[str, Any]]:
    path = workdir / folder.LANES
    return read_lanes(path) if path.exists() else []


def history(workdirs: Folders) -> "DataFrame":
    """One row for each lane, step and split: metrics, in nats per example, and swept values."""
    return read_frames(workdirs, history_rows)


def history_rows(workdir: Path) -> list[dict[str, Any]]:
    rows = folder.read_rows(workdir)
    settings = settings_of(workdir)
    return [row | settings.get(row["lane"], {}) for row in rows]


def settings_of(workdir: Path) -> dict[int, dict[str, Any]]:
    """The swept values of each lane that has results."""
    path = workdir / folder.RESULTS
    if not path.exists():
        return {}
    content = results_in(workdir)
    swept = content.get("swept", [])
    return {lane["lane"]: {key: lane[key] for key in swept} for lane in content["lanes"]}


def results(workdirs: Folders) -> "DataFrame":
    """One row for each lane: its results on the test set, in nats per example.

    `elbo_se` and `nll_se` are standard errors over the test images of one lane, not over seeds.

    Raises:
      UserError: a folder has no results yet.
    """
    return read_frames(workdirs, result_rows)


def result_rows(workdir: Path) -> list[dict[str, Any]]:
    return results_in(workdir)["lanes"]


def results_in(workdir: Path) -> dict[str, Any]:
    """The content of results.json of a run, a sweep or a search."""
    schema = SearchResults if kind_of(workdir) is Kind.SEARCH else Results
    return folder.read_results(workdir, schema)

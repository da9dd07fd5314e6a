"""What run folders hold, as pandas DataFrames: lanes, metrics and results.

Every function takes one folder or several; with several, the column `run` has their names.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax.checks import path_of
from vae_jax.errors import UserError
from vae_jax.runs import folder
from vae_jax.runs.schemas import Results, SearchResults
from vae_jax.sweeps.records import read_lanes

Folders = str | Path | Sequence[str | Path]


def pandas():
    """The package. Raises UserError if it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise UserError("tables as DataFrames need pandas: pip install -e '.[notebook]'") from error
    return pandas


def folders_of(workdirs: Folders) -> list[Path]:
    """The folders, each of which holds a run.

    Raises:
      UserError: one does not.
    """
    several = [workdirs] if isinstance(workdirs, str | Path) else workdirs
    found = [path_of(str(workdir)) for workdir in several]
    for workdir in found:
        folder.recorded_config(workdir)
    return found


def joined(workdirs: Folders, rows_of) -> Any:
    """A frame of the rows of all folders."""
    found = folders_of(workdirs)
    frames = []
    for workdir in found:
        frame = pandas().DataFrame(rows_of(workdir))
        if len(found) > 1:
            frame.insert(0, "run", str(workdir))
        frames.append(frame)
    return pandas().concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def lanes(workdirs: Folders) -> Any:
    """One row for each lane: seed, swept values, status."""
    return joined(workdirs, lane_rows)


def lane_rows(workdir: Path) -> list[dict[str, Any]]:
    path = workdir / folder.LANES
    return read_lanes(path) if path.exists() else []


def history(workdirs: Folders) -> Any:
    """One row for each lane, step and split: metrics, in nats per example, and swept values."""
    return joined(workdirs, history_rows)


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


def results(workdirs: Folders) -> Any:
    """One row for each lane: its results on the test set, in nats per example.

    `elbo_se` and `nll_se` are standard errors over the test images of one lane, not over seeds.

    Raises:
      UserError: a folder has no results yet.
    """
    return joined(workdirs, result_rows)


def result_rows(workdir: Path) -> list[dict[str, Any]]:
    return results_in(workdir)["lanes"]


def results_in(workdir: Path) -> dict[str, Any]:
    """The content of results.json of a run, a sweep or a search."""
    is_search = (workdir / folder.SEARCH).exists()
    return folder.read_results(workdir, SearchResults if is_search else Results)

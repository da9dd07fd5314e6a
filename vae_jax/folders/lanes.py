"""lanes.csv of a run folder: the status of each lane, also of one that a callback stopped."""

import contextlib
import csv
import io
from pathlib import Path
from typing import Any

from vae_jax import files
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.schemas import Results, read_json, read_text

STOPPED, RUNNING = "stopped", "running"  # the status of a lane


def read_lanes(path: Path) -> list[dict[str, str]]:
    """The rows of lanes.csv. Raises UserError if it is damaged."""
    content = read_text(path)
    try:
        table = csv.DictReader(io.StringIO(content, newline=""))
        rows = list(table)
        if missing := {"lane", "status", "diverged_step"} - {*(table.fieldnames or ())}:
            raise ValueError(f"no column {min(missing)}")
        for row in rows:
            if None in row or None in row.values():
                raise ValueError("a row has more or fewer cells than the first")
            int(row["lane"])
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove it: it is written anew"
        ) from error
    return rows


def rows_of(workdir: Path) -> list[dict[str, str]]:
    """The rows of lanes.csv in a run folder; none where there is no such file, or a damaged one."""
    path = workdir / folder.LANES
    with contextlib.suppress(UserError):
        return read_lanes(path) if path.exists() else []
    return []


def is_stopped(workdir: Path) -> bool:
    """Whether a callback stopped the run, and it has not gone on since."""
    return any(row.get("status") == STOPPED for row in rows_of(workdir))


def going_on(lane: dict[str, Any]) -> dict[str, Any]:
    return lane | {"status": RUNNING} if lane.get("status") == STOPPED else lane


def mark_going_on(workdir: Path) -> None:
    """Makes the records say that the run is neither finished nor stopped."""
    folder.mark_unfinished(workdir)
    if not is_stopped(workdir):
        return
    path = workdir / folder.RESULTS
    if path.exists():
        results = read_json(path, Results)
        lanes = [going_on(dict(lane)) for lane in results["lanes"]]
        files.write_json(path, results | {"lanes": lanes})
    folder.write_lanes(workdir, [going_on(row) for row in rows_of(workdir)])

"""What the folder of a run says that its callback stopped."""

import csv
import io
from pathlib import Path
from typing import Any

from vae_jax.runs import folder
from vae_jax.runs.schemas import Results, read_bytes, read_json

STOPPED, RUNNING = "stopped", "running"  # the status of a lane


def rows_of(workdir: Path) -> list[dict[str, Any]]:
    """The rows of lanes.csv; none where there is no such file, or a damaged one."""
    path = workdir / folder.LANES
    if not path.exists():
        return []
    table = csv.DictReader(io.StringIO(read_bytes(path).decode(errors="replace"), newline=""))
    try:
        rows = list(table)
    except csv.Error:
        return []
    return [] if any(None in row or None in row.values() for row in rows) else rows


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
        there = read_json(path, Results)
        lanes = [going_on(dict(lane)) for lane in there["lanes"]]
        folder.write_json(path, there | {"lanes": lanes})
    folder.write_lanes(workdir, [going_on(row) for row in rows_of(workdir)])

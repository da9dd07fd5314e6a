"""The records of a whole sweep, collected from the folders of its programs."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax.errors import UserError
from vae_jax.runs import folder
from vae_jax.runs.schemas import Results, read_json, read_text
from vae_jax.runs.summary import summary
from vae_jax.sweeps.plan import Program, Sweep, refuse_other_checksum

ERROR = "error.txt"  # in a program's folder: the traceback of its exception


def collect(sweep: Sweep, *, finished: bool = False) -> dict[str, Any]:
    """Writes lanes.csv, metrics.jsonl and results.json for the current sweep; returns the results.

    Only one process may call it at a time.

    Raises:
      UserError: the results of a program are of other data than the sweep began with.
    """
    lane_rows, lines, results = [], [], []
    for program in sweep.programs:
        lane_rows += program_rows(sweep, program)
        at = sweep.folder(program)
        if folder.is_finished(at):
            lines.append(read_text(at / folder.METRICS))
            own = read_json(at / folder.RESULTS, Results)
            refuse_other_checksum(sweep.workdir, program, own["dataset"])
            own["lanes"] = [lane | {"program": program.name} for lane in own["lanes"]]
            results.append(own)
    folder.write_lanes(sweep.workdir, sorted(lane_rows, key=lambda row: row["lane"]))
    folder.write_text(sweep.workdir / folder.METRICS, "".join(lines))
    lanes = sorted((lane for own in results for lane in own["lanes"]), key=lambda row: row["lane"])
    datasets = [own["dataset"] for own in results]
    own_columns = [column for own in results for column in own.get("own_columns", [])]
    distinct = [d for i, d in enumerate(datasets) if d not in datasets[:i]]
    content = {
        "finished": finished,
        "programs_done": len(results),
        "programs": len(sweep.programs),
        "swept": sweep.swept,
        "settings": [{**group, **summary(own)} for group, own in pooled(lanes, sweep.swept)],
        "lanes": lanes,
        "failed": [p.name for p in sweep.programs if (sweep.folder(p) / ERROR).exists()],
        "pseudo_likelihood": any(own["pseudo_likelihood"] for own in results),
        "kept": shared(results, "kept", "best"),
        "bound": shared(results, "bound", ""),
        "corruption": shared(results, "corruption", "none"),
        "objective_is_bound": all(own.get("objective_is_bound", True) for own in results),
        "own_columns": [
            column for i, column in enumerate(own_columns) if column not in own_columns[:i]
        ],
        "not_measured": {
            name: reason for own in results for name, reason in own.get("not_measured", {}).items()
        },
        "evaluation": results[0]["evaluation"] if results else {},
        "dataset": distinct[0] if len(distinct) == 1 else {"several": distinct},
        "wall_seconds": round(sum(own["wall_seconds"] for own in results), 3),
    }
    folder.write_json(sweep.workdir / folder.RESULTS, content)
    return content


def shared(results: list[dict[str, Any]], name: str, default: str) -> str:
    """What all programs say under a name; the default if they say different things."""
    found = {own.get(name, default) for own in results}
    return found.pop() if len(found) == 1 else default


def program_rows(sweep: Sweep, program: Program) -> list[dict[str, Any]]:
    """The program's rows for lanes.csv, with its last status, or "waiting" or "failed"."""
    at = sweep.folder(program)
    written = {}
    if (at / folder.LANES).exists():
        written = {int(row["lane"]): row for row in read_lanes(at / folder.LANES)}
    rows = []
    for lane in map(sweep.lane, program.lanes):
        own = written.get(lane.number, {"status": "waiting", "diverged_step": ""})
        rows.append(
            {
                "lane": lane.number,
                "seed": lane.seed,
                **lane.setting,
                "status": "failed" if (at / ERROR).exists() else own["status"],
                "diverged_step": own["diverged_step"],
                "program": program.name,
            }
        )
    return rows


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


def failures(sweep: Sweep) -> list[Path]:
    """The traceback files of the failed programs."""
    return [path for program in sweep.programs if (path := sweep.folder(program) / ERROR).exists()]


def pooled(
    lanes: list[dict[str, Any]], keys: Sequence[str]
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Groups lanes by the values of the keys: (values, lanes), in order of first appearance."""
    groups: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for lane in lanes:
        values = {key: lane[key] for key in keys}
        groups.setdefault(repr(values), (values, []))[1].append(lane)
    return list(groups.values())

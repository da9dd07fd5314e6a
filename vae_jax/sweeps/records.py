"""The records of a whole sweep, collected from the folders of its programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax import files
from vae_jax.folders import folder
from vae_jax.folders.lanes import read_lanes
from vae_jax.folders.schemas import Results, read_json, read_text
from vae_jax.runs.summary import learn_columns, summary
from vae_jax.sweeps.plan import Program, SweepPlan, refuse_other_checksum


def collect(sweep: SweepPlan, *, finished: bool = False) -> dict[str, Any]:
    """Writes lanes.csv, metrics.jsonl and results.json for the current sweep; returns the results.

    Only one process may call it at a time.

    Raises:
      UserError: the results of a program are of other data than the sweep began with.
    """
    lane_rows, lines, results = [], [], []
    for program in sweep.programs:
        lane_rows += program_rows(sweep, program)
        workdir = sweep.folder(program)
        if folder.is_finished(workdir):
            lines.append(read_text(workdir / folder.METRICS))
            record = program_results(sweep, program)
            refuse_other_checksum(sweep.workdir, program, record["dataset"])
            results.append(record)
    folder.write_lanes(sweep.workdir, sorted(lane_rows, key=lambda row: row["lane"]))
    files.write_text(sweep.workdir / folder.METRICS, "".join(lines))
    content = pooled_results(sweep, results, finished=finished)
    files.write_json(sweep.workdir / folder.RESULTS, content)
    return content


def program_results(sweep: SweepPlan, program: Program) -> dict[str, Any]:
    """The results of a program, whose lanes say which it is."""
    record = read_json(sweep.folder(program) / folder.RESULTS, Results)
    return record | {"lanes": [lane | {"program": program.name} for lane in record["lanes"]]}


def pooled_results(
    sweep: SweepPlan, results: list[dict[str, Any]], *, finished: bool
) -> dict[str, Any]:
    """The results of a sweep, from those of its programs."""
    lanes = sorted(
        (lane for record in results for lane in record["lanes"]), key=lambda row: row["lane"]
    )
    datasets = [record["dataset"] for record in results]
    own_columns = [column for record in results for column in record.get("own_columns", [])]
    learn_columns({"own_columns": own_columns})
    distinct = [d for i, d in enumerate(datasets) if d not in datasets[:i]]
    return {
        "finished": finished,
        "programs_done": len(results),
        "programs": len(sweep.programs),
        "swept": sweep.swept,
        "settings": [
            {**values, **summary(members)} for values, members in pooled(lanes, sweep.swept)
        ],
        "lanes": lanes,
        "failed": [p.name for p in sweep.programs if (sweep.folder(p) / folder.ERROR).exists()],
        "pseudo_likelihood": any(record["pseudo_likelihood"] for record in results),
        "kept": shared(results, "kept", "best"),
        "bound": shared(results, "bound", ""),
        "corruption": shared(results, "corruption", "none"),
        "objective_is_bound": all(record.get("objective_is_bound", True) for record in results),
        "own_columns": [
            column for i, column in enumerate(own_columns) if column not in own_columns[:i]
        ],
        "not_measured": {
            name: reason
            for record in results
            for name, reason in record.get("not_measured", {}).items()
        },
        "evaluation": results[0]["evaluation"] if results else {},
        "dataset": distinct[0] if len(distinct) == 1 else {"several": distinct},
        "wall_seconds": round(sum(record["wall_seconds"] for record in results), 3),
    }


def shared(results: list[dict[str, Any]], name: str, default: str) -> str:
    """What all programs say under a name; the default if they say different things."""
    values = {record.get(name, default) for record in results}
    return values.pop() if len(values) == 1 else default


def program_rows(sweep: SweepPlan, program: Program) -> list[dict[str, Any]]:
    """The program's rows for lanes.csv, with its last status, or "waiting" or "failed"."""
    workdir = sweep.folder(program)
    written = {}
    if (workdir / folder.LANES).exists():
        written = {int(row["lane"]): row for row in read_lanes(workdir / folder.LANES)}
    rows = []
    for lane in map(sweep.lane, program.lanes):
        last = written.get(lane.number, {"status": "waiting", "diverged_step": ""})
        rows.append(
            {
                "lane": lane.number,
                "seed": lane.seed,
                **lane.setting,
                "status": "failed" if (workdir / folder.ERROR).exists() else last["status"],
                "diverged_step": last["diverged_step"],
                "program": program.name,
            }
        )
    return rows


def failures(sweep: SweepPlan) -> list[Path]:
    """The traceback files of the failed programs."""
    return [
        path
        for program in sweep.programs
        if (path := sweep.folder(program) / folder.ERROR).exists()
    ]


def pooled(
    lanes: list[dict[str, Any]], keys: Sequence[str]
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Groups lanes by the values of the keys: (values, lanes), in order of first appearance."""
    groups: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for lane in lanes:
        values = {key: lane[key] for key in keys}
        groups.setdefault(repr(values), (values, []))[1].append(lane)
    return list(groups.values())

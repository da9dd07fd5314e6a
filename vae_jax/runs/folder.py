"""The run folder: which file is where, and how each is written whole or not at all."""

import contextlib
import csv
import fcntl
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax

import vae_jax
from vae_jax.errors import UserError
from vae_jax.runs.config import Values, check, differences, nest

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
LANES = "lanes.csv"
METRICS = "metrics.jsonl"
RESULTS = "results.json"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
LOCK = ".lock"

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy")


class Lane(NamedTuple):
    """A row of lanes.csv."""

    lane: int
    seed: int
    status: str  # running, done or diverged
    diverged_step: int | None


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or nothing of it: to a temporary name, then renamed."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def write_json(path: Path, content: Any) -> None:
    """Strict JSON (no NaN), indented."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_config(workdir: Path) -> Values:
    """The checked config of the run in `workdir`.

    Raises:
      UserError: there is no run, or its config.json is not one of ours.
    """
    path = workdir / CONFIG
    try:
        return check(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"{workdir} holds no run (no {CONFIG}); train one there first") from error
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from error
    except (json.JSONDecodeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error})") from error


def refuse_other_config(workdir: Path, values: Values) -> None:
    """Raises UserError if `workdir` holds another config's run, naming the keys that differ."""
    if not (workdir / CONFIG).exists():
        return
    different = differences(read_config(workdir), values)
    if different:
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(different)}); "
            "take another --workdir or the same config"
        )


def refuse_other_data(workdir: Path, identity: dict[str, Any]) -> None:
    """Raises UserError if the run in `workdir` began on data that were not these."""
    path = workdir / ENVIRONMENT
    if not path.exists():
        return
    different = differences(json.loads(path.read_text())["dataset"], identity)
    if different:
        raise UserError(
            f"the dataset is not the one that the run in {workdir} began on "
            f"({'; '.join(different)}); restore it, or take another --workdir"
        )


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the folder, and holds it: no second process may write to it meanwhile.

    Raises:
      UserError: it can't be written, or another process holds it.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = open(workdir / LOCK, "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} can't be written ({error.strerror}); take another folder"
        ) from error
    with lock:
        try:
            # The kernel lets go of it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"another process is working in {workdir}; wait for it or take another --workdir"
            ) from error
        yield


def start(workdir: Path, values: Values, dataset_identity: dict) -> None:
    """Writes what is known before the first step."""
    (workdir / FIGURES).mkdir(exist_ok=True)
    if not (workdir / CONFIG).exists():
        write_json(workdir / ENVIRONMENT, environment() | {"dataset": dataset_identity})
        seeds = values["training.seeds"]
        write_lanes(workdir, [Lane(i, seed, "running", None) for i, seed in enumerate(seeds)])
        write_json(workdir / CONFIG, nest(values))


def environment() -> dict[str, Any]:
    """What a result depends on beside the config."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "vae_jax": vae_jax.__version__,
        "commit": git.stdout.strip() or None,
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device) for device in jax.devices()],
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def write_lanes(workdir: Path, lanes: list[Lane]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(Lane._fields)
    writer.writerows(lanes)
    write_text(workdir / LANES, table.getvalue())


def is_finished(workdir: Path) -> bool:
    """Whether a run ended here: no lane is running any more."""
    if not (workdir / LANES).exists():
        return False
    with open(workdir / LANES, newline="") as table:
        return all(row["status"] != "running" for row in csv.DictReader(table))


def read_rows(workdir: Path, last_step: int | None = None) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, up to `last_step`; a half-written last line is left out."""
    path = workdir / METRICS
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if last_step is None or row["step"] <= last_step:
            rows.append(row)
    return rows


def row_line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def cut_rows(workdir: Path, last_step: int) -> None:
    """Takes out the rows past `last_step`, which a resumed run writes again."""
    rows = read_rows(workdir, last_step)
    write_text(workdir / METRICS, "".join(map(row_line, rows)))


def append_rows(workdir: Path, rows: list[dict[str, Any]]) -> None:
    with open(workdir / METRICS, "a") as file:
        file.write("".join(map(row_line, rows)))

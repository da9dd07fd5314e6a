"""The run folder: the location of each file, and how to write a file completely or not at all."""

import contextlib
import csv
import fcntl
import io
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from vae_jax.config.adopt import Copies, adopt, checksums, codes, own_names
from vae_jax.config.check import check
from vae_jax.config.code import other_code
from vae_jax.config.decide import as_decided
from vae_jax.config.schema import differences, flatten, nest
from vae_jax.data.dataset import other_data
from vae_jax.errors import UserError, naming
from vae_jax.keys import Values
from vae_jax.runs.environment import environment
from vae_jax.runs.formats import config_of_today
from vae_jax.runs.schemas import Environment, Results, Row, decoded, read_bytes, read_json

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
LANES = "lanes.csv"
METRICS = "metrics.jsonl"
RESULTS = "results.json"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
OWN = "own"  # copies of the user's modules that the config names
# In the folder of a search: the run folders of its best trial, and of the random search's.
BEST, RANDOM_BEST = "best", "random_best"
EPOCHS = "training.num_epochs"
LOCK = ".lock"
SWEEP = "sweep.json"
SEARCH = "search.json"

# What is written without a new name, or holds what is; a link there could lead anywhere.
WRITTEN = (
    LOCK, ".owner", METRICS, CHECKPOINTS, FIGURES, OWN, BEST, RANDOM_BEST, "evaluation", "programs",
    "tensorboard", "wandb",
)  # fmt: skip


def write_text(path: Path, text: str) -> None:
    """Writes the file under a temporary name, then renames it: it is never half-written."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same, of bytes."""
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path):
        with opened_anew(temporary) as file:
            file.write(content)
        os.replace(temporary, path)


def opened_anew(path: Path) -> BinaryIO:
    """A new file of that name, for writing; what has the name is removed, and no link followed."""
    path.unlink(missing_ok=True)
    return open(path, "xb")


def write_json(path: Path, content: Any) -> None:
    """Strict JSON (no NaN), indented."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """The arrays, compressed."""
    temporary = path.with_name(f".{path.stem}.tmp.npz")
    with naming(path):
        with opened_anew(temporary) as file:
            np.savez_compressed(file, **arrays)
        os.replace(temporary, path)


def or_none(value: float) -> float | None:
    """The value as a float, or None if it is not finite: JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def read_config(workdir: Path) -> Values:
    """The checked config of the run in `workdir`, whose own code it runs, if that is trusted.

    Raises:
      UserError: there is no run, its config.json is not valid, or names code that may not run.
    """
    flat = recorded_config(workdir)
    adopt_there(workdir, flat)
    try:
        return check(nest(flat), idle_allowed=True)
    except UserError as error:
        raise UserError(f"{workdir / CONFIG} is not a config of this version: {error}") from error


def recorded_config(workdir: Path) -> Values:
    """The config as it is written, with the keys of today; no value is checked, no code run.

    Raises:
      UserError: there is no run, or its config.json is damaged.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise UserError(f"{workdir} holds no run (no {CONFIG}); train one there first")
    flat = config_of_today(flatten(read_json(path, dict[str, Any])))
    return {key: tuple(v) if isinstance(v, list) else v for key, v in flat.items()}


def adopt_there(workdir: Path, values: Mapping[str, Any]) -> None:
    """Adopts the members that values of the run in `workdir` name.

    Raises:
      UserError: as `adopt`.
    """
    path = workdir / ENVIRONMENT
    there = read_json(path, Environment) if path.exists() and own_names(values) else {}
    adopt(values, Copies(workdir / OWN, there.get("code", {})))


def write_config(workdir: Path, values: Values, settings: Sequence[Values] = ()) -> None:
    """Writes config.json, and copies of the user's modules that it or the settings name."""
    for code in codes(values, *settings).values():
        (workdir / OWN).mkdir(exist_ok=True)
        for name, text in code.texts.items():
            if not (workdir / OWN / f"{name}.py").exists():
                write_text(workdir / OWN / f"{name}.py", text)
    write_json(workdir / CONFIG, nest(values))


def refuse_other_config(workdir: Path, values: Values) -> None:
    """Raises UserError, naming the keys that differ, if `workdir` holds a run of another config.

    The data may be elsewhere; `refuse_other_data` compares what they are.
    """
    if not (workdir / CONFIG).exists():
        if (workdir / METRICS).exists():
            raise UserError(f"{workdir} holds a run without its {CONFIG}; take another --workdir")
        return
    different = differences(read_config(workdir), values)
    if different:
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(different)}); "
            "take another --workdir or the same config"
        )


def as_there(workdir: Path, values: Values) -> Values:
    """The config, with the choices that it leaves to the data as the run in `workdir` made them."""
    return as_decided(values, read_config(workdir)) if (workdir / CONFIG).exists() else values


def shorter_run(workdir: Path, values: Values) -> Values | None:
    """The config of the run in `workdir`, if it is the same but for fewer epochs."""
    if not (workdir / CONFIG).exists():
        return None
    there = read_config(workdir)
    fewer = there[EPOCHS] < values[EPOCHS]
    return there if fewer and not differences(there | {EPOCHS: values[EPOCHS]}, values) else None


def mark_unfinished(workdir: Path) -> None:
    """Makes results.json say that its run is not finished, if it is there."""
    if (workdir / RESULTS).exists():
        write_json(workdir / RESULTS, read_json(workdir / RESULTS, Results) | {"finished": False})


def refuse_sweep(workdir: Path) -> None:
    """Raises UserError if `workdir` holds a sweep, or a search."""
    if (workdir / SWEEP).exists():
        raise UserError(f"{workdir} holds a sweep; `vae-jax sweep` works there")
    refuse_search(workdir)


def refuse_search(workdir: Path) -> None:
    """Raises UserError if `workdir` holds a search."""
    if (workdir / SEARCH).exists():
        best = f", and the best run that it found is in {workdir / BEST}"
        raise UserError(
            f"{workdir} holds a search; `vae-jax search` works there"
            + best * (workdir / BEST / CONFIG).exists()
        )


def refuse_other_data(workdir: Path, identity: dict[str, Any]) -> None:
    """Raises UserError if the run in `workdir` was started with other data."""
    if (workdir / ENVIRONMENT).exists():
        there = read_json(workdir / ENVIRONMENT, Environment)
        refuse_other_identity(workdir, there, identity)


def refuse_other_identity(
    workdir: Path, there: Mapping[str, Any], identity: dict[str, Any]
) -> None:
    """Raises UserError if `there` names a dataset, and it is other data."""
    different = other_data(there.get("dataset", {}), identity)
    if different:
        raise UserError(
            f"the dataset is not the one that the run in {workdir} began on "
            f"({'; '.join(different)}); restore it, or take another --workdir"
        )


def refuse_links(workdir: Path, names: Sequence[str] = WRITTEN) -> None:
    """Raises UserError if what is written to is a link to another place, or no file or folder."""
    for path in (workdir / name for name in names):
        if path.is_symlink():
            raise UserError(
                f"{path} is a link, and what it leads to is not to be written; put the file or "
                "folder itself there, or remove the link"
            )
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would never end
            raise UserError(f"{path} is no file and no folder; remove it")


class InUse(UserError):
    """Another process has locked the folder."""


@contextlib.contextmanager
def locked(workdir: Path, *, wait: bool = False) -> Iterator[None]:
    """Makes the folder and locks it, so that no other process writes to it.

    `wait`: if another process has locked it, wait until that releases it.

    Raises:
      UserError: the folder can't be written, or its file system has no locks.
      InUse: another process has locked it, and `wait` is False.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        refuse_links(workdir)
        lock = open(workdir / LOCK, "a")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} can't be written ({error.strerror}); take another folder"
        ) from error
    with lock:
        try:
            # The kernel releases the lock when the process ends, even if it is killed.
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise InUse(
                f"another process is working in {workdir}; wait for it or take another --workdir"
            ) from error
        except OSError as error:  # such as some network file systems
            raise UserError(
                f"the file system of {workdir} can't lock files ({error.strerror}); take a "
                "--workdir on another one"
            ) from error
        yield


def start(
    workdir: Path,
    lanes: list[dict[str, Any]],
    dataset_identity: dict[str, Any],
    values: Values,
) -> None:
    """Writes what is known before the first step, unless the folder already has checkpoints."""
    if not (workdir / CHECKPOINTS).exists():
        write_json(workdir / ENVIRONMENT, environment(values) | {"dataset": dataset_identity})
        write_lanes(workdir, lanes)


def write_lanes(workdir: Path, lanes: list[dict[str, Any]]) -> None:
    """Writes lanes.csv, one row per lane: lane, seed, swept values, status, diverged_step."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(lanes[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lanes)
    write_text(workdir / LANES, table.getvalue())


def is_finished(workdir: Path) -> bool:
    """Whether the results in this folder say that its run is finished."""
    path = workdir / RESULTS
    return path.exists() and read_json(path, Results)["finished"]


def read_results(workdir: Path, schema: Any = Results) -> dict[str, Any]:
    """The content of results.json.

    Raises:
      UserError: there is none yet, or it is damaged.
    """
    if not (workdir / RESULTS).exists():
        raise UserError(f"{workdir} has no results yet; train it first")
    return read_json(workdir / RESULTS, schema)


def read_rows(workdir: Path, last_step: int | None = None) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, up to `last_step`; a half-written last line is left out.

    Raises:
      UserError: another line is damaged.
    """
    path = workdir / METRICS
    lines = read_bytes(path).splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = decoded(line, Row, f"{path}, line {number},")
        except UserError:
            if number == len(lines):
                break
            raise
        if last_step is None or row["step"] <= last_step:
            rows.append(row)
    return rows


def beside_checkpoint(workdir: Path, identity: dict[str, Any], *several: Values) -> dict[str, Any]:
    """What is saved with a checkpoint: the rows so far, the data, and the user's own code."""
    code = checksums(*several)
    own = {"rows": rows_so_far(workdir), "dataset": identity}
    return own | ({"code": code} if code else {})


def refuse_other_code(workdir: Path, there: Mapping[str, Any], *several: Values) -> None:
    """Raises UserError if `there` names the user's own code, and other code is in use."""
    for name, code in codes(*several).items():
        wanted = there.get("code", {}).get(name, code.checksum)
        if code.checksum != wanted:
            raise other_code(str(workdir), code, wanted, workdir / OWN)


class Rows(NamedTuple):
    """The part of metrics.jsonl that belongs to a checkpoint."""

    size: int  # bytes
    crc32: int


def rows_so_far(workdir: Path) -> Rows:
    path = workdir / METRICS
    content = read_bytes(path) if path.exists() else b""
    return Rows(len(content), zlib.crc32(content))


def restore_rows(workdir: Path, rows: Rows) -> None:
    """Cuts metrics.jsonl to the rows of a checkpoint, as the resumed run writes the others again.

    Raises:
      UserError: as `kept_rows`.
    """
    kept = kept_rows(workdir, rows)
    path = workdir / METRICS
    if path.exists() and path.stat().st_size > len(kept):
        write_bytes(path, kept)


def kept_rows(workdir: Path, rows: Rows) -> bytes:
    """The rows of a checkpoint; none, with a line, if metrics.jsonl is gone.

    Raises:
      UserError: rows of the checkpoint are missing, or were changed.
    """
    path = workdir / METRICS
    if not path.exists() and rows.size:
        print(f"{path} is gone: the rows before this step are lost")
        return b""
    kept = read_bytes(path)[: rows.size] if path.exists() else b""
    if (len(kept), zlib.crc32(kept)) != rows:
        raise UserError(
            f"{path} is not what it was at the last checkpoint: rows are missing, or were changed; "
            "restore it, or remove it to go on without its rows"
        )
    return kept


def row_line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def cut_rows(workdir: Path, last_step: int) -> None:
    """Removes the rows after `last_step`, which a resumed run writes again."""
    rows = read_rows(workdir, last_step)
    write_text(workdir / METRICS, "".join(map(row_line, rows)))


def append_rows(workdir: Path, rows: list[dict[str, Any]]) -> None:
    with naming(workdir / METRICS), open(workdir / METRICS, "ab") as file:
        file.write("".join(map(row_line, rows)).encode())

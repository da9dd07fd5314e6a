"""The run folder: the location of each file, and what may be done there."""

import contextlib
import csv
import fcntl
import io
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax import files
from vae_jax.config.build import Config
from vae_jax.config.check import check
from vae_jax.config.code import NO_MEMBERS, Members, other_code
from vae_jax.config.import_members import (
    Copies,
    checksums,
    codes,
    import_members,
    names_of_members,
)
from vae_jax.config.needs import refuse_idle
from vae_jax.config.schema import differences, flatten, nest
from vae_jax.data.dataset import other_data
from vae_jax.errors import UserError, naming
from vae_jax.folders.environment import environment
from vae_jax.folders.exported import refuse_export
from vae_jax.folders.formats import config_of_today
from vae_jax.folders.schemas import Environment, Results, Row, decode, read_bytes, read_json
from vae_jax.sections.declare import Values

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
LANES = "lanes.csv"
METRICS = "metrics.jsonl"
RESULTS = "results.json"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
OWN = "own"  # copies of the user's modules that the config names
EVALUATION = "evaluation"  # the measurements of metrics
ON = "on"  # what the run or sweep measured on other images, a folder for each
LOCK = ".lock"
SWEEP = "sweep.json"
PROGRAMS = "programs"  # in the folder of a sweep: a run folder for each program
ERROR = "error.txt"  # in the folder of a program: the traceback of its exception
OWNER = ".owner"  # in the folder of a program: the token of the process that may write there
SEARCH = "search.json"
BEST = "best"  # in the folder of a search: the run folder of its best trial

# What is written without a new name, or holds what is; a link there could lead anywhere.
WRITTEN = (
    LOCK, OWNER, METRICS, CHECKPOINTS, FIGURES, OWN, BEST, EVALUATION, PROGRAMS, ON, "tensorboard",
    "wandb",
)  # fmt: skip


def read_config(workdir: Path, known: Members = NO_MEMBERS) -> Config:
    """The checked config of the run in `workdir`, whose own code it runs, if that is trusted.

    `known`: user-defined members, which should be those of the run.

    Raises:
      UserError: no run, no valid config.json, code that may not run, or other code than the known.
    """
    flat = recorded_config(workdir)
    members = import_recorded(workdir, flat, known)
    try:
        return check(nest(flat), members, idle_allowed=True)
    except UserError as error:
        raise UserError(f"{workdir / CONFIG} is not a config of this version: {error}") from error


def recorded_config(workdir: Path) -> Values:
    """The config as it is written, with the keys of today; no value is checked, no code run.

    Raises:
      UserError: there is no run, or its config.json is damaged.
    """
    refuse_export(workdir)
    path = workdir / CONFIG
    if not path.exists():
        raise UserError(f"{workdir} holds no run (no {CONFIG}); train one there first")
    flat = config_of_today(flatten(read_json(path, dict[str, Any])))
    return {key: tuple(v) if isinstance(v, list) else v for key, v in flat.items()}


def import_recorded(workdir: Path, values: Mapping[str, Any], known: Members) -> Members:
    """What `import_members` gives for values of the run in `workdir`, with its copies."""
    path = workdir / ENVIRONMENT
    named = names_of_members(values, known)
    recorded = read_json(path, Environment) if path.exists() and named else {}
    return import_members(values, known, Copies(workdir / OWN, recorded.get("code", {})))


def write_config(workdir: Path, config: Config, others: Sequence[Config] = ()) -> None:
    """Writes config.json, and copies of the user's modules that it or the other configs name."""
    for code in codes(config, *others).values():
        (workdir / OWN).mkdir(exist_ok=True)
        for name, text in code.texts.items():
            if not (workdir / OWN / f"{name}.py").exists():
                files.write_text(workdir / OWN / f"{name}.py", text)
    files.write_json(workdir / CONFIG, nest(config.values))


def existing_config(workdir: Path, known: Members = NO_MEMBERS) -> Config | None:
    """The config of the run in `workdir`; None: it holds none.

    Raises:
      UserError: as `read_config`; it holds the rows of a run without its config.
    """
    if (workdir / CONFIG).exists():
        return read_config(workdir, known)
    if rows_so_far(workdir).size:  # before the first step it is there, and empty
        raise UserError(f"{workdir} holds a run without its {CONFIG}; take another --workdir")
    return None


def refuse_new_idle(workdir: Path, configs: Sequence[Config]) -> None:
    """Refuses keys without effect in configs that are not in their folder yet.

    A run of an earlier version, which may have one, goes on.

    Raises:
      UserError: as `refuse_idle`.
    """
    if not (workdir / CONFIG).exists():
        refuse_idle(configs)


def refuse_other_config(workdir: Path, recorded: Config | None, config: Config) -> None:
    """Raises UserError, naming the keys that differ, if `workdir` holds a run of another config.

    `recorded`: that config; None: there is none. The data may be elsewhere;
    `refuse_other_data` compares what they are.
    """
    if recorded is not None and (different := differences(recorded.values, config.values)):
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(different)}); "
            "take another --workdir or the same config"
        )


def is_shorter(recorded: Config, config: Config) -> bool:
    """Whether a config is another one but for fewer epochs."""
    epochs = {"training.num_epochs": config.training.num_epochs}
    fewer = recorded.training.num_epochs < config.training.num_epochs
    return fewer and not differences(recorded.values | epochs, config.values)


def mark_unfinished(workdir: Path) -> None:
    """Makes results.json say that its run is not finished, if it is there."""
    if (workdir / RESULTS).exists():
        files.write_json(
            workdir / RESULTS, read_json(workdir / RESULTS, Results) | {"finished": False}
        )


def refuse_other_data(workdir: Path, identity: dict[str, Any]) -> None:
    """Raises UserError if the run in `workdir` was started with other data."""
    if (workdir / ENVIRONMENT).exists():
        recorded = read_json(workdir / ENVIRONMENT, Environment)
        refuse_other_identity(workdir, recorded, identity)


def refuse_other_identity(
    workdir: Path, recorded: Mapping[str, Any], identity: dict[str, Any]
) -> None:
    """Raises UserError if `recorded` names a dataset, and it is other data."""
    different = other_data(recorded.get("dataset", {}), identity)
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


def clear_unbegun(workdir: Path) -> None:
    """Removes the config and the code of a run that took no step, as of a part that failed at once.

    The folder is then free for the corrected command. Nothing is removed while a process works
    there.
    """

    def is_unbegun() -> bool:
        steps = workdir / CHECKPOINTS
        saved = steps.exists() and any(path.name.isdigit() for path in steps.iterdir())
        return not (saved or rows_so_far(workdir).size or (workdir / RESULTS).exists())

    if not ((workdir / CONFIG).exists() and is_unbegun()):
        return
    with contextlib.suppress(InUse), locked(workdir):
        if is_unbegun():
            for name in (CONFIG, ENVIRONMENT, LANES):
                (workdir / name).unlink(missing_ok=True)
            shutil.rmtree(workdir / OWN, ignore_errors=True)


def lay_out(
    workdir: Path,
    config: Config,
    others: Sequence[Config] = (),
    *,
    about: Mapping[str, Any],
    lanes: Sequence[dict[str, Any]] = (),
    is_program: bool = False,
) -> None:
    """Writes what is known before the first step: environment.json, lanes.csv and config.json.

    The first two stay as they are in a folder that has checkpoints: its run goes on.

    Args:
      config: of the run; of a sweep or search, what its settings override.
      others: the configs of a sweep or search.
      about: what environment.json says besides, such as the identity of the dataset.
      lanes: the rows of lanes.csv; none: the file is written later.
      is_program: the config is in the folder of the sweep, and not in this one.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / CHECKPOINTS).exists():
        files.write_json(workdir / ENVIRONMENT, environment(config, *others) | dict(about))
        if lanes:
            write_lanes(workdir, lanes)
    if not is_program:
        write_config(workdir, config, others)


def write_lanes(workdir: Path, lanes: Sequence[dict[str, Any]]) -> None:
    """Writes lanes.csv, one row per lane: lane, seed, swept values, status, diverged_step."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(lanes[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lanes)
    files.write_text(workdir / LANES, table.getvalue())


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
            row = decode(line, Row, f"{path}, line {number},")
        except UserError:
            if number == len(lines):
                break
            raise
        if last_step is None or row["step"] <= last_step:
            rows.append(row)
    return rows


def beside_checkpoint(workdir: Path, identity: dict[str, Any], *configs: Config) -> dict[str, Any]:
    """What is saved with a checkpoint: the rows so far, the data, and the user's own code."""
    code = checksums(*configs)
    rows_and_data = {"rows": rows_so_far(workdir), "dataset": identity}
    return rows_and_data | ({"code": code} if code else {})


def refuse_other_code(workdir: Path, recorded: Mapping[str, Any], *configs: Config) -> None:
    """Raises UserError if `recorded` names the user's own code, and other code is in use."""
    for name, code in codes(*configs, trained=True).items():
        wanted = recorded.get("code", {}).get(name, code.checksum)
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
        files.write_bytes(path, kept)


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
    files.write_text(workdir / METRICS, "".join(map(row_line, rows)))


def append_rows(workdir: Path, rows: list[dict[str, Any]]) -> None:
    with naming(workdir / METRICS), open(workdir / METRICS, "ab") as file:
        file.write("".join(map(row_line, rows)).encode())

"""What the files of a run folder hold. Reading a file checks it; keys beyond these are kept."""

import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from vae_jax.errors import UserError
from vae_jax.words import reason

Number = float | None  # null: not finite
Value = str | float | bool | None | list[str | float | bool | None]  # of a config key


class Identity(TypedDict):
    """A dataset, as `data.dataset.Dataset.identity` says it."""

    name: str
    checksum: str
    train_size: int
    validation_size: int
    test_size: int
    binarization: str
    image_shape: NotRequired[tuple[int, int, int]]  # with num_classes
    num_classes: NotRequired[int]
    trained_on: NotRequired[str]  # of other images than the run's own: the name of its dataset


class Environment(TypedDict):
    """environment.json; a sweep's own has no dataset."""

    format: NotRequired[int]
    dataset: NotRequired[Identity]
    started_from: NotRequired[dict[str, Any]]  # path, steps, crc32 of what was taken
    code: NotRequired[dict[str, str]]  # {module of the user's own: the checksum of its code}
    commit: NotRequired[str | None]
    command: NotRequired[list[str]]
    platform: NotRequired[str]
    devices: NotRequired[list[str]]
    packages: NotRequired[dict[str, str]]


class Row(TypedDict):
    """A line of metrics.jsonl."""

    lane: int
    seed: int
    step: int
    epoch: float
    split: str
    bound: Number
    elbo: NotRequired[Number]  # these three: of a bound on log p(x)
    reconstruction: NotRequired[Number]
    kl: NotRequired[Number]
    loss: NotRequired[Number]
    objective: NotRequired[Number]


class LaneResults(TypedDict):
    """A lane in results.json. It has each swept key too, and a number of each metric's columns."""

    lane: int
    seed: int
    status: str
    diverged_step: int | None
    best_step: int
    best_epoch: float
    validation_bound: Number
    bound: Number
    elbo: Number
    reconstruction: Number
    kl: Number
    bits_per_dim: Number
    epochs: NotRequired[float]
    warming_up: NotRequired[bool]
    uniform_bits: NotRequired[Number]
    bound_of: NotRequired[str]
    bound_name: NotRequired[str]
    aggregate_posterior_kl: NotRequired[Number]
    far_from_prior: NotRequired[bool]
    dominated: NotRequired[Number]
    importance_gap: NotRequired[Number]


class ColumnEntry(TypedDict):
    """A column of a user-defined metric, in results.json."""

    name: str
    digits: int
    of_likelihood: bool
    images: str


class Results(TypedDict):
    """results.json of a run, of a program of a sweep, and of a sweep.

    Its dataset is an Identity, or {"several": identities} of programs on several ones.
    """

    finished: bool
    lanes: list[LaneResults]
    dataset: dict[str, Any]
    pseudo_likelihood: bool
    wall_seconds: float
    evaluation: dict[str, Any]
    kept: NotRequired[str]
    bound: NotRequired[str]
    corruption: NotRequired[str]
    objective_is_bound: NotRequired[bool]
    measured: NotRequired[dict[str, str]]
    not_measured: NotRequired[dict[str, str]]
    own_columns: NotRequired[list[ColumnEntry]]


class RunResults(Results):
    """results.json of a run."""

    step: int
    lanes_in_mean: int
    mean: dict[str, Number]
    se: dict[str, Number]


class SweepResults(Results):
    """results.json of a sweep."""

    programs: int
    programs_done: int
    swept: list[str]
    settings: list[dict[str, Any]]


class Found(TypedDict):
    """The best trial of a search, on the test set."""

    lane: int
    validation_bound: Number
    elbo: Number


class TrialResults(TypedDict):
    """A trial in results.json of a search. It has each swept key too."""

    lane: int
    seed: int
    status: str
    epochs: float
    validation_bound: Number


class SearchResults(TypedDict):
    """results.json of a search."""

    finished: bool
    search: str
    swept: list[str]
    lanes: list[TrialResults]
    epochs: int
    steps: int
    epochs_of_all: int
    best: Found | None
    dataset: dict[str, Any]
    wall_seconds: float


class MeasuredWith(TypedDict):
    """The settings of a metric, and the step of the params that it measured."""

    metric: NotRequired[str]  # earlier versions wrote the numbers one by one
    best_step: NotRequired[list[int]]


class Measurement(TypedDict):
    """The file evaluation/METRIC.json."""

    settings: MeasuredWith
    lanes: list[dict[str, Any]]


class ProgramEntry(TypedDict):
    """A program in sweep.json."""

    name: str
    lanes: list[int]
    padded_latent_size: int | None
    checksum: NotRequired[str | None]


class SweepFile(TypedDict):
    """The file sweep.json."""

    settings: list[dict[str, Any]]
    programs: list[ProgramEntry]


def refuse_results(content: dict[str, Any]) -> None:
    """Raises ValueError unless the dataset is known and each lane is whole.

    A lane has the swept keys, and its metrics are numbers.
    """
    import msgspec

    from vae_jax.evaluation.metrics import METRICS

    dataset = content["dataset"]
    msgspec.convert(dataset.get("several", [dataset]), list[Identity])
    swept = msgspec.convert(content.get("swept", []), list[str])
    if not all(0 <= column["digits"] <= 20 for column in content.get("own_columns", [])):
        raise ValueError("a column has digits below 0 or above 20")
    of_metrics = [c for metric in METRICS.values() for c in metric().columns]
    names = ["accuracy"] + [c.name for c in of_metrics] + [c.images for c in of_metrics if c.images]
    names += [c[part] for c in content.get("own_columns", []) for part in ("name", "images")]
    for i, lane in enumerate(content["lanes"]):
        if missing := [key for key in swept if key not in lane]:
            raise ValueError(f"lane {i} has no {missing[0]}, which was swept")
        msgspec.convert({key: lane[key] for key in swept}, dict[str, Value])
        msgspec.convert({key: lane[key] for key in names if key in lane}, dict[str, Number])


def refuse_environment(content: dict[str, Any]) -> None:
    """Raises ValueError if the sizes of images are known, and their classes are not."""
    dataset = content.get("dataset", {})
    if "image_shape" in dataset and "num_classes" not in dataset:
        raise ValueError("its dataset has image_shape, but no num_classes")


# What the structures of these files do not say by themselves.
CHECKS: dict[Any, Callable[[dict[str, Any]], None]] = {
    Environment: refuse_environment,
    Results: refuse_results,
    RunResults: refuse_results,
    SweepResults: refuse_results,
    SearchResults: refuse_results,
}
# Every text of these files is shown or written. The others may hold a name that is no Unicode.
SHOWN = (Row, Results, RunResults, SweepResults, SearchResults)


def whole(text: str) -> int:
    """Raises ValueError for a number that no record holds, and no float can."""
    if len(text) > 20:
        raise ValueError(f"the number {text[:20]}... is too large")
    return int(text)


def finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


DECODER = json.JSONDecoder(parse_int=whole, parse_float=finite, parse_constant=no_number)


def decode(text: str | bytes, schema: Any, where: str) -> Any:
    """The content of a JSON text.

    Args:
      schema: a type, such as one of the classes above.
      where: the file, and the line of it.

    Raises:
      UserError: it is no JSON, or does not have that structure.
    """
    import msgspec  # 0.1 s: not before a file is read

    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        content = DECODER.decode(text)
        msgspec.convert(content, schema)
        if schema in SHOWN and "\\ud" in text.lower():
            json.dumps(content, ensure_ascii=False).encode()  # raises for half a letter
        if schema in CHECKS:
            CHECKS[schema](content)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise UserError(
            f"{where} is damaged ({reason(error)[:300]}); restore it, or remove it"
        ) from error
    return content


def without_waiting(path: str, flags: int) -> int:
    """Opens a file; a pipe would otherwise wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
      UserError: it can't be read, or is a folder, a pipe or a device.
    """
    try:
        with open(path, "rb", opener=without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path} can't be read (it is no regular file)")
            return file.read()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from error


def read_text(path: Path) -> str:
    """The text of a regular file.

    Raises:
      UserError: it can't be read, or is not UTF-8.
    """
    content = read_bytes(path)
    try:
        return content.decode()
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); restore it, or remove it") from error


def read_json(path: Path, schema: Any = Any) -> Any:
    """The content of a JSON file of that structure.

    Raises:
      UserError: it can't be read, is no JSON, or has another structure.
    """
    return decode(read_bytes(path), schema, str(path))

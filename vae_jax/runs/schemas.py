"""What the files of a run folder hold. Reading a file checks it; keys beyond these are kept."""

import json
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from vae_jax.errors import UserError

Number = float | None  # null: not finite


class Identity(TypedDict):
    """A dataset, as `data.dataset.Dataset.identity` says it."""

    name: str
    checksum: str
    train_size: int
    validation_size: int
    test_size: int
    binarization: str


class Environment(TypedDict):
    """environment.json; a sweep's own has no dataset."""

    format: NotRequired[int]
    dataset: NotRequired[Identity]
    code: NotRequired[dict[str, str]]  # {module of the user's own: the checksum of its code}


class Row(TypedDict):
    """A line of metrics.jsonl."""

    lane: int
    seed: int
    step: int
    epoch: float
    split: str
    bound: Number
    elbo: Number
    reconstruction: Number
    kl: Number


class LaneResults(TypedDict):
    """A lane in results.json."""

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


class Results(TypedDict):
    """results.json of a run, of a program of a sweep, and of a sweep."""

    finished: bool
    lanes: list[LaneResults]
    dataset: dict[str, Any]
    pseudo_likelihood: bool
    wall_seconds: float
    evaluation: dict[str, Any]


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


class RandomResults(TypedDict):
    """What a random search of as many epochs found."""

    settings: int
    epochs: int
    best: Found | None


class SearchResults(TypedDict):
    """results.json of a search."""

    finished: bool
    search: str
    swept: list[str]
    lanes: list[dict[str, Any]]
    epochs: int
    steps: int
    epochs_of_all: int
    best: Found | None
    random: RandomResults | None
    dataset: dict[str, Any]
    wall_seconds: float


class MeasuredWith(TypedDict):
    """The settings of a metric, and the step of the params that it measured."""

    metric: NotRequired[str]  # earlier versions wrote the numbers one by one
    best_step: NotRequired[list[int]]


class Measurement(TypedDict):
    """evaluation/METRIC.json."""

    settings: MeasuredWith
    lanes: list[dict[str, Any]]


class ProgramEntry(TypedDict):
    """A program in sweep.json."""

    name: str
    lanes: list[int]
    padded_latent_size: int | None
    checksum: NotRequired[str | None]


class SweepFile(TypedDict):
    """sweep.json."""

    settings: list[dict[str, Any]]
    programs: list[ProgramEntry]


def decoded(text: str | bytes, schema: Any, where: str) -> Any:
    """The content of a JSON text.

    Args:
      schema: a type, such as one of the classes above.
      where: the file, and the line of it.

    Raises:
      UserError: it is no JSON, or does not have that structure.
    """
    import msgspec  # 0.1 s: not before a file is read

    try:
        content = json.loads(text)
        msgspec.convert(content, schema)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where} is damaged ({reason}); restore it, or remove it") from error
    return content


def read_json(path: Path, schema: Any = Any) -> Any:
    """The content of a JSON file of that structure.

    Raises:
      UserError: it can't be read, is no JSON, or has another structure.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from error
    return decoded(content, schema, str(path))

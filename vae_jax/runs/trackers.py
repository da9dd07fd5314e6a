"""Experiment trackers: TensorBoard and Weights & Biases, a run of theirs for each lane."""

import contextlib
import functools
import importlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from vae_jax.config.build import Config
from vae_jax.config.schema import nest
from vae_jax.devices.lanes import replicate, shard_lanes
from vae_jax.devices.processes import is_first
from vae_jax.errors import UserError, naming, tell
from vae_jax.figures.images import canvas
from vae_jax.files import write_text
from vae_jax.runs.measure import evaluated_lanes, subject_of
from vae_jax.runs.observer import MetricRows, Observer
from vae_jax.runs.run import Lane, Run, evaluation_labels
from vae_jax.runs.summary import all_columns
from vae_jax.sections.declare import Values
from vae_jax.training.step import State
from vae_jax.views.lanes import PICTURES, Shown, shown_of_lanes
from vae_jax.views.profiles import in_rows
from vae_jax.words import to_install

PER_ROW, CODES = 8, 1_000  # of validation: images in a row, images encoded
FLUSH_SECONDS, CLOSE_SECONDS = 60, 300
BINS = 1e-12 * 1.1 ** np.arange(774)  # of histograms, as TensorBoard has them: to 1e20
BINS = np.concatenate([-BINS[::-1], [0], BINS])
# The entries of a row of metrics.jsonl that are no metrics.
HEAD = ("lane", "seed", "step", "epoch", "split", "pseudo_likelihood")


class Tracker(Protocol):
    """What is told of a run. Each call is of one lane, by its number, at one step."""

    def numbers(self, lane: int, step: int, numbers: dict[str, float], /) -> None:
        """Numbers of training and validation, by name."""

    def pictures(self, lane: int, step: int, pictures: dict[str, np.ndarray], /) -> None:
        """Images [height, width, 3], uint8, by name."""

    def histograms(self, lane: int, step: int, values: dict[str, np.ndarray], /) -> None:
        """Values [n], of which a histogram is shown, by name."""

    def results(self, lane: int, step: int, results: dict[str, float], /) -> None:
        """The numbers of the end, on the test set, by name."""

    def close(self) -> None:
        """Writes what is left."""


class TrackerKind(NamedTuple):
    """A tracker that a config can choose by the key log.NAME."""

    package: str  # that it needs
    extra: str  # of this package, which brings it
    begin: Callable[[Run, Path, Sequence[int]], Tracker]  # run, folder of its group, first steps


class EventFile:
    """A file of TensorBoard's events, written in this thread.

    tensorboardX's own writer has a thread of its own; when that dies, of a full disk, who gives it
    events waits for ever.
    """

    def __init__(self, path: Path, purge_step: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.event, self.path, self.due = Event, path, 0.0
        with naming(path):
            path.mkdir(parents=True, exist_ok=True)
            self.file = EventsWriter(str(path / "events"))
        started = SessionLog(status=SessionLog.START)
        # TensorBoard drops the steps from this one on that files of before hold.
        self.write(step=purge_step, file_version="brain.Event:2")
        self.write(step=purge_step, session_log=started)

    def write(self, **content: Any) -> None:
        """Adds an event; on the disk at the latest at the first one FLUSH_SECONDS later."""
        now = time.time()
        with naming(self.path):
            self.file.write_event(self.event(wall_time=now, **content))
            if now > self.due:
                self.file.flush()
                self.due = now + FLUSH_SECONDS

    def close(self) -> None:
        with naming(self.path):
            self.file.close()


class TensorBoard:
    """Event files, a folder for each lane."""

    def __init__(self, run: Run, group: Path, first_steps: Sequence[int]):
        from tensorboardX import summary

        self.summary, self.files = summary, {}
        for lane, first_step in zip(run.lanes, first_steps, strict=True):
            path = run.workdir / "tensorboard" / f"lane_{lane.number}"
            self.files[lane.number] = EventFile(path, first_step + 1)
            known = hyperparameters(lane).items()
            numbers = {n: v if isinstance(v, bool | int | float) else str(v) for n, v in known}
            shown = dict.fromkeys(("bound", *run.spec.objective.bound.terms[:1]), 0)
            tests = dict.fromkeys(named(shown, "test", run), 0)
            for part in summary.hparams(numbers, tests):
                self.files[lane.number].write(summary=part)

    def numbers(self, lane: int, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            self.files[lane].write(summary=self.summary.scalar(name, value), step=step)

    def pictures(self, lane: int, step: int, pictures: dict[str, np.ndarray]) -> None:
        for name, picture in pictures.items():
            image = self.summary.image(name, picture, dataformats="HWC")
            self.files[lane].write(summary=image, step=step)

    def histograms(self, lane: int, step: int, values: dict[str, np.ndarray]) -> None:
        for name, values_n in values.items():
            bars = self.summary.histogram(name, values_n, BINS)
            self.files[lane].write(summary=bars, step=step)

    def results(self, lane: int, step: int, results: dict[str, float]) -> None:
        self.numbers(lane, step, results)

    def close(self) -> None:
        close_all(*(file.close for file in self.files.values()))


class WandB:
    """Runs of Weights & Biases, in a group named after the run folder.

    Its own environment variables apply: WANDB_MODE=offline, WANDB_PROJECT, WANDB_ENTITY.
    """

    def __init__(self, run: Run, group: Path, first_steps: Sequence[int]):
        import wandb

        self.wandb, self.runs = wandb, {}
        token = run_token(run.workdir)
        try:
            for lane in run.lanes:
                self.runs[lane.number] = wandb.init(
                    project=os.environ.get("WANDB_PROJECT", "vae_jax"),
                    group=group.resolve().name,
                    name=f"{group.resolve().name}/lane_{lane.number}",
                    id=f"{token}-{lane.number}",
                    resume="allow",
                    reinit="create_new",
                    dir=run.workdir,
                    config=nest(lane.config.values) | {"lane": lane.number, "seed": lane.seed},
                    settings=wandb.Settings(silent=True, console="off"),
                )
        except Exception as error:  # no login, no network, ...
            self.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"log.wandb = True, and wandb could not begin ({reason}); log in by `wandb login`, "
                "or set the environment variable WANDB_MODE=offline"
            ) from error
        first = self.runs[run.lanes[0].number]
        if not first.offline:
            print(f"wandb: {first.url}", flush=True)

    def numbers(self, lane: int, step: int, numbers: dict[str, Any]) -> None:
        self.runs[lane].log(numbers, step=step)

    def pictures(self, lane: int, step: int, pictures: dict[str, np.ndarray]) -> None:
        self.numbers(lane, step, {n: self.wandb.Image(image) for n, image in pictures.items()})

    def histograms(self, lane: int, step: int, values: dict[str, np.ndarray]) -> None:
        self.numbers(lane, step, {n: self.wandb.Histogram(v.tolist()) for n, v in values.items()})

    def results(self, lane: int, step: int, results: dict[str, float]) -> None:
        self.runs[lane].summary.update(results)

    def close(self) -> None:
        close_all(*(partial(end_within, run.finish, CLOSE_SECONDS) for run in self.runs.values()))


def end_within(close: Callable[[], object], seconds: float) -> None:
    """Calls a function in a thread, and waits at most so long: wandb waits for another process.

    Raises:
      TimeoutError: the function takes longer.
    """
    errors: list[Exception] = []
    thread = threading.Thread(target=lambda: errors.extend(errors_of(close)), daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"it did not end within {seconds:g} s")
    if errors:
        raise errors[0]


def errors_of(*closes: Callable[[], object]) -> list[Exception]:
    """Calls all functions; returns the errors of those that raised one."""
    errors = []
    for close in closes:
        try:
            close()
        except Exception as error:
            errors.append(error)
    return errors


def close_all(*closes: Callable[[], object]) -> None:
    """Calls all functions; then raises the first error, if one of them raised."""
    for error in errors_of(*closes):
        raise error


TRACKERS = {
    "tensorboard": TrackerKind("tensorboardX", "tensorboard", TensorBoard),
    "wandb": TrackerKind("wandb", "wandb", WandB),
}


def run_token(workdir: Path) -> str:
    """What the ids of the folder's runs begin with: the same when it is resumed."""
    path = workdir / "wandb" / "token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text()


def hyperparameters(lane: Lane) -> Values:
    """The seed, and what is swept; outside a sweep, how the config differs from the default."""
    keys = lane.config.keys
    different = {
        name: value
        for name, value in lane.config.values.items()
        if value != keys[name].default and not name.startswith(("log.", "training.seeds"))
    }
    return {"seed": lane.seed} | (lane.setting or different)


def chosen(config: Config) -> dict[str, TrackerKind]:
    """The trackers that a config chooses, by name."""
    return {name: kind for name, kind in TRACKERS.items() if config.values[f"log.{name}"]}


def refuse_missing(config: Config) -> None:
    """Raises UserError if the package of a chosen tracker is missing."""
    for name, kind in chosen(config).items():
        try:
            importlib.import_module(kind.package)
        except ImportError as error:
            raise UserError(
                f"log.{name} = True needs {kind.package}: {to_install(kind.extra)}"
            ) from error


class Trackers:
    """The chosen trackers of a run. One that fails later than at its start is dropped, with a line.

    Only the first process has any.
    """

    def __init__(self, run: Run, group: Path):
        self.run, self.group = run, group
        self.chosen = list(chosen(run.config).values())
        self.open: list[Tracker] = []

    @property
    def observer(self) -> Observer:
        """Follows the run; with the results of its end, this is all that they are told."""
        if not self.chosen:
            return Observer()
        return Observer(begins=self.begin, views=self.views, rows=self.rows, validated=self.show)

    def begin(self, first_steps: Sequence[int]) -> None:
        """Opens them; of each lane, steps after its `first_steps` will be taken again.

        Raises:
          UserError: wandb can't start, for example without a login.
        """
        if is_first():
            for kind in self.chosen:
                self.open.append(kind.begin(self.run, self.group, first_steps))

    def views(self, state: State) -> Shown:
        """What is shown of a state, dispatched to the devices."""
        spec, keys, *shared = self._on_devices
        variables = evaluated_lanes(self.run, state.variables)
        return shown_of_lanes(self.run.layout, spec, variables, keys, *shared)

    @functools.cached_property
    def _on_devices(self) -> tuple[Any, ...]:
        """What stays the same while the run trains: models, keys, images, labels, classes."""
        run, split = self.run, self.run.data.validation
        labels = evaluation_labels(run, split)
        classes = None
        if labels is not None:
            labels = labels[:CODES]
            classes = np.arange(PICTURES, dtype=np.int32) % max(run.data.num_given, 1)
        lanes = shard_lanes(run.layout, (run.spec.model, run.keys.evaluation))
        return (*lanes, *replicate(run.layout, (split.images[:CODES], labels, classes)))

    def rows(self, step: int, rows: MetricRows) -> None:
        """Gives them rows of metrics.jsonl, which have their own steps."""
        for tracker in list(self.open):
            with self._left_out_if_it_fails(tracker):
                for row in rows:
                    numbers = named(row, row["split"], self.run)
                    tracker.numbers(row["lane"], row["step"], numbers)

    def show(self, step: int, shown: Shown, diverged_step: np.ndarray) -> None:
        """Gives them images and codes, of the lanes that have not diverged."""
        sizes = subject_of(self.run).latent_sizes
        for i, lane in enumerate(self.run.lanes):
            if diverged_step[i] >= 0:
                continue
            pairs = np.stack([self._rows(shown.inputs[i]), self._rows(shown.reconstructions[i])], 1)
            pictures = {
                "reconstructions": picture(pairs.reshape(-1, *pairs.shape[2:])),
                "samples": picture(self._rows(shown.samples[i])),
            }
            codes = shown.codes[i][:, : sizes[i] or None]
            units = {f"posterior_mean/unit_{j}": codes[:, j] for j in range(codes.shape[1])}
            for tracker in list(self.open):
                with self._left_out_if_it_fails(tracker):
                    tracker.pictures(lane.number, step, pictures)
                    tracker.histograms(lane.number, step, units)

    def results(self, lanes: Sequence[dict[str, Any]]) -> None:
        """Gives them the lanes of results.json."""
        names = all_columns()
        for tracker in list(self.open):
            with self._left_out_if_it_fails(tracker):
                for row in lanes:
                    numbers = named({n: row[n] for n in names if n in row}, "test", self.run)
                    tracker.results(row["lane"], row["best_step"], numbers)

    def close(self) -> None:
        for tracker in list(self.open):
            with self._left_out_if_it_fails(tracker, closes=False):
                tracker.close()

    def _rows(self, x_nd: np.ndarray) -> np.ndarray:
        """Images in rows [rows, columns, height, width, channels]; the last may be left out."""
        columns = min(PER_ROW, len(x_nd))
        n = len(x_nd) // columns * columns
        return in_rows(x_nd[:n], n // columns, self.run.data)

    @contextlib.contextmanager
    def _left_out_if_it_fails(self, tracker: Tracker, *, closes: bool = True) -> Iterator[None]:
        """If this context raises, the tracker is told nothing more, and a line says why.

        `closes`: it is closed then.
        """
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            tell(f"{type(tracker).__name__} failed, and is left out: {reason}")
            self.open.remove(tracker)
            if closes:
                with contextlib.suppress(Exception):
                    tracker.close()


@contextlib.contextmanager
def trackers(run: Run, group: Path | None = None) -> Iterator[Trackers]:
    """The trackers of a run, closed at the end; `group`: the folder of its sweep."""
    all_trackers = Trackers(run, group or run.workdir)
    try:
        yield all_trackers
    finally:
        all_trackers.close()


def named(row: dict[str, Any], split: str, run: Run) -> dict[str, float]:
    """The numbers of a row, by the names that trackers show."""
    prefix = f"{split}/pseudo-" if run.pseudo else f"{split}/"
    return {
        prefix + name: value
        for name, value in row.items()
        if name not in HEAD and value is not None
    }


def picture(images: np.ndarray) -> np.ndarray:
    """Images [rows, columns, height, width, channels] as one, [height, width, 3], uint8."""
    grid = canvas(images)
    grid = np.repeat(grid[..., None], 3, axis=-1) if grid.ndim == 2 else grid
    return np.asarray(255 * grid).round().astype(np.uint8)

"""Experiment trackers: TensorBoard and Weights & Biases, a run of theirs for each lane."""

import contextlib
import functools
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.config.schema import KEYS, nest
from vae_jax.data.binarization import scale
from vae_jax.devices.lanes import Layout, map_lanes, replicate, shard_lanes
from vae_jax.devices.processes import is_first
from vae_jax.errors import UserError, naming, tell
from vae_jax.figures.images import canvas
from vae_jax.keys import Values
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import Variables, generate, posterior_mean, reconstruct
from vae_jax.runs.folder import write_text
from vae_jax.runs.measure import subject_of
from vae_jax.runs.run import Lane, Run, evaluation_labels
from vae_jax.runs.summary import all_columns
from vae_jax.training.step import State

PER_ROW, PICTURES, CODES = 8, 16, 1_000  # of validation: images drawn, images encoded
FLUSH_SECONDS, CLOSE_SECONDS = 60, 300
BINS = 1e-12 * 1.1 ** np.arange(774)  # of histograms, as TensorBoard has them: to 1e20
BINS = np.concatenate([-BINS[::-1], [0], BINS])
# The entries of a row of metrics.jsonl that are no metrics.
HEAD = ("lane", "seed", "step", "epoch", "split", "pseudo_likelihood")


class Shown(NamedTuple):
    """What a tracker shows of all lanes besides numbers."""

    inputs: Any  # [lanes, n, d]
    reconstructions: Any
    samples: Any
    codes: Any  # [lanes, n, l], posterior means


@functools.partial(jax.jit, static_argnums=0)
def shown_of_lanes(
    layout: Layout, spec: ModelSpec, variables: Variables, keys, images, label_b, label_n
) -> Shown:
    """Some validation images, their reconstructions, samples of p(x), and codes.

    The same images and the same noise at every call.
    """

    def lane(spec, variables, key, images, label_b, label_n):
        model, x_bd = make_model(spec), scale(images)
        few, few_labels = x_bd[:PICTURES], None if label_b is None else label_b[:PICTURES]
        return Shown(
            few,
            reconstruct(model, variables, few, few_labels),
            generate(model, variables, key, PICTURES, label_n),
            posterior_mean(model, variables, x_bd, label_b),
        )

    return map_lanes(layout, lane, (spec, variables, keys), (images, label_b, label_n))


class EventFile:
    """A file of TensorBoard's events, written in this thread.

    tensorboardX's own writer has a thread of its own; when that dies, of a full disk, who gives it
    events waits for ever.
    """

    def __init__(self, at: Path, purge_step: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.event, self.at, self.due = Event, at, 0.0
        with naming(at):
            at.mkdir(parents=True, exist_ok=True)
            self.file = EventsWriter(str(at / "events"))
        started = SessionLog(status=SessionLog.START)
        # TensorBoard drops the steps from this one on that files of before hold.
        self.write(step=purge_step, file_version="brain.Event:2")
        self.write(step=purge_step, session_log=started)

    def write(self, **content: Any) -> None:
        """Adds an event; on the disk at the latest at the first one FLUSH_SECONDS later."""
        now = time.time()
        with naming(self.at):
            self.file.write_event(self.event(wall_time=now, **content))
            if now > self.due:
                self.file.flush()
                self.due = now + FLUSH_SECONDS

    def close(self) -> None:
        with naming(self.at):
            self.file.close()


class TensorBoard:
    """Event files, a folder for each lane."""

    extra, package = "tensorboard", "tensorboardX"

    def __init__(self, run: Run, group: Path, first_steps: Sequence[int]):
        from tensorboardX import summary

        self.summary, self.files = summary, {}
        for lane, first_step in zip(run.lanes, first_steps, strict=True):
            at = run.workdir / "tensorboard" / f"lane_{lane.number}"
            self.files[lane.number] = EventFile(at, first_step + 1)
            numbers = {
                name: value if isinstance(value, bool | int | float) else str(value)
                for name, value in hyperparameters(lane).items()
            }
            tests = dict.fromkeys(named({"bound": 0, "elbo": 0}, "test", run), 0)
            for own in summary.hparams(numbers, tests):
                self.files[lane.number].write(summary=own)

    def numbers(self, lane: int, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            self.files[lane].write(summary=self.summary.scalar(name, value), step=step)

    def pictures(self, lane: int, step: int, pictures: dict[str, np.ndarray]) -> None:
        for name, picture in pictures.items():
            own = self.summary.image(name, picture, dataformats="HWC")
            self.files[lane].write(summary=own, step=step)

    def histograms(self, lane: int, step: int, values: dict[str, np.ndarray]) -> None:
        for name, own in values.items():
            bars = self.summary.histogram(name, own, BINS)
            self.files[lane].write(summary=bars, step=step)

    def results(self, lane: int, step: int, results: dict[str, float]) -> None:
        self.numbers(lane, step, results)

    def close(self) -> None:
        closed(*(file.close for file in self.files.values()))


class WandB:
    """Runs of Weights & Biases, in a group named after the run folder.

    Its own environment variables apply: WANDB_MODE=offline, WANDB_PROJECT, WANDB_ENTITY.
    """

    extra, package = "wandb", "wandb"

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
                    config=nest(lane.values) | {"lane": lane.number, "seed": lane.seed},
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
        self.numbers(lane, step, {n: self.wandb.Image(own) for n, own in pictures.items()})

    def histograms(self, lane: int, step: int, values: dict[str, np.ndarray]) -> None:
        self.numbers(
            lane, step, {n: self.wandb.Histogram(own.tolist()) for n, own in values.items()}
        )

    def results(self, lane: int, step: int, results: dict[str, float]) -> None:
        self.runs[lane].summary.update(results)

    def close(self) -> None:
        closed(*(partial(ended, run.finish, CLOSE_SECONDS) for run in self.runs.values()))


def ended(close: Callable[[], object], seconds: float) -> None:
    """Calls it in a thread, and waits for as long: wandb waits for a process of its own.

    Raises:
      TimeoutError: it takes longer.
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
    """Calls them all; the errors of those that raised one."""
    errors = []
    for close in closes:
        try:
            close()
        except Exception as error:
            errors.append(error)
    return errors


def closed(*closes: Callable[[], object]) -> None:
    """Calls them all; then raises the first error of theirs, if there is one."""
    for error in errors_of(*closes):
        raise error


TRACKERS: dict[str, Any] = {"log.tensorboard": TensorBoard, "log.wandb": WandB}


def run_token(workdir: Path) -> str:
    """What the ids of the folder's runs begin with: the same when it is resumed."""
    path = workdir / "wandb" / "token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text()


def hyperparameters(lane: Lane) -> Values:
    """The seed, and what is swept; outside a sweep, how the config differs from the default."""
    different = {
        name: value
        for name, value in lane.values.items()
        if value != KEYS[name].default and not name.startswith(("log.", "training.seeds"))
    }
    return {"seed": lane.seed} | (lane.setting or different)


def refuse_missing(values: Values) -> None:
    """Raises UserError if the package of a chosen tracker is missing."""
    for key, tracker in TRACKERS.items():
        if values[key]:
            try:
                __import__(tracker.package)
            except ImportError as error:
                raise UserError(
                    f"{key} = True needs {tracker.package}: pip install -e '.[{tracker.extra}]'"
                ) from error


class Trackers:
    """The chosen trackers of a run. One that fails later than at its start is dropped, with a line.

    Only the first process has any.
    """

    def __init__(self, run: Run, group: Path):
        self.run, self.group = run, group
        self.chosen = [tracker for key, tracker in TRACKERS.items() if run.values[key]]
        self.open: list[Any] = []

    def begin(self, first_steps: Sequence[int]) -> None:
        """Opens them; of each lane, steps after its `first_steps` will be taken again.

        Raises:
          UserError: wandb can't start, for example without a login.
        """
        if is_first():
            for tracker in self.chosen:
                self.open.append(tracker(self.run, self.group, first_steps))

    def shown(self, state: State) -> Shown | None:
        """What is shown of a state, dispatched to the devices; None: there is no tracker."""
        if not self.chosen:
            return None
        spec, keys, *shared = self._on_devices
        return shown_of_lanes(self.run.layout, spec, state.variables, keys, *shared)

    @functools.cached_property
    def _on_devices(self) -> tuple[Any, ...]:
        """What stays the same while the run trains: models, keys, images, labels, classes."""
        run, split = self.run, self.run.data.validation
        labels = evaluation_labels(run, split)
        classes = None
        if labels is not None:
            labels = labels[:CODES]
            classes = np.arange(PICTURES, dtype=np.int32) % max(run.data.num_classes, 1)
        lanes = shard_lanes(run.layout, (run.spec.model, run.keys.evaluation))
        return (*lanes, *replicate(run.layout, (split.images[:CODES], labels, classes)))

    def rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Gives them rows of metrics.jsonl."""
        for row in rows if self.open else ():
            own = named(row, row["split"], self.run)
            self._each("numbers", row["lane"], row["step"], own)

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
            self._each("pictures", lane.number, step, pictures)
            self._each("histograms", lane.number, step, units)

    def results(self, lanes: Sequence[dict[str, Any]]) -> None:
        """Gives them the lanes of results.json."""
        for row in lanes:
            own = named({n: row[n] for n in all_columns() if n in row}, "test", self.run)
            self._each("results", row["lane"], row["best_step"], own)

    def _rows(self, x_nd: np.ndarray) -> np.ndarray:
        """Images in rows [rows, columns, height, width, channels]; the last may be left out."""
        columns = min(PER_ROW, len(x_nd))
        n = len(x_nd) // columns * columns
        return x_nd[:n].reshape(-1, columns, *self.run.data.image_shape)

    def _each(self, method: str, *arguments: Any) -> None:
        for tracker in list(self.open):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                name = type(tracker).__name__
                tell(f"{name} failed, and is left out: {reason}")
                self.open.remove(tracker)
                if method != "close":
                    with contextlib.suppress(Exception):
                        tracker.close()

    def close(self) -> None:
        self._each("close")


@contextlib.contextmanager
def trackers(run: Run, group: Path | None = None) -> Iterator[Trackers]:
    """The trackers of a run, closed at the end; `group`: the folder of its sweep."""
    found = Trackers(run, group or run.workdir)
    try:
        yield found
    finally:
        found.close()


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
    own = canvas(images)
    own = np.repeat(own[..., None], 3, axis=-1) if own.ndim == 2 else own
    return np.asarray(255 * own).round().astype(np.uint8)

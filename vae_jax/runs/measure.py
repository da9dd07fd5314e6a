"""Measures the lanes of a run: the bound of a split, and metrics.

The result of each metric is stored in the run folder.
"""

import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from vae_jax import files
from vae_jax.config.import_members import member_sections
from vae_jax.data.dataset import Split
from vae_jax.devices.lanes import as_sharded, shard_lanes, to_host
from vae_jax.devices.processes import is_first
from vae_jax.evaluation.bounds import Terms, bound
from vae_jax.evaluation.examples import joined, measure_batches
from vae_jax.evaluation.metrics import METRICS, BoundMetric
from vae_jax.evaluation.metrics.interface import MetricSection
from vae_jax.evaluation.metrics.metric import Arrays, Metric, Numbers, Subject, first
from vae_jax.files import or_none
from vae_jax.folders.checkpoint import Best
from vae_jax.folders.folder import EVALUATION
from vae_jax.folders.formats import metric_of_today
from vae_jax.folders.schemas import Measurement, read_json
from vae_jax.models import ModelSpec
from vae_jax.models.model import Variables
from vae_jax.objectives import Objective
from vae_jax.runs.progress import in_notebook, lines, without_bar
from vae_jax.runs.run import Run, evaluation_labels
from vae_jax.sections.declare import replace
from vae_jax.training.average import AVERAGE, evaluated
from vae_jax.training.step import State
from vae_jax.words import count, duration, reason

CHOSEN = "evaluation.metrics"
LAYERS = "layers"
WITH_LAYERS = {"latents": "sampled", "disentanglement": "sampled", "ais": "noise"}

# After TIMED batches their time is known; an estimate of fewer seconds is not worth a line.
TIMED, WORTH_TELLING = 2, 10.0
# Groups of `at_once` examples per call of the device; the bar moves after each call.
GROUPS = 4


def evaluated_objective(run: Run) -> Objective:
    """The objective of the lanes, with evaluation.num_samples samples, if it is not 0."""
    objective = run.spec.objective
    samples = run.config.evaluation.num_samples or objective.num_samples
    return replace(objective, num_samples=samples, bound=objective.bound.evaluated())


averaged = jax.jit(evaluated)


def evaluated_lanes(run: Run, variables: Variables) -> Variables:
    """The variables of all lanes that are evaluated, on the devices; nothing is copied where no
    params are averaged."""
    if AVERAGE not in variables:
        return variables
    return as_sharded(run.layout, averaged(variables))


def evaluate_state(run: Run, state: State | Best, split: Split) -> Terms:
    """The loss and terms [padded lanes, n] of a split at `state`, on the devices.

    The loss is that of the objective as it is at the end of the run. This does not wait
    for the result.
    """
    end = np.full(len(run.lanes), run.total_steps - 1, np.int32)
    objective, model, keys, step = shard_lanes(
        run.layout, (evaluated_objective(run), run.spec.model, run.keys.evaluation, end)
    )
    batches = measure_batches(
        bound,
        run.layout,
        0,
        (objective, step),
        model,
        evaluated_lanes(run, state.variables),
        keys,
        split.images,
        evaluation_labels(run, split),
        batch_size=run.config.evaluation.batch_size,
    )
    return joined(list(batches), len(split.images))


def subject_of(run: Run) -> Subject:
    """The parts of the run that metrics need."""
    settings = tuple(lane.setting for lane in run.lanes)
    seed = run.config.dataset.binarization_seed
    layers = run.spec.model.abilities.num_layers
    sizes = tuple(lane.config.model.latent_size if layers == 1 else 0 for lane in run.lanes)
    return Subject(settings, sizes, run.data, run.spec.model, run.workdir / EVALUATION, seed)


class Measurements(NamedTuple):
    """What was measured of each lane's best on the test set."""

    lanes: list[Numbers]
    settings: dict[str, str]  # {metric: its section}, those of an earlier evaluation included
    failed: dict[str, str]  # {metric: why it could not be measured}


def measure_metrics(run: Run, best: Best) -> Measurements:
    """The numbers of all chosen metrics, and of those measured before with the same params.

    If a metric can't be measured, only its own numbers are missing.
    """
    lanes: list[Numbers] = [{} for _ in run.lanes]
    settings, failed = {}, {}
    sections = dict(zip(run.config.values[CHOSEN], run.config.evaluation.metrics, strict=True))
    for name, metric in known_metrics(run).items():
        if metric is BoundMetric:
            continue
        try:
            if name in sections:
                settings[name] = repr(sections[name])
                rows = measure_metric(run, best, name, sections[name])
            else:
                record = read_stored(run, best, name)
                if record is None:
                    continue
                settings[name], rows = record["settings"]["metric"], record["lanes"]
        except Exception as error:
            if isinstance(error, OSError):  # such as a full disk
                raise
            failed[name] = reason(error)
            continue
        for lane, numbers in zip(lanes, rows, strict=True):
            lane |= numbers
    return Measurements(lanes, settings, failed)


def known_metrics(run: Run) -> dict[str, Any]:
    """{name: section}: the metrics of the package, and the user-defined ones of the config."""
    return METRICS | member_sections(run.config, CHOSEN)


def read_stored(run: Run, best: Best, name: str) -> dict[str, Any] | None:
    """What the run folder holds of a metric, if it was measured with these params."""
    path = run.workdir / EVALUATION / f"{name}.json"
    if not (path.is_file() and zipfile.is_zipfile(path.with_suffix(".npz"))):
        return None
    record = read_json(path, Measurement)
    settings = record["settings"]
    if "metric" in settings:
        settings["metric"] = metric_of_today(settings["metric"])
    same = "metric" in settings and settings.get("best_step") == best_steps(best)
    same &= settings.get(LAYERS) == way_with_layers(run, name)
    return record if same and len(record["lanes"]) == len(run.lanes) else None


def way_with_layers(run: Run, name: str) -> str | None:
    """How a metric measures several layers, where earlier versions measured another thing."""
    several = run.spec.model.abilities.num_layers > 1
    return WITH_LAYERS.get(name) if several else None


def best_steps(best: Best) -> list[int]:
    return [int(step) for step in best.step]


def measure_metric(run: Run, best: Best, name: str, section: MetricSection) -> list[Numbers]:
    """The numbers of one metric; taken from the run folder if stored there for equal settings."""
    return measured(run, best, name, section)[0]


def measured(
    run: Run, best: Best, name: str, section: MetricSection
) -> tuple[list[Numbers], Arrays | None]:
    """The numbers of one metric, and what it measured; None: that is in the run folder."""
    subject = subject_of(run)
    metric = section.metric(subject)
    settings = {"metric": repr(section), "best_step": best_steps(best)}
    if way := way_with_layers(run, name):
        settings[LAYERS] = way
    member = run.config.members.get((CHOSEN, name))
    if member is not None and member.code is not None:
        settings["code"] = member.code.checksum
    folder = subject.folder
    path = folder / f"{name}.json"
    record = read_stored(run, best, name)
    if record and record["settings"] == settings:
        return record["lanes"], None
    others = {}
    for other in metric.after:
        # The folder of another process may not have them yet.
        _, own = measured(run, best, other, known_metrics(run)[other]())
        others[other] = kept_arrays(run, other) if own is None else own
    with_more = best._replace(variables=best.variables | metric.more(subject, others))
    model = metric.model(subject, others)
    arrays = measure_split(run, with_more, name, section, metric, model)
    lanes = [
        {key: storable(number) for key, number in numbers.items()}
        for numbers in metric.summary(arrays, subject)
    ]
    if is_first():
        folder.mkdir(exist_ok=True)
        files.write_npz(folder / f"{name}.npz", arrays)
        # Written last: this file marks the metric as done.
        files.write_json(path, {"settings": settings, "lanes": lanes})
    return lanes, arrays


def storable(number: Any) -> Any:
    """A number or a list of numbers, converted for JSON; a string unchanged."""
    if isinstance(number, list):
        return [storable(one) for one in number]
    return number if isinstance(number, str) else or_none(number)


def kept_arrays(run: Run, name: str) -> Arrays:
    """The arrays that a metric stored in the run folder: [lanes, n, ...]."""
    with np.load(run.workdir / EVALUATION / f"{name}.npz") as file:
        return dict(file)


def seconds_of(batches: Callable[[], Iterator[Any]], run: Run) -> float:
    """How long they take, once they are compiled."""
    began = 0.0
    for _ in range(2):
        began = time.monotonic()
        for batch in batches():
            to_host(run.layout, batch)
    return time.monotonic() - began


def measure_split(
    run: Run, best: Best, name: str, section: MetricSection, metric: Metric, model: ModelSpec
) -> Arrays:
    """The metric's measurements of all examples for every lane: [lanes, n, ...]."""
    split = metric.inputs or run.data.test
    n = len(split.images)
    batch_size = min(GROUPS * metric.at_once or run.config.evaluation.batch_size, n)
    # The noise of a metric does not depend on which others are measured.
    keys = jax.vmap(jax.random.fold_in, (0, None))(
        run.keys.evaluation, np.uint32(zlib.crc32((metric.stream or name).encode()))
    )
    model, variables, keys = shard_lanes(run.layout, (model, best.variables, keys))

    def batches_of(section: Any, split: Split) -> Iterator[Any]:
        return measure_batches(
            metric.measure,
            run.layout,
            metric.at_once,
            section,
            model,
            variables,
            keys,
            split.images,
            evaluation_labels(run, split),
            batch_size=batch_size,
        )

    what = f"{count(len(run.lanes), 'lane')} x {count(n, 'image')}"
    if is_first():
        print(f"{name}: {what}, each {metric.cost}", flush=True)
    parts: list[Arrays] = []
    times: list[float] = []  # at the end of each batch
    num_batches = -(-n // batch_size)

    def so_far() -> str:
        line = f"{name}: {min(len(parts) * batch_size, n):,} of {n:,} images"
        if len(times) < TIMED:
            return line
        each = (times[-1] - times[0]) / (len(times) - 1)
        return f"{line}, about {duration(each * (num_batches - len(times)))} left"

    def tell(seconds: float) -> None:
        if is_first() and seconds >= WORTH_TELLING:
            tqdm.write(f"{name}: about {duration(seconds)} for {what}")
            sys.stdout.flush()

    if metric.trial:
        short = partial(batches_of, metric.trial.section, first(split, batch_size))
        tell(seconds_of(short, run) / metric.trial.part * num_batches)
    bar = tqdm(
        batches_of(section, split),
        desc=name,
        total=num_batches,
        unit=f" x {batch_size} images",
        disable=without_bar(),
        dynamic_ncols=not in_notebook(),
    )
    with lines(so_far):
        for batch in bar:
            parts.append(to_host(run.layout, batch))
            times.append(time.monotonic())
            if len(times) == TIMED and not metric.trial:  # the first was compiled too
                tell((times[1] - times[0]) * num_batches)
    return {key: np.concatenate([part[key] for part in parts], axis=1)[:, :n] for key in parts[0]}

"""Measuring the lanes of a run, a metric at a time, each kept in the run folder once it is done."""

import os
import zlib
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from vae_jax.data.dataset import Split
from vae_jax.evaluation.examples import measure_batches
from vae_jax.lanes import fetch, put
from vae_jax.models.model import ModelHyper
from vae_jax.runs import folder
from vae_jax.runs.checkpoint import Best
from vae_jax.runs.distributed import is_first
from vae_jax.runs.folder import or_none
from vae_jax.runs.metrics import METRICS
from vae_jax.runs.metrics.metric import FOLDER, Arrays, Metric, Numbers
from vae_jax.runs.plan import Run, evaluation_labels

# Groups of examples side by side, to a call of the device: after each, the bar moves.
GROUPS = 4


def measurements(run: Run, best: Best) -> list[Numbers]:
    """The numbers of each lane's best on the test set, of all metrics that the config names."""
    lanes: list[Numbers] = [{} for _ in run.lanes]
    for name in run.values["evaluation.metrics"]:
        metric = METRICS[name]
        if metric is not None:
            for lane, numbers in zip(lanes, measured(run, best, name, metric), strict=True):
                lane |= numbers
    return lanes


def measured(run: Run, best: Best, name: str, metric: Metric) -> list[Numbers]:
    """One metric's numbers: those in the run folder, if they are of these params and settings."""
    settings = {
        "spec": repr(metric.spec(run)),
        "best_step": [int(step) for step in best.step],
    }
    at = run.workdir / FOLDER
    path = at / f"{name}.json"
    if path.exists():
        there = folder.read_json(path)
        if there.get("settings") == settings:
            return there["lanes"]
    kept = {}
    for other in metric.needs:
        needed = METRICS[other]
        assert needed is not None
        measured(run, best, other, needed)
        kept[other] = kept_arrays(run, other)
    split, model_hyper = metric.inputs(run), metric.model_hyper(run, kept)
    arrays = measure_split(run, best, name, metric, split, model_hyper)
    lanes = [
        {key: storable(number) for key, number in own.items()}
        for own in metric.summary(arrays, run)
    ]
    if is_first():
        at.mkdir(exist_ok=True)
        temporary = at / f".{name}.tmp.npz"
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, at / f"{name}.npz")
        # Last: it is what says that the metric is done.
        folder.write_json(path, {"settings": settings, "lanes": lanes})
    return lanes


def storable(number: Any) -> Any:
    """A number, or a list of them, as JSON has it; a text as it is."""
    if isinstance(number, list):
        return [storable(one) for one in number]
    return number if isinstance(number, str) else or_none(number)


def kept_arrays(run: Run, name: str) -> Arrays:
    """What a metric left in the run folder: [lanes, n, ...]."""
    with np.load(run.workdir / FOLDER / f"{name}.npz") as kept:
        return dict(kept)


def measure_split(
    run: Run, best: Best, name: str, metric: Metric, split: Split, model_hyper: ModelHyper
) -> Arrays:
    """What the metric measures of the examples, under every lane: [lanes, n, ...]."""
    values, n = run.values, len(split.images)
    at_once = metric.at_once(run)
    batch_size = min(GROUPS * at_once or values["evaluation.batch_size"], n)
    # Noise of its own, whatever else is measured.
    keys = jax.vmap(jax.random.fold_in, (0, None))(
        run.keys.evaluation, np.uint32(zlib.crc32((metric.stream or name).encode()))
    )
    params, keys, model_hyper = put(run.layout, (best.params, keys, model_hyper))
    batches = measure_batches(
        metric.measure,
        metric.spec(run),
        run.spec.model,
        run.layout,
        at_once,
        params,
        keys,
        None,
        model_hyper,
        split.images,
        evaluation_labels(run, split),
        batch_size=batch_size,
    )
    if is_first():
        print(f"{name}: {len(run.lanes)} lanes x {n:,} images, each {metric.cost(run)}", flush=True)
    parts = [
        fetch(run.layout, batch)
        for batch in tqdm(
            batches,
            desc=name,
            total=-(-n // batch_size),
            unit=f" x {batch_size} images",
            disable=None if is_first() else True,
            dynamic_ncols=True,
        )
    ]
    return {key: np.concatenate([part[key] for part in parts], axis=1)[:, :n] for key in parts[0]}

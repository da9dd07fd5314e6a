"""Whether lanes of one seed have the bits of that seed's run alone, in one program on many devices.

    JAX_NUM_CPU_DEVICES=2 python -m tests.devices.equal_lanes '{"shape": [64, 64, 1], ...}'

trains, validates and measures -log p(x) of one lane, then of each number of lanes in `lanes`, twice
each. Prints as JSON, for each number, what differs from the run alone: nothing should. In a process
of its own, with all of XLA's optimisations. What a case may say: CASE.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from configs import default
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.dataset import Dataset, Split
from vae_jax.devices.lanes import as_sharded, shard_lanes, to_host
from vae_jax.devices.setup import pin, use_cores
from vae_jax.evaluation.examples import joined, measure_batches
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.runs.measure import evaluate_state
from vae_jax.runs.run import Lane, Run, first_state, make_program, on_devices
from vae_jax.sections.declare import replace
from vae_jax.training.loop import order_lanes, train_lanes

CASE: dict[str, Any] = {
    "shape": (28, 28, 1),
    "images": 800,
    "network": "mlp",
    "widths": (32,),
    "batch": 400,
    "steps": 64,  # in one call of the program: lanes that run in turn make it longer
    "lanes": (2, 6),
    "samples": 0,  # of -log p(x); 0: it is left out
    "config": {},  # other keys
}


def made_images(n: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Random grey images [n, d]; a quarter of their pixels are 0 in all of them."""
    rng = np.random.default_rng(0)
    images_nd = rng.integers(0, 256, (n, int(np.prod(shape))), np.uint8)
    images_nd[:, : images_nd.shape[1] // 4] = 0
    return images_nd


def made_run(case: dict[str, Any], data: Dataset, lanes: int) -> Run:
    """The run of so many lanes, all of seed 0."""
    changes = {
        "dataset.binarization": "dynamic",
        "model.likelihood": "bernoulli",
        "model.encoder.name": case["network"],
        "model.decoder.name": case["network"],
        "training.batch_size": case["batch"],
        "evaluation.batch_size": 40,
        **case["config"],
    }
    changes |= {f"model.{part}.widths": tuple(case["widths"]) for part in ("encoder", "decoder")}
    config = check(nest(check(default.get_config()).values | changes))
    run = make_program([Lane(i, 0, {}, config) for i in range(lanes)], Path("none"), data)
    return run._replace(spec=replace(run.spec, chunk_steps=case["steps"]))


def log_likelihood(settings, model, variables, key, x_bd, label_b, *, samples: int):
    return importance_sampling(model, variables, key, x_bd, samples, label_b)


def computed(run: Run, samples: int) -> dict[str, np.ndarray]:
    """State, metrics, validation and -log p(x) after one chunk of steps; [lane, ...] each."""
    spec, layout, keys, examples = on_devices(run)
    order = as_sharded(layout, order_lanes(spec, layout, keys, np.int32(0)))
    state = as_sharded(layout, first_state(run))
    steps = np.int32(run.spec.chunk_steps)
    state, metrics, _ = train_lanes(spec, layout, state, keys, order, steps, examples)
    state = as_sharded(layout, state)
    found: dict[str, Any] = {
        "state": state,
        "metrics": metrics,
        "validation": evaluate_state(run, state, run.data.validation),
    }
    if samples:
        of_keys, model = shard_lanes(layout, (run.keys.evaluation, run.spec.model))
        measure = partial(log_likelihood, samples=samples)
        images = run.data.test.images
        arguments = (model, state.variables, of_keys, images, None)
        batches = measure_batches(measure, layout, 8, (), *arguments, batch_size=40)
        found["nll"] = joined(list(batches), len(images))
    leaves = jax.tree_util.tree_leaves_with_path(to_host(layout, found))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def unlike(alone: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """How many numbers of each lane are not those of the run alone, where any is not."""
    counts = {
        name: [int((lane != alone[name][0]).sum()) for lane in leaf] for name, leaf in found.items()
    }
    return {name: of_lanes for name, of_lanes in counts.items() if any(of_lanes)}


def main(case: dict[str, Any]) -> dict[str, dict[str, list[int]]]:
    shape = tuple(case["shape"])
    images = made_images(case["images"] + 80, shape)
    ends = case["images"], case["images"] + 40
    splits = [Split(part, None) for part in np.split(images, ends)]
    data = Dataset(*splits, shape, dynamic=True, binary=True, identity={})
    alone = computed(made_run(case, data, 1), case["samples"])
    found = {}
    for lanes in case["lanes"]:
        for call in (1, 2):
            these = computed(made_run(case, data, lanes), case["samples"])
            found[f"{lanes} lanes, call {call}"] = unlike(alone, these)
    return found


if __name__ == "__main__":
    use_cores()
    pin()
    print(json.dumps(main(CASE | json.loads(sys.argv[1]))))

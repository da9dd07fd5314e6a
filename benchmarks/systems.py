"""The systems that benchmarks compare, each measured in a process of its own.

A system trains the VAE of a Work on grey images. It yields mean losses without end: first that of
one step alone, then that of each epoch.
"""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peers
from benchmarks.machine import peak_megabytes
from benchmarks.work import Work, config_of, work_from

EPOCHS = 3
ROUNDS = 2  # of sweep.py


# A system is (work, grey images [n, 784] uint8) -> the mean losses.
System = Callable[[Work, np.ndarray], Iterator[float]]


def program_of(work: Work, images: np.ndarray, lanes: int = 1) -> tuple[Any, ...]:
    """The first arguments of train_chunks for a work: spec, layout, keys, examples and state."""
    from vae_jax.config.build import make_spec
    from vae_jax.data.dataset import Dataset, Split
    from vae_jax.devices.lanes import layout, replicate, shard_lanes
    from vae_jax.models.model import NO_START
    from vae_jax.training.loop import init_lanes
    from vae_jax.training.step import Examples
    from vae_jax.training.streams import lane_keys

    split = Split(images, None)
    data = Dataset(split, split, split, (28, 28, 1), dynamic=True, binary=True, identity={})
    on = layout(lanes)
    spec, keys = shard_lanes(
        on, (make_spec([config_of(work)] * lanes, data), lane_keys(range(lanes)))
    )
    return spec, on, keys, replicate(on, Examples(images)), init_lanes(spec, on, keys, NO_START)


def vae_jax(work: Work, images: np.ndarray, lanes: int = 1) -> Iterator[float]:
    """This code: the compiled program, called as the command line calls it."""
    from vae_jax.devices.setup import use_cores
    from vae_jax.training.loop import train_chunks

    use_cores()
    spec, on, keys, examples, state = program_of(work, images, lanes)
    first, end = 0, 1
    while True:
        totals, counts = [], []
        for chunk in train_chunks(
            spec, on, keys, examples, state, first_step=first, total_steps=end
        ):
            totals.append(chunk.metrics.totals["loss"].sum())
            counts.append(chunk.metrics.examples.sum())
            state = chunk.state
        yield float(sum(totals) / sum(counts))
        # The second loss is of the rest of the first epoch, so that all others are of whole ones.
        first, end = end, (end // spec.steps_per_epoch + 1) * spec.steps_per_epoch


def vae_jax_4_lanes(work: Work, images: np.ndarray) -> Iterator[float]:
    """This code with four seeds in the one program."""
    return vae_jax(work, images, lanes=4)


def vae_jax_16_lanes(work: Work, images: np.ndarray) -> Iterator[float]:
    """This code with sixteen."""
    return vae_jax(work, images, lanes=16)


def every(work: Work) -> bool:
    return True


def elbo(work: Work) -> bool:
    return work.objective == "elbo"


def mlp_elbo(work: Work) -> bool:
    return elbo(work) and work.network == "mlp"


class Entry(NamedTuple):
    """A system, the packages that it needs, the works that it takes, and its environment."""

    train: System
    packages: tuple[str, ...]
    takes: Callable[[Work], bool]
    environment: dict[str, str]


def on(backend: str) -> dict[str, str]:
    return {"KERAS_BACKEND": backend}


SYSTEMS = {
    "vae_jax": Entry(vae_jax, (), every, {}),
    "vae_jax, 4 lanes": Entry(vae_jax_4_lanes, (), every, {}),
    "vae_jax, 16 lanes": Entry(vae_jax_16_lanes, (), every, {}),
    "flax": Entry(peers.flax, (), every, {}),
    "numpyro": Entry(peers.numpyro, ("numpyro",), mlp_elbo, {}),
    "pytorch": Entry(peers.pytorch, ("torch",), every, {}),
    "pytorch-compiled": Entry(peers.pytorch_compiled, ("torch",), every, {}),
    "pythae": Entry(peers.pythae, ("torch", "pythae"), elbo, {}),
    "keras-jax": Entry(peers.keras, ("keras",), mlp_elbo, on("jax")),
    "keras-tensorflow": Entry(peers.keras, ("keras", "tensorflow"), mlp_elbo, on("tensorflow")),
    "keras-torch": Entry(peers.keras, ("keras", "torch"), mlp_elbo, on("torch")),
}


def missing(system: str) -> list[str]:
    """The packages it needs that are not installed."""
    return [name for name in SYSTEMS[system].packages if importlib.util.find_spec(name) is None]


def measure(system: str, work: Work, started: float) -> dict[str, float]:
    """In a process of its own: trains, and reports its times."""
    from vae_jax.data.sets import mnist

    images = mnist.load().train_images[: work.images].reshape(-1, 784)
    epochs = SYSTEMS[system].train(work, images)
    next(epochs)  # one step
    first_step_seconds = time.time() - started
    next(epochs)  # the warm-up
    seconds, losses = [], []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        losses.append(next(epochs))
        seconds.append(time.perf_counter() - began)
    return {
        "step_milliseconds": 1_000 * statistics.median(seconds) / work.steps,
        "epoch_seconds": statistics.median(seconds),
        "first_step_seconds": first_step_seconds,
        "loss": losses[-1],
        "peak_memory_mb": peak_megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss),
    }


def answer_of(module: str, *arguments: Any, **environment: str) -> dict[str, Any]:
    """What `python -m module ARGUMENTS`, them as JSON, prints as JSON in its last line.

    Raises:
      RuntimeError: it failed; with what it wrote to stderr.
    """
    process = subprocess.run(
        [sys.executable, "-m", module, json.dumps(arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(process.stderr)
    return json.loads(process.stdout.splitlines()[-1])


def in_a_process(system: str, work: Work) -> dict[str, float]:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3"} | SYSTEMS[system].environment
    return answer_of("benchmarks.systems", system, work, time.time(), **environment)


def best(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The shortest of each time, as when the machine does nothing else; and the last loss."""
    return {
        name: rounds[-1][name] if name == "loss" else min(r[name] for r in rounds)
        for name in rounds[0]
    }


if __name__ == "__main__":
    name, fields, started_at = json.loads(sys.argv[1])
    print(json.dumps(measure(name, work_from(fields), started_at)))

"""The systems that benchmarks compare, each measured in a process of its own.

A system trains the VAE of a Work on grey images and gives one mean loss after another: the first of
one step alone, then those of epochs, for as long as it is asked.
"""

import importlib.util
import itertools
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import peers

EPOCHS = 3
ROUNDS = 2  # of benchmark_sweep.py
WHOLE = 55_000  # images of an epoch, as configs/default.py has it
RESULTS = Path(__file__).parent / "results"


class Work(NamedTuple):
    """A VAE of MNIST and how it is trained; the decoder's widths are the encoder's turned round."""

    name: str
    widths: tuple[int, ...]  # hidden units, or a convolution's channels, from the image up
    latent_size: int
    batch_size: int
    network: str = "mlp"  # or conv: 4 x 4, stride 2, as configs/mnist_conv.py has it
    activation: str = "relu"  # or tanh
    objective: str = "elbo"  # or iwae
    num_samples: int = 1  # draws of z
    images: int = WHOLE  # the first of MNIST; fewer where an epoch of all would take too long

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return self.images // self.batch_size

    @property
    def title(self) -> str:
        sizes = "-".join(map(str, (784, *self.widths, self.latent_size)))
        return (
            f"{self.name}: {self.network} {sizes}, {self.activation}, batch {self.batch_size}, "
            f"{self.objective}, k = {self.num_samples}, {self.images:,} images"
        )


IWAE = Work("784-200-200-50", (200, 200), 50, 20, activation="tanh", images=4_000)
WORKS = (
    Work("784-400-20", (400,), 20, 128),
    Work("784-512-2", (512,), 2, 50),
    IWAE,
    IWAE._replace(name="iwae-k50", objective="iwae", num_samples=50),
    Work("conv", (16, 32), 20, 128, network="conv", images=6_400),
)

# A system is (work, grey images [n, 784] uint8) -> the mean losses.
System = Callable[[Work, np.ndarray], Iterator[float]]


def values_of(work: Work) -> dict[str, Any]:
    """The config of this code that is the work."""
    from configs import default
    from vae_jax.runs.config import check, nest

    changes = {
        "model.latent_size": work.latent_size,
        "objective.name": work.objective,
        "objective.num_samples": work.num_samples,
        "training.batch_size": work.batch_size,
    }
    for side, widths in (("encoder", work.widths), ("decoder", work.widths[::-1])):
        changes[f"model.{side}.name"] = work.network
        changes[f"model.{side}.widths"] = widths
        changes[f"model.{side}.activation"] = work.activation
    return check(nest(check(default.get_config()) | changes))


def vae_jax(work: Work, images: np.ndarray, lanes: int = 1) -> Iterator[float]:
    """This code: the compiled program, called as the command line calls it."""
    from vae_jax.data.dataset import Dataset, Split
    from vae_jax.lanes import layout, put, put_shared
    from vae_jax.runs.backend import use_cores
    from vae_jax.runs.choices import make_hyper, make_spec
    from vae_jax.training.keys import lane_keys
    from vae_jax.training.loop import init_lanes, order_lanes, train_lanes
    from vae_jax.training.step import Examples, Start

    use_cores()
    values = values_of(work) | {"training.seeds": tuple(range(lanes))}
    split = Split(images, None)
    data = Dataset(split, split, split, (28, 28, 1), dynamic=True, binary=True, identity={})
    spec = make_spec(values, data)
    lanes_on = layout(lanes)
    hyper, keys = put(
        lanes_on, (make_hyper([values] * lanes, spec), lane_keys(values["training.seeds"]))
    )
    state = init_lanes(spec, lanes_on, hyper, keys, Start())
    on_device = put_shared(lanes_on, Examples(images))
    num_steps = 1
    for epoch in itertools.count():
        # The odd first step shifts the epochs by one: each is still as many steps.
        total, examples = 0.0, 0.0
        order = order_lanes(spec, lanes_on, keys, np.int32(epoch))
        for start in range(0, num_steps, spec.chunk_steps):
            steps = np.int32(min(spec.chunk_steps, num_steps - start))
            state, metrics = train_lanes(
                spec, lanes_on, hyper, state, keys, order, on_device, steps
            )
            total += metrics.totals["loss"].sum()
            examples += metrics.examples.sum()
        yield float(total / examples)
        num_steps = spec.steps_per_epoch


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
    from vae_jax.data import mnist

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
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
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
    return answer_of("experiments.systems", system, work, time.time(), **environment)


def work_from(fields: list[Any]) -> Work:
    """The work that JSON made a list of."""
    name, widths, *rest = fields
    return Work(name, tuple(widths), *rest)


def best(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The least of each time and the last loss: what the machine does when it is left alone."""
    return {
        name: rounds[-1][name] if name == "loss" else min(r[name] for r in rounds)
        for name in rounds[0]
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def accelerator() -> str | None:
    """The name of the GPU or TPU that jax computes on. Takes its memory: for a benchmark's end."""
    import jax

    device = jax.devices()[0]
    return None if device.platform == "cpu" else device.device_kind


def versions() -> dict[str, str]:
    packages = (
        *("jax", "jaxlib", "flax", "optax", "numpy", "numpyro", "torch", "pythae"),
        *("keras", "tensorflow-cpu", "tensorflow"),
    )
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "accelerator": accelerator(),
    }


def slug(machine: dict[str, Any]) -> str:
    """Its name as part of a file's: the accelerator's, or the processor's and its cores."""
    name = machine["accelerator"] or f"{machine['processor']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def leave(benchmark: str, found: dict[str, Any]) -> dict[str, Any]:
    """Writes what a benchmark found, where, when and with what, as JSON under RESULTS.

    Prints where, and returns it. A later run never writes over an earlier one's.
    """
    report = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": machine(),
        "versions": versions(),
    } | found
    RESULTS.mkdir(exist_ok=True)
    at = re.sub(r"\D", "", report["date"])
    path = RESULTS / f"benchmark-{benchmark}-{slug(report['machine'])}-{at}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{path}")
    return report


if __name__ == "__main__":
    name, fields, started_at = json.loads(sys.argv[1])
    print(json.dumps(measure(name, work_from(fields), started_at)))

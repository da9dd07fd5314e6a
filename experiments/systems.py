"""The systems that benchmarks compare, each measured in a process of its own.

A system trains the VAE of a Work on grey images and gives the mean loss of one epoch after another.
"""

import json
import os
import platform
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

EPOCHS = 3
ROUNDS = 2
RESULTS = Path(__file__).parent / "results"


class Work(NamedTuple):
    """784 - width - latent_size - width - 784, ReLU."""

    width: int
    latent_size: int
    batch_size: int

    @property
    def name(self) -> str:
        return f"784-{self.width}-{self.latent_size}, batch {self.batch_size}"


WORKS = (Work(400, 20, 128), Work(512, 2, 50))

# A system is (work, grey images [n, 784] uint8) -> the mean loss of one epoch after another.
System = Callable[[Work, np.ndarray], Iterator[float]]


def vae_jax(work: Work, images: np.ndarray, lanes: int = 1) -> Iterator[float]:
    """This code: the compiled program, called as the command line calls it."""
    from configs import default
    from vae_jax.data.dataset import Dataset, Split
    from vae_jax.lanes import layout, put, put_shared
    from vae_jax.runs.backend import use_cores
    from vae_jax.runs.choices import make_hyper, make_spec
    from vae_jax.runs.config import check, nest
    from vae_jax.training.keys import lane_keys
    from vae_jax.training.loop import init_lanes, train_lanes
    from vae_jax.training.step import Examples, Start

    use_cores()
    values = check(default.get_config()) | {
        "model.latent_size": work.latent_size,
        "model.encoder.widths": (work.width,),
        "model.decoder.widths": (work.width,),
        "training.batch_size": work.batch_size,
        "training.seeds": tuple(range(lanes)),
    }
    split = Split(images, None)
    values = check(nest(values))
    data = Dataset(split, split, split, (28, 28, 1), dynamic=True, binary=True, identity={})
    spec = make_spec(values, data)
    lanes_on = layout(lanes)
    hyper, keys = put(
        lanes_on, (make_hyper([values] * lanes, spec), lane_keys(values["training.seeds"]))
    )
    state = init_lanes(spec, lanes_on, hyper, keys, Start())
    on_device = put_shared(lanes_on, Examples(images))
    for num_steps in [1, *[spec.steps_per_epoch] * (EPOCHS + 1)]:
        # The odd first step shifts the epochs by one: each is still as many steps.
        total, examples = 0.0, 0.0
        for start in range(0, num_steps, spec.chunk_steps):
            steps = np.int32(min(spec.chunk_steps, num_steps - start))
            state, metrics = train_lanes(spec, lanes_on, hyper, state, keys, on_device, steps)
            total += metrics.totals["loss"].sum()
            examples += metrics.examples.sum()
        yield float(total / examples)


def vae_jax_4_lanes(work: Work, images: np.ndarray) -> Iterator[float]:
    """This code with four seeds in the one program."""
    return vae_jax(work, images, lanes=4)


def vae_jax_16_lanes(work: Work, images: np.ndarray) -> Iterator[float]:
    """This code with sixteen."""
    return vae_jax(work, images, lanes=16)


def pytorch(work: Work, images: np.ndarray) -> Iterator[float]:
    """PyTorch, eager."""
    import torch
    from torch import nn
    from torch.nn import functional

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(784, work.width)
            self.mean = nn.Linear(work.width, work.latent_size)
            self.log_scale = nn.Linear(work.width, work.latent_size)
            self.decoder = nn.Sequential(
                nn.Linear(work.latent_size, work.width), nn.ReLU(), nn.Linear(work.width, 784)
            )

        def forward(self, x):
            h = functional.relu(self.hidden(x))
            mean, log_scale = self.mean(h), self.log_scale(h)
            z = mean + torch.exp(log_scale) * torch.randn_like(mean)
            logits = self.decoder(z)
            nll = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = torch.sum(0.5 * (torch.exp(2 * log_scale) + mean**2 - 1) - log_scale)
            return (nll + kl) / len(x)

    torch.manual_seed(0)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    grey = torch.from_numpy(images.astype(np.float32) / 255)
    steps = len(grey) // work.batch_size

    def train(batches) -> float:
        total = torch.zeros(())
        for rows in batches:
            loss = model(torch.bernoulli(grey[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total / len(batches))

    yield train([torch.arange(work.batch_size)])
    for _ in range(EPOCHS + 1):
        yield train(torch.randperm(len(grey))[: steps * work.batch_size].split(work.batch_size))


def keras(work: Work, images: np.ndarray) -> Iterator[float]:
    """Keras `fit`, on the backend that KERAS_BACKEND names."""
    import keras
    from keras import layers, ops

    class VAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(work.width, activation="relu")
            self.mean = layers.Dense(work.latent_size)
            self.log_scale = layers.Dense(work.latent_size)
            self.decoder_hidden = layers.Dense(work.width, activation="relu")
            self.logits = layers.Dense(784)
            self.random = keras.random.SeedGenerator(0)

        def call(self, grey):
            x = ops.cast(keras.random.uniform(ops.shape(grey), seed=self.random) < grey, "float32")
            h = self.hidden(x)
            mean, log_scale = self.mean(h), self.log_scale(h)
            noise = keras.random.normal(ops.shape(mean), seed=self.random)
            logits = self.logits(self.decoder_hidden(mean + ops.exp(log_scale) * noise))
            nll = ops.sum(ops.softplus(logits) - x * logits, axis=-1)
            kl = ops.sum(0.5 * (ops.exp(2 * log_scale) + mean**2 - 1) - log_scale, axis=-1)
            self.add_loss(ops.mean(nll + kl))
            return logits

    keras.utils.set_random_seed(0)
    model = VAE()
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    grey = images.astype(np.float32) / 255
    whole = grey[: len(grey) // work.batch_size * work.batch_size]

    def train(x) -> float:
        fitted = model.fit(x, batch_size=work.batch_size, epochs=1, shuffle=True, verbose=0)
        return float(fitted.history["loss"][0])

    yield train(grey[: work.batch_size])
    for _ in range(EPOCHS + 1):
        yield train(whole)


# name: (function, packages it needs, environment)
SYSTEMS: dict[str, tuple[System, tuple[str, ...], dict[str, str]]] = {
    "vae_jax": (vae_jax, (), {}),
    "vae_jax, 4 lanes": (vae_jax_4_lanes, (), {}),
    "vae_jax, 16 lanes": (vae_jax_16_lanes, (), {}),
    "PyTorch, eager": (pytorch, ("torch",), {}),
    "Keras, jax": (keras, ("keras",), {"KERAS_BACKEND": "jax"}),
    "Keras, tensorflow": (keras, ("keras", "tensorflow"), {"KERAS_BACKEND": "tensorflow"}),
    "Keras, torch": (keras, ("keras", "torch"), {"KERAS_BACKEND": "torch"}),
}


def measure(system: str, work: Work, started: float) -> dict[str, float]:
    """In a process of its own: trains, and reports its times."""
    from vae_jax.data import mnist

    images = mnist.load().train_images[:55_000].reshape(-1, 784)
    epochs = SYSTEMS[system][0](work, images)
    next(epochs)  # one step
    first_step_seconds = time.time() - started
    next(epochs)  # the warm-up
    seconds, losses = [], []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        losses.append(next(epochs))
        seconds.append(time.perf_counter() - began)
    return {
        "epoch_seconds": statistics.median(seconds),
        "first_step_seconds": first_step_seconds,
        "loss": losses[-1],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_a_process(system: str, work: Work) -> dict[str, float]:
    arguments = json.dumps([system, *work, time.time()])
    process = subprocess.run(
        [sys.executable, "-m", "experiments.systems", arguments],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | SYSTEMS[system][2],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(f"{system} failed:\n{process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


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


def versions() -> dict[str, str]:
    packages = ("jax", "flax", "optax", "torch", "keras", "tensorflow-cpu", "tensorflow")
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def leave(benchmark: str, found: dict[str, Any]) -> None:
    """Writes what a benchmark found, where and with what, as JSON under RESULTS; prints where."""
    date = time.strftime("%Y-%m-%d")
    machine = {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }
    report = {"date": date, "machine": machine, "versions": versions()} | found
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"benchmark-{benchmark}-{date}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    name, width, latent_size, batch_size, started_at = json.loads(sys.argv[1])
    print(json.dumps(measure(name, Work(width, latent_size, batch_size), started_at)))

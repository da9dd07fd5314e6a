"""How fast is this code on a GPU, and does it compute there what it computes on a CPU?

    python -m benchmarks.gpu            under 8 minutes on one GPU
    python -m benchmarks.gpu --small    the same on tiny work, on any device, to see that it runs

needs this repository and jax; peers are measured where they are installed. Each row is a process of
its own. It is printed and written to benchmarks/results/ as soon as it is known, so a run that is
cut short still says something. A row that fails says why, and the others go on.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmarks.machine import leave_as
from benchmarks.systems import SYSTEMS, answer_of, in_a_process, missing
from benchmarks.work import IWAE, WORKS, work_from

BUDGET = 460  # seconds; rows that begin later are left out
CLASSIC = WORKS[0]
IWAE_50 = WORKS[3]
LANES = (1, 5, 8, 64, 256)
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
PEERS = ("numpyro", "flax", "pytorch-compiled", "pytorch")
COMMANDS = ("smoke", "mnist", "mnist_20d")


class Row(NamedTuple):
    """What is measured, as an entry of MEASURES and its arguments, and in which environment."""

    name: str
    measure: str
    arguments: tuple
    environment: tuple[tuple[str, str], ...] = ()


def step(fields: list, lanes: int, steps: int) -> dict[str, float]:
    """Microseconds a step, the mean loss of the steps, and kernels a step; of a work's fields."""
    import jax

    from benchmarks.kernels import of_work
    from benchmarks.systems import program_of
    from vae_jax.data.sets import mnist
    from vae_jax.training.loop import train_chunks

    work = work_from(fields)
    images = mnist.load().train_images.reshape(-1, 784)[: max(2_000, work.batch_size * steps)]
    began = time.perf_counter()
    spec, layout, keys, data, state = program_of(work, images, lanes)
    chunks = train_chunks(spec, layout, keys, data, state, total_steps=4 * steps)
    seconds, loss, examples = [], 0.0, 0.0
    for chunk in chunks:
        loss += float(chunk.metrics.totals["loss"].sum())
        examples += float(chunk.metrics.examples.sum())
        seconds.append((time.perf_counter() - began) / chunk.num_steps)
        began = time.perf_counter()
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "microseconds": 1e6 * statistics.median(seconds[1:] or seconds),
        "loss": loss / examples,
        "kernels": sum(of_work(work, lanes).values()),
        "peak_megabytes": stats.get("peak_bytes_in_use", 0) / 1e6,
    }


def bandwidth(megabytes: int) -> dict[str, float]:
    """Gigabytes a second that y = a x + y moves."""
    import jax
    import jax.numpy as jnp

    size = megabytes * 250_000
    x, y = jnp.ones(size), jnp.ones(size)
    axpy = jax.jit(lambda x, y: 0.5 * x + y, donate_argnums=1)
    y = axpy(x, y).block_until_ready()
    began = time.perf_counter()
    for _ in range(20):
        y = axpy(x, y)
    y.block_until_ready()
    return {"gigabytes_per_second": 20 * 3 * 4 * size / (time.perf_counter() - began) / 1e9}


def command(config: str, overrides: list[str]) -> dict[str, float]:
    """Seconds of `vae-jax train`, and those until its last step; the mean test ELBO."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", f"--config={config}", f"--workdir={folder}/run", *overrides]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "vae_jax", *arguments], capture_output=True, text=True
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(done.stderr)
        with open(f"{folder}/run/results.json") as file:
            results = json.load(file)
    elbos = [lane["elbo"] for lane in results["lanes"]]
    return {
        "seconds": seconds,
        "until_the_last_step": results["wall_seconds"],
        "elbo": statistics.mean(elbos),
    }


def time_to_nll(images: int) -> dict[str, str]:
    """The table of experiments.time_to_nll for configs/mnist_fast.py."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--config=configs/mnist_fast.py", f"--workdir={folder}", f"--images={images}"]
        done = subprocess.run(
            [sys.executable, "-m", "experiments.time_to_nll", *arguments],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {"table": done.stdout.strip()}


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "step": step,
    "bandwidth": bandwidth,
    "command": command,
    "time_to_nll": time_to_nll,
}


def rows(*, small: bool) -> list[Row]:
    """All rows but those of the peers, the most telling first."""
    steps, lanes = (20, (1, 2)) if small else (500, LANES)
    cpu = (("JAX_PLATFORMS", "cpu"),)
    rows = [
        Row("the CPU's numbers: 784-400-20, 1 lane", "step", (CLASSIC, 1, 20), cpu),
        Row("its numbers: 784-400-20, 1 lane", "step", (CLASSIC, 1, 20)),
    ]
    for work in (CLASSIC, IWAE):
        rows += [Row(f"{work.name}, lanes: {n}", "step", (work, n, steps)) for n in lanes]
    rows += [Row("iwae-k50, lanes: 10", "step", (IWAE_50, 1 if small else 10, steps))]
    rows += [
        Row(
            f"784-400-20, lanes: {lanes[-2]}, products in {precision}",
            "step",
            (CLASSIC, lanes[-2], steps),
            (("JAX_DEFAULT_MATMUL_PRECISION", precision),),
        )
        for precision in PRECISIONS
    ]
    rows += [Row("memory", "bandwidth", (1 if small else 1_000,))]
    short = ["--config.training.num_epochs=1"] if small else []
    rows += [
        Row(f"vae-jax train --config={name}", "command", (name, short))
        for name in (COMMANDS[:1] if small else COMMANDS)
    ]
    if not small:
        rows += [Row("time to nll, mnist_fast", "time_to_nll", (500,))]
    return rows


def line_of(name: str, result: dict[str, Any]) -> str:
    """What is printed of a row."""
    numbers = (
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.items()
    )
    return f"{name:48} {', '.join(numbers)}"


def run(*, small: bool) -> dict[str, Any]:
    """Measures, prints and writes all rows; {name: what was found}."""
    began, results = time.monotonic(), {}
    write = leave_as("gpu")

    def measure(name: str, function: Callable[[], dict[str, Any]]) -> None:
        if time.monotonic() > began + BUDGET:
            return
        try:
            results[name] = function()
        except RuntimeError as error:
            results[name] = {"failed": (str(error).strip().splitlines() or ["killed"])[-1]}
        print(line_of(name, results[name]), flush=True)
        write({"rows": results})

    for row in rows(small=small):
        named = dict(row.environment)
        measure(row.name, partial(answer_of, MODULE, row.measure, row.arguments, **named))
    for peer in () if small else PEERS:
        if not missing(peer) and SYSTEMS[peer].takes(CLASSIC):
            measure(f"784-400-20 by {peer}", partial(in_a_process, peer, CLASSIC))
    return results


MODULE = "benchmarks.gpu"


def main(arguments: Sequence[str]) -> int:
    if set(arguments) - {"--small"}:
        print(__doc__)
        return 2
    run(small="--small" in arguments)
    return 0


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("["):
        name, given = json.loads(sys.argv[1])
        print(json.dumps(MEASURES[name](*given)))
    else:
        sys.exit(main(sys.argv[1:]))

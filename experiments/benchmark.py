"""How fast is this code beside the same model written plainly in PyTorch and Keras?

    pip install -e '.[benchmark]' && python -m experiments.benchmark

trains each model in each system that is installed, every one in a process of its own, in turn,
ROUNDS times over, and prints seconds an epoch, the ratio to this code, seconds from the start of
the process to the end of the first training step, and peak memory; then what the command line
itself takes; and leaves the same as JSON under experiments/results/.
About 12 minutes on two cores. `python -m experiments.benchmark sweep`, `... objectives`,
`... networks` and `... evaluation` are those of the files benchmark_sweep.py and so on.

All systems do the same work: 55,000 MNIST images, each minibatch binarised anew, one draw of z,
Adam with learning rate 1e-3, the order shuffled every epoch. The last training loss is printed, so
that a reader sees that the same thing was trained. The machine is shared and noisy: an epoch's time
is the median over EPOCHS epochs after a first one, and the least of that over the rounds.

What was found (the numbers are in README, "How fast"): five matrix products take most of a step,
and every system calls them at about the same rate on a CPU, so that Keras on its JAX backend, which
compiles the same kind of program, is as fast. Of the rest, drawing the binarised pixels took 8%
more until two pixels shared a random word; a single lane under vmap took up to a third longer than
without; a second batch axis (k draws of z) in the decoder made XLA transpose activations.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments import (
    benchmark_evaluation,
    benchmark_networks,
    benchmark_objectives,
    benchmark_sweep,
)
from experiments.systems import (
    ROUNDS,
    SYSTEMS,
    WORKS,
    best,
    in_a_process,
    leave,
)


def command_line() -> dict[str, float]:
    """`vae-jax train` for one epoch: seconds to the first row of metrics, and peak memory.

    A row a step, so that the first is there one step after the first step is done.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            "train",
            "--config=configs/default.py",
            f"--workdir={folder}/run",
            "--config.training.num_epochs=1",
            "--config.log.every_steps=1",
        ]
        rows = Path(folder) / "run" / "metrics.jsonl"
        began = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "vae_jax", *arguments], stdout=subprocess.DEVNULL
        )
        while process.poll() is None and not (rows.exists() and rows.stat().st_size):
            time.sleep(0.01)
        first_row_seconds = time.time() - began
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError("vae-jax train failed")
        return {
            "first_step_seconds": first_row_seconds,
            "whole_command_seconds": time.time() - began,
            "peak_memory_mb": usage.ru_maxrss / 1024,
        }


def data_seconds() -> float:
    """Loading, checking, splitting and binarising MNIST, in a process that has imported jax."""
    from configs import default
    from vae_jax.runs.config import check
    from vae_jax.runs.plan import make_dataset

    began = time.perf_counter()
    make_dataset(check(default.get_config()))
    return time.perf_counter() - began


def installed(system: str) -> bool:
    missing = [name for name in SYSTEMS[system][1] if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{system} is left out: {', '.join(missing)} is not installed")
    return not missing


def table(rows: dict[str, dict[str, float]]) -> str:
    """Sorted by time; ratio: how many times as long as this code."""
    ours = rows["vae_jax"]["epoch_seconds"]
    lines = [
        f"{'':20}{'s/epoch':>9}{'ratio':>7}{'first step, s':>15}{'peak MB':>9}{'loss':>9}",
    ]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["epoch_seconds"]):
        lines.append(
            f"{name:20}{row['epoch_seconds']:9.2f}{row['epoch_seconds'] / ours:7.2f}"
            f"{row['first_step_seconds']:15.1f}{row['peak_memory_mb']:9.0f}{row['loss']:9.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    systems = [system for system in SYSTEMS if "lanes" not in system and installed(system)]
    works: dict[str, Any] = {}
    for work in WORKS:
        measured: dict[str, list[dict[str, float]]] = {system: [] for system in systems}
        for _ in range(ROUNDS):
            for system in systems:
                measured[system].append(in_a_process(system, work))
        rows = {system: best(rounds) for system, rounds in measured.items()}
        works[work.name] = rows
        print(f"\n{work.name}\n{table(rows)}", flush=True)
    commands = best([command_line() for _ in range(ROUNDS)]) | {"data_seconds": data_seconds()}
    print("\nvae-jax train --config=configs/default.py, one epoch")
    for name, value in commands.items():
        print(f"{name:24}{value:9.1f}")
    leave("systems", {"works": works, "command line": commands})


if __name__ == "__main__":
    {
        "sweep": benchmark_sweep.main,
        "objectives": benchmark_objectives.main,
        "networks": benchmark_networks.main,
        "evaluation": benchmark_evaluation.main,
    }.get(" ".join(sys.argv[1:]), main)()

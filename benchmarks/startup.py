"""What takes time between the command and the first training step?

    python -m benchmarks startup

runs `vae-jax train --config=configs/default.py` with an empty compilation cache, and again with the
cache that this leaves. It also runs the stages of that start one after another, in a separate
process. Each time is the shortest of ROUNDS. Writes JSON under benchmarks/results/. Takes three
minutes on two cores.

What was found is in docs/speed_log.md.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import leave, peak_megabytes
from benchmarks.systems import answer_of, best
from vae_jax.words import aligned

ROUNDS = 3


def command_line(cache: str) -> dict[str, float]:
    """`vae-jax train` for one epoch: seconds to the first row of metrics, and peak memory.

    It writes a row for each step, the first of them one step after the first step is done.
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
            [sys.executable, "-m", "vae_jax", *arguments],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
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
            "peak_memory_mb": peak_megabytes(usage.ru_maxrss),
        }


def stages(started: float) -> dict[str, float]:
    """In a process of its own: the seconds of each stage of a start, and their sum."""
    seconds, last = {}, started

    def stage(name: str) -> None:
        nonlocal last
        now = time.time()
        seconds[name], last = now - last, now

    import jax

    stage("python and jax")
    import numpy as np

    from benchmarks.machine import RESULTS
    from configs import default
    from vae_jax.commands.train import train  # noqa: F401  what the command imports
    from vae_jax.config.check import check
    from vae_jax.devices.setup import use_cache, use_cores
    from vae_jax.runs.run import first_state, make_run, on_devices
    from vae_jax.training.loop import order_lanes, train_lanes

    stage("other imports")
    use_cache()
    use_cores()
    jax.devices()
    stage("jax's device")
    run = make_run(check(default.get_config()), RESULTS)
    stage("data")
    (spec, layout, keys, examples), state = on_devices(run), first_state(run)
    order = order_lanes(spec, layout, keys, np.int32(0))
    jax.block_until_ready((state, order))
    stage("first params")
    arguments = (state, keys, order, np.int32(1), examples)
    step = train_lanes.lower(spec, layout, *arguments)
    stage("tracing a step")
    program = step.compile()
    stage("compiling it")
    jax.block_until_ready(program(spec, *arguments))
    stage("taking it")
    return seconds | {"together": last - started}


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """The shortest times of the command and its stages, with an empty and with a filled cache."""
    rounds_of: dict[str, list[dict[str, float]]] = {
        f"{what}, {cache}": [] for what in ("command", "stages") for cache in ("cold", "warm")
    }
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                rounds_of[f"command, {state}"].append(command_line(cache))
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                environment = {"JAX_COMPILATION_CACHE_DIR": cache}
                rounds_of[f"stages, {state}"].append(
                    answer_of("benchmarks.startup", time.time(), **environment)
                )
    return {name: best(rows) for name, rows in rounds_of.items()}


def table(results: dict[str, dict[str, float]]) -> str:
    """The times with an empty cache beside those with a filled one."""
    rows = [["", "cold", "warm"]]
    for what in ("command", "stages"):
        cold, warm = results[f"{what}, cold"], results[f"{what}, warm"]
        rows += [[name, f"{cold[name]:.2f}", f"{warm[name]:.2f}"] for name in cold]
    return "\n".join(aligned(rows, left={0}))


def main() -> None:
    results = measure(ROUNDS)
    print(f"vae-jax train --config=configs/default.py, one epoch\n{table(results)}")
    leave("startup", results)


if __name__ == "__main__":
    (started_at,) = json.loads(sys.argv[1])
    print(json.dumps(stages(started_at)))

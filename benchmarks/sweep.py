"""Is a sweep as one program faster than one process for each config?

    python -m benchmarks sweep

It first measures what a lane costs: seconds per epoch of one run alone, and per lane with several
lanes in one program. Then it runs a sweep of CONFIGS configs for one epoch, as a user would launch
it: one `vae-jax train` after another; as many at a time as there are cores; and one `vae-jax
sweep`, with all configs in one program. Each starts without compiled programs on disk. The separate
processes run once with the compilation cache (all but the first then find their program there) and
once without, as in a codebase that has no such cache. Writes JSON under benchmarks/results/. Takes
about 15 minutes on two cores.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import leave
from benchmarks.systems import ROUNDS, best, in_a_process
from benchmarks.work import WORKS
from vae_jax.devices.pool import cores
from vae_jax.words import aligned

LANES = {"vae_jax": 1, "vae_jax, 4 lanes": 4, "vae_jax, 16 lanes": 16}
CONFIGS = 16
SWEEP = """
from configs.default import get_config as default


def get_config():
    config = default()
    config.training.num_epochs = 1
    return config


def sweep(hyper):
    return hyper.sweep("objective.beta", [0.25 * (i + 1) for i in range({configs})])
"""


def command(*arguments: str, **environment: str) -> None:
    """Runs `vae-jax` with these arguments."""
    subprocess.run(
        [sys.executable, "-m", "vae_jax", *arguments],
        env=os.environ | environment,
        check=True,
        capture_output=True,
    )


def processes(at_a_time: int, cached: bool) -> Callable[[Path], None]:
    """One `vae-jax train` for each config."""

    def run(folder: Path) -> None:
        def train(i: int) -> None:
            command(
                "train",
                "--config=configs/default.py",
                f"--workdir={folder}/{i}",
                "--config.training.num_epochs=1",
                f"--config.objective.beta={0.25 * (i + 1)}",
                JAX_COMPILATION_CACHE_DIR=str(folder / "cache"),
                JAX_ENABLE_COMPILATION_CACHE=str(cached),
            )

        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(train, range(CONFIGS)))

    return run


def one_program(folder: Path) -> None:
    """One `vae-jax sweep` of all configs."""
    config = folder / "sweep_config.py"
    config.write_text(SWEEP.format(configs=CONFIGS))
    command(
        "sweep",
        f"--config={config}",
        f"--workdir={folder}/sweep",
        JAX_COMPILATION_CACHE_DIR=str(folder / "cache"),
    )


CORES = cores()
WAYS = {
    "one program": one_program,
    "processes, one at a time, no cache": processes(1, cached=False),
    f"processes, {CORES} at a time, no cache": processes(CORES, cached=False),
    "processes, one at a time": processes(1, cached=True),
    f"processes, {CORES} at a time": processes(CORES, cached=True),
}


def seconds(way: Callable[[Path], None]) -> float:
    """The time that a way takes, in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        way(Path(folder))
        return time.perf_counter() - began


def lanes_table(rows: dict[str, dict[str, float]]) -> str:
    """What a lane costs, by the number of lanes."""
    alone = rows["vae_jax"]["epoch_seconds"]
    lines = [["lanes", "s/epoch a lane", "ratio to one", "peak MB"]]
    for name, row in rows.items():
        epoch, megabytes = row["epoch_seconds"], row["peak_memory_mb"]
        lines.append([str(LANES[name]), f"{epoch:.2f}", f"{epoch / alone:.2f}", f"{megabytes:.0f}"])
    return "\n".join(aligned(lines))


def main() -> None:
    work = WORKS[0]
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in LANES}
    for _ in range(ROUNDS):
        for name, lanes in LANES.items():
            result = in_a_process(name, work)
            result["epoch_seconds"] /= lanes
            measured[name].append(result)
    rows = {name: best(rounds) for name, rounds in measured.items()}
    print(f"{work.name}\n{lanes_table(rows)}", flush=True)
    print(f"\n{CONFIGS} configs, one epoch each, whole commands")
    print(f"{'':40}{'seconds':>9}{'models a minute':>17}{'ratio':>7}", flush=True)
    ways: dict[str, float] = {}
    for name, way in WAYS.items():
        ways[name] = seconds(way)
        minute, ratio = 60 * CONFIGS / ways[name], ways[name] / ways["one program"]
        print(f"{name:40}{ways[name]:9.1f}{minute:17.1f}{ratio:7.2f}", flush=True)
    leave("sweep", {"lanes": rows, "seconds": ways})

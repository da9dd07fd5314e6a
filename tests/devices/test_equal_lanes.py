"""A lane has the bits of the run alone, whatever the size, the network and the number of devices.

XLA once multiplied wrong matrices where several devices computed at a time: docs/wrong_products.md.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.equal_lanes import CASE, main

REPOSITORY = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
    """A process with all of XLA's optimisations, and without this process's choice of threads."""
    left = {k: v for k, v in os.environ.items() if k not in ("PJRT_NPROC", "NPROC", "XLA_FLAGS")}
    left.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", None)
    return subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=left | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def refuse_differences(found: dict, case: dict) -> None:
    assert len(found) == 2 * len(case["lanes"])  # two calls each
    assert not {call: parts for call, parts in found.items() if parts}


def refuse_unequal(case: dict, devices: int) -> None:
    process = run(
        "-m", "tests.devices.equal_lanes", json.dumps(case), JAX_NUM_CPU_DEVICES=str(devices)
    )
    assert process.returncode == 0, process.stderr
    refuse_differences(json.loads(process.stdout.splitlines()[-1]), CASE | case)


@pytest.mark.slow
def test_equal_lanes_have_equal_bits():
    """In this process, with eight devices: one on some of them, and two on each."""
    small = {"images": 200, "batch": 64, "steps": 6, "lanes": (3, 16), "samples": 8}
    refuse_differences(main(CASE | small), small)


WIDE = {"shape": (64, 64, 1), "widths": (48,), "steps": 150}
CASES = {
    "64_pixels": {"shape": (8, 8, 1), "batch": 20, "steps": 300, "samples": 16},
    "784_pixels": {"batch": 100, "widths": (200, 200), "samples": 16},
    "784_large_batch": {"batch": 1000, "images": 2000, "widths": (500,)},
    "784_iwae": {
        "batch": 20,
        "config": {"objective.name": "iwae", "objective.num_samples": 50},
        "samples": 16,
    },
    "3072_pixels": {"shape": (32, 32, 3), "batch": 200},
    "3072_large_batch": {"shape": (32, 32, 3), "steps": 150},
    "4096_pixels": WIDE | {"samples": 16, "lanes": (6,)},
    "4096_odd_lanes": WIDE | {"widths": (128,), "lanes": (3, 5)},
    "4096_small_batch": WIDE | {"batch": 100},
    "12288_pixels": {"shape": (64, 64, 3), "widths": (64,), "lanes": (4,), "steps": 100},
    "above_134_megabytes": {"shape": (64, 64, 3), "images": 11_200, "lanes": (4,), "steps": 28},
    "conv": {"network": "conv", "widths": (8, 16), "batch": 50, "lanes": (3, 4), "samples": 8},
    "resnet": {"network": "resnet", "widths": (8, 8), "batch": 50, "steps": 20, "lanes": (3, 4)},
}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("name", CASES)
def test_lanes_equal_the_run_alone(name, devices):
    refuse_unequal(CASES[name], devices)


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "wrong"), [("2", 1), ("4", 0)])
def test_a_full_queue_makes_products_wrong(threads, wrong):
    """If the first of the two fails, jax has mended it: `devices/pool.py` can go."""
    process = run("benchmarks/full_queue.py", PJRT_NPROC=threads)
    assert process.returncode == wrong, process.stdout + process.stderr

"""The training program compiles in the time of a plain one, at the sizes that it was seen at.

Chains of hashes written as one expression once compiled for hours on a jax that users had and the
tests did not: this runs on the oldest and the newest (noxfile.py).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training import compiling

REPOSITORY = Path(__file__).parents[2]
DEADLINE = 240  # seconds; then the process is killed


@pytest.fixture(scope="module")
def found():
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "0"}
    environment.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", None)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "tests.training.compiling"],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"the training programs did not compile in {DEADLINE} s")
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", compiling.PROGRAMS)
def test_a_program_compiles_like_a_plain_one(found, name):
    """Measured on jax 0.8.0, 0.10.2 and 0.12.0: 1.8 to 3.5 times the plain one's seconds, 3.1 times
    its instructions, a largest fusion of 352. With the chains of hashes: on 0.10.2 2.5 times, 3.4
    times and 477; on 0.12.0 not done after 37 minutes."""
    program, plain = found[name], found["plain"]
    assert program["seconds"] < 6 * plain["seconds"]
    assert program["instructions"] < 4 * plain["instructions"]
    assert program["largest_fusion"] < 420
    # 1.05 and 1.27 times on jax 0.10.2; 1.6 and 2.3 with the gradient's norm in every step.
    assert program["launches"] < 1.5 * plain["launches"]

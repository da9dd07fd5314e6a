"""Sweeps as processes of their own, for tests that kill them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

from vae_jax.folders import folder
from vae_jax.runs.load import load_progress
from vae_jax.sweeps.plan import runs_in

REPOSITORY = Path(__file__).parents[2]
CONFIG = """
from configs import smoke


def get_config():
    config = smoke.get_config()
    config.dataset.name = "arrays"
    config.dataset.path = {npz!r}
    config.dataset.validation_size = 50
    config.training.batch_size = 20
    config.training.num_epochs = 12
    config.log.every_steps = 6
    return config


def sweep(hyper):
    return hyper.product(
        [
            hyper.sweep("model.encoder.widths", ((6,), (7,))),
            hyper.sweep("objective.beta", (1, 2)),
        ]
    )
"""
SWEEP = [sys.executable, "-m", "vae_jax", "sweep"]
PROGRAMS = 2
ROWS = PROGRAMS * 12 * (2 + 1) * 4  # epochs, train and validation rows an epoch, lanes


def environment():
    return os.environ | {"PYTHONUNBUFFERED": "1"}


def started(command, **more):
    """A process in a group of its own, so that all that it starts can be killed with it."""
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **more,
    )


def sweeping(config, workdir, *more):
    return started([*SWEEP, f"--config={config}", f"--workdir={workdir}", *more])


def output_of(process, code: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    assert "Traceback" not in output, output
    return output


def completed(config, workdir, *more) -> str:
    return output_of(sweeping(config, workdir, *more))


def rows_so_far(workdir) -> int:
    paths = workdir.glob(f"programs/*/{folder.METRICS}")
    return sum(path.read_bytes().count(b"\n") for path in paths)


def wait_for_rows(process, workdir, rows: int) -> None:
    while process.poll() is None and rows_so_far(workdir) < rows:
        time.sleep(0.002)


def killed_after(process, workdir, rows: int, delay: float = 0) -> None:
    """Kills the process and all of its children, without a word."""
    wait_for_rows(process, workdir, rows)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output, output


def outcome(workdir):
    """What must be the same to the bit: records, and every array of the last checkpoints."""
    arrays = []
    for run in runs_in(workdir):
        progress = load_progress(run)._replace(wall_seconds=0)
        arrays += [leaf.tobytes() for leaf in map(np.asarray, jax.tree.leaves(progress))]
    results = (workdir / folder.RESULTS).read_text().splitlines()
    return (
        (workdir / folder.METRICS).read_bytes(),
        (workdir / folder.LANES).read_bytes(),
        (workdir / folder.SWEEP).read_bytes(),
        [line for line in results if "wall_seconds" not in line],
        arrays,
    )

"""Runs in processes that are killed, and what they leave."""

import signal
import subprocess
import sys
import time

import jax
import numpy as np

from tests.small.processes import REPOSITORY, environment
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Checkpoints
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import make_run


class Killed(BaseException):
    """The process ends here."""


def kill_at_the_second_save(monkeypatch, *, rows_first):
    """In this process: it ends before (`rows_first`) or after the second checkpoint is written."""
    save, saved = Checkpoints.save, []

    def killed(self, *arguments):
        saved.append(1)
        if len(saved) == 2 and rows_first:
            raise Killed
        save(self, *arguments)
        if len(saved) == 2:
            self.wait()
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", killed)


def command(npz, workdir, more=()):
    return [
        sys.executable, "-m", "vae_jax", "train", "--config=configs/smoke.py",
        f"--workdir={workdir}", "--config.dataset.name=arrays", f"--config.dataset.path={npz}",
        "--config.dataset.validation_size=50", "--config.training.batch_size=20",
        "--config.training.num_epochs=30", "--config.log.every_steps=6",
        "--config.optimizer.schedule.name=cosine", *more,
    ]  # fmt: skip


def started(npz, workdir, under=(), more=()):
    return subprocess.Popen(
        [*under, *command(npz, workdir, more)],
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def completed(npz, workdir, more=()) -> str:
    process = started(npz, workdir, more=more)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def number_of_rows(workdir) -> int:
    path = workdir / folder.METRICS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed_after(npz, workdir, rows, delay, number=signal.SIGKILL, more=()) -> int:
    """Starts the run, kills it `delay` seconds after it has written that many rows."""
    process = started(npz, workdir, more=more)
    while process.poll() is None and number_of_rows(workdir) < rows:
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(number)
    output, _ = process.communicate(timeout=10 if number != signal.SIGKILL else 120)
    assert "Traceback" not in output, output
    return process.returncode


def outcome(workdir):
    """What must be the same to the bit: rows, every array of the last checkpoint, results."""
    config = folder.read_config(workdir)
    progress = load_progress(make_run(config, workdir))._replace(wall_seconds=0)
    results = (workdir / folder.RESULTS).read_text().splitlines()
    return (
        (workdir / folder.METRICS).read_bytes(),
        [leaf.tobytes() for leaf in map(np.asarray, jax.tree.leaves(progress))],
        [line for line in results if "wall_seconds" not in line],
        (workdir / folder.LANES).read_bytes(),
    )

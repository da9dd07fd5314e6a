"""A run that is killed at any moment, a real process by real signals, ends bit for bit the same."""

import os
import random
import signal

import jax
import numpy as np
import pytest

from tests.small.killing import (
    Killed,
    completed,
    kill_at_the_second_save,
    killed_after,
    number_of_rows,
    outcome,
    started,
)
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.config.schema import nest
from vae_jax.folders import folder
from vae_jax.runs import train as runs_train
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import make_run

ROWS = 30 * (2 + 1) * 2  # epochs, train and validation rows an epoch, lanes


AAE = (
    "--config.model.posterior=deterministic", "--config.objective.name=aae",
    "--config.training.keep=last",
)  # fmt: skip
VQ = ("--config.model.posterior=vq", "--config.model.prior=causal", "--config.model.latent_size=3")


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_tiny_npz(tmp_path_factory.mktemp("data") / "tiny.npz")


@pytest.fixture(scope="module")
def uninterrupted(npz):
    workdir = npz.parent / "whole"
    completed(npz, workdir)
    assert number_of_rows(workdir) == ROWS
    return outcome(workdir)


@pytest.mark.parametrize("rows_first", [True, False])
def test_killed_around_a_checkpoint(tiny_npz, tmp_path, monkeypatch, rows_first):
    """In this process: what is left by an end before or after a checkpoint is written."""

    values = nest(values_of(tiny_npz))
    train(values, tmp_path / "whole")
    kill_at_the_second_save(monkeypatch, rows_first=rows_first)
    with pytest.raises(Killed):
        train(values, tmp_path / "killed")
    assert not (tmp_path / "killed" / folder.RESULTS).exists()
    train(values, tmp_path / "killed")
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_killed_before_the_first_step(tiny_npz, tmp_path, monkeypatch):
    """It left metrics.jsonl, without a row."""

    def killed(*_):
        raise Killed

    values = nest(values_of(tiny_npz, training__num_epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr(runs_train, "train_lanes_to_end", killed)
        with pytest.raises(Killed):
            train(values, tmp_path / "run")
    assert (tmp_path / "run" / folder.METRICS).read_bytes() == b""
    train(values, tmp_path / "run")
    assert (tmp_path / "run" / folder.RESULTS).exists()


def kill_at_random_moments(npz, workdir, kills: int, seed: int, more=()) -> None:
    moments = random.Random(seed)
    for target in sorted(moments.randrange(ROWS + 1) for _ in range(kills)):
        # After so many rows; or, of those already there, at some moment of the start.
        start = 4.0 if number_of_rows(workdir) >= target else 0.2
        killed_after(npz, workdir, target, moments.random() * start, more=more)
    completed(npz, workdir, more)


@pytest.mark.slow
def test_killed_at_random_moments(npz, tmp_path, uninterrupted):
    kill_at_random_moments(npz, tmp_path / "killed", kills=1, seed=0)
    assert outcome(tmp_path / "killed") == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("more", [AAE, VQ], ids=["players", "a codebook"])
def test_what_moves_beside_the_params_is_resumed(npz, tmp_path, more):
    """The networks and optimisers of players; a codebook's moving averages, in the statistics."""
    completed(npz, tmp_path / "whole", more)
    kill_at_random_moments(npz, tmp_path / "killed", kills=3, seed=0, more=more)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_many_random_moments(npz, tmp_path, monkeypatch, seed):
    """The program as users have it, with the compiler's optimisations."""
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)
    completed(npz, tmp_path / "whole")
    kill_at_random_moments(npz, tmp_path / "killed", kills=7, seed=seed)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(npz, tmp_path, uninterrupted, number):
    """It saves where it is, exits with 1, and goes on from there."""
    workdir = tmp_path / "stopped"
    assert killed_after(npz, workdir, ROWS // 2, 0, number) == 1
    kept = folder.read_rows(workdir)
    assert ROWS // 2 <= len(kept) < ROWS
    output = completed(npz, workdir)
    assert "resuming at step" in output
    assert outcome(workdir) == uninterrupted


SCONTROL = """#!/bin/sh
echo "$@" >> $(dirname $0)/asked
"""


@pytest.mark.slow
def test_preempted_it_saves_at_once_and_is_queued_again(npz, tmp_path, monkeypatch, uninterrupted):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(SCONTROL)
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    workdir = tmp_path / "preempted"
    assert killed_after(npz, workdir, ROWS // 2, 0, signal.SIGUSR1) == 1
    assert (tmp_path / "asked").read_text() == "requeue 42\n"
    assert ROWS // 2 <= len(folder.read_rows(workdir)) < ROWS
    assert "resuming at step" in completed(npz, workdir)
    assert outcome(workdir) == uninterrupted


EIGHT_LANES = ("--config.training.seeds=0,1,2,3,4,5,6,7",)


@pytest.fixture(scope="module")
def whole_of_eight(npz):
    """The numbers of a run of eight lanes that nothing interrupts."""
    workdir = npz.parent / "eight"
    completed(npz, workdir, EIGHT_LANES)
    return outcome_numbers(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_preempted_it_goes_on_with_another_number_of_devices(
    npz, tmp_path, monkeypatch, whole_of_eight, devices
):
    """Within 1e-5: another number of lanes a device can make another program."""
    workdir = tmp_path / "preempted"
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    assert killed_after(npz, workdir, 2 * ROWS, 0, signal.SIGUSR1, EIGHT_LANES) == 1
    monkeypatch.setenv("XLA_FLAGS", f"--xla_force_host_platform_device_count={devices}")
    said = completed(npz, workdir, EIGHT_LANES)
    assert "resuming at step" in said
    assert f"on {devices} cpu device" in said
    for now, whole in zip(outcome_numbers(workdir), whole_of_eight, strict=True):
        np.testing.assert_allclose(now, whole, rtol=1e-5, atol=1e-5)


def outcome_numbers(workdir):
    """The arrays of the last checkpoint, and the numbers of the results."""
    progress = load_progress(make_run(folder.read_config(workdir), workdir))
    lanes = folder.read_results(workdir)["lanes"]
    return [
        *map(np.asarray, jax.tree.leaves(progress._replace(wall_seconds=0))),
        np.array([[lane[name] for name in ("elbo", "kl", "reconstruction")] for lane in lanes]),
    ]


@pytest.mark.slow
def test_a_disk_that_is_full_keeps_the_last_whole_checkpoint(npz, tmp_path, uninterrupted):
    """No file may grow past a limit: writing fails, as it does where the disk is full."""
    workdir = tmp_path / "full"
    assert killed_after(npz, workdir, ROWS // 2, 0) != 0
    process = started(npz, workdir, under=["bash", "-c", 'ulimit -f 40; exec "$@"', "limited"])
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    error = output.strip().splitlines()[-1]
    assert "a checkpoint could not be written" in error
    assert "(File too large); the last whole one is at step" in error
    assert "make room and run the same command again" in error
    assert "Traceback" not in output
    completed(npz, workdir)
    assert outcome(workdir) == uninterrupted

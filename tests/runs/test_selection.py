"""Which epoch's params are evaluated."""

import contextlib
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.small.runs import rows_of, run
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Best, Progress, better


def state(step, diverged=(-1, -1)):
    own: Any = SimpleNamespace()
    own.step, own.diverged_step = np.full(2, step), np.array(diverged)
    own.variables = {"params": np.full((2, 1), float(step))}
    return own


def steps(scores, counts, keep="best", diverged=(-1, -1)):
    """The best step of each of two lanes after epochs of these scores."""
    first = state(0)
    progress = Progress(first, Best(first.step, first.variables), np.full(2, -np.inf), np.zeros(()))
    for epoch, score in enumerate(scores, start=1):
        own = state(epoch, diverged)
        best, best_bound = better(progress, own, np.array(score), np.array(counts[epoch - 1]), keep)
        progress = progress._replace(best=best, best_bound=best_bound)
    return progress.best.step.tolist(), progress.best_bound.tolist()


ALWAYS = [(True, True)] * 3
SCORES = [(-5.0, -3.0), (-2.0, -4.0), (-3.0, -3.5)]


def test_the_best_of_all_epochs():
    assert steps(SCORES, ALWAYS) == ([2, 1], [-2.0, -3.0])
    assert steps([(-5.0, np.nan)], ALWAYS) == ([1, 0], [-5.0, -np.inf])


def test_only_of_those_after_the_annealing_and_the_newest_until_then():
    counts = [(False, False), (False, True), (True, True)]
    assert steps(SCORES, counts) == ([3, 3], [-3.0, -3.5])
    assert steps(SCORES[:2], counts[:2])[0] == [2, 2]


def test_the_last_where_it_is_asked_for():
    assert steps(SCORES, ALWAYS, keep="last") == ([3, 3], [-3.0, -3.5])


def test_a_diverged_lane_keeps_its_old_best():
    assert steps(SCORES, ALWAYS, "last", diverged=(2, -1))[0] == [0, 3]


@pytest.mark.slow
def test_a_run_is_judged_by_what_it_was_trained_for(tiny_npz, tmp_path):
    """A weight of 8 after a warm-up: not by the ELBO, and no epoch of the warm-up."""
    run(
        tiny_npz,
        tmp_path / "run",
        objective__beta=8.0,
        objective__warmup_epochs=2.0,
        training__num_epochs=4,
        evaluation__num_samples=0,
        objective__num_samples=2,
    )
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["objective_is_bound"] is False
    assert found["evaluation"]["evaluation.num_samples"] == 0
    for lane in found["lanes"]:
        own = [
            row
            for row in rows_of(tmp_path / "run")
            if row["split"] == "validation" and row["lane"] == lane["lane"]
        ]
        for row in own:
            expected = row["reconstruction"] - 8 * row["kl"]
            np.testing.assert_allclose(row["objective"], expected, rtol=1e-6)
            np.testing.assert_allclose(row["objective"], -row["loss"], rtol=1e-5)
        best = max((row for row in own if row["epoch"] >= 2), key=lambda row: row["objective"])
        assert lane["best_epoch"] == best["epoch"]
        assert lane["validation_objective"] == best["objective"]
        assert lane["validation_bound"] == best["bound"]


@pytest.mark.slow
def test_bits_of_a_density_are_those_of_levels_and_none_of_real_numbers(tiny_npz, tmp_path):
    changes = {"dataset__binarization": "none", "model__likelihood": "gaussian_shared_scale"}
    run(tiny_npz, tmp_path / "levels", training__num_epochs=1, **changes)
    found = json.loads((tmp_path / "levels" / "results.json").read_text())["lanes"][0]
    expected = -found["bound"] / (36 * np.log(2)) + np.log2(255)
    np.testing.assert_allclose(found["bits_per_dim"], expected, rtol=1e-6)
    with np.load(tiny_npz) as npz:
        np.savez(tiny_npz, **{name: npz[name] / 255 for name in ("train_images", "test_images")})
    run(tiny_npz, tmp_path / "floats", training__num_epochs=1, **changes)
    found = json.loads((tmp_path / "floats" / "results.json").read_text())["lanes"][0]
    assert found["bits_per_dim"] is None


@pytest.mark.slow
def test_a_run_ends_when_no_lane_gets_better_and_is_the_same_when_resumed(
    tiny_npz, tmp_path, monkeypatch
):
    changes = {
        "training__patience": 2,
        "training__num_epochs": 30,
        "optimizer__learning_rate": 0.05,
        "objective__beta": 30.0,  # the codes collapse soon, and nothing gets better
    }
    run(tiny_npz, tmp_path / "whole", **changes)
    found = json.loads((tmp_path / "whole" / "results.json").read_text())
    rows = rows_of(tmp_path / "whole")
    assert found["finished"]
    last = max(row["epoch"] for row in rows)
    assert last < 30
    assert last - max(lane["best_epoch"] for lane in found["lanes"]) == 2

    append, calls = folder.append_rows, iter(range(1_000))

    def killed(*arguments):
        if next(calls) % 4 == 3:
            raise KeyboardInterrupt
        return append(*arguments)

    monkeypatch.setattr(folder, "append_rows", killed)
    for _ in range(60):
        with contextlib.suppress(KeyboardInterrupt):
            run(tiny_npz, tmp_path / "killed", **changes)
            break
    assert rows_of(tmp_path / "killed") == rows
    again = json.loads((tmp_path / "killed" / "results.json").read_text())
    assert again["lanes"] == found["lanes"]


def test_patience_is_for_the_best(tiny_npz, tmp_path):
    with pytest.raises(UserError, match=r"training.patience = 2 is for training.keep = 'best'"):
        run(tiny_npz, tmp_path / "run", training__patience=2, training__keep="last")

"""What is said of how lanes were trained, from their results alone."""

import math

import pytest

from vae_jax.objectives import Objective
from vae_jax.reports.remarks import of_training
from vae_jax.runs.summary import is_warming_up
from vae_jax.sections.declare import replace

LANE = {"lane": 0, "status": "done", "best_epoch": 100.0, "epochs": 100.0, "warming_up": False,
        "bits_per_dim": 4.0, "uniform_bits": 8.0}  # fmt: skip


def said(*changes):
    return of_training([LANE | {"lane": i} | own for i, own in enumerate(changes)])


def test_nothing_is_said_of_a_usual_run():
    assert said({}, {"best_epoch": 81.0}, {"bits_per_dim": None}, {"uniform_bits": None}) == []
    assert said({"epochs": 4.0, "best_epoch": 1.0}) == []  # of few epochs, the best is chance
    old = {name: LANE[name] for name in ("lane", "status", "best_epoch", "bits_per_dim")}
    assert of_training([old]) == []


def test_a_model_that_guesses_is_told():
    (line,) = said({}, {"bits_per_dim": 9.0}, {"bits_per_dim": 8.0})
    assert line.startswith("worse than a uniform guess (8.00 bits/dim): 2 of 3 lanes, such as")
    assert "lane 1 with 9.00" in line
    assert said({"bits_per_dim": 9.0, "status": "diverged"}) == []


def test_a_run_past_its_best_is_told():
    (line,) = said({"best_epoch": 52.0}, {})
    assert "(lane 0: epoch 52 of 100)" in line


def test_a_warm_up_that_is_not_over_is_told():
    (line,) = said({"warming_up": True})
    assert (
        "beta had not reached its end value when training ended, in 1 of 1 lane (epoch 100)" in line
    )


@pytest.mark.parametrize(
    ("warmup_steps", "cycle", "step", "expected"),
    [
        (0, math.inf, 10, False),
        (20, math.inf, 10, True),
        (20, math.inf, 20, False),
        (20, 50.0, 100, False),  # the end of a cycle of 50 steps
        (20, 50.0, 110, True),
        (60, 50.0, 100, True),  # longer than the cycle itself
    ],
)
def test_beta_at_the_last_step(warmup_steps, cycle, step, expected):
    objective = replace(Objective(), warmup_steps=warmup_steps, warmup_cycle=cycle)
    assert is_warming_up(objective, step) is expected

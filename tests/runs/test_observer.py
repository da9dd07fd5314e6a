"""What the observers of a run are given, and what they can ask of it."""

import time

import numpy as np
import pytest

from tests.small.runs import config_of
from vae_jax.errors import Stopped
from vae_jax.folders import folder
from vae_jax.runs.observer import Observer
from vae_jax.runs.run import make_run
from vae_jax.runs.train import lay_out, train_run

EPOCH = 12  # steps; a chunk has at most five


@pytest.fixture
def started(tiny_npz, tmp_path):
    """A run in a folder that is begun: two lanes, three epochs."""
    run = make_run(config_of(tiny_npz), tmp_path / "run")
    lay_out(run)
    return run


def test_an_observer_is_given_all_that_happens_in_order(started):
    heard = []
    observer = Observer(
        begins=lambda steps: heard.append(("begins", tuple(steps))),
        views=lambda state: state.step,
        rows=lambda step, rows: heard.append(("rows", step, {row["step"] for row in rows})),
        validated=lambda step, view, diverged: heard.append(
            ("validated", step, tuple(np.asarray(view)), tuple(diverged))
        ),
    )
    train_run(started, time.monotonic(), [observer])
    expected = [("begins", (0, 0))]
    for end in (EPOCH, 2 * EPOCH, 3 * EPOCH):
        expected += [("rows", step, {step}) for step in (end - 7, end - 2, end)]
        expected += [("validated", end, (end, end), (-1, -1))]
    assert heard == expected


def test_one_observer_of_several_stops_the_run_which_goes_on_later(started):
    asked = []

    def wants_stop():
        asked.append(True)
        return len(asked) > 4

    told = []
    quiet = Observer(rows=lambda step, rows: told.append(step))
    with pytest.raises(Stopped, match="stopped and saved at step"):
        train_run(started, time.monotonic(), [quiet, Observer(wants_stop=wants_stop)])
    last = told[-1]
    assert 0 < last < 3 * EPOCH
    began = []
    done = train_run(started, time.monotonic(), [Observer(begins=began.extend), quiet])
    assert began == [last, last]
    assert int(done.state.step[0]) == 3 * EPOCH
    assert told == sorted(set(told))  # no chunk was told twice


def test_one_observer_of_several_ends_the_run_where_it_was_told(started):
    told = []
    follower = Observer(rows=lambda step, rows: told.append(step), ends=lambda: told[-1] >= 17)
    done = train_run(started, time.monotonic(), [Observer(), follower])
    assert int(done.state.step[0]) == 17  # a chunk that is not the last of its epoch
    rows = folder.read_rows(started.workdir)
    assert max(row["step"] for row in rows) == 17
    assert {row["step"] for row in rows if row["split"] == "validation"} == {EPOCH, 17}


def test_an_observer_that_raises_keeps_the_chunk_from_the_records(started):
    """As a worker does whose program another process has taken over."""

    def wants_stop():
        raise InterruptedError("it is another's")

    with pytest.raises(InterruptedError):
        train_run(started, time.monotonic(), [Observer(wants_stop=wants_stop)])
    assert not folder.read_rows(started.workdir)

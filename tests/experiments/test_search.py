"""A search: batches of lanes, resumable, the same wherever it was killed."""

import csv

import pytest

from experiments import search
from tests.conftest import values_of
from vae_jax.errors import UserError
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets

SPACE = {
    "optimizer.learning_rate": hyper.log_uniform(1e-3, 1e-1),
    "model.encoder.widths": hyper.choice(((6,), (8,))),
}


def run(npz, workdir, space=SPACE, *, batches=2, lanes=3, **changes):
    base = values_of(npz, training__num_epochs=1, **changes)
    data = Datasets()
    space = search.checked_space(space, base, data)
    search.search(base, space, workdir, data, batches=batches, lanes=lanes)


def trials(workdir):
    with open(workdir / "trials.csv", newline="") as table:
        return list(csv.DictReader(table))


@pytest.mark.slow
def test_a_search_is_resumed_and_ends_the_same(tiny_npz, tmp_path, monkeypatch, capsys):
    run(tiny_npz, tmp_path / "whole")
    whole = trials(tmp_path / "whole")
    assert [row["batch"] for row in whole] == ["0"] * 3 + ["1"] * 3
    assert all(1e-3 <= float(row["optimizer.learning_rate"]) <= 1e-1 for row in whole)
    assert {row["model.encoder.widths"] for row in whole} <= {"(6,)", "(8,)"}
    assert "the best of 6 trials" in capsys.readouterr().out

    # Killed where a batch is proposed but not begun, and where it is trained but not told.
    original = search.trained

    def killed(*args):
        raise KeyboardInterrupt

    def killed_after(*args):
        original(*args)
        raise KeyboardInterrupt

    for kill in (killed, killed_after, killed):
        monkeypatch.setattr(search, "trained", kill)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_npz, tmp_path / "killed")
    monkeypatch.setattr(search, "trained", original)
    run(tiny_npz, tmp_path / "killed", batches=1)
    run(tiny_npz, tmp_path / "killed")
    again = trials(tmp_path / "killed")
    columns = whole[0].keys() - {"trial"}
    assert [[row[c] for c in columns] for row in again] == [
        [row[c] for c in columns] for row in whole
    ]


@pytest.mark.slow
def test_lanes_that_diverge_are_no_value(tiny_npz, tmp_path):
    space = {"optimizer.learning_rate": hyper.log_uniform(1e29, 1e30)}
    run(tiny_npz, tmp_path / "search", space, batches=1)
    assert {row["validation_bound"] for row in trials(tmp_path / "search")} == {""}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "should return a dict"),
        ({"objective.beta": (1, 2)}, "should be hyper.uniform, hyper.log_uniform or hyper.choice"),
        ({"objective.bta": hyper.uniform(0, 1)}, "did you mean 'objective.beta'"),
        ({"objective.beta": hyper.uniform(-1, 1)}, "objective.beta = -1 should be"),
        ({"model.latent_size": hyper.uniform(2, 5.5)}, r"model.latent_size = 3.295 should be"),
    ],
)
def test_a_space_that_can_t_be_is_refused(tiny_npz, tmp_path, space, message):
    with pytest.raises(UserError, match=message):
        run(tiny_npz, tmp_path / "search", space)
    assert not (tmp_path / "search").exists()


@pytest.mark.slow
def test_another_search_s_folder_is_refused(tiny_npz, tmp_path):
    space = {"objective.beta": hyper.uniform(0, 1)}
    run(tiny_npz, tmp_path / "search", space, batches=1, lanes=1)
    with pytest.raises(UserError, match="a search of another space"):
        run(tiny_npz, tmp_path / "search", {"objective.beta": hyper.uniform(0, 2)})
    with pytest.raises(UserError, match="another config"):
        run(tiny_npz, tmp_path / "search", space, objective__num_samples=2)

"""A run of fewer epochs goes on to more."""

import json

import pytest

from tests.small.runs import rows_of, run, train, values_of
from vae_jax import files
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.folders import folder


def results_of(workdir):
    return json.loads((workdir / "results.json").read_text())


def test_it_ends_as_the_longer_run_at_once(tiny_npz, tmp_path, monkeypatch, capsys):
    run(tiny_npz, tmp_path / "once", training__num_epochs=2)
    run(tiny_npz, tmp_path / "longer", training__num_epochs=1)
    assert results_of(tmp_path / "longer")["finished"]
    run(tiny_npz, tmp_path / "longer", training__num_epochs=2)
    assert rows_of(tmp_path / "longer") == rows_of(tmp_path / "once")
    own, other = results_of(tmp_path / "longer"), results_of(tmp_path / "once")
    assert own.pop("wall_seconds")
    assert other.pop("wall_seconds")
    assert own == other
    assert folder.read_config(tmp_path / "longer").training.num_epochs == 2
    # A kill as it starts to go on leaves a run that is not finished.
    monkeypatch.setattr("vae_jax.commands.train.train_run", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tiny_npz, tmp_path / "longer", training__num_epochs=3)
    assert not results_of(tmp_path / "longer")["finished"]
    with pytest.raises(UserError, match=r"training.num_epochs: 3 there, 2 here"):
        run(tiny_npz, tmp_path / "longer", training__num_epochs=2)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer__schedule__name": "cosine"},
        {"objective__warmup_epochs": 1.0, "objective__warmup_cycles": 2},
        {"objective__warmup_epochs": 3.0},
    ],
)
def test_not_where_a_schedule_depends_on_the_length(tiny_npz, tmp_path, changes):
    values = values_of(tiny_npz, **changes) | {"training.num_epochs": 2}
    files.write_json(tmp_path / folder.CONFIG, nest(values))
    files.write_text(tmp_path / folder.METRICS, "a row")  # of a run that has begun
    with pytest.raises(UserError, match="holds a run of 2 epochs, and its learning rate, warm-up"):
        train(nest(values | {"training.num_epochs": 4}), tmp_path)

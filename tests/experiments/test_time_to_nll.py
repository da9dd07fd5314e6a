import json

import numpy as np
import pytest

from experiments import time_to_nll
from tests.small.runs import config_of
from vae_jax.errors import UserError


@pytest.mark.parametrize(
    ("level", "epoch"), [(100, 0), (90, 1), (85.0, 2), (80, 2), (70, 4), (60, None)]
)
def test_the_first_epoch_below_is_found_with_few_looks(level, epoch):
    curve, looked = [95.0, 86.0, 79.0, 75.0, 65.0, 61.0], []

    def nll_of(epoch):
        looked.append(epoch)
        return curve[epoch]

    assert time_to_nll.first_below(level, 6, nll_of) == epoch
    assert len(looked) <= 4


@pytest.mark.slow
def test_every_lane_gets_its_seconds_and_the_table_says_so(tiny_npz, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(time_to_nll, "LEVELS", (24.0, 20.0, 0.1))
    config = config_of(
        tiny_npz,
        training__num_epochs=20,
        evaluation__num_importance_samples=50,
        optimizer__learning_rate=0.02,
    )
    time_to_nll.time_to_nll(config, tmp_path / "run", 10)
    found = json.loads((tmp_path / "run" / "time_to_nll.json").read_text())
    assert found["images"] == 10
    assert np.all(np.diff(found["seconds"]) > 0)
    easy, hard, impossible = found["levels"]
    for lane in (0, 1):
        assert easy["epochs"][lane] <= hard["epochs"][lane] <= 20
        assert easy["seconds"][lane] == found["seconds"][easy["epochs"][lane] - 1]
        assert found["nll"][str(hard["epochs"][lane])][lane] < 20
        assert impossible["seconds"][lane] is None
    printed = capsys.readouterr().out
    assert "2 lanes in one program, 20 epochs" in printed
    assert "not reached" in printed
    with pytest.raises(UserError, match="holds a run already"):
        time_to_nll.time_to_nll(config, tmp_path / "run", None)
    with pytest.raises(UserError, match="--images=51 should be at most the 50 test images"):
        time_to_nll.time_to_nll(config, tmp_path / "other", 51)
    assert not (tmp_path / "other").exists()

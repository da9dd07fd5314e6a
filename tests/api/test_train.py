"""Training from Python: configs, callbacks, folders that are there, and loops of one's own."""

import json

import numpy as np
import pytest

import vae_jax
from tests.small.runs import config_of, evaluate, values_of
from vae_jax.api.frames import lanes
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.folders.lanes import mark_going_on
from vae_jax.models.model import posterior_mean
from vae_jax.runs.run import first_state, lane_model, make_run


def test_a_config_is_trained_too_and_a_callback_can_stop_it(tiny_npz, tmp_path, capsys):
    config, seen = nest(values_of(tiny_npz, training__num_epochs=3)), []

    def callback(epoch, rows):
        seen.append(epoch)
        assert {row["split"] for row in rows} <= {"train", "validation"}
        return epoch >= 1

    stopped = vae_jax.train(config, tmp_path / "run", callback=callback)
    assert seen[0] == pytest.approx(5 / 12, abs=1e-5)
    assert max(seen) == stopped.history["epoch"].max() == 1  # not an epoch later
    assert set(stopped.results["status"]) == set(lanes(stopped.workdir)["status"]) == {"stopped"}
    assert stopped.results["elbo"].notna().all()
    assert (stopped.workdir / "figures").exists()
    assert "stopped by its callback at step 12; trained again" in capsys.readouterr().out
    evaluate(stopped.workdir, nest(stopped.config))
    assert "stopped by its callback at step 12; trained again" in capsys.readouterr().out
    whole = vae_jax.train(config, str(tmp_path / "run"))
    assert whole.history["epoch"].max() == 3
    assert len(whole.results) == 2
    assert set(whole.results["status"]) == set(lanes(whole.workdir)["status"]) == {"done"}
    assert json.loads((whole.workdir / "results.json").read_text())["finished"]
    with pytest.raises(UserError, match="labels and test images are for arrays"):
        vae_jax.train(config, tmp_path / "run", labels=[1])


def test_a_run_that_is_stopped_within_an_epoch_is_validated_there(tiny_npz, tmp_path):
    """And one whose callback returns True in the last chunk is done."""
    config = nest(values_of(tiny_npz, training__num_epochs=2))
    calls = []

    def first(epoch, rows):
        calls.append(epoch)
        return True

    stopped = vae_jax.train(config, tmp_path / "run", callback=first)
    assert calls == [pytest.approx(5 / 12, abs=1e-5)]
    last = stopped.history[stopped.history["split"] == "validation"]
    assert set(last["step"]) == {5}
    assert set(stopped.results["best_step"]) == {5}
    mark_going_on(stopped.workdir)  # as it goes on
    assert set(lanes(stopped.workdir)["status"]) == {"running"}
    assert set(stopped.results["status"]) == {"running"}
    done = vae_jax.train(config, tmp_path / "run", callback=lambda epoch, rows: epoch == 2)
    assert set(done.results["status"]) == {"done"}
    assert not (done.history.groupby(["lane", "step", "split"]).size() > 1).any()


def test_params_of_one_s_own_loop_are_saved_and_loaded(tiny_npz, tmp_path):
    config = nest(values_of(tiny_npz, training__seeds=(0,)))
    source = make_run(config_of(tiny_npz, training__seeds=(0,)), tmp_path)
    model, variables = lane_model(source, first_state(source).variables, 0)
    saved = vae_jax.save(tmp_path / "own", config, variables, step=7)
    assert saved.progress.state.diverged_step == [-1]  # `evaluate` left it out
    x = source.data.test.images
    np.testing.assert_allclose(
        saved.encode(x), posterior_mean(model, variables, x / np.float32(255)), atol=1e-6
    )
    with pytest.raises(UserError, match="holds a run"):
        vae_jax.save(tmp_path / "own", config, variables)
    other = nest(values_of(tiny_npz, training__seeds=(0,), model__latent_size=4))
    with pytest.raises(UserError, match="not of the model"):
        vae_jax.save(tmp_path / "other", other, variables)
    assert not (tmp_path / "other").exists()

"""The experiment from command to figure, on data and a model that are tiny."""

import json

import jax
import numpy as np
import pytest

from experiments import gradient_variance
from tests.small.runs import config_of
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.config.build import make_config, overridden
from vae_jax.config.check import check
from vae_jax.folders import folder
from vae_jax.runs.run import make_dataset, make_run

TINY = (
    "--config.dataset.name=arrays",
    "--config.dataset.validation_size=50",
    "--config.model.latent_size=2",
    "--config.model.encoder.widths=(6,)",
    "--config.model.decoder.widths=(6,)",
    "--config.training.batch_size=20",
    "--config.training.num_epochs=2",
)
ROWS = len(gradient_variance.ROWS)


def answer(workdir, *arguments):
    """The exit code."""
    command = (f"--workdir={workdir}", *arguments)
    return cli.answer(lambda: gradient_variance.run(command))


@pytest.mark.slow
def test_from_command_to_figure(tiny_npz, tmp_path, capsys, monkeypatch, with_pixels):
    shown = [
        *(("elbo", name) for name in ("reparameterized", "sticking_the_landing")),
        *(("iwae", name) for name in ("reparameterized", "wake_sleep")),
        ("miwae", "reparameterized"),
    ]
    some = {row: gradient_variance.ROWS[row] for row in shown}
    monkeypatch.setattr(gradient_variance, "ROWS", some)
    workdir, tiny = tmp_path / "run", (*TINY, f"--config.dataset.path={tiny_npz}")
    assert answer(workdir, *tiny, "--steps=0,5,24", "--gradients=12") == 0
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines()[:3]] == [
        ["step", "0:"], ["step", "5:"], ["step", "24:"],
    ]  # fmt: skip
    assert printed.count("sticking_the_landing ") == 2  # the encoder's line and the decoder's
    assert "left out" not in printed
    starred = [line for line in printed.splitlines() if line.endswith("*")]
    assert [line.split()[1] for line in starred] == ["wake_sleep"]
    at = workdir / "figures" / "gradient_variance.png"
    assert at.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in at.parent.iterdir()] == [at.name]

    results = json.loads((workdir / "results.json").read_text())
    rows = results["rows"]
    assert len(rows) == 3 * len(shown) * 2
    assert results["draws"] == 12
    assert results["config"]["model"]["latent_size"] == 2
    for row in rows:
        assert row["variance"] > 0
        assert row["signal_to_noise"] > 0
        assert (row["p_value"] is None) == (row["gradient"] == "reparameterized")
        if row["p_value"] is not None and not row["other_target"]:
            assert row["p_value"] > 1e-3
    means = {(row["step"], row["bound"]): row["mean_bound"] for row in rows}
    assert all(means[0, name] < means[24, name] for name in ("elbo", "iwae", "miwae"))

    # Numbers do not depend on where else it stopped.
    assert answer(workdir, *tiny, "--steps=24", "--gradients=12") == 0
    again = json.loads((workdir / "results.json").read_text())["rows"]
    assert again == [row for row in rows if row["step"] == 24]


@pytest.mark.slow
def test_params_are_those_of_the_run_wherever_one_stops(tiny_npz, tmp_path):
    values = check(gradient_variance.get_config()).values | {
        "dataset.name": "arrays",
        "dataset.path": str(tiny_npz),
        "dataset.validation_size": 50,
        "model.encoder.widths": (6,),
        "model.decoder.widths": (6,),
        "training.batch_size": 20,
    }
    run = make_run(make_config(values), tmp_path)
    *_, (_, last) = gradient_variance.trajectory(run, [0, 3, 14])
    ((_, straight),) = gradient_variance.trajectory(run, [14])
    assert run.spec.steps_per_epoch == 12
    for part in ("encoder", "decoder"):
        for ours, theirs in zip(
            *(jax.tree.leaves(v["params"][part]) for v in (last, straight)), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_what_does_not_fit_the_model_is_left_out_and_told(tiny_npz, tmp_path, capsys):
    config = check(gradient_variance.get_config())
    data = make_dataset(config_of(tiny_npz))
    specs = gradient_variance.objectives_for(
        overridden(config, {"model.posterior": "planar"}), data
    )
    assert list(specs) == [
        ("elbo", "reparameterized, sampled KL"),
        ("iwae", "reparameterized"),
        ("miwae", "reparameterized"),
    ]
    printed = capsys.readouterr().out
    assert "elbo, reparameterized is left out: objective.kl = 'analytic' has no closed" in printed
    assert printed.count("is left out") == ROWS - 3
    # Whatever the config trains with, what is measured is the bound itself.
    plain = gradient_variance.objectives_for(config, data)
    other = overridden(config, {"objective.regularizer": "mmd", "objective.free_bits": 1.0})
    assert repr(gradient_variance.objectives_for(other, data)) == repr(plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps=0,x"], "--steps=0,x should be increasing whole numbers"),
        (["--steps=5,0"], "--steps=5,0 should be increasing whole numbers"),
        (["--steps=0,99"], "--steps=0,99 should be at most the run's 24 steps"),
        (["--gradients=1"], "--gradients=1 should be a whole number, at least 2"),
        (["--gradents=9"], "there is no flag --gradents; did you mean --gradients?"),
        (["--config.model.latent_siz=3"], "did you mean 'model.latent_size'"),
        (["--config=no.py"], "--config=no.py does not exist"),
        (["--config.model.name=m2", "--config.objective.name=m2"], "no estimator goes with"),
    ],
)
def test_a_mistake_is_one_line_and_touches_nothing(tiny_npz, tmp_path, capsys, arguments, message):
    tiny = (*TINY, f"--config.dataset.path={tiny_npz}", "--steps=0")
    assert answer(tmp_path / "run", *tiny, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_its_own_is_refused(tiny_npz, tmp_path, capsys):
    tiny = (*TINY, f"--config.dataset.path={tiny_npz}", "--steps=0")
    assert answer("", *tiny) == 2
    assert "--workdir is missing" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert answer(tmp_path / "file" / "run", *tiny) == 2
    assert "can't be written" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    files.write_json(tmp_path / "other" / folder.CONFIG, {})
    assert answer(tmp_path / "other", *tiny) == 2
    assert "holds a run or a sweep; take another --workdir" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_diverges_says_where(tiny_npz, tmp_path, capsys):
    rate = "--config.optimizer.learning_rate=1e30"
    tiny = (*TINY, f"--config.dataset.path={tiny_npz}", rate)
    assert answer(tmp_path / "run", *tiny, "--steps=5", "--gradients=2") == 2
    assert "the run diverged at step" in capsys.readouterr().err

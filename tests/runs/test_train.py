"""The run folder's contract, and what a run does when something goes wrong."""

import csv
import json
import shutil

import jax
import numpy as np
import pytest

from tests.small.runs import load, rows_of, run
from vae_jax.commands import train as train_command
from vae_jax.config.build import make_config, make_spec
from vae_jax.config.check import check
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Checkpoints, template
from vae_jax.folders.environment import commit
from vae_jax.models.model import NO_START, generate, reconstruct
from vae_jax.runs import run as plan
from vae_jax.runs.run import make_dataset
from vae_jax.sections.declare import replace
from vae_jax.training import loop

SLOW = pytest.mark.slow


def test_the_run_folder_is_as_promised(tiny_npz, tmp_path, capsys, with_lanes_drawn):
    workdir = tmp_path / "run"
    values = run(tiny_npz, workdir)
    assert check(json.loads((workdir / "config.json").read_text())).values == values
    environment = json.loads((workdir / "environment.json").read_text())
    assert {"commit", "command", "devices", "packages", "dataset"} <= environment.keys()

    with open(workdir / "lanes.csv", newline="") as table:
        lanes = list(csv.DictReader(table))
    assert [(row["lane"], row["seed"], row["status"]) for row in lanes] == [
        ("0", "4", "done"),
        ("1", "9", "done"),
    ]

    rows = rows_of(workdir)
    # 12 steps an epoch, a row every 5 and at the end, a validation at each epoch's end; two lanes.
    ends = [e * 12 + s for e in range(3) for s in (5, 10, 12)]
    assert [row["step"] for row in rows if row["split"] == "train"] == np.repeat(ends, 2).tolist()
    validated = [row for row in rows if row["split"] == "validation"]
    assert [row["epoch"] for row in validated] == [1, 1, 2, 2, 3, 3]
    for row in rows:
        assert row["seed"] == (4, 9)[row["lane"]]
        assert row["elbo"] == pytest.approx(row["reconstruction"] - row["kl"], abs=1e-3)
        assert row["loss"] == pytest.approx(-row["elbo"], abs=1e-3)
        assert "pseudo_likelihood" not in row

    results = json.loads((workdir / "results.json").read_text())
    elbos = [lane["elbo"] for lane in results["lanes"]]
    assert results["mean"]["elbo"] == pytest.approx(np.mean(elbos))
    assert results["se"]["elbo"] == pytest.approx(np.std(elbos, ddof=1) / np.sqrt(2))
    assert results["lanes"][0]["bits_per_dim"] == pytest.approx(-elbos[0] / (36 * np.log(2)))
    for lane in results["lanes"]:
        best = max(row["elbo"] for row in validated if row["lane"] == lane["lane"])
        assert lane["validation_bound"] == pytest.approx(best, abs=1e-4)
    assert results["dataset"] == environment["dataset"]
    assert results["wall_seconds"] > 0

    figures = {path.stem for path in (workdir / "figures").iterdir()}
    of_each_run = {"training_curves", "reconstructions", "samples", "latent_space", "traversals"}
    assert figures == of_each_run | {"interpolations", "aggregate_posterior", "rate_distortion"}
    assert len(list((workdir / "checkpoints").iterdir())) == 2
    printed = capsys.readouterr().out
    assert "2 lanes in 1 program" in printed
    assert str(workdir / "results.json") in printed


def test_one_compilation_of_the_training_program(tiny_npz, tmp_path):
    before = loop.train_lanes._cache_size()
    run(tiny_npz, tmp_path / "run", training__batch_size=21, log__every_steps=4)
    assert loop.train_lanes._cache_size() == before + 1


def test_evaluation_every_so_many_epochs_and_at_the_end(tiny_npz, tmp_path):
    run(tiny_npz, tmp_path / "run", evaluation__every_epochs=2)
    validated = [row["epoch"] for row in rows_of(tmp_path / "run") if row["split"] == "validation"]
    assert validated == [2, 2, 3, 3]


def test_grey_values_in_a_bernoulli_are_labelled_wherever_printed(tiny_npz, tmp_path, capsys):
    workdir = tmp_path / "run"
    run(tiny_npz, workdir, dataset__binarization="none")
    assert all(row["pseudo_likelihood"] for row in rows_of(workdir))
    assert json.loads((workdir / "results.json").read_text())["pseudo_likelihood"] is True
    printed = capsys.readouterr().out
    assert "pseudo-elbo" in printed
    assert "not to be put in a table" in printed


def test_a_diverged_lane_is_marked_and_left_out(tiny_npz, tmp_path, capsys, monkeypatch):
    def two_rates(lanes, data, padded):
        spec = make_spec(lanes, data, padded)
        rates = np.array([1e-3, 1e30], np.float32)
        return replace(spec, optimizer=replace(spec.optimizer, learning_rate=rates))

    monkeypatch.setattr(plan, "make_spec", two_rates)
    workdir = tmp_path / "run"
    run(tiny_npz, workdir)
    with open(workdir / "lanes.csv", newline="") as table:
        lanes = list(csv.DictReader(table))
    assert [row["status"] for row in lanes] == ["done", "diverged"]
    step = int(lanes[1]["diverged_step"])
    assert step > 0
    results = json.loads((workdir / "results.json").read_text())
    assert results["lanes_in_mean"] == 1
    assert results["mean"]["elbo"] == results["lanes"][0]["elbo"]
    assert results["se"]["elbo"] is None
    assert results["lanes"][1]["diverged_step"] == step
    assert f"lane 1 diverged at step {step}, left out" in capsys.readouterr().out
    rows = rows_of(workdir)
    assert max(row["step"] for row in rows if row["lane"] == 1) == 5  # the chunk it fell in
    assert max(row["step"] for row in rows if row["lane"] == 0) == 36
    # Its best is what it had before: the state at the start, since it never was validated.
    assert results["lanes"][1]["best_step"] == 0
    assert results["lanes"][1]["validation_bound"] is None


def test_a_run_whose_lanes_all_diverge_ends(tiny_npz, tmp_path):
    workdir = tmp_path / "run"
    run(tiny_npz, workdir, optimizer__learning_rate=1e30, training__num_epochs=50)
    assert folder.is_finished(workdir)
    assert json.loads((workdir / "results.json").read_text())["mean"]["elbo"] is None


@pytest.mark.parametrize(
    ("shape", "dtype", "labels", "changes"),
    [
        pytest.param(
            (5, 7), np.uint8, False, {"model__latent_size": 1, "training__seeds": (3,)}, marks=SLOW
        ),
        pytest.param(
            (4, 3, 3),
            np.float32,
            True,
            {"model__latent_size": 2, "training__batch_size": 30},
            marks=SLOW,
        ),
        pytest.param(
            (2, 2, 5),
            np.uint8,
            True,
            {"evaluation__every_epochs": 99, "model__encoder__widths": ()},
            marks=SLOW,
        ),
        ((1, 1), np.float32, False, {"dataset__binarization": "none", "log__every_steps": 1}),
        pytest.param(
            (6, 6),
            np.uint8,
            True,
            {"dataset__binarization": "threshold", "objective__beta": 0.5},
            marks=SLOW,
        ),
        pytest.param(
            (6, 6),
            np.uint8,
            True,
            {"dataset__binarization": "static", "log__keep_checkpoints": 1},
            marks=SLOW,
        ),
    ],
)
def test_images_of_any_kind_go_all_the_way(
    tmp_path, with_lanes_drawn, shape, dtype, labels, changes
):
    rng = np.random.default_rng(0)
    images = rng.random((41, *shape)).astype(np.float32)
    images = images if dtype == np.float32 else (255 * images).astype(np.uint8)
    content = {"train_images": images[:40], "test_images": images[40:]}  # one test image
    if labels:
        content |= {"train_labels": np.zeros(40, int), "test_labels": np.zeros(1, int)}
    np.savez(tmp_path / "data.npz", **content)
    changes = {"dataset__validation_size": 10, "training__num_epochs": 2} | changes
    run(tmp_path / "data.npz", tmp_path / "run", **changes)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["finished"] is True
    assert (tmp_path / "run" / "figures" / "samples.png").exists()


def test_a_folder_whose_config_is_gone_is_refused(tiny_npz, tmp_path):
    run(tiny_npz, tmp_path / "run")
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(UserError, match=r"without its config.json"):
        run(tiny_npz, tmp_path / "run", objective__beta=2.0)


def test_a_key_that_the_dataset_does_not_read_is_refused(tiny_npz, tmp_path):
    with pytest.raises(UserError, match=r"it is for dataset.name = 'anndata' or 'arrays' or"):
        run(tiny_npz, tmp_path / "run", dataset__name="mnist")
    assert not (tmp_path / "run").exists()


def test_no_git_is_no_commit(monkeypatch):
    assert commit() is None or len(commit()) >= 40
    monkeypatch.setenv("PATH", "")
    assert commit() is None


def test_load_gives_the_best_lane_s_model(tiny_npz, tmp_path):
    run(tiny_npz, tmp_path / "run")
    model, variables, data = load(tmp_path / "run", lane=1)
    x_bd = data.test.images[:5] / np.float32(255)
    assert reconstruct(model, variables, x_bd).shape == (5, 36)
    assert generate(model, variables, jax.random.key(0), 4).shape == (4, 36)
    with pytest.raises(UserError, match=r"has no lane 2; it has 0 to 1"):
        load(tmp_path / "run", lane=2)
    for wrong in (data.test.images[:5], x_bd.reshape(5, 6, 6)):
        with pytest.raises(TypeError, match=r"of shape \(n, 36\): from vae_jax.data.* import"):
            reconstruct(model, variables, wrong)
    # The data may be elsewhere, or gone; not others.
    moved = tiny_npz.rename(tmp_path / "moved.npz")
    without = load(tmp_path / "run", lane=1)
    assert without.data is None
    np.testing.assert_array_equal(
        reconstruct(without.model, without.variables, x_bd), reconstruct(model, variables, x_bd)
    )
    again = load(tmp_path / "run", data_path=moved)
    assert again.data is not None
    np.testing.assert_array_equal(again.data.test.images, data.test.images)
    with np.load(moved) as npz:
        np.savez(moved, train_images=npz["train_images"][::-1], test_images=npz["test_images"])
    with pytest.raises(UserError, match="the dataset is not the one"):
        load(tmp_path / "run", data_path=moved)


def restored(workdir, values):
    config = make_config(values)
    spec = make_spec([config] * len(config.training.seeds), make_dataset(config))
    with Checkpoints(workdir / "checkpoints", keep=None) as checkpoints:
        return checkpoints.restore(template(spec, NO_START))


def tree(path):
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def damage(step_folder, how):
    if how == "empty the meta":
        (step_folder / "meta" / "metadata").write_text("{}")
        return
    largest = max(
        (p for p in step_folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    content = bytearray(largest.read_bytes())
    if how == "flip a bit":
        content[len(content) // 2] ^= 1
    elif how == "truncate":
        content = content[: len(content) // 2]
    largest.write_bytes(content)
    if how == "remove":
        largest.unlink()


@pytest.mark.parametrize(
    "how",
    [
        "flip a bit",
        *(pytest.param(how, marks=SLOW) for how in ("truncate", "remove", "empty the meta")),
    ],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tiny_npz, tmp_path, how, capsys):
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    values = run(tiny_npz, workdir)
    shutil.copytree(workdir, whole)
    damage(workdir / "checkpoints" / "36", how)
    before = tree(workdir)
    assert restored(workdir, values).state.step.tolist() == [24, 24]
    assert "the checkpoint at step 36 is damaged" in capsys.readouterr().out
    assert tree(workdir) == before
    # The run goes on from there, says so, keeps the damaged one aside, and ends as it would have.
    (workdir / "results.json").unlink()
    run(tiny_npz, workdir)
    assert "the checkpoint at step 36 is damaged" in capsys.readouterr().out
    assert len(list(workdir.glob("damaged_checkpoint_36_*"))) == 1
    assert (workdir / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    again, first = restored(workdir, values), restored(whole, values)
    jax.tree.map(np.testing.assert_array_equal, again.best, first.best)


def test_no_whole_checkpoint_is_told_and_nothing_touched(tiny_npz, tmp_path):
    workdir = tmp_path / "run"
    run(tiny_npz, workdir)
    for step in (24, 36):
        damage(workdir / "checkpoints" / str(step), "flip a bit")
    (workdir / "results.json").unlink()
    before = tree(workdir)
    with pytest.raises(UserError, match=r"is whole \(step 36: .*; step 24: "):
        run(tiny_npz, workdir)
    assert tree(workdir) == before


def test_a_run_that_took_no_step_leaves_its_folder_free(tiny_npz, tmp_path, monkeypatch):
    """One that fails at once, as by a mistake in a part of the user's; then another is there."""
    workdir = tmp_path / "run"

    def broken(*arguments, **named):
        raise TypeError("shapes")

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "train_run", broken)
        with pytest.raises(TypeError):
            run(tiny_npz, workdir)
    assert (workdir / "config.json").exists()
    with folder.locked(workdir), pytest.raises(UserError, match="another config"):
        run(tiny_npz, workdir, model__latent_size=3, training__num_epochs=1)
    run(tiny_npz, workdir, model__latent_size=3, training__num_epochs=1)
    assert json.loads((workdir / "config.json").read_text())["model"]["latent_size"] == 3
    with pytest.raises(UserError, match="another config"):
        run(tiny_npz, workdir, model__latent_size=2)

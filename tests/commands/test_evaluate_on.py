"""A run on other images than its own: `evaluate --on`, and `evaluate` from Python."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

import vae_jax
from tests.small.runs import run as train_run
from tests.small.runs import write_tiny_npz
from vae_jax.cli import main as cli
from vae_jax.errors import UserError
from vae_jax.evaluation import features
from vae_jax.folders import folder
from vae_jax.reports.paper_table import compare_runs, table_of
from vae_jax.runs import measure

METRICS = (
    "--config.evaluation.metrics=nll,latents",
    "--config.evaluation.num_importance_samples=20",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(workdir, the arrays of its data) of a run of two lanes; its own results have `nll` too."""
    at = tmp_path_factory.mktemp("on")
    train_run(write_tiny_npz(at / "tiny.npz"), at / "run", training__num_epochs=1)
    assert cli.main(["evaluate", f"--workdir={at / 'run'}", *METRICS]) == 0
    with np.load(at / "tiny.npz") as npz:
        return at / "run", dict(npz)


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run", trained[1]


def evaluate(workdir, on, *flags):
    return cli.main(["evaluate", f"--workdir={workdir}", f"--on={on}", *flags])


def found(workdir, name="*"):
    """The folder of what was measured, and its results."""
    (at,) = (workdir / "on").glob(name)
    return at, json.loads((at / folder.RESULTS).read_text())


def written(at, images, kind="L"):
    at.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image, kind).save(at / f"{i:04d}.png")
    return at


def test_on_the_run_s_own_test_images_it_finds_the_run_s_own_numbers(copy, tmp_path, capsys):
    workdir, data = copy
    np.savez(tmp_path / "same.npz", images=data["test_images"], labels=data["test_labels"])
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    assert evaluate(workdir, tmp_path / "same.npz", *METRICS) == 0
    said = capsys.readouterr().out
    assert "images of same.npz (50 images, binarisation: dynamic), by a model trained on" in said
    assert "test set" not in said
    at, there = found(workdir, "same_????????")
    own = json.loads((workdir / folder.RESULTS).read_text())
    for name in ("lanes", "mean", "se"):
        assert there[name] == own[name]
    assert there["dataset"] != own["dataset"]
    after = {path: path.read_bytes() for path in before}
    assert after == before  # nothing of the run's own changed
    assert not {path.name for path in at.iterdir()} & {"checkpoints", "metrics.jsonl", "lanes.csv"}
    levels = data["test_images"].astype(np.float32) / 255
    np.savez(tmp_path / "floats.npz", test_images=levels)
    assert evaluate(workdir, tmp_path / "floats.npz", *METRICS) == 0
    assert found(workdir, "floats_*")[1]["lanes"] == own["lanes"]


@pytest.mark.slow
def test_what_is_there_is_not_measured_again(copy, tmp_path, capsys, monkeypatch):
    workdir, data = copy
    np.savez(tmp_path / "others.npz", images=data["train_images"][:30])
    other = tmp_path / "others.npz"
    assert evaluate(workdir, other) == 0
    measured, split = [], measure.measure_split
    monkeypatch.setattr(
        measure, "measure_split", lambda *given: measured.append(given[2]) or split(*given)
    )
    assert evaluate(workdir, other, METRICS[0], METRICS[1]) == 0
    assert measured == ["nll", "latents"]
    at, there = found(workdir)
    assert there["lanes"][0]["nll"] > 0
    capsys.readouterr()
    monkeypatch.setattr("vae_jax.commands.evaluate_on.evaluate_run", None)  # it would be called
    assert evaluate(workdir, other, *METRICS) == 0
    said = capsys.readouterr().out
    assert f"{at} holds these results already; there is nothing to do" in said
    assert f"{there['mean']['nll']:.2f}" in said
    assert found(workdir)[1] == there
    monkeypatch.undo()
    # Another checkpoint: all is measured again.
    train_run(folder.recorded_config(workdir)["dataset.path"], workdir, training__num_epochs=2)
    capsys.readouterr()
    assert evaluate(workdir, other, *METRICS) == 0
    assert "nothing to do" not in capsys.readouterr().out
    again = found(workdir)[1]
    assert again["lanes"][0]["best_step"] > there["lanes"][0]["best_step"]
    assert again["lanes"][0]["nll"] != there["lanes"][0]["nll"]


@pytest.mark.slow
def test_every_metric_fits_to_the_run_s_own_training_set(copy, tmp_path, monkeypatch):
    """Codes of other images are compared with those of the training images."""
    shorter = partial(features.train_features, steps=20)
    monkeypatch.setattr(features, "train_features", shorter)
    workdir, data = copy
    names = data["train_labels"][:40].astype(str)
    np.savez(tmp_path / "train.npz", images=data["train_images"][:40], labels=names)
    keys = "--config.evaluation.metrics=probes,samples,surgery"
    assert cli.main(["evaluate", f"--workdir={workdir}", keys]) == 0
    monkeypatch.setattr(features, "train_features", None)  # the run's own space is taken
    assert evaluate(workdir, tmp_path / "train.npz", keys) == 0
    own = json.loads((workdir / folder.RESULTS).read_text())["lanes"][0]
    lane = found(workdir)[1]["lanes"][0]
    assert lane["neighbour_accuracy"] > 0.9
    assert {"precision", "frechet_distance", "mutual_information"} <= lane.keys()
    assert lane["feature_space"] == own["feature_space"]
    with np.load(found(workdir)[0] / "evaluation" / "probes.npz") as npz:
        assert npz["mean"].shape[1] == 250 + 40  # the training set, then the others
    shuffled = np.roll(data["train_labels"][:40], 7)
    np.savez(tmp_path / "wrong.npz", images=data["train_images"][:40], labels=shuffled)
    assert evaluate(workdir, tmp_path / "wrong.npz", "--config.evaluation.metrics=probes") == 0
    assert found(workdir, "wrong*")[1]["lanes"][0]["neighbour_accuracy"] < 0.7


def test_a_folder_s_test_set_is_taken_and_labels_without_a_class_are_left_out(
    copy, tmp_path, capsys
):
    workdir, data = copy
    written(tmp_path / "set" / "test" / "cat", data["test_images"][:20])
    written(tmp_path / "set" / "train" / "cat", data["train_images"][:5])
    assert evaluate(workdir, tmp_path / "set") == 0
    said = capsys.readouterr().out
    assert "the labels of set are left out: label 'cat' is no class" in said
    assert "images of set (20 images" in said
    assert found(workdir)[1]["dataset"]["test_size"] == 20


@pytest.mark.slow
def test_two_runs_on_the_same_images_stand_in_one_table(copy, tmp_path):
    (workdir, data), other = copy, tmp_path / "other"
    shutil.copytree(workdir, other)
    np.savez(tmp_path / "others.npz", images=data["train_images"][:9])
    for own in (workdir, other):
        assert evaluate(own, tmp_path / "others.npz") == 0
    one, another = (found(own, "others*")[0] for own in (workdir, other))
    assert len(compare_runs([one, another]).groups) == 2
    assert "images of others.npz (9 images" in table_of(one).caption
    with pytest.raises(UserError, match="are of other data and can't stand in one table"):
        compare_runs([workdir, one])
    for verb in ("train", "evaluate", "explore", "report"):
        flags = {"train": ["--config=smoke"], "report": ["--html"]}.get(verb, [])
        assert cli.main([verb, f"--workdir={one}", *flags]) == 2


def test_from_python(copy):
    workdir, data = copy
    run = vae_jax.load(workdir)
    x, y = data["train_images"][:12], data["train_labels"][:12]
    results = run.evaluate(x, y, keys={"evaluation.metrics": ("latents",)})
    assert results["lane"].tolist() == [0, 1]
    assert {"elbo", "active_units"} <= {*results.columns}
    assert (results["elbo"] != run.results["elbo"]).all()
    _, there = found(workdir, "images_*")
    assert there["lanes"][0]["elbo"] == results["elbo"][0]
    # A last axis of one channel changes nothing.
    np.testing.assert_array_equal(run.evaluate(x[..., None])["elbo"], results["elbo"])
    assert len(list((workdir / "on").iterdir())) == 2  # without the labels they are other data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 5, 6), np.uint8),), "the images have 5 x 6 pixels and 1 channel, and"),
        ((np.zeros((6, 6), np.uint8),), "the images are vectors of 6 values, and the model is of"),
        ((np.full((3, 6, 6), 99.0),), "the images are floats, 99 to 99, and the model was trained"),
        ((np.zeros((3, 6, 6), np.uint8), [1, 2]), r"labels have shape \(2,\)"),
        ((np.zeros((3, 6, 6), np.uint8), [1, 2, 7]), "label 7 is no class"),
        (("nothing.npz",), "nothing.npz does not exist; give an .npz, or a folder"),
        (("nothing.npz", [1]), "labels are for arrays"),
        (([[1], [2, 3]],), "images can't be made an array"),
        ((np.zeros((3, 6, 6), np.uint8), None, "nll"), "keys = 'nll' should be a dict"),
        ((np.zeros((3, 6, 6), np.uint8), None, {"model.beta": 1}), "model.beta"),
        (
            (np.zeros((3, 6, 6), np.uint8), None, {"model.latent_size": 1}),
            r"evaluate can change evaluation.\*, log.figure\* and dataset.path only",
        ),
        (
            (np.zeros((3, 6, 6), np.uint8), None, {"evaluation.metrics": ("probes",)}),
            "'probes' needs labels, and images has none",
        ),
        (
            (np.zeros((3, 6, 6), np.uint8), None, {"evaluation.metrics": ("samples",)}),
            "images has 3 test images",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    trained, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    before = sorted(trained[0].rglob("*"))
    run = vae_jax.load(trained[0])
    images, labels, keys = (*arguments, None, None)[:3]
    with pytest.raises(UserError, match=message) as error:
        run.evaluate(images, labels, keys=keys)
    assert "\n" not in str(error.value)
    assert sorted(trained[0].rglob("*")) == before


def test_a_link_in_its_place_is_refused(copy, tmp_path, capsys):
    workdir, data = copy
    np.savez(tmp_path / "x.npz", images=data["test_images"])
    (tmp_path / "elsewhere").mkdir()
    (workdir / "on").symlink_to(tmp_path / "elsewhere")
    assert evaluate(workdir, tmp_path / "x.npz") == 2
    assert "is a link" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())

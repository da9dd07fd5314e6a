"""Runs whose training images stay on disk: the same numbers, resumed, and what is refused."""

import json
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

import vae_jax
from tests.small.killing import Killed, completed, kill_at_the_second_save, killed_after, outcome
from tests.small.runs import evaluate, run, values_of, write_tiny_npz
from tests.small.runs import train as train_config
from vae_jax.cli import main as cli
from vae_jax.commands import sweep as sweep_command
from vae_jax.config import build
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data import in_memory, stored
from vae_jax.data.own import image_files
from vae_jax.errors import Stopped, UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Checkpoints
from vae_jax.runs import train as runs_train
from vae_jax.runs.compilation import compile_run
from vae_jax.runs.run import Datasets, make_run
from vae_jax.sweeps.plan import make_sweep

pytestmark = pytest.mark.slow  # `docs` of noxfile.py runs them

NO = {"dataset.in_memory": "no"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "FOUND", {})


def write_folder(at):
    """The tiny images as a folder of .npy files."""
    at.mkdir()
    with np.load(write_tiny_npz(at / "tiny.npz")) as npz:
        for name, array in npz.items():
            np.save(at / f"{name}.npy", array)
    (at / "tiny.npz").unlink()
    return at


@pytest.fixture
def images(tmp_path):
    return write_folder(tmp_path / "images")


@pytest.fixture(scope="module")
def of_two_lanes(tmp_path_factory):
    """A finished run of two lanes that streams."""
    at = tmp_path_factory.mktemp("streamed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(at / "cache"))
        run(write_folder(at / "images"), at / "run", dataset__in_memory="no")
    return at


def without(path, *names):
    text = json.loads(path.read_text())
    return {k: v for k, v in text.items() if k not in names}


def test_one_lane_of_seed_0_is_the_run_in_memory(images, tmp_path, capsys):
    for choice in ("yes", "no"):
        run(images, tmp_path / choice, dataset__in_memory=choice, training__seeds=(0,))
    said = capsys.readouterr().out
    assert said.count("in memory: the ") == said.count("streamed: the ") == 1
    assert (tmp_path / "yes" / folder.METRICS).read_bytes() == (
        tmp_path / "no" / folder.METRICS
    ).read_bytes()
    results = [json.loads((tmp_path / c / folder.RESULTS).read_text()) for c in ("yes", "no")]
    assert results[0]["lanes"] == results[1]["lanes"]
    assert results[1]["dataset"]["checksum"].startswith("stored:")


def test_what_is_decided_is_recorded_and_stays(images, tmp_path, monkeypatch):
    monkeypatch.setattr(in_memory, "host_memory", lambda: 100)
    values = run(
        images,
        tmp_path / "run",
        dataset__in_memory="auto",
        training__seeds=(0,),
        training__num_epochs=1,
    )
    assert values["dataset.in_memory"] == "auto"
    recorded = folder.read_config(tmp_path / "run").values["dataset.in_memory"]
    assert recorded == "no"
    monkeypatch.undo()  # on another machine
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = (tmp_path / "run" / folder.METRICS).read_bytes()
    train_config(nest(values | {"training.num_epochs": 2}), tmp_path / "run")
    assert (tmp_path / "run" / folder.METRICS).read_bytes().startswith(before)


@pytest.mark.parametrize("rows_first", [True, False])
def test_killed_around_a_checkpoint(of_two_lanes, tmp_path, monkeypatch, rows_first):
    values = values_of(of_two_lanes / "images", **{"dataset__in_memory": "no"})
    kill_at_the_second_save(monkeypatch, rows_first=rows_first)
    with pytest.raises(Killed):
        train_config(nest(values), tmp_path / "killed")
    train_config(nest(values), tmp_path / "killed")
    assert outcome(tmp_path / "killed") == outcome(of_two_lanes / "run")


def test_stopped_in_mid_epoch(of_two_lanes, tmp_path, monkeypatch):
    """What is asked to stop saves after the chunk that runs; the next run reads from there."""
    values = values_of(of_two_lanes / "images", **{"dataset__in_memory": "no"})
    seen = []
    original = runs_train.wants_stop

    def wants(observers):
        seen.append(1)
        return len(seen) >= 9 or original(observers)

    with monkeypatch.context() as patch:
        patch.setattr(runs_train, "wants_stop", wants)
        with pytest.raises(Stopped, match="step") as stopped:
            train_config(nest(values), tmp_path / "stopped")
    step = int(str(stopped.value).split("step ")[1].split()[0])
    assert step % 12, "it should be in mid-epoch"
    read, asked = stored.Stored.__getitem__, []

    def watched(self, rows):
        if isinstance(rows, np.ndarray):
            asked.append(len(rows))
        return read(self, rows)

    monkeypatch.setattr(stored.Stored, "__getitem__", watched)
    train_config(nest(values), tmp_path / "stopped")
    assert sum(asked) == 20 * (36 - step)
    assert outcome(tmp_path / "stopped")[:3] == outcome(of_two_lanes / "run")[:3]


def test_killed_at_random_moments(tmp_path, monkeypatch):
    at = write_folder(tmp_path / "images")
    more = ("--config.dataset.in_memory=no",)
    completed(at, tmp_path / "whole", more)
    moments = np.random.default_rng(0)
    for rows in sorted(moments.integers(0, 150, 4).tolist()):
        killed_after(at, tmp_path / "killed", rows, moments.random(), more=more)
    completed(at, tmp_path / "killed", more)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_asked_to_stop(tmp_path):
    at = write_folder(tmp_path / "images")
    more = ("--config.dataset.in_memory=no",)
    completed(at, tmp_path / "whole", more)
    for rows in (40, 90):
        assert killed_after(at, tmp_path / "stopped", rows, 0, signal.SIGTERM, more) != 0
    completed(at, tmp_path / "stopped", more)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_a_finished_run_is_loaded_evaluated_and_reported(of_two_lanes, tmp_path):
    shutil.copytree(of_two_lanes / "run", tmp_path / "run")
    loaded = vae_jax.load(tmp_path / "run")
    assert loaded.images("test").shape == (50, 6, 6)
    with pytest.raises(UserError, match=r"run.data.train.images\[rows\] reads some"):
        loaded.images("train")
    assert loaded.data.train.images[:3].shape == (3, 36)
    with pytest.raises(UserError, match="is fitted to codes of all training images"):
        vae_jax.fit_sampler(loaded, "gaussian")
    evaluated = folder.read_config(tmp_path / "run").values | {
        "evaluation.metrics": ("elbo", "latents", "probes")
    }
    evaluate(tmp_path / "run", nest(evaluated))
    (first, _) = json.loads((tmp_path / "run" / folder.RESULTS).read_text())["lanes"]
    assert first["linear_accuracy"] > 0.5
    assert cli.main(["report", f"--workdir={tmp_path / 'run'}", "--html"]) == 0
    shutil.copytree(of_two_lanes / "images", tmp_path / "copied")
    assert vae_jax.load(tmp_path / "run", data_path=tmp_path / "copied").data.is_streamed


def test_a_sweep_streams(of_two_lanes, tmp_path):
    values = values_of(
        of_two_lanes / "images", dataset__in_memory="no", training__num_epochs=2,
        training__seeds=(4,),
    )  # fmt: skip
    data = Datasets()
    overrides = [{"objective.beta": 1.0}, {"objective.beta": 4.0}]
    plan = make_sweep(check(nest(values)), overrides, tmp_path / "sweep", data)
    assert len(plan.programs) == 1
    sweep_command.sweep(tmp_path / "sweep", plan, data)
    lanes = json.loads((tmp_path / "sweep" / folder.RESULTS).read_text())["lanes"]
    assert [lane["status"] for lane in lanes] == ["done", "done"]
    assert lanes[0]["kl"] > lanes[1]["kl"]


def test_the_memory_does_not_grow_with_the_training_set(of_two_lanes, tmp_path):
    config = check(nest(values_of(of_two_lanes / "images", dataset__in_memory="no")))
    own = make_run(config, tmp_path / "run")
    memory = compile_run(own)
    assert memory.shared == 3 * 5 * 20 * 36  # chunks of 5 steps of 20 images of 36 bytes


REFUSED = {
    "binarised once": ({"dataset.binarization": "static"}, "'static' is of all training images"),
    "a threshold": ({"dataset.binarization": "threshold"}, "should be 'dynamic' or 'none'"),
    "codes": ({"evaluation.metrics": ("codes",)}, "encodes all training images at once"),
    "samples": ({"evaluation.metrics": ("samples",)}, "evaluation.samples.features should be"),
    "samplers": (
        {"evaluation.metrics": ("samples",), "evaluation.samplers": ("gaussian",)},
        "evaluation.samplers = 'gaussian' is fitted to codes of all training images",
    ),
    "labels": (
        {"model.name": "m2", "objective.name": "m2", "training.labelled_per_batch": 2},
        "training.labelled_per_batch = 2 picks from all training images",
    ),
    "an order": (
        {"training.order_seed": 3},
        "read once for all lanes, in one order; it should be -1",
    ),
    "a word": ({"dataset.in_memory": "maybe"}, "dataset.in_memory = 'maybe' is unknown"),
    "another source": (
        {"dataset.name": "mnist", "dataset.path": ""},
        "dataset.in_memory = 'no' has no effect: it is for dataset.name = 'arrays'",
    ),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_needs_all_images_at_once_is_refused(of_two_lanes, tmp_path, changes, message):
    values = values_of(of_two_lanes / "images") | NO | changes
    with pytest.raises(UserError) as error:
        make_run(check(nest(values)), tmp_path / "run")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def command(at, workdir, *more):
    return cli.main(
        [
            "train", "--config=smoke", f"--workdir={workdir}", "--config.dataset.name=arrays",
            f"--config.dataset.path={at}", "--config.dataset.in_memory=no", *more,
        ]
    )  # fmt: skip


def of_one_line(capsys, message):
    out, err = capsys.readouterr()
    assert err.count("\n") == 1, err
    assert message in err
    assert "Traceback" not in out + err


def test_a_search_is_refused(of_two_lanes, tmp_path, capsys):
    assert cli.main(
        [
            "search", "--config=sweeps/optimization", f"--workdir={tmp_path / 'search'}",
            "--config.dataset.name=arrays", f"--config.dataset.path={of_two_lanes / 'images'}",
            "--config.dataset.in_memory=no", "--config.dataset.validation_size=50",
            "--config.dataset.binarization=dynamic", "--config.model.likelihood=bernoulli",
        ]
    ) == 2  # fmt: skip
    of_one_line(capsys, "the trials of a search are in different epochs")


def test_bad_files_are_one_line(images, tmp_path, capsys):
    content = (images / "train_images.npy").read_bytes()
    (images / "train_images.npy").write_bytes(content[:-1])
    assert command(images, tmp_path / "run") == 2
    of_one_line(capsys, "it is cut, or damaged")
    (tmp_path / "empty").mkdir()
    assert command(tmp_path / "empty", tmp_path / "run") == 2
    of_one_line(capsys, "empty has no image files")
    at = tmp_path / "pets"
    at.mkdir()
    for i in range(20):
        Image.fromarray(np.full((4, 5), i, np.uint8)).save(at / f"{i}.png")
    (at / "notes.png").write_text("no image")
    assert command(at, tmp_path / "run") == 2
    of_one_line(capsys, "notes.png can't be read as an image")
    Image.fromarray(np.full((5, 5), 3, np.uint8)).save(at / "notes.png")
    assert command(at, tmp_path / "run") == 2
    of_one_line(capsys, "give one size, to which all are cut")
    assert not (tmp_path / "run").exists()


def test_a_reader_that_fails_ends_the_run_and_keeps_its_checkpoint(images, tmp_path, capsys):
    """The file is gone after the first epoch; restored, the same command ends as if it was not."""
    values = values_of(images, dataset__in_memory="no")
    path, hidden = images / "train_images.npy", images / "hidden"
    save = Checkpoints.save

    def save_and_hide(self, *arguments):
        save(self, *arguments)
        if path.exists():
            path.rename(hidden)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_hide)
        with pytest.raises(UserError, match=r"train_images.npy can't be read .*; restore it"):
            train_config(nest(values), tmp_path / "run")
    hidden.rename(path)
    train_config(nest(values), tmp_path / "run")
    run(images, tmp_path / "whole", dataset__in_memory="no")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_image_files_are_trained_on_from_the_cache(tmp_path, capsys):
    at = tmp_path / "pets"
    at.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 5), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(at / f"{i:02d}.png")
    for choice in ("yes", "no"):
        run(
            at, tmp_path / choice, dataset__in_memory=choice, dataset__validation_size=10,
            training__seeds=(0,), training__num_epochs=1, dataset__binarization="none",
            model__likelihood="discretized_logistic", model__encoder__inputs="standardized",
        )  # fmt: skip
    rows = [(tmp_path / choice / folder.METRICS).read_bytes() for choice in ("yes", "no")]
    assert rows[0] == rows[1]
    assert "decoding 60 images once, into " in capsys.readouterr().out
    assert image_files.load(str(at), (), "no").train_images.path.is_relative_to(tmp_path / "cache")


def test_a_chunk_has_at_most_so_many_bytes(of_two_lanes, tmp_path, monkeypatch):
    config = check(nest(values_of(of_two_lanes / "images", dataset__in_memory="no")))
    for most, steps in ((3 * 20 * 36, 3), (1, 1), (10**9, 5)):
        monkeypatch.setattr(build, "CHUNK_BYTES", most)
        assert make_run(config, tmp_path / "run").spec.chunk_steps == steps

"""Run folders from Python: as people call them, from elsewhere, and while they change."""

import itertools
import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas
import pytest

import vae_jax
from tests.small.runs import values_of, write_tiny_npz
from vae_jax.api import folders
from vae_jax.api.folders import config_of, seeds_of
from vae_jax.config.build import make_config
from vae_jax.config.check import check
from vae_jax.config.schema import flatten, nest
from vae_jax.errors import UserError
from vae_jax.folders.checkpoint import Checkpoints
from vae_jax.runs.run import make_run

LATENTS = "model.latent_size"
SMALL = {"model.encoder.widths": (8,), "model.decoder.widths": (8,)}


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """A folder with tiny.npz and run/, which was trained under a relative path."""
    at = tmp_path_factory.mktemp("folders")
    values = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(at)
        vae_jax.train(nest(values | {"training.data_devices": 2}), "run", seeds=np.int64(1))
    return at


def test_the_current_folder_may_change(at, monkeypatch):
    monkeypatch.chdir(at)
    run = vae_jax.load("run")
    monkeypatch.chdir("/")
    assert run.workdir == at / "run"
    assert len(run.results) == 1
    assert len(run.history)


def test_a_run_of_two_devices_is_loaded_on_one(at, monkeypatch):
    x = np.zeros((2, 6, 6), np.uint8)
    codes = vae_jax.load(at / "run").encode(x)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    np.testing.assert_array_equal(vae_jax.load(at / "run").encode(x), codes)
    config = vae_jax.load(at / "run").config
    assert make_run(make_config(config), at / "run").layout.mesh.shape["data"] == 1
    with pytest.raises(UserError, match="should be at most the 1 cpu devices there are"):
        vae_jax.train(nest(config), at / "other")


def test_a_run_in_progress_is_loaded(at, tmp_path, monkeypatch):
    """The process that trains removes the checkpoint that is being read, and writes a newer one."""
    shutil.copytree(at / "run", tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    old, new = sorted(int(step.name) for step in checkpoints.iterdir())
    (checkpoints / str(new)).rename(tmp_path / "newer")
    read = Checkpoints._read

    def meanwhile(self, step, **items):
        if step == old and (checkpoints / str(old)).exists():
            shutil.rmtree(checkpoints / str(old))
            (tmp_path / "newer").rename(checkpoints / str(new))
        return read(self, step, **items)

    manager, looks = ocp.CheckpointManager, itertools.count()

    def gone_as_it_looks(*args, **named):
        if next(looks) < 2:
            raise FileNotFoundError(str(checkpoints / "7"))
        return manager(*args, **named)

    monkeypatch.setattr(ocp, "CheckpointManager", gone_as_it_looks)
    monkeypatch.setattr(Checkpoints, "_read", meanwhile)
    found = vae_jax.load(tmp_path / "run")
    assert int(found.progress.state.step[0]) == new


@pytest.mark.parametrize(
    ("seeds", "found"),
    [
        (3, (0, 1, 2)),
        (np.int64(2), (0, 1)),
        (np.array([4, 5]), (4, 5)),
        (pandas.Series([7]), (7,)),
        (range(2), (0, 1)),
    ],
)
def test_seeds_as_people_have_them(seeds, found):
    assert seeds_of(seeds) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds = 0 should be a whole number, at least 1"),
        ({"seeds": True}, "seeds = True should be"),
        ({"seeds": 10**9}, "seeds = 1000000000 should be at most"),
        ({"seeds": 2.5}, "seeds = 2.5 should be a whole number"),
        ({"workdir": 5}, "workdir = 5 should be the path of a folder"),
        ({"workdir": ""}, "workdir = '' should be the path of a folder"),
        ({"workdir": "~nosuchuser/x"}, "there is no such user"),
        ({"keys": ["model.prior"]}, r"keys = \['model.prior'\] should be a dict"),
    ],
)
def test_a_wrong_argument_is_one_line(at, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        vae_jax.train(str(at / "tiny.npz"), **{"workdir": "run", "keys": SMALL} | arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder(at):
    for call in (lambda path: vae_jax.train(str(path), path), vae_jax.load):
        with pytest.raises(UserError, match=r"tiny\.npz is a file; workdir should be a folder"):
            call(at / "tiny.npz")
    with pytest.raises(UserError, match="lane = 'x' should be a whole number"):
        vae_jax.load(at / "run", lane="x")
    with pytest.raises(UserError, match="has no lane 5"):
        vae_jax.load(at / "run", lane=np.int64(5))


@pytest.fixture
def told(monkeypatch):
    """The configs that the command is given by `train`, which loads a run that is there."""
    found = []

    def command(config, workdir, follower):
        found.append((config, workdir))

    monkeypatch.setattr(folders, "train_command", command)
    monkeypatch.setattr(folders, "load", lambda workdir: workdir)
    return found


@pytest.mark.parametrize("name", ["smoke", "configs/smoke.py", Path("smoke")])
def test_a_config_by_its_name_from_anywhere(told, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    vae_jax.train(name, "run", latent_size=3)
    config, workdir = told.pop()
    assert config == check(nest(flatten(vae_jax.config("smoke")) | {LATENTS: 3}))
    assert workdir == tmp_path / "run"


def test_a_folder_of_that_name_is_one_of_images_unless_it_is_a_run(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()
    vae_jax.train("smoke", "run")
    assert told.pop()[0].dataset.source.path == str(tmp_path / "smoke")
    (tmp_path / "smoke" / "config.json").write_text("{}")
    vae_jax.train("smoke", "smoke")  # the same call goes on with the run
    assert told.pop()[0].values["dataset.name"] == "mnist"


def test_configs_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = vae_jax.config("mnist_20d")
    assert config.model.latent_size == 20
    config.model.latent_size = 2
    assert vae_jax.config("mnist_20d").model.latent_size == 20
    assert vae_jax.config("sweeps/latent_size").training.seeds
    (tmp_path / "own.py").write_text("from configs import smoke\nget_config = smoke.get_config\n")
    assert vae_jax.config("own.py") == vae_jax.config("smoke")
    with pytest.raises(UserError, match=r"no config 'mnits'; it should be .* one of .*mnist_20d"):
        vae_jax.config("mnits")
    with pytest.raises(UserError, match=r"config\(5\) should be the name of a config"):
        vae_jax.config(5)


def test_a_path_is_what_it_leads_to(at, tmp_path):
    found = config_of(at / "tiny.npz")
    assert (found["dataset.name"], found["dataset.path"]) == ("arrays", str(at / "tiny.npz"))
    file = tmp_path / "own.py"
    values = values_of(at / "tiny.npz", training__num_epochs=1)
    file.write_text(
        "from ml_collections import ConfigDict\n\n\n"
        f"def get_config():\n    return ConfigDict({nest(values)!r})\n"
    )
    for nothing in (tmp_path / "no.npz", "smok", "smok.py", "~nosuchuser/x", "", "a" * 5_000):
        with pytest.raises(
            UserError, match=r"there is no .*; give the path of .* or the name of a"
        ):
            vae_jax.train(nothing, tmp_path / "b")
    with pytest.raises(UserError, match="labels and test images are for arrays"):
        vae_jax.train(str(file), tmp_path / "b", labels=[1])
    with pytest.raises(UserError, match=r"model\.latent_size = 0"):  # it was read
        vae_jax.train(str(file), tmp_path / "b", latent_size=0)
    assert not Path(tmp_path / "b").exists()


def test_a_home_of_nobody_is_one_line_for_frames_too():
    with pytest.raises(UserError, match="there is no home folder ~nosuchuser"):
        vae_jax.frames.results("~nosuchuser/x")

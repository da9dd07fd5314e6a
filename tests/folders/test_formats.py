"""Run folders that earlier versions left are gone on with, and end as they would have there.

folders_of_format_1.tar.xz was made by commit 3455488, jax 0.10.2, with most of XLA's optimisations
off: tiny runs of several kinds, each stopped after 15 of its 20 steps and, beside it, the records
of the same run to its end; a finished run and a finished sweep, whole. folders_of_0_2.tar.xz is of
version 0.2.0, by `write_folders.py`.
"""

import csv
import json
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

import vae_jax
from tests.small.runs import load
from vae_jax import files
from vae_jax.cli.main import main
from vae_jax.config.schema import nest
from vae_jax.folders import folder, formats
from vae_jax.folders.environment import environment
from vae_jax.folders.folder import read_config
from vae_jax.models.model import reconstruct

HERE = Path(__file__).parent
KINDS = ("plain", "adversarial", "two_layers", "m2", "flows", "conditional")


KINDS_OF_0_2 = (
    "aae", "averaged", "avb", "categorical", "codebook", "hierarchy", "top_down", "vae_gan",
)  # fmt: skip


def unpacked(name, at):
    with tarfile.open(HERE / name) as archive:
        archive.extractall(at, filter="data")
    return at


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return unpacked("folders_of_format_1.tar.xz", tmp_path_factory.mktemp("format_1"))


@pytest.fixture(scope="module")
def folders_of_0_2(tmp_path_factory):
    return unpacked("folders_of_0_2.tar.xz", tmp_path_factory.mktemp("of_0_2"))


def train(workdir: Path) -> int:
    """The command of a folder's own config, but for keys that nothing reads."""
    content = nest(read_config(workdir).values)
    config = workdir.parent / f"{workdir.name}.py"
    config.write_text(
        f"from ml_collections import ConfigDict\n\ndef get_config():\n"
        f"    config = ConfigDict({content!r}, convert_dict=True)\n    return config\n"
    )
    path = f"--config.dataset.path={workdir.parent / 'tiny.npz'}"
    return main(["train", f"--config={config}", f"--workdir={workdir}", path])


@pytest.mark.parametrize(
    "kind",
    [
        KINDS[0],
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:]),
    ],
)
def test_a_stopped_run_goes_on_to_the_end_it_had_then(folders, monkeypatch, capsys, kind):
    monkeypatch.chdir(folders)
    goes_on_to_its_end(folders, kind, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS_OF_0_2)
def test_a_stopped_run_of_0_2_goes_on(folders_of_0_2, monkeypatch, capsys, kind):
    monkeypatch.chdir(folders_of_0_2)
    goes_on_to_its_end(folders_of_0_2, kind, capsys)


def test_samplers_of_0_2_are_read(folders_of_0_2, monkeypatch):
    monkeypatch.chdir(folders_of_0_2)
    run = vae_jax.load(folders_of_0_2 / "rae_finished")
    assert {"gaussian", "mixture"} <= set(run.samplers)
    assert np.isfinite(run.generate(3, sampler="mixture")).all()


def goes_on_to_its_end(folders, kind, capsys):
    stopped, finished = folders / f"{kind}_stopped", folders / f"{kind}_finished"
    assert train(stopped) == 0
    assert "resuming at step 15 of 20" in capsys.readouterr().out
    rows, expected = folder.read_rows(stopped), folder.read_rows(finished)
    # Rows have the KL of each layer since then, and the losses of players.
    for row, old in zip(rows, expected, strict=True):
        assert {*old} <= {*row}
        assert all(
            name.startswith("kl_layer_") or name.endswith("_loss") for name in {*row} - {*old}
        )
    for row, old in zip(rows, expected, strict=True):
        # To the last bit on one machine and one jax; elsewhere, the compiler's.
        for name, value in old.items():
            assert row[name] == (pytest.approx(value, rel=1e-4, abs=1e-4)
                                 if isinstance(value, float) else value), name  # fmt: skip
    lanes = [json.loads((at / folder.RESULTS).read_text())["lanes"] for at in (stopped, finished)]
    for own, old in zip(*lanes, strict=True):
        compared = "reconstruction" if old.get("elbo") is None else "elbo"  # None: no density
        assert own[compared] == pytest.approx(old[compared], rel=1e-4)
        assert own["best_step"] == old["best_step"]


def test_a_finished_run_is_loaded_left_alone_and_measured_again(folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    workdir = folders / "plain_finished"
    assert train(workdir) == 0
    assert "holds a finished run of this config" in capsys.readouterr().out
    before = json.loads((workdir / folder.RESULTS).read_text())["lanes"]
    model, variables, data = load(workdir, lane=1)
    x_bd = np.float32(data.test.images[:5]) / 255
    assert np.isfinite(reconstruct(model, variables, x_bd)).all()
    assert main(["report", f"--workdir={workdir}"]) == 0
    assert main(["evaluate", f"--workdir={workdir}"]) == 0
    after = json.loads((workdir / folder.RESULTS).read_text())["lanes"]
    for own, old in zip(after, before, strict=True):
        for name in ("elbo", "kl", "nll", "active_units"):
            assert own[name] == pytest.approx(old[name], rel=1e-4), name


def test_a_sweep_is_reported_and_measured_again(folders, monkeypatch, capsys):
    """Its config sets objective.alpha, which its ELBO does not read: that was allowed then."""
    monkeypatch.chdir(folders)
    workdir = folders / "sweep"
    assert json.loads((workdir / folder.CONFIG).read_text())["objective"]["alpha"] == 0.9
    assert read_config(workdir).values["objective.alpha"] == 0.5
    assert main(["report", f"--workdir={workdir}", "--by=model.latent_size"]) == 0
    assert main(["evaluate", f"--workdir={workdir}", "--config.evaluation.metrics=latents"]) == 0
    assert "active_units" in capsys.readouterr().out
    with open(workdir / folder.LANES, newline="") as table:
        assert [row["status"] for row in csv.DictReader(table)] == ["done"] * 8
    assert load(workdir, lane=5).variables["params"]["encoder"]["mean"]["bias"].shape == (3,)


def test_a_key_that_came_later_and_one_that_changed(folders, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    workdir.mkdir()
    content = json.loads((folders / "plain_stopped" / folder.CONFIG).read_text())
    momentum = content["optimizer"].pop("momentum")
    content["objective"]["weight_of_kl"] = content["objective"].pop("beta")
    files.write_json(workdir / folder.CONFIG, content)

    def renamed(flat):
        old = flat.pop("objective.weight_of_kl", None)
        return flat if old is None else flat | {"objective.beta": old}

    monkeypatch.setitem(formats.ADDED, "optimizer.momentum", momentum)
    monkeypatch.setitem(formats.CHANGED, "weight_of_kl is beta", renamed)
    assert read_config(workdir) == read_config(folders / "plain_stopped")


def test_a_folder_says_its_format(folders):
    assert "format" not in json.loads((folders / "plain_finished" / folder.ENVIRONMENT).read_text())
    assert environment()["format"] == formats.FORMAT


def test_a_state_of_format_1_and_back(folders, monkeypatch):
    """What was saved then is today's, its players apart."""
    from vae_jax.folders.checkpoint import template
    from vae_jax.runs.run import make_run, make_start

    monkeypatch.chdir(folders)
    run = make_run(read_config(folders / "adversarial_stopped"), folders / "adversarial_stopped")
    progress = template(run.spec, make_start(run))
    old = formats.to_format_1(progress)
    assert "discriminator" in old.state.params
    assert "discriminator" not in progress.state.variables["params"]
    again = formats.from_format_1(old, progress)
    assert jax.tree.structure(again) == jax.tree.structure(progress)

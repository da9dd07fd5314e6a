"""Members of one's own, by module and name: the example of docs/extending.md, as it is printed."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import vae_jax
from vae_jax.cli import main
from vae_jax.config import adopt, code
from vae_jax.config.declared import families_of, keys_of
from vae_jax.config.schema import KEYS, LANE_KEYS, SECTIONS, SOURCE_KEYS

OWN_MODULES = ("mine", "broken", "leaves", "parts", "parts.one", "parts.two", "near")
PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLE = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
FLAGS = (
    "--config.dataset.name=mine:stripes", "--config.model.likelihood=mine:student_t",
    "--config.dataset.rows=6", "--config.model.dof=3", "--config.dataset.validation_size=100",
    "--config.training.num_epochs=1", "--config.model.latent_size=2",
    "--config.model.encoder.widths=8", "--config.model.decoder.widths=8",
)  # fmt: skip


def forget():
    """As in a new process: no member is adopted, and no module of the user's imported."""
    for members in families_of(SECTIONS).values():
        for name in [name for name in members if ":" in name]:
            del members[name]
    KEYS.clear()
    KEYS.update(keys_of(SECTIONS))
    LANE_KEYS.intersection_update(KEYS)
    SOURCE_KEYS[:] = [key for key in SOURCE_KEYS if key in KEYS]
    adopt.OWN_KEYS.clear()
    for name in (*OWN_MODULES, *code.LOADED):
        sys.modules.pop(name, None)
    code.LOADED.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, code.Texts)]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """mine.py in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(code, "TRUSTED", set())
    assert EXAMPLE is not None
    (tmp_path / "mine.py").write_text(EXAMPLE[1])
    forget()
    yield tmp_path / "mine.py"
    forget()


def config(tmp_path, more=""):
    path = tmp_path / "config.py"
    path.write_text(
        "from configs import smoke\n\n\ndef get_config():\n    return smoke.get_config()\n" + more
    )
    return f"--config={path}"


def test_its_parts_are_short():
    assert EXAMPLE is not None
    parts = re.split(r"\n\n\n", EXAMPLE[1])
    assert all(len(part.splitlines()) <= 30 for part in parts)


def test_it_is_trained_and_loaded_without_its_module(mine, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert main(["train", config(tmp_path), f"--workdir={workdir}", *FLAGS]) == 0
    values = json.loads((workdir / "config.json").read_text())
    assert values["model"]["dof"] == 3.0
    assert values["dataset"]["rows"] == 6
    assert (workdir / "own" / "mine.py").read_text() == mine.read_text()
    assert "model.dof" in LANE_KEYS
    codes = vae_jax.load(workdir).encode(np.zeros((2, 6, 6), np.uint8))

    forget()
    mine.unlink()
    again = vae_jax.load(workdir)
    np.testing.assert_array_equal(again.encode(np.zeros((2, 6, 6), np.uint8)), codes)

    forget()
    mine.write_text(EXAMPLE[1] + "\n# another\n")
    capsys.readouterr()
    vae_jax.load(workdir)
    assert "mine.py is not what it was when this run was trained" in capsys.readouterr().err

    forget()
    mine.unlink()
    (workdir / "own" / "mine.py").unlink()
    assert main(["evaluate", f"--workdir={workdir}"]) == 2
    assert "there is no module 'mine'" in capsys.readouterr().err


def test_its_numbers_are_lanes_of_one_program(tmp_path, capsys):
    more = "\n\ndef sweep(hyper):\n    return hyper.sweep('model.dof', (2.0, 5.0))\n"
    command = ["sweep", config(tmp_path, more), f"--workdir={tmp_path / 'sweep'}", *FLAGS]
    assert main([*command, "--dry_run"]) == 0
    assert "in 1 program: 2 settings (model.dof)" in capsys.readouterr().out


def test_a_config_file_may_name_it_and_list_shows_its_keys(tmp_path, capsys):
    path = tmp_path / "own_config.py"
    path.write_text(
        "from configs import smoke\n\n\ndef get_config():\n    config = smoke.get_config()\n"
        "    config.model.likelihood = 'mine:student_t'\n    return config\n"
    )
    assert main(["list", f"--config={path}"]) == 0
    shown = capsys.readouterr().out
    assert "--config.model.dof=4.0  mine:student_t likelihood" in shown or "model.dof=4.0" in shown
    assert "mine:student_t" in shown
    command = ["train", f"--config={path}", f"--workdir={tmp_path / 'run'}", "--config.model.dof=0"]
    assert main(command) == 2
    assert "model.dof = 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:nothing", "has no 'nothing'"),
        ("nowhere:x", "there is no module 'nowhere' in the current folder, and none is installed"),
        ("mine:StudentT", "it should be a section"),
        ("mine:stripes", "it has no distribution, init, initial_bias, params_per_dim, support"),
        ("broken:x", "broken can't be imported: division by zero"),
        ("mine:", "is unknown; known: bernoulli"),
        (":", "is unknown; known: bernoulli"),
    ],
)
def test_a_member_that_is_none_is_one_line(tmp_path, capsys, name, message):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    command = ["train", config(tmp_path), f"--workdir={tmp_path / 'run'}"]
    assert main([*command, f"--config.model.likelihood={name}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()

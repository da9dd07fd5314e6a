"""Config files of users, and sweeps in them: what is wrong with them is one line."""

import os
import subprocess
import sys

import pytest

from tests.small.processes import REPOSITORY
from vae_jax.cli import main as cli
from vae_jax.config.check import check

SMOKE = "--config=configs/smoke.py"


SWEPT = """
from configs.smoke import get_config as smoke


def get_config():
    config = smoke()
    config.objective.capacity_epochs = 3.0
    return config


def sweep(hyper):
    return hyper.sweep("objective.capacity", {capacities})
"""


def test_a_key_that_has_an_effect_in_one_config_of_a_sweep_is_taken(fails, tmp_path, capsys):
    path, command = tmp_path / "mine.py", ["sweep", f"--workdir={tmp_path / 'run'}", "--dry_run"]
    path.write_text(SWEPT.format(capacities="(0.0, 25.0)"))
    assert cli.main([*command, f"--config={path}"]) == 0
    assert "4 lanes in 1 program" in capsys.readouterr().out
    path.write_text(SWEPT.format(capacities="(0.0,)"))
    assert "capacity_epochs = 3.0 has no effect" in fails(*command, f"--config={path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:\n", "SyntaxError"),
        ("import nowhere\n", "ModuleNotFoundError"),
        ("x = 1\n", "should have a get_config()"),
        ("def get_config():\n    return 3\n", "that returns a ConfigDict"),
        ("def get_config():\n    return 1 / 0\n", "line 2: ZeroDivisionError"),
        ("def get_config():\n    return {}['x']\n", "line 2: KeyError"),
        ("\0", "SyntaxError"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
        (
            "from configs import default\n\n\ndef get_config():\n"
            "    config = default.get_config()\n"
            "    config.model.latent_sise = 3\n    return config\n",
            "'model.latent_sise'; did you mean 'model.latent_size'",
        ),
    ],
)
def test_a_broken_config_file_is_told(fails, tmp_path, content, message):
    path = tmp_path / "mine.py"
    path.write_text(content)
    assert message in fails("train", f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


SWEEPS = {
    "unknown key": ("hyper.sweep('model.latent_sise', (1, 2))", "did you mean 'model.latent_size'"),
    "wrong type": (
        "hyper.sweep('objective.beta', (1, 'two'))",
        "config 1 of the sweep (objective.beta=two): objective.beta = 'two' should be a number",
    ),
    "empty": ("[]", "the sweep is empty"),
    "twice": (
        "hyper.sweep('objective.beta', (1, 2, 1.0))",
        "config 2 of the sweep (objective.beta=1.0) is config 0 once more",
    ),
    "different lengths": (
        "hyper.zipit([hyper.sweep('objective.beta', (1, 2)), hyper.fixed('optimizer.b1', 0.5)])",
        "line 4: hyper.zipit needs parts of one length; these have [2, 1]",
    ),
    "an error in it": ("hyper.seep('objective.beta', (1,))", "line 4: AttributeError"),
    "nothing": ("None", "sweep(hyper) should return what hyper's functions give"),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_mistake_in_a_sweep_is_one_line_and_leaves_nothing(fails, tmp_path, name):
    expression, message = SWEEPS[name]
    path = tmp_path / "mine.py"
    path.write_text(
        f"from configs.smoke import get_config\n\ndef sweep(hyper):\n    return {expression}\n"
    )
    assert message in fails("sweep", f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_the_current_folder_comes_last_on_the_path(monkeypatch, tmp_path):
    """Config files import from it, and no file there hides a library."""
    monkeypatch.setattr(sys, "path", ["", str(REPOSITORY), *sys.path])
    cli.main(["train", f"--workdir={tmp_path}", "--config=no"])
    assert sys.path[-1] == str(REPOSITORY)
    assert not {"", str(REPOSITORY)} & set(sys.path[:-1])
    cli.main(["report", f"--workdir={tmp_path}"])  # it may be a run folder of someone else
    assert not {"", str(REPOSITORY)} & set(sys.path)


def parsed(*arguments: str) -> cli.Command:
    return cli.parse(arguments)


def test_of_a_key_that_is_given_twice_the_last_counts(tmp_path):
    command = parsed(
        SMOKE,
        f"--workdir={tmp_path}",
        "--config.model.encoder.widths=512",
        "--config.training.seeds=1,2",
        "--config.model.encoder.widths=256,128",
        "--config.training.seeds=3",
        "--config.model.latent_size=3",
        "--config.model.latent_size=4",
    )
    assert command.config.model.encoder.widths == (256, 128)
    assert command.config.training.seeds == (3,)
    assert command.config.model.latent_size == 4


def test_the_user_s_home_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("from configs.smoke import get_config\n")
    command = parsed("--config=~/mine.py", "--workdir=~/runs/x")
    assert command.workdir == tmp_path / "runs" / "x"


def test_the_package_s_configs_are_found_from_anywhere(tmp_path):
    """By name, and by `from configs import ...` in a file of one's own, in a process of its own."""
    (tmp_path / "mine.py").write_text(
        "from configs import default, own\n\n\ndef get_config():\n"
        "    config = default.get_config()\n    config.model.latent_size = own.SIZE\n"
        "    return config\n"
    )
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "own.py").write_text("SIZE = 11\n")
    code = f"""
import sys
from vae_jax.config.file import config_from_file
sys.path[:] = [p for p in sys.path if p not in ("", {str(REPOSITORY)!r})]
for name in ("mine.py", "mnist_20d", "configs/mnist.py", "sweeps/latent_size"):
    print(config_from_file(name)[0].model.latent_size)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.stdout.split() == ["11", "20", "2", "20"], said.stderr


def test_a_frozen_config_and_numbers_of_numpy_are_taken(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\nfrom ml_collections import FrozenConfigDict\n"
        "from configs.smoke import get_config as smoke\n\n\ndef get_config():\n"
        "    config = smoke()\n    config.unlock()\n"
        "    config.objective.beta = np.float64(2)\n"
        "    return FrozenConfigDict(config)\n"
    )
    command = parsed(f"--config={path}", f"--workdir={tmp_path}", "--config.model.latent_size=3")
    assert check(command.config).values["model.latent_size"] == 3
    assert check(command.config).values["objective.beta"] == 2.0

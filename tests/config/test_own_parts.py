"""The examples of docs/own_parts.md, as they are printed: each is trained, on small images."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.small.own_members import PARTS, SHORT, forget
from tests.small.runs import values_of, write_tiny_npz
from vae_jax.cli import main as cli
from vae_jax.config.schema import nest
from vae_jax.folders import folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the modules, and with runs/mnist, a run whose config is a small one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, (code, _) in PARTS.items():
        Path(f"{name}.py").write_text(code)
    values = nest(values_of(write_tiny_npz(tmp_path / "tiny.npz"), training__num_epochs=2))
    Path("small.py").write_text(
        "from ml_collections import ConfigDict\n\n\n"
        f"def get_config():\n    return ConfigDict({values!r})\n"
    )
    forget()
    yield tmp_path
    forget()
    for name in PARTS:
        sys.modules.pop(name, None)


def test_each_kind_has_an_example_of_at_most_thirty_lines():
    assert set(SHORT) == {
        "waves", "moments", "cauchy", "checks", "laplace", "one_scale", "hinge", "jackknife",
        "signs", "sparse", "dimming", "linear", "errors", "norms", "lion", "ramp", "turned",
    }  # fmt: skip
    for code, _ in SHORT.values():
        definitions = code.split("\n\n\n", 1)[1]
        assert len(definitions.splitlines()) <= 35


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_an_example_is_trained_as_printed(place, name, with_lanes_drawn):
    command = shlex.split(PARTS[name][1].replace("\\\n", " "))[1:]
    if name in ("errors", "norms"):
        assert cli.main(["train", "--config=small.py", "--workdir=runs/mnist"]) == 0
    if name == "errors":
        command.append("--config.evaluation.num_importance_samples=10")
    command = [part.replace("configs/smoke.py", "small.py") for part in command]
    assert cli.main(command) == 0
    workdir = Path(next(part for part in command if part.startswith("--workdir=")).split("=")[1])
    results = folder.read_results(workdir)
    assert np.isfinite([lane["elbo"] for lane in results["lanes"]]).all()
    losses = [
        row["loss"]
        for row in folder.read_rows(workdir)
        if (row["split"], row["lane"]) == ("validation", 0)
    ]
    assert losses[-1] < losses[0]
    if name == "norms":
        assert (workdir / folder.FIGURES / "norms.png").exists()
    if name == "errors":
        assert 0 < results["mean"]["squared_error"] < 1

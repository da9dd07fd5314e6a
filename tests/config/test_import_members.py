"""Members of one's own, by module and name: the example of docs/extending.md, as it is printed."""

import importlib.util
import json
import py_compile
import re
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

import numpy as np
import pytest

import vae_jax
from tests.small.own_members import forget
from tests.small.runs import config_of, values_of, write_tiny_npz
from vae_jax.api import frames
from vae_jax.cli.main import main
from vae_jax.config import code
from vae_jax.config.import_members import import_members, refuse_names
from vae_jax.config.schema import KEYS, nest
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.sweeps.plan import Datasets, based_on, make_sweep, program_run, runs_in

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLE = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
FLAGS = (
    "--config.dataset.name=mine:stripes", "--config.model.likelihood=mine:student_t",
    "--config.dataset.rows=6", "--config.model.dof=3", "--config.dataset.validation_size=100",
    "--config.training.num_epochs=1", "--config.model.latent_size=2",
    "--config.model.encoder.widths=8", "--config.model.decoder.widths=8",
)  # fmt: skip


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


@pytest.mark.slow
def test_it_is_trained_and_loaded_without_its_module(mine, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert main(["train", config(tmp_path), f"--workdir={workdir}", *FLAGS]) == 0
    values = json.loads((workdir / "config.json").read_text())
    assert values["model"]["dof"] == 3.0
    assert values["dataset"]["rows"] == 6
    assert (workdir / "own" / "mine.py").read_text() == mine.read_text()
    assert folder.read_config(workdir).keys["model.dof"].is_traced
    assert "model.dof" not in KEYS
    codes = vae_jax.load(workdir).encode(np.zeros((2, 6, 6), np.uint8))

    forget()
    mine.unlink()
    again = vae_jax.load(workdir)
    np.testing.assert_array_equal(again.encode(np.zeros((2, 6, 6), np.uint8)), codes)

    forget()
    mine.write_text(EXAMPLE[1] + "\n# another\n")
    capsys.readouterr()
    again = vae_jax.load(workdir)
    np.testing.assert_array_equal(again.encode(np.zeros((2, 6, 6), np.uint8)), codes)
    assert "mine.py was changed since this run was trained" in capsys.readouterr().err

    # The same command goes on with the same code only, and the same copy.
    forget()
    command = ["train", config(tmp_path), f"--workdir={workdir}", *FLAGS]
    assert main(command) == 2
    assert "mine.py is a copy), or take another --workdir" in capsys.readouterr().err
    forget()
    mine.unlink()
    there = workdir / "own" / "mine.py"
    there.write_text(EXAMPLE[1].replace("dof", "fod"))
    before = (workdir / "results.json").read_bytes()
    assert main(["evaluate", f"--workdir={workdir}"]) == 2
    assert "is not the code that this run began with" in capsys.readouterr().err
    assert (workdir / "results.json").read_bytes() == before

    # What reads records alone needs no code, and runs none.
    there.write_text("1 / 0\n")
    forget()
    path = workdir / "results.json"
    found = json.loads(path.read_text())
    found["own_columns"] = [{"name": "oddness", "digits": 3, "of_likelihood": False, "images": ""}]
    for lane in found["lanes"]:
        lane["oddness"] = 0.25
    path.write_text(json.dumps(found))
    for more in ((), ("--format=latex",), ("--format=csv",)):
        capsys.readouterr()
        assert main(["report", f"--workdir={workdir}", *more]) == 0
        shown = capsys.readouterr().out
        assert "oddness" in shown
        assert "0.25" in shown
    assert main(["compare", str(workdir), str(workdir)]) == 0
    assert set(frames.results(workdir)["oddness"]) == {0.25}
    assert len(frames.history(workdir))
    assert "mine" not in sys.modules

    forget()
    there.unlink()
    assert main(["evaluate", f"--workdir={workdir}"]) == 2
    assert "there is no module 'mine'" in capsys.readouterr().err


RAN = "import os, pathlib\npathlib.Path(os.environ['RAN']).write_text('ran')\n"


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A run folder of someone else, whose config names code that it brings."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    workdir = tmp_path / "run"
    (workdir / "own").mkdir(parents=True)
    values = nest(values_of(tmp_path / "tiny.npz") | {"model.likelihood": "evil:x"})
    (workdir / "config.json").write_text(json.dumps(values))
    (workdir / "own" / "evil.py").write_text(RAN)
    return workdir


READERS = {
    "load": vae_jax.load,
    "config": folder.read_config,
    "runs": runs_in,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("where", ["copy", "here", "dotted", "compiled"])
def test_a_run_folder_runs_no_code_unasked(stranger, tmp_path, name, where):
    if where == "here":  # the user has moved into a stranger's folder
        (tmp_path / "evil.py").write_text(RAN)
    if where == "dotted":
        (tmp_path / "evil").mkdir()
        (tmp_path / "evil" / "__init__.py").write_text(RAN)
        (tmp_path / "evil" / "x.py").write_text(RAN)
        path = stranger / "config.json"
        path.write_text(path.read_text().replace("evil:x", "evil.x:y"))
    if where == "compiled":  # the text is trusted, and the compiled file beside it is other code
        (stranger / "own" / "evil.py").write_text("1 / 0\n")
        code.trust(code.code_copied("evil", stranger / "own"))
        cached = importlib.util.cache_from_source(str(stranger / "own" / "evil.py"))
        source = tmp_path / "source.py"
        source.write_text(RAN + "#" * 100)
        py_compile.compile(
            str(source), cached, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )
    with pytest.raises(UserError) as error:
        READERS[name](stranger)
    assert not (tmp_path / "ran").exists()
    if where == "compiled":
        assert "division by zero" in str(error.value)
    else:
        assert "that this machine has not run yet; read it, and run it by --trust" in str(
            error.value
        )
        assert "evil" in str(error.value)
        assert "(sha256 " in str(error.value)


@pytest.mark.parametrize(
    "command", [["evaluate"], ["report"], ["report", "--html"], ["explore"], ["sweep"], ["search"],
                ["evaluate", "--config.evaluation.batch_size=7"]]
)  # fmt: skip
def test_no_command_runs_the_code_of_a_stranger(stranger, tmp_path, command, capsys):
    (tmp_path / "evil.py").write_text(RAN)
    (tmp_path / "bokeh.py").write_text(RAN)  # hides no library
    assert main([*command, f"--workdir={stranger}"]) == 2
    assert not (tmp_path / "ran").exists()
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.startswith("vae-jax: ")
    if command[0] == "evaluate":
        assert "that this machine has not run yet" in shown
        assert main([*command, f"--workdir={stranger}", "--trust"]) == 2
        assert (tmp_path / "ran").exists()
        assert "evil.py (sha256 " in capsys.readouterr().err


def test_code_that_is_trusted_runs_and_is_known_from_then_on(stranger, tmp_path, capsys):
    for _ in range(2):
        with pytest.raises(UserError, match=r"own/evil.py has no 'x'"):
            vae_jax.load(stranger, trust=True)
        assert (tmp_path / "ran").exists()
        (tmp_path / "ran").unlink()
        forget()
    shown = capsys.readouterr().err
    assert shown.count("vae-jax: runs ") == 1
    assert "own/evil.py (sha256 " in shown
    with pytest.raises(UserError, match=r"has no 'x'"):
        vae_jax.load(stranger)
    forget()
    with open(stranger / "own" / "evil.py", "a") as file:
        file.write("\n# more\n")
    with pytest.raises(UserError, match="has not run yet"):
        vae_jax.load(stranger)


def test_the_code_of_a_module_is_all_that_it_imports_of_the_user_s(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy, leaves\n\n\ndef f():\n    from parts import one\n"
    )
    (tmp_path / "leaves.py").write_text("import os\nimport nowhere\n")
    (tmp_path / "near.py").write_text("")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("from . import two\n")
    (tmp_path / "parts" / "one.py").write_text("from .two import x\n")
    (tmp_path / "parts" / "two.py").write_text("x = 1\n")
    own = code.code_here("mine")
    assert set(own.texts) == {"mine", "leaves", "parts", "parts.one", "parts.two"}
    assert set(code.code_here("parts.one").texts) == {"parts", "parts.one", "parts.two"}
    (tmp_path / "near.py").write_text("# another\n")
    assert code.code_here("mine").checksum == own.checksum
    (tmp_path / "parts" / "two.py").write_text("x = 2\n")
    assert code.code_here("mine").checksum != own.checksum
    installed = set(code.code_here("absl.app").texts)
    assert installed > {"absl", "absl.app", "absl.flags"}
    assert all(name.partition(".")[0] == "absl" for name in installed)
    for name in ("nowhere", "os.nowhere", "math"):
        assert code.code_here(name) is None

    copies = tmp_path / "own"
    copies.mkdir()
    for name, text in own.texts.items():
        (copies / f"{name}.py").write_text(text)
    (copies / "near.py").write_text("")
    copy = code.code_copied("mine", copies)
    assert copy.checksum == own.checksum
    shutil.rmtree(tmp_path / "parts")
    (tmp_path / "leaves.py").write_text("x = 5\n")
    (tmp_path / "mine.py").write_text("import leaves\nfrom parts.one import x\n")
    (copies / "leaves.py").write_text("x = 6\n")
    (copies / "mine.py").write_text("import leaves\nfrom parts.one import x\n")
    copy = code.code_copied("mine", copies)
    code.trust(copy)
    chosen = code.chosen_code("mine", "here", copies, copy.checksum)
    module = code.import_module(chosen, "mine", "here")
    assert (module.x, module.leaves.x) == (1, 6)
    assert code.import_module(chosen, "mine", "here") is module
    (copies / "leaves.py").write_text("x = 7\n")
    another = code.import_module(code.code_copied("mine", copies), "mine", "here")
    assert (another.leaves.x, module.leaves.x) == (7, 6)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("values", "the key 'model.values' can't have this name: each ConfigDict has 'values'"),
        ("flow.get", "can't have this name: each ConfigDict has 'get'"),
        ("latent_size", "model.latent_size is declared twice, in two ways"),
        ("likelihood_scale", "model.likelihood_scale is declared twice, in two ways"),
    ],
)
def test_a_key_that_can_t_be_one_is_a_line(mine, key, message):
    text = EXAMPLE[1].replace('of freedom"', f'of freedom", key="{key}"')
    assert text != EXAMPLE[1]
    mine.write_text(text)
    for _ in range(2):
        with pytest.raises(UserError, match=f"mine:student_t: .*{message}"):
            import_members({"model.likelihood": "mine:student_t"})


def test_no_key_has_the_name_of_a_method_of_configdict():
    refuse_names(KEYS)


def test_its_numbers_are_lanes_of_one_program(tmp_path, capsys):
    more = "\n\ndef sweep(hyper):\n    return hyper.sweep('model.dof', (2.0, 5.0))\n"
    command = ["sweep", config(tmp_path, more), f"--workdir={tmp_path / 'sweep'}", *FLAGS]
    assert main([*command, "--dry_run"]) == 0
    assert "in 1 program: 2 settings (model.dof)" in capsys.readouterr().out


def test_it_is_swept_beside_a_member_of_the_package(tmp_path):
    """What only it reads is no key of the sweep's own config."""
    base = config_of(write_tiny_npz(tmp_path / "tiny.npz"), dataset__binarization="none")
    settings = [{"model.likelihood": name} for name in ("gaussian", "mine:student_t")]
    plan = make_sweep(base, settings, tmp_path / "sweep", Datasets())
    assert [own.values.get("model.dof") for own in plan.configs] == [None, 4.0]
    assert based_on(plan, base).configs == plan.configs
    runs = [program_run(plan, program, Datasets()) for program in plan.programs]
    own = [run.spec.model.likelihood for run in runs]
    assert [type(likelihood).__name__ for likelihood in own] == ["GaussianLikelihood", "student_t"]


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
        (
            "mine:stripes",
            "stripes has no params_per_dim, no support, no distribution",
        ),
        ("mine:stripes", "what a likelihood has: "),
        ("broken:x", "broken can't be imported: division by zero"),
        ("leaves:x", "leaves can't be imported: SystemExit: 0"),
        ("near:x", "near can't be imported: Odd: two lines"),
        ("mine:", "is unknown; there are: bernoulli"),
        (":", "is unknown; there are: bernoulli"),
    ],
)
def test_a_member_that_is_none_is_one_line(tmp_path, capsys, name, message):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    near = "class Odd(BaseException):\n    pass\n\n\nraise Odd('two\\nlines')\n"
    (tmp_path / "near.py").write_text(near)
    command = ["train", config(tmp_path), f"--workdir={tmp_path / 'run'}"]
    assert main([*command, f"--config.model.likelihood={name}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()

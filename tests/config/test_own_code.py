"""Several versions of a user's modules in one process: each run has its own."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import vae_jax
from tests.small.own_members import forget
from tests.small.runs import values_of, write_tiny_npz
from vae_jax.cli.main import main
from vae_jax.commands.sweep import open_sweep, sweep
from vae_jax.config import code
from vae_jax.config.check import check
from vae_jax.config.declared import families_of
from vae_jax.config.import_members import import_members
from vae_jax.config.schema import KEYS, SECTIONS, nest
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.sweeps.plan import Datasets, make_sweep, read_sweep

pytestmark = pytest.mark.slow  # `docs` of noxfile.py runs them

# The mean of `shifted` is the decoder's and 1,110 times the number of the version.
PARTS = """
from typing import ClassVar

import helpers
import jax.numpy as jnp
from vae_jax.evaluation.metrics.metric import Column, Metric, lane_by_lane
from vae_jax.probability.likelihoods import GaussianSharedScale
from vae_jax.sections.declare import section, traced


@section
class shifted(GaussianSharedScale):
    shift: float = traced({number} * 1000.0, lambda key, value: float(value), "of the mean")

    def distribution(self, params, raw):
        import late  # it runs when the process may have imported another module of this name

        return super().distribution(params, raw + self.shift + helpers.MORE + late.MORE)


@section
class version:
    columns: ClassVar = (Column("version", 1),)

    def metric(self, subject):
        def measure(section, model, variables, key, x_bd, label_b):
            return {{"version": 0 * jnp.sum(x_bd, axis=-1) + {number}}}

        return Metric(measure, lane_by_lane(lambda a, _: {{"version": a["version"].mean()}}), "")
"""
SHIFT = 1_110


def write(place: Path, number: int) -> None:
    """A version of the modules."""
    (place / "parts.py").write_text(PARTS.format(number=number))
    (place / "helpers.py").write_text(f"MORE = {100 * number}.0\n")
    (place / "late.py").write_text(f"MORE = {10 * number}.0\n")


def move_to(place: Path, patch: pytest.MonkeyPatch) -> None:
    """Makes it the current folder, from which modules are imported, of a machine of its own."""
    patch.chdir(place)
    patch.setattr(sys, "path", [*sys.path, str(place)])
    patch.setattr(sys, "dont_write_bytecode", True)
    patch.setenv("XDG_STATE_HOME", str(place / "state"))
    patch.setattr(code, "TRUSTED", set())
    forget()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    move_to(tmp_path, monkeypatch)
    yield tmp_path
    forget()
    for name in ("parts", "helpers", "late"):
        sys.modules.pop(name, None)


def small(place: Path, likelihood: str = "parts:shifted"):
    """A small config."""
    npz = write_tiny_npz(place / "tiny.npz")
    values = values_of(npz, dataset__binarization="none", training__seeds=(4,))
    return nest(values | {"training.num_epochs": 1, "model.likelihood": likelihood})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with two runs of one process, of two versions of the modules."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        move_to(place, patch)
        for number, name in enumerate("ab", start=1):
            write(place, number)
            assert version_of(vae_jax.train(small(place), name)) == number
        assert [version_of(vae_jax.load(name)) for name in "abab"] == [1, 2, 1, 2]
    return place


@pytest.fixture
def a_and_b(place, trained):
    """The two runs, in a later process; a third version of the modules is there now."""
    shutil.copytree(trained, place, dirs_exist_ok=True)
    write(place, 3)
    return place / "a", place / "b"


def version_of(run) -> int:
    """The version of the modules that a run decodes with."""
    return round(float(run.decode(np.zeros(run.latent_size)).mean()) / SHIFT)


def elbos(workdir: Path) -> list[float]:
    return [lane["elbo"] for lane in folder.read_results(workdir)["lanes"]]


def test_an_edited_module_is_trained_as_it_is_now_and_each_folder_has_what_ran(a_and_b):
    own = [{path.stem: path.read_text() for path in (at / "own").iterdir()} for at in a_and_b]
    for number, texts in enumerate(own, start=1):
        assert texts == {
            "parts": PARTS.format(number=number),
            "helpers": f"MORE = {100 * number}.0\n",
            "late": f"MORE = {10 * number}.0\n",
        }
    sums = [json.loads((at / folder.ENVIRONMENT).read_text())["code"]["parts"] for at in a_and_b]
    assert sums[0] != sums[1]
    for at, checksum in zip(a_and_b, sums, strict=True):
        assert code.code_copied("parts", at / "own").checksum == checksum
    # Nothing of the process is changed.
    assert "model.shift" not in KEYS
    families = families_of(SECTIONS).values()
    assert not [name for members, _ in families for name in members if ":" in name]
    assert not {"parts", "helpers", "late"} & set(sys.modules)
    assert not [finder for finder in sys.meta_path if isinstance(finder, code.Texts)]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_each_is_loaded_and_evaluated_with_its_own(a_and_b, order):
    numbers = {"a": 1, "b": 2}
    runs = {name: vae_jax.load(name) for name in order}
    for name in (*order, *reversed(order)):
        assert version_of(runs[name]) == numbers[name]
        assert runs[name].config["model.shift"] == 1_000 * numbers[name]
    before = {name: elbos(Path(name)) for name in order}
    for name in order:
        assert main(["evaluate", f"--workdir={name}", "--config.evaluation.batch_size=50"]) == 0
        np.testing.assert_allclose(elbos(Path(name)), before[name], rtol=1e-5)
        images = runs[name].images("test")
        there = runs[name].evaluate(images)
        np.testing.assert_allclose(there["elbo"], before[name], rtol=1e-3)


def test_a_run_goes_on_with_its_code_only(a_and_b, trained, place):
    same, longer = small(trained), small(trained)
    longer["training"]["num_epochs"] = 2
    for config in (same, longer):
        with pytest.raises(UserError, match=r"is not the code that this run began with"):
            vae_jax.train(config, place / "a")
    write(place, 1)
    assert version_of(vae_jax.train(longer, place / "a")) == 1
    with pytest.raises(UserError, match=r"is not the code that this run began with"):
        vae_jax.train(longer, place / "b")


def test_a_metric_that_the_user_names_is_that_of_today(a_and_b):
    run = vae_jax.load("a")
    keys = {"evaluation.metrics": ("parts:version",)}
    images = run.images("test")
    assert run.evaluate(images, keys=keys)["version"].tolist() == [3.0]
    write(Path(), 4)
    assert run.evaluate(images, keys=keys)["version"].tolist() == [4.0]
    assert version_of(run) == version_of(vae_jax.load("a")) == 1


def test_lanes_of_one_sweep_have_their_modules(place):
    plans = {}
    for number, name in ((1, "first"), (3, "second")):
        write(place, number)
        text = PARTS.format(number=number + 1).replace("shift:", "moved:")
        (place / "other.py").write_text(text.replace("self.shift", "self.moved"))
        settings = [{"model.likelihood": f"{module}:shifted"} for module in ("parts", "other")]
        workdir, data = place / name, Datasets()
        plan = make_sweep(check(small(place, "gaussian")), settings, workdir, data)
        sweep(workdir, plan, data)
        assert read_sweep(workdir) == plan
        plans[workdir] = plan
    (place / "other.py").unlink()
    for workdir, plan in plans.items():
        number = {"first": 1, "second": 3}[workdir.name]
        runs = vae_jax.api.folders.load_lanes(workdir, range(plan.num_lanes))
        decoded = [run.decode(np.zeros(run.latent_size)).mean() for run in runs]
        shifts = [number * SHIFT, number * SHIFT + 1_000]
        np.testing.assert_allclose(decoded, shifts, atol=100)


def test_what_the_user_imports_is_another_module_and_stays(place):
    write(place, 1)
    parts = importlib.import_module("parts")
    write(place, 2)
    (member,) = import_members({"model.likelihood": "parts:shifted"}).values()
    assert member.cls is not parts.shifted
    assert member.cls().shift == 2_000
    assert sys.modules["parts"] is parts
    assert importlib.reload(parts).shifted().shift == 2_000
    write(place, 3)
    importlib.reload(parts)
    assert member.cls().distribution({"log_scale": 0.0}, np.zeros((1, 1, 1, 1))).loc == 2 * SHIFT


def test_a_version_is_made_once_and_modules_share_what_they_import(place):
    write(place, 1)
    (place / "more.py").write_text("from parts import shifted\nimport helpers\n")
    named = {"model.likelihood": "more:shifted", "evaluation.metrics": ("parts:version",)}
    members = import_members(named)
    again = import_members({"model.likelihood": "parts:shifted"})
    assert members["model.likelihood", "more:shifted"].cls is again[next(iter(again))].cls
    (place / "helpers.py").write_text("MORE = 5.0\n")
    new = import_members({"model.likelihood": "parts:shifted"})
    assert new[next(iter(new))].cls is not again[next(iter(again))].cls


def test_a_package_of_two_versions(place):
    (place / "parts").mkdir()
    (place / "parts" / "__init__.py").write_text("")
    named, classes = {"model.likelihood": "parts.one:shifted"}, []
    for number in (1, 2):
        (place / "parts" / "two.py").write_text(f"MORE = {number}.0\n")
        (place / "parts" / "one.py").write_text(
            "import parts.two\nfrom . import two\n"
            "from vae_jax.probability.likelihoods import GaussianSharedScale\n"
            "from vae_jax.sections.declare import section\n\n\n"
            "@section\nclass shifted(GaussianSharedScale):\n"
            "    def both(self):\n        from parts import two as late\n"
            "        return parts.two.MORE, two.MORE, late.MORE\n"
        )
        classes.append(import_members(named)["model.likelihood", "parts.one:shifted"].cls)
    assert [cls().both() for cls in classes] == [(1.0,) * 3, (2.0,) * 3]
    importlib.invalidate_caches()


def test_a_version_in_use_is_no_reason_to_trust_another(a_and_b, place):
    (place / "a" / "own" / "parts.py").write_text("1 / 0\n")
    path = place / "a" / folder.ENVIRONMENT
    recorded = json.loads(path.read_text())
    recorded["code"]["parts"] = code.code_copied("parts", place / "a" / "own").checksum
    path.write_text(json.dumps(recorded))
    with pytest.raises(code.Untrusted, match="that this machine has not run yet"):
        vae_jax.load("a")
    assert version_of(vae_jax.load("b")) == 2


def test_a_sweep_goes_on_with_its_code_only(place):
    write(place, 1)
    settings = [{"model.likelihood": "parts:shifted"}, {"objective.beta": 2.0}]
    base = small(place, "gaussian")
    plan = make_sweep(check(base), settings, place / "sweep", Datasets())
    (place / "sweep").mkdir()
    assert open_sweep(plan) == plan
    write(place, 2)
    other = make_sweep(check(base), settings, place / "sweep", Datasets())
    with pytest.raises(UserError, match=r"^model.likelihood = .* is not the code that this run"):
        open_sweep(other)
    assert read_sweep(place / "sweep") == plan
    forget()
    (place / "state" / "vae_jax" / "trusted_code").unlink()
    code.TRUSTED.clear()
    with pytest.raises(code.Untrusted):
        read_sweep(place / "sweep")

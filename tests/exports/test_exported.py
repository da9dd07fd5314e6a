"""An export of a run: what it gives, and what is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import vae_jax
from tests.small import exports as small
from tests.small.runs import run as train_run
from tests.small.runs import write_tiny_npz
from vae_jax.cli import main as cli
from vae_jax.errors import UserError
from vae_jax.exports import write

pytestmark = pytest.mark.slow  # `docs` of noxfile.py runs them

KEPT = Path(__file__).parent / "small_0_2"
FILES = (
    "README.md", "config.json", "decode.jaxexport", "elbo.jaxexport", "encode.jaxexport",
    "generate.jaxexport", "model.safetensors",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two lanes of a small model of labelled images that reads the labels."""
    at = tmp_path_factory.mktemp("exports")
    train_run(
        write_tiny_npz(at / "tiny.npz"),
        at / "run",
        model__conditional=True,
        training__num_epochs=1,
        log__every_steps=100,
    )
    return vae_jax.load(at / "run")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return vae_jax.export(run, tmp_path_factory.mktemp("exports") / "exported", "CC BY 4.0")


@pytest.fixture
def copy(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def refused(folder) -> str:
    """The one line that says why the folder is not loaded."""
    with pytest.raises(UserError) as error:
        vae_jax.load_exported(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_it_gives_what_the_run_gives(run, exported):
    model = vae_jax.load_exported(exported)
    assert repr(model).endswith("images (6, 6, 1); decode, elbo, encode, generate>")
    assert (model.image_shape, model.latent_size, model.reads_labels) == ((6, 6, 1), 3, True)
    assert model.class_names == run.class_names
    arguments = model.description["functions"]["elbo"]["arguments"]
    assert [(a["name"], a["shape"]) for a in arguments] == [
        ("key", ["b", 2]), ("x", ["b", 36]), ("label", ["b"])
    ]  # fmt: skip
    x, y = run.images()[:3], run.data.test.labels[:3]
    for n in (3, 1):
        close(model.encode(x[:n], y[:n]), run.encode(x[:n], y[:n]))
        z = run.encode(x[:n], y[:n])
        close(model.decode(z, y[:n]), run.decode(z, y[:n]))
    close(model.decode(z[0], y[:1]), run.decode(z[0], y[:1]))
    made = model.generate(3, labels=[0, 1, 2])
    assert made.shape == (3, 6, 6)
    for i in range(3):
        close(made[i : i + 1], run.generate(1, seed=i, labels=[i]))
    said = run.posterior(x[0], y[:1])
    close(model.posterior(x[0], y[:1])["sd"][0], said["sd"])
    close(model.elbo(x, y)[0], said["elbo"])
    assert model.elbo(x, y).shape == (3,)
    assert (model.elbo(x, y, seed=1) != model.elbo(x, y)).all()


def test_arguments_are_refused_as_those_of_a_run_are(exported):
    model = vae_jax.load_exported(exported)
    with pytest.raises(UserError, match=r"shape \(1, 5, 6\); they should be \(n, 6"):
        model.encode(np.zeros((1, 5, 6)), [0])
    with pytest.raises(UserError, match="this model reads labels"):
        model.generate(2)
    with pytest.raises(UserError, match="floats, 0 to 200, and the model was trained on uint8"):
        model.encode(np.linspace(0, 200, 36).reshape(1, 6, 6), [0])
    with pytest.raises(UserError, match=r"codes have shape \(1, 2\); they should be \(n, 3\)"):
        model.decode(np.zeros((1, 2)), [0])
    with pytest.raises(UserError, match="these are grey"):
        model.elbo(np.full((1, 6, 6), 100, np.uint8), [0])
    with pytest.raises(UserError, match="seed = -1"):
        model.generate(1, seed=-1, labels=[0])


def test_two_exports_are_equal_byte_for_byte(run, exported, tmp_path):
    again = vae_jax.export(vae_jax.load(run.workdir, run.lane), tmp_path / "again", "CC BY 4.0")
    assert sorted(path.name for path in again.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (again / name).read_bytes() == (exported / name).read_bytes(), name


def test_two_processes_in_other_folders_write_the_same(run, exported, tmp_path):
    for seed in ("1", "2"):
        at = tmp_path / seed / seed
        at.mkdir(parents=True)
        subprocess.run(
            [sys.executable, "-m", "vae_jax", "export", f"--workdir={run.workdir}", "--to=to"],
            cwd=at,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
        )
    one, other = (tmp_path / seed / seed / "to" for seed in ("1", "2"))
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
        if name not in ("README.md", "config.json"):  # which have another licence
            assert (one / name).read_bytes() == (exported / name).read_bytes(), name


def test_no_path_is_in_it(run, exported):
    parts = {str(run.workdir.parent), str(Path(vae_jax.__file__).parent)}
    for name in FILES:
        content = (exported / name).read_bytes()
        assert not any(part.encode() in content for part in parts), name


def test_the_card_has_the_numbers_with_their_errors(run, exported):
    card = (exported / "README.md").read_text()
    lanes = json.loads((run.workdir / "results.json").read_text())["lanes"]
    own = lanes[run.lane]
    elbos = [lane["elbo"] for lane in lanes]
    numbers = (own["elbo"], own["elbo_se"], np.mean(elbos), np.std(elbos, ddof=1) / np.sqrt(2))
    assert f"| elbo | {' | '.join(f'{number:.2f}' for number in numbers)} |" in card
    for text in ("Licence: CC BY 4.0.", "50 images", "seeds are 4, 9", "label: int32",
                 f"vae_jax {vae_jax.__version__}", run.data.identity["checksum"]):  # fmt: skip
        assert text in card


def test_the_card_s_example_runs_as_printed(exported, monkeypatch):
    monkeypatch.chdir(exported)
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    made = vae_jax.load_exported(exported).generate(2, labels=[0, 1])
    close(names["images"].reshape(2, 6, 6), made)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(copy, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    for place in {0, len(content) // 2, len(content) - 1}:
        content[place] ^= 1
        path.write_bytes(content)
        assert name in refused(copy)
        content[place] ^= 1
    path.write_bytes(content[:-1])
    assert name in refused(copy)
    path.unlink()
    assert name in refused(copy)


def test_another_format_says_which(copy):
    small.reseal(copy, format=2, vae_jax="9.0")
    assert "format 2, and vae_jax here reads format 1" in refused(copy)
    assert "9.0" in refused(copy)
    small.reseal(copy, format=1, jax=["x"])
    assert "config.json is damaged" in refused(copy)


def test_what_is_no_export_says_so(tmp_path, run, exported):
    assert "is no folder" in refused(tmp_path / "nothing")
    assert "is no folder" in refused(exported / "README.md")
    assert "holds no export" in refused(tmp_path)
    assert "vae-jax export --workdir=" in refused(run.workdir)
    assert "should be the folder of an export" in refused(None)


@pytest.mark.parametrize("what", sorted(small.no_weights(Path())))
@pytest.mark.parametrize("name", ["model.safetensors", "encode.jaxexport"])
def test_what_is_no_weights_and_no_program_is_refused(copy, tmp_path, what, name):
    """Also where somebody made the checksums fit; and nothing of it is run."""
    evidence = tmp_path / "unpickled"
    (copy / name).write_bytes(small.no_weights(evidence)[what])
    assert f"{name} " in refused(copy)
    small.reseal(copy)
    assert f"{name} " in refused(copy)
    assert not evidence.exists()


def test_a_file_of_another_folder_is_refused(copy):
    description = json.loads((copy / "config.json").read_text())
    files = description["files"] | {"../run/config.json": {"bytes": 1, "sha256": ""}}
    (copy / "config.json").write_bytes(small.sealed(description | {"files": files}))
    assert "which is no file of an export" in refused(copy)
    files = {n: own for n, own in description["files"].items() if n != "elbo.jaxexport"}
    (copy / "config.json").write_bytes(small.sealed(description | {"files": files}))
    assert "has no checksum of 'elbo.jaxexport'" in refused(copy)
    (copy / "config.json").write_bytes(b" " * 4_000_001)
    assert "has 4,000,001 bytes" in refused(copy)


def command(capsys, *arguments) -> tuple[int, str]:
    code = cli.main(["export", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out + err


def test_the_command(run, exported, tmp_path, capsys):
    workdir, to = f"--workdir={run.workdir}", f"--to={tmp_path / 'deep' / 'to'}"
    code, text = command(capsys, workdir, to, "--licence=CC BY 4.0")
    assert code == 0
    assert f"lane {run.lane}, seed {(4, 9)[run.lane]}" in text
    for name in FILES:
        content = (tmp_path / "deep" / "to" / name).read_bytes()
        assert content == (exported / name).read_bytes(), name
    other = 1 - run.lane
    assert command(capsys, workdir, f"--lane={other}", f"--to={tmp_path / 'other'}")[0] == 0
    assert vae_jax.load_exported(tmp_path / "other").description["lane"] == other
    assert not list(tmp_path.glob(".*"))


def test_a_mistake_in_the_command_is_one_line(run, exported, tmp_path, capsys, monkeypatch):
    workdir, to = f"--workdir={run.workdir}", f"--to={tmp_path / 'to'}"
    (tmp_path / "file").touch()
    wrong = {
        "--to is missing": [workdir],
        "holds an export; remove it": [workdir, f"--to={exported}"],
        "is not empty": [workdir, f"--to={tmp_path}"],
        "is a file": [workdir, f"--to={tmp_path / 'file'}"],
        "can't be written": [workdir, f"--to={tmp_path / 'file' / 'to'}"],
        "in the run folder": [workdir, f"--to={run.workdir / 'to'}"],
        "has no lane 2; it has 0 to 1": [workdir, to, "--lane=2"],
        "should be the number of a lane, or best": [workdir, to, "--lane=-1"],
        "should be a line of at most 200": [workdir, to, f"--licence={'a' * 201}"],
        "holds no run": [f"--workdir={tmp_path / 'none'}", to],
        "holds an exported model": [f"--workdir={exported}", to],
    }
    for message, arguments in wrong.items():
        code, text = command(capsys, *arguments)
        assert (code, text.count("\n")) == (2, 1)
        assert message in text
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install flatbuffers safetensors" in command(capsys, workdir, to)[1]
    assert "pip install flatbuffers safetensors" in refused(exported)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_that_goes_on_is_not_exported(run, tmp_path):
    workdir = Path(shutil.copytree(run.workdir, tmp_path / "run"))
    loaded = vae_jax.load(workdir)
    results = json.loads((workdir / "results.json").read_text())
    (workdir / "results.json").write_text(json.dumps(results | {"finished": False}))
    with pytest.raises(UserError, match="is not finished"):
        vae_jax.export(loaded, tmp_path / "to")
    (workdir / "results.json").unlink()
    with pytest.raises(UserError, match="has no results yet"):
        vae_jax.export(loaded, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_failure_in_the_middle_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, "rename", fail)
    with pytest.raises(UserError, match="No space left on device"):
        vae_jax.export(run, tmp_path / "to")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["train", "evaluate", "sweep", "report"])
def test_commands_of_runs_leave_an_export_as_it_is(copy, capsys, verb):
    flags = {"train": ["--config=smoke"], "sweep": ["--config=sweeps/latent_size"]}.get(verb, [])
    assert cli.main([verb, f"--workdir={copy}", *flags]) == 2
    assert "holds an exported model, which vae_jax.load_exported loads" in capsys.readouterr().err
    assert sorted(path.name for path in copy.iterdir()) == sorted(FILES)


def test_an_export_of_version_0_2_loads_and_gives_its_numbers():
    """For ever: if a jax can't read it any more, docs/export.md says what to do."""
    model = vae_jax.load_exported(KEPT)
    numbers = json.loads(KEPT.with_suffix(".json").read_text())
    x = np.array(numbers["images"], np.uint8)
    close(model.encode(x), numbers["mean"])
    close(model.decode(np.eye(2)), numbers["decoded"])
    close(model.generate(2), numbers["generated"])
    close(model.elbo(x), numbers["elbo"])


def test_where_jax_can_t_read_the_programs_they_are_made_anew(copy, run, capsys):
    small.reseal(copy, jax="0.1.2")  # whose programs it can read
    whole = vae_jax.load_exported(copy)
    assert capsys.readouterr().err == ""
    small.reseal(copy, jax=jax.__version__)
    for path in copy.glob("*.jaxexport"):
        path.write_bytes(b"a program of a jax of long ago")
    small.reseal(copy)
    assert f"it was written with jax {jax.__version__}" in refused(copy)
    small.reseal(copy, jax="0.1.2")
    model = vae_jax.load_exported(copy)
    told = capsys.readouterr().err
    assert "written with jax 0.1.2; its functions are made of its config" in told
    x, y = run.images()[:3], [0, 1, 2]
    close(model.encode(x, y), whole.encode(x, y))
    close(model.generate(3, labels=y), whole.generate(3, labels=y))
    close(model.elbo(x, y), whole.elbo(x, y))


def test_what_is_not_of_vae_jax_is_not_made_anew(copy):
    (copy / "elbo.jaxexport").write_bytes(b"")
    config = json.loads((copy / "config.json").read_text())["config"]
    small.reseal(copy, jax="0.1.2", config=config | {"model.likelihood": "mine:likelihood"})
    assert "model.likelihood = mine:likelihood is a part of the user's own" in refused(copy)
    assert "install jax 0.1.2" in refused(copy)
    small.reseal(copy, config=config | {"model.encoder.widths": [9]})
    assert "its weights are not those of the model" in refused(copy)
    small.reseal(copy, config=config, sampler="Flow")
    assert "its p(z) is a fitted sampler, Flow" in refused(copy)

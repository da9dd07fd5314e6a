"""What README and docs print is true: commands, Python, names and links.

A command of `vae-jax` is run up to the start of the work: every flag, key and combination is
checked. README's two commands are run to their end by noxfile.py (tests/test_project.py).
"""

import configparser
import contextlib
import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from tests.small.cells import made_cells, write_cells, write_h5ad
from tests.small.docs import anchors
from tests.small.own_members import PARTS, forget
from tests.small.runs import train as train_config
from tests.small.runs import values_of, write_tiny_npz
from vae_jax import __all__ as PUBLIC
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.commands import evaluate, evaluate_on, search, sweep, train
from vae_jax.config.check import check
from vae_jax.config.listing import families
from vae_jax.config.schema import KEYS, nest
from vae_jax.exports import write
from vae_jax.folders import folder
from vae_jax.pages import report, server
from vae_jax.reports import paired, paper_table, sweep_report
from vae_jax.runs import observer, run
from vae_jax.runs import train as runs_train

ROOT = Path(__file__).parents[1]
docs = runpy.run_path(str(ROOT / "docs" / "conf.py"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```([\w{}]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = ("vae-jax", "python", "pip", "pytest", "nox")


def blocks(page: Path, languages: tuple[str, ...]) -> list[str]:
    return [body for language, body in BLOCK.findall(page.read_text()) if language in languages]


def commands(page: Path) -> list[str]:
    """Those in blocks, and those in a line of text that are whole."""
    found = []
    for body in blocks(page, ("", "bash")):
        for line in body.replace("\\\n", " ").splitlines():
            found += [part.strip() for part in line.split("&&")]
    plain = BLOCK.sub("", page.read_text())
    found += re.findall(r"`(vae-jax [a-z]+ --[^`]*|python -m [^`]*|pytest [^`]*)`", plain)
    known = [c for c in found if c.split(" ")[0] in PROGRAMS and len(c.split()) > 1]
    return list(dict.fromkeys(known))


# A command that stands on several pages is run once.
COMMANDS = [  # sprites take seconds to draw
    pytest.param(page, command, marks=pytest.mark.slow if "sprites" in command else ())
    for command, page in {
        command: page.name for page in PAGES for command in commands(page)
    }.items()
]


# Pages whose Python trains runs, or many steps.
TRAINING = ("autoencoders", "few_labels", "from_pytorch", "pixelcnn", "python")
# The data of all commands, each loaded and binarised once.
DATASETS, SOURCE, OF = run.Datasets(), run.Datasets.source, run.Datasets.of


@pytest.fixture(scope="module")
def folder_of_a_reader(tmp_path_factory):
    at = tmp_path_factory.mktemp("docs")
    (at / "configs").symlink_to(ROOT / "configs")
    write_tiny_npz(at / "mine.npz")
    cells = made_cells(60, 7)
    write_cells(at / "cells.npz", cells, test=10)
    write_h5ad(at / "cells.h5ad", cells)
    (at / "mine.py").write_text(blocks(ROOT / "docs" / "extending.md", ("python",))[0])
    for name, (code, _) in PARTS.items():
        (at / f"{name}.py").write_text(code)
    draw_pictures(at / "pictures")
    pictures = [str(path) for path in sorted((at / "pictures").iterdir())]
    columns = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": pictures}, columns).save_to_disk(str(at / "pets"))
    return at


def draw_pictures(at: Path) -> None:
    """Four image files."""
    at.mkdir()
    for name in "abcd":
        Image.fromarray(np.full((40, 50), ord(name), np.uint8)).save(at / f"{name}.png")


@pytest.fixture
def place(folder_of_a_reader, monkeypatch):
    """A folder with the configs, and the work of `vae-jax` replaced by nothing."""
    monkeypatch.chdir(folder_of_a_reader)
    monkeypatch.setattr(run.Datasets, "source", lambda self, config: SOURCE(DATASETS, config))
    monkeypatch.setattr(run.Datasets, "of", lambda self, config: OF(DATASETS, config))
    monkeypatch.setenv("HOME", str(folder_of_a_reader))
    nothing = [
        *((train, name) for name in ("train_run", "evaluate_best", "refuse_other_start")),
        *((evaluate, name) for name in ("load_progress", "evaluate_best")),
        (evaluate_on, "evaluate_on"),
        (sweep, "sweep"),
        (search, "search"),
        (sweep_report, "report"),
        (paired, "compare_paired"),
        (report, "write_report"),
        (server, "serve"),
        (write, "export_lane"),
    ]
    monkeypatch.setattr(runs_train, "about_start", lambda run: {})
    monkeypatch.setattr(
        train, "compiled_ahead", lambda run: contextlib.nullcontext(observer.Observer())
    )
    for module, name in nothing:
        monkeypatch.setattr(module, name, lambda *arguments, **named: ())
    for name in ("table_of", "compare_runs"):
        monkeypatch.setattr(paper_table, name, lambda *_, **__: paper_table.Table("", [], [], []))
    monkeypatch.setattr(paper_table, "worded", lambda table, *_: table)
    monkeypatch.setattr(cli, "jax_started", lambda *_: contextlib.nullcontext())
    yield
    forget()


def vae_jax(arguments: list[str]) -> int:
    """The command, in a folder that holds a run if it is one that needs it."""
    workdir = next((Path(a.split("=")[1]) for a in arguments if a.startswith("--workdir=")), None)
    takes_config = any(a.startswith("--config=") for a in arguments)
    if workdir and not takes_config and not workdir.exists():
        from configs import mnist_20d, sprites_beta_tc

        of = sprites_beta_tc if workdir.name == "factor" else mnist_20d
        workdir.mkdir(parents=True)
        files.write_json(workdir / folder.CONFIG, nest(check(of.get_config()).values))
    return cli.main(arguments)


def extras() -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return set(parser["options.extras_require"])


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_is_one(place, page, command):
    program, *arguments = shlex.split(command.partition(" > ")[0], comments=True)
    if program == "vae-jax":
        refused = "objective.alpha=0.9" in command  # printed with its answer
        assert vae_jax(arguments) == (2 if refused else 0)
    elif program == "pip":
        named = re.findall(r"\[([\w,]+)\]", command)
        assert "nox" in command or all(n in extras() for e in named for n in e.split(","))
    elif program == "python":
        assert arguments[0] == "-m"
        assert importlib.util.find_spec(arguments[1]) is not None
    else:
        assert program in ("pytest", "nox")


def test_a_key_that_nothing_reads_is_answered_as_printed(place, capsys):
    printed = next(b for b in blocks(ROOT / "docs" / "configs.md", ("",)) if "no effect" in b)
    command = "train --config=configs/smoke.py --workdir=runs/x --config.objective.alpha=0.9"
    assert cli.main(command.split()) == 2
    assert capsys.readouterr().err == printed


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which runs/mnist is a tiny run."""
    at = tmp_path_factory.mktemp("python")
    values = values_of(
        write_tiny_npz(at / "tiny.npz"), training__num_epochs=1, model__latent_size=2
    )
    train_config(nest(values), at / "runs" / "mnist")
    draw_pictures(at / "pictures")
    pictures = [str(path) for path in sorted((at / "pictures").iterdir())]
    columns = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": pictures}, columns).save_to_disk(str(at / "pets"))
    return at


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=pytest.mark.slow if p.stem in TRAINING else (), id=p.name)
        for p in PAGES
        if blocks(p, ("python",)) and p.stem != "own_loop"
    ],
)
def test_python_runs_as_printed(trained, monkeypatch, page):
    """The blocks of a page one after another; images are 6 x 6 here."""
    monkeypatch.chdir(trained)
    names: dict = {}
    for body in blocks(page, ("python",)):
        exec(body.replace("28, 28", "6, 6"), names)


@pytest.mark.slow
def test_a_loop_of_one_s_own_is_evaluated(tmp_path, monkeypatch):
    """The page's loop, shorter; `evaluate` finds the ELBO that the loop found."""
    monkeypatch.chdir(tmp_path)
    page, names = ROOT / "docs" / "own_loop.md", {}
    for body in blocks(page, ("python",)):
        exec(body.replace("SIZE, STEPS = 100, 550", "SIZE, STEPS = 100, 60"), names)
    (command,) = (c for c in commands(page) if c.startswith("vae-jax evaluate"))
    assert cli.main(command.split()[1:]) == 0
    (lane,) = folder.read_json(tmp_path / "runs" / "own" / folder.RESULTS)["lanes"]
    assert lane["status"] == "running"  # 60 of its 550 steps
    assert -250 < lane["elbo"] < -150
    assert lane["elbo"] == pytest.approx(float(names["bound"].mean()), abs=0.5)


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, part = target.partition("#")
        at = page.parent / name if name else page
        assert at.exists(), target  # nothing that is there only after the site is built
        assert not part or part in anchors(at), target


def test_the_reference_has_every_key_name_and_command():
    pages = docs["reference"]()
    for name, key in KEYS.items():
        assert f"| `{name}` |" in pages["config_keys"]
        for choice in key.choices:
            assert f"| `{choice}` |" in pages["names"]
    for verb in cli.VERBS:
        assert f"vae-jax {verb}" in pages["commands"]


def test_the_reference_has_the_public_names_by_those_names():
    pages = docs["reference"]()
    for name in PUBLIC:
        assert re.search(rf":: vae_jax\.{name}\b", pages["vae_jax"]), name
    for name in (
        "sections.declare.section",
        "models.make_model",
        "data.sets.mnist",
        "frames.results",
    ):
        assert f":: vae_jax.{name}\n" in pages["parts"]
    assert "vae_jax.api" not in "".join(pages.values())


def test_every_page_is_in_the_contents():
    contents = " ".join(blocks(ROOT / "docs" / "index.md", ("{toctree}",)))
    named = set(contents.split())
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    pages |= {f"generated/{name}" for name in docs["reference"]()} | {"tutorial"}
    assert pages <= named


def test_every_name_that_can_be_chosen_is_in_the_docs():
    pages = ("choices", "evaluation", "sweeps")
    text = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in pages)
    for key, own in families().items():
        if key.endswith(("activation", "norm")):
            continue
        for name in own.choices:
            assert f"`{name}`" in text, (key, name)


def applied(text: str, diff: list[str]) -> str:
    """The text with a diff: each removed line is replaced by the lines added around it.

    Lines that are added before a removed line, and after the lines that replace the one before it,
    start with a decorator.
    """
    groups: list[tuple[str, list[str]]] = []  # (removed line, what replaces it)
    before: list[str] = []
    for line in diff:
        if line.startswith("-"):
            groups.append((line[1:], [*before]))
            before = []
        elif groups and not line.startswith("+@") and not before:
            groups[-1][1].append(line[1:])
        else:
            before.append(line[1:])
    if not groups:
        return text + "\n".join([*before, ""])
    for removed, added in groups:
        assert text.count(removed + "\n") == 1, removed
        text = text.replace(removed + "\n", "\n".join(added) + "\n")
    return text


def test_diffs_apply_and_what_they_add_is_there(tmp_path):
    """Word by word, to a copy of the package, in a process of its own."""
    shutil.copytree(ROOT / "vae_jax", tmp_path / "vae_jax", ignore=lambda *_: ["mnist_files"])
    for page in PAGES:
        for body in blocks(page, ("diff",)):
            for part in body.split("+++ ")[1:]:
                name, *lines = part.splitlines()
                path = tmp_path / name
                text = path.read_text() if path.exists() else ""
                path.write_text(applied(text, lines))
    code = (
        "from vae_jax.config.check import check; from vae_jax.runs.run import Datasets; "
        "from vae_jax.config.schema import KEYS, nest; "
        "values = {name: key.default for name, key in KEYS.items()}; "
        "values |= {'dataset.name': 'stripes', 'objective.name': 'pairs', "
        "'objective.num_samples': 2}; config = check(nest(values)); "
        "print(Datasets().decided(config).values['model.likelihood'])"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.stdout == "bernoulli\n", said.stderr

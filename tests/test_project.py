"""What a public project has: its files are there, can be read, and agree with one another."""

import configparser
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest

import vae_jax
from vae_jax.config import file
from vae_jax.errors import UserError
from vae_jax.sweeps.task import checksum_of_code
from vae_jax.words import EXTRAS

ROOT = Path(vae_jax.__file__).parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
CLASSIFIERS = SETUP["metadata"]["classifiers"].split("\n")
PYTHONS = ["3.11", "3.12", "3.13"]


def parsed(path: Path):
    return pytest.importorskip("yaml").safe_load(path.read_text())


def triggers(workflow) -> dict:
    return workflow[True]  # YAML 1.1 reads `on` as true


class Session:
    """A session of nox that runs nothing, and keeps what it was asked to run."""

    def __init__(self, folder: Path):
        self.folder, self.ran, self.env = folder, [], {}

    def create_tmp(self) -> str:
        self.env["TMPDIR"] = str(self.folder)
        return str(self.folder)

    def run(self, *command, external=False):
        self.ran.append(command)
        if command[:2] == ("git", "clone"):
            command[-1].mkdir()

    def chdir(self, folder) -> None:
        os.chdir(folder)


@pytest.fixture(scope="module")
def noxfile():
    """Its names, and {session: (function, Pythons)}, without nox."""
    sessions = {}

    def session(python, venv_backend=""):
        def declared(function):
            pythons = [python] if isinstance(python, str) else python
            sessions[function.__name__] = (function, pythons)
            return function

        return declared

    nox = types.SimpleNamespace(
        session=session, Session=object, options=types.SimpleNamespace(), needs_version=""
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "nox", nox)
        return runpy.run_path(str(ROOT / "noxfile.py")), sessions


def commands_of(page: Path) -> list[str]:
    return re.findall(r"^python -m venv .*pytest.*", page.read_text(), re.MULTILINE)


def ran_by(noxfile, name: str, tmp_path, monkeypatch) -> str:
    """What the session hands to the shell, in its clone."""
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    session = Session(tmp_path)
    noxfile[1][name][0](session)
    assert session.ran[0][:2] == ("git", "clone")
    assert Path.cwd() == tmp_path / "clone"
    (_, shell) = session.ran
    assert shell[:2] == ("bash", "-c")
    return shell[2]


def test_ci_runs_both_commands_of_readme_as_printed(noxfile, tmp_path, monkeypatch):
    blocks = re.findall(r"^```\n(.*)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE)
    train, test = (block for block in blocks if block.startswith("python -m venv"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert f"; {train}; " in ran_by(noxfile, "commands", tmp_path / "a", monkeypatch)
    assert f"; {test}; " in ran_by(noxfile, "tests", tmp_path / "b", monkeypatch)
    for page in ("docs/tests.md", "CONTRIBUTING.md"):
        assert commands_of(ROOT / page) == [test]


def test_the_workflow_runs_every_session(noxfile):
    named = {
        name if len(pythons) == 1 else f"{name}-{python}"
        for name, (_, pythons) in noxfile[1].items()
        for python in pythons
    }
    workflow = parsed(WORKFLOWS / "ci.yml")
    job = workflow["jobs"]["nox"]
    assert set(job["strategy"]["matrix"]["session"]) == named
    steps = job["steps"]
    assert steps[-1]["run"].endswith("--session ${{ matrix.session }}")
    (pythons,) = (s["with"]["python-version"].split() for s in steps if "with" in s)
    assert {p for _, own in noxfile[1].values() for p in own} == set(pythons) == set(PYTHONS)
    assert triggers(workflow).keys() == {"push", "pull_request"}


def test_the_docs_name_every_session(noxfile):
    text = (ROOT / "docs" / "tests.md").read_text()
    for name, (_, pythons) in noxfile[1].items():
        for own in [name] if len(pythons) == 1 else [f"{name}-{p}" for p in pythons]:
            assert f"`{own}`" in text


@pytest.mark.parametrize(
    ("tag", "code"), [(f"v{vae_jax.__version__}", 0), (vae_jax.__version__, 1), ("v9.9.9", 1)]
)
def test_a_release_s_tag_is_the_version(tag, code):
    workflow = parsed(WORKFLOWS / "release.yml")
    steps = workflow["jobs"]["build"]["steps"]
    (check,) = (step["run"] for step in steps if step.get("name") == "The tag is the version")
    environment = {
        **os.environ,
        "GITHUB_REF_NAME": tag,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["bash", "-e", "-c", check]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert said.returncode == code, said.stderr
    assert said.stdout.count("\n") == code


def test_a_release_names_no_secret():
    text = (WORKFLOWS / "release.yml").read_text()
    assert "secrets." not in text
    workflow = parsed(WORKFLOWS / "release.yml")
    assert triggers(workflow) == {"push": {"tags": ["v*"]}}
    assert workflow["jobs"]["publish"]["needs"] == "build"
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert workflow["permissions"] == {"contents": "read"}


def test_the_citation_is_of_this_version():
    citation = parsed(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == vae_jax.__version__
    assert citation["license"] == SETUP["metadata"]["license"]


@pytest.mark.parametrize("form", sorted(FORMS.glob("*.yml")), ids=lambda path: path.stem)
def test_an_issue_form_has_what_the_site_asks_for(form):
    content = parsed(form)
    assert {"name", "description", "body"} <= content.keys()
    names = [part["id"] for part in content["body"]]
    assert len(set(names)) == len(names)
    for part in content["body"]:
        assert part["type"] in ("checkboxes", "dropdown", "input", "textarea")
        assert part["attributes"]["label"]


def test_there_are_forms_for_issues_and_pull_requests():
    assert {path.stem for path in FORMS.glob("*.yml")} == {"bug", "question"}
    template = (ROOT / ".github" / "pull_request_template.md").read_text()
    for name in re.findall(r"`((?:docs|vae_jax)/[\w./]*|\w+\.md)`", template):
        assert (ROOT / name).exists(), name


def test_the_hooks_are_what_ci_runs():
    hooks = [h for repo in parsed(ROOT / ".pre-commit-config.yaml")["repos"] for h in repo["hooks"]]
    assert [h["entry"].split()[:2] for h in hooks] == [["ruff", "check"], ["ruff", "format"]]
    assert {h["language"] for h in hooks} == {"system"}  # the ruff that `test` installs


def test_the_hosted_docs_are_built_as_here():
    content = parsed(ROOT / ".readthedocs.yaml")
    assert (ROOT / content["sphinx"]["configuration"]).exists()
    (install,) = content["python"]["install"]
    assert set(install["extra_requirements"]) <= set(SETUP["options.extras_require"])


def test_an_editor_s_lines_are_as_long_as_ruff_s():
    editor = configparser.ConfigParser()
    editor.read_string("[DEFAULT]\n" + (ROOT / ".editorconfig").read_text())
    length = re.search(r"line-length = (\d+)", (ROOT / "pyproject.toml").read_text())
    assert editor["*.{py,pyi}"]["max_line_length"] == length[1]


def test_every_extra_is_in_the_docs():
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(SETUP["options.extras_require"])


def test_the_classifiers_are_the_pythons_and_systems_that_ci_has():
    own = "Programming Language :: Python :: "
    versions = [c.removeprefix(own) for c in CLASSIFIERS if c.startswith(f"{own}3.")]
    assert versions == PYTHONS
    assert SETUP["options"]["python_requires"] == f">={PYTHONS[0]}"
    assert [c for c in CLASSIFIERS if "System" in c] == ["Operating System :: POSIX :: Linux"]


# The package and its configs.

CONFIGS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.py")}


def test_no_file_is_a_link():
    """A zip download, or a checkout on Windows, has a text file in the place of a link."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a clone")
    command = ["git", "ls-files", "--stage"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) > 100
    assert [line for line in listed.splitlines() if line.startswith("120000")] == []


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist, and the wheel built from what it holds: no installer, no network."""
    at = tmp_path_factory.mktemp("build")
    source = at / "source"
    ignored = shutil.ignore_patterns("*.gz", "__pycache__", "*.png", "generated")
    for name in ("vae_jax", "configs", "docs", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for path in (p for p in ROOT.iterdir() if p.is_file() and p.name != ".git"):
        shutil.copy(path, source)
    code = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])('.'))"

    def build(kind: str, folder: Path) -> Path:
        command = [sys.executable, "-c", code, kind]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        return folder / said.stdout.split()[-1]

    sdist = build("build_sdist", source)
    with tarfile.open(sdist) as archive:
        archive.extractall(at, filter="data")
    return sdist, build("build_wheel", at / sdist.name.removesuffix(".tar.gz"))


def test_sdist_and_wheel_hold_the_configs_the_types_and_all_code(built):
    sdist, wheel = built
    code = {p.relative_to(ROOT).as_posix() for p in (ROOT / "vae_jax").rglob("*.py")}
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert code | CONFIGS | {"noxfile.py", "docs/tests.md", "tests/conftest.py"} <= held
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert code | {f"vae_jax/{name}" for name in CONFIGS} <= held
    assert {"vae_jax/py.typed", "vae_jax/pages/report.html"} <= held
    tops = {name.split("/")[0] for name in held}
    assert tops == {"vae_jax", f"vae_jax-{vae_jax.__version__}.dist-info"}


def test_the_page_of_the_package_leads_to_the_site(built):
    """README there has no link into this repository; pictures are those that a page has."""
    with zipfile.ZipFile(built[1]) as archive:
        (name,) = (own for own in archive.namelist() if own.endswith(".dist-info/METADATA"))
        about = archive.read(name).decode()
    site = runpy.run_path(str(ROOT / "setup.py"))["site"]()
    assert f"Project-URL: Documentation, {site}" in about
    assert "Description-Content-Type: text/markdown" in about
    links = re.findall(r"\[[^]]*\]\(([^)]+)\)", about)
    assert len(links) > 30
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    for link in links:
        assert link.startswith(f"{site}/"), link
        name = Path(link.partition("#")[0])
        if name.suffix == ".png":
            assert f"]({name.name})" in pages, link
        else:
            assert list((ROOT / "docs").glob(f"{name.stem}.*")), link


def test_the_configs_of_an_installed_package_are_its_own(built, tmp_path):
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "configs").mkdir()  # of someone else
    (tmp_path / "configs" / "default.py").write_text("")
    assert file.configs_of(tmp_path / "vae_jax") == tmp_path / "vae_jax" / "configs"
    assert file.configs_of(ROOT / "vae_jax") == ROOT / "configs"
    # One sweep may be trained by both, as they compute with the same code.
    assert checksum_of_code(tmp_path / "vae_jax") == checksum_of_code(ROOT / "vae_jax")


def test_a_package_without_its_configs_says_so(tmp_path, monkeypatch):
    (tmp_path / "vae_jax").mkdir()
    (tmp_path / "vae_jax" / "configs").write_text("../configs")  # a link, as a zip download has it
    at = file.configs_of(tmp_path / "vae_jax")
    monkeypatch.setattr(file, "PACKAGED", at)
    with pytest.raises(UserError) as raised:
        file.config_from_file("smoke")
    message = str(raised.value)
    assert message.count("\n") == 0
    assert f"the package's own configs are missing: {at} should hold them" in message


def test_messages_name_the_packages_of_the_extras():
    """`pip install -e '.[pages]'` does nothing for who installed a wheel."""
    extras = SETUP["options.extras_require"]
    for extra, packages in EXTRAS.items():
        assert [re.split(r"[<>=]", line)[0] for line in extras[extra].split()] == packages.split()
    texts = {path: path.read_text() for path in (ROOT / "vae_jax").rglob("*.py")}
    assert [path for path, text in texts.items() if "pip install -e" in text] == [
        ROOT / "vae_jax" / "words.py"
    ]

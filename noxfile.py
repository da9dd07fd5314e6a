"""What CI runs, on the Pythons and the versions of jax that users have.

    nox                   all of it
    nox --list            what there is
    nox -s tests-3.13     one of it

Each session has a fresh virtual environment. A Python that this machine does not have is left out,
with a line that says so. `commands`, `tests` and `package` work in a fresh clone: they see what is
committed.
"""

import os
import re
import shlex
import shutil
import tarfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

SMOKE = ("vae-jax", "train", "--config=configs/smoke.py", "--workdir=runs/smoke")
PYTEST = ("pytest", "-n", "auto", "--dist", "worksteal")
# About five minutes of the tests: what is asked of XLA, jax, orbax and tensorflow-datasets.
SOME = (
    "tests/data",
    "tests/devices/test_lanes.py",
    "tests/sections/test_declare.py",
    "tests/test_threefry.py",
    "tests/training",
    "tests/runs/test_trackers.py",
    "tests/runs/test_train.py",
)
# Slow tests of what must never break: compile times, a process that is killed, and equal lanes.
GUARDS = (
    "tests/training/test_compiling.py",
    "tests/runs/test_resume.py",
    "tests/devices/test_equal_lanes.py",
    "-k",
    "compiles or killed_at_random or 4096_pixels-2 or full_queue or equal_bits",
)
# Files whose slow tests are of what pages of the documentation describe.
DESCRIBED = (
    "tests/api/test_counts.py",
    "tests/config/test_own_code.py",
    "tests/config/test_own_parts.py",
    "tests/exports/test_exported.py",
    "tests/exports/test_page.py",
    "tests/models/test_covariates.py",
    "tests/objectives/test_critic.py",
    "tests/objectives/test_rae.py",
    "tests/runs/test_streamed.py",
    "tests/test_docs.py",
    "tests/test_tutorial.py",
)


def readme_commands() -> list[str]:
    """README's two commands, which set up, then train and test, as they are printed there."""
    found = re.findall(r"^python -m venv .*", Path("README.md").read_text(), re.MULTILINE)
    assert len(found) == 2
    return found


def to_fresh_clone(session: nox.Session) -> None:
    """Goes on in a fresh clone of this repository."""
    clone = Path(session.create_tmp(), "clone")
    session.env.pop("TMPDIR")  # a long path, in which sockets find no place
    session.run("git", "clone", "--quiet", ".", clone, external=True)
    session.chdir(clone)


def run_as_printed(session: nox.Session, *commands: str) -> None:
    session.run("bash", "-c", "; ".join(("set -e", *commands)), external=True)


@nox.session(python="3.11")
def style(session: nox.Session) -> None:
    """ruff and mypy."""
    session.install("-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python="3.12", venv_backend="venv")
def commands(session: nox.Session) -> None:
    """README's first command, word by word, and the smoke run, in a fresh clone."""
    train, _ = readme_commands()
    to_fresh_clone(session)
    run_as_printed(session, train, " ".join(SMOKE))


@nox.session(python="3.13")
def docs(session: nox.Session) -> None:
    """The documentation site, with warnings as errors and without a network; what its pages say."""
    session.install("-e", ".[docs,test]")
    session.run("sphinx-build", "-W", "--keep-going", "-E", "-q", "docs", "build/docs")
    for page in Path("build/docs").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if found := re.search(r'<(script|link|img)[^>]* (src|href)="https?:[^"]*"', text):
            session.error(f"{page} loads {found[0]} from the network")
    session.run("pytest", "-m", "slow", *DESCRIBED)


@nox.session(python="3.13")
def pages(session: nox.Session) -> None:
    """The pages in Chromium; skipped where there is none, and apt can not install it."""
    if shutil.which("chromium") is None and shutil.which("apt-get") and os.geteuid() == 0:
        install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium"
        session.run("bash", "-c", install, external=True, silent=True, success_codes=range(256))
    session.install("-e", ".[test,browser]")
    session.run("pytest", "-m", "slow", "tests/pages")


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The oldest jax, and all else, that setup.cfg allows: the smoke run and some of the tests."""
    session.install("--resolution=lowest-direct", "-e", ".[test]")
    session.run(*SMOKE)
    # Two that use names which a library under them calls deprecated: the oldest matplotlib of the
    # newest pyparsing, and tensorflow-datasets of protobuf 6, which the oldest wandb asks for.
    allowed = (
        "-W",
        "ignore::pyparsing.warnings.PyparsingDeprecationWarning",
        "-W",
        "ignore:label() is deprecated:DeprecationWarning",
    )
    session.run(*PYTEST, *SOME, *allowed)
    session.run("pytest", "-m", "slow", *GUARDS, *allowed)


@nox.session(python="3.12")
def package(session: nox.Session) -> None:
    """Builds sdist and wheel, checks them, installs the wheel, and trains from an empty folder.

    `nox -s package -- dist` copies both to `dist`.
    """
    kept = [Path(folder).absolute() for folder in session.posargs]
    to_fresh_clone(session)
    configs = {path.as_posix() for path in Path("configs").rglob("*.py")}
    session.install("build", "twine")
    session.run("python", "-m", "build", "--quiet")
    built = sorted(Path("dist").iterdir())
    session.run("twine", "check", "--strict", *map(str, built))
    wheel, sdist = (path.absolute() for path in built)
    with zipfile.ZipFile(wheel) as in_wheel, tarfile.open(sdist) as in_sdist:
        held = {name.removeprefix("vae_jax/") for name in in_wheel.namelist()}
        held &= {name.partition("/")[2] for name in in_sdist.getnames()}
    if missing := sorted(configs - held):
        session.error(f"the wheel or the sdist lacks {', '.join(missing)}")
    session.run("uv", "venv", "--quiet", "--python", session.python, "fresh", external=True)
    python = Path("fresh/bin/python").absolute()
    session.run("uv", "pip", "install", "--quiet", "--python", python, wheel, external=True)
    Path("empty").mkdir()
    session.chdir("empty")
    command = python.with_name("vae-jax")
    session.run(command, "train", "--config=smoke", "--workdir=runs/smoke", external=True)
    for folder in kept:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (wheel, sdist):
            shutil.copy(path, folder)


@nox.session(python=["3.13", "3.11"], venv_backend="venv")
def tests(session: nox.Session) -> None:
    """README's second command, word by word: the default tests, with the newest of everything."""
    _, test = readme_commands()
    # Only jax's compiled programs are taken along: they depend on nothing but what is compiled.
    compiled = Path(".pytest_cache/jax").absolute()
    compiled.mkdir(parents=True, exist_ok=True)
    to_fresh_clone(session)
    Path(".pytest_cache").mkdir()
    Path(".pytest_cache/jax").symlink_to(compiled)
    run_as_printed(session, test, shlex.join(("pytest", "-m", "slow", *GUARDS)))

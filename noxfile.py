"""What CI runs, on the Pythons and the versions of jax that users have.

    nox                   all of it
    nox --list            what there is
    nox -s tests-3.13     one of it

Each session has a fresh virtual environment. A Python that this machine does not have is left out,
with a line that says so.
"""

import os
import re
import shutil
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
    "tests/test_keys.py",
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
    "compiles or killed_at_random or 4096_pixels-2 or full_queue",
)


def train_command() -> str:
    """README's first command, as it is printed there."""
    found = re.search(r"^python -m venv .*", Path("README.md").read_text(), re.MULTILINE)
    assert found is not None
    return found[0]


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
    clone = session.create_tmp()
    session.run("git", "clone", "--quiet", ".", clone, external=True)
    session.chdir(clone)
    session.run("bash", "-c", f"set -e; {train_command()}; {' '.join(SMOKE)}", external=True)


@nox.session(python="3.13")
def docs(session: nox.Session) -> None:
    """The documentation site, with warnings as errors; runs the tutorial."""
    session.install("-e", ".[docs,test]")
    session.run("sphinx-build", "-W", "--keep-going", "-E", "-q", "docs", "build/docs")
    session.run("pytest", "-m", "slow", "tests/test_docs.py", "tests/config/test_own_parts.py")


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


@nox.session(python=["3.13", "3.11"])
def tests(session: nox.Session) -> None:
    """The default test command, with the newest of everything."""
    session.install("-e", ".[test]")
    session.run(*PYTEST)
    session.run("pytest", "-m", "slow", *GUARDS)

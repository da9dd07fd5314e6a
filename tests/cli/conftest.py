"""Command lines in the repository."""

import pytest

from tests.small.processes import REPOSITORY
from vae_jax.cli import main as cli


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture
def fails(capsys):
    """Runs a command line that must fail with one line, and returns the line."""

    def run(*arguments: object) -> str:
        assert cli.main([str(a) for a in arguments]) == 2
        out, err = capsys.readouterr()
        assert err.count("\n") == 1, err
        assert err.startswith("vae-jax: ")
        assert "Traceback" not in err + out
        return err

    return run

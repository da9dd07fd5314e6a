"""Keys that a config file sets for a part that the user replaces."""

import sys

import pytest

from tests.small.own_members import forget
from vae_jax.api.folders import config_of
from vae_jax.cli.flags import parse
from vae_jax.config.check import check, without_unread
from vae_jax.config.schema import flatten, nest
from vae_jax.errors import UserError

FILE = """
from configs import smoke


def get_config():
    config = smoke.get_config()
    config.model.likelihood = {likelihood!r}
    config.dataset.binarization = "none"
    {more}
    return config
"""
OWN = """
from vae_jax.sections.declare import section, traced
from vae_jax.probability.likelihoods import GaussianSharedScale


@section
class first(GaussianSharedScale):
    dof: float = traced(4.0, lambda key, value: float(value), "of it alone")


@section
class second(GaussianSharedScale):
    width: float = traced(1.0, lambda key, value: float(value), "of it alone")
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """(likelihood, a line more) -> the flag of a config file with these."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "parts.py").write_text(OWN)

    def make(likelihood="gaussian", more="config.model.likelihood_scale = 0.3"):
        (tmp_path / "config.py").write_text(FILE.format(likelihood=likelihood, more=more))
        return "--config=config.py"

    forget()
    yield make
    forget()


def checked(*arguments):
    command = parse([*arguments, "--workdir=run"])
    return check(command.config, command.members).values


@pytest.mark.parametrize("other", ["bernoulli", "parts:second"])
def test_they_are_left_out_with_one_line(file, capsys, other):
    values = [checked(file(), f"--config.model.likelihood={other}") for _ in range(2)]
    assert values[0] == values[1]  # the same command goes on with the run
    assert values[0]["model.likelihood_scale"] == 1.0
    line = "left out of the config, as no chosen part reads it: model.likelihood_scale = 0.3\n"
    assert capsys.readouterr().err == 2 * f"vae-jax: {line}"


def test_what_the_user_set_is_refused(file):
    flags = ("--config.model.likelihood=bernoulli", "--config.model.likelihood_scale=0.3")
    with pytest.raises(UserError, match=r"model.likelihood_scale = 0.3 has no effect"):
        checked(file(), *flags)


def test_a_file_that_has_no_use_for_it_by_itself_is_refused(file):
    with pytest.raises(UserError, match=r"model.likelihood_scale = 0.3 has no effect"):
        checked(file("bernoulli"))
    with pytest.raises(UserError, match=r"model.likelihood_scale = 0.3 has no effect"):
        checked(file("bernoulli"), "--config.model.latent_size=3")


def test_a_key_that_only_a_part_of_one_s_own_had_is_gone(file, capsys):
    """Another process, which reads the run folder, does not know it."""
    flag = file("parts:first", "config.model.unlock(); config.model.dof = 3.0")
    assert checked(flag)["model.dof"] == 3.0
    values = checked(flag, "--config.model.likelihood=parts:second")
    assert "model.dof" not in values
    assert values["model.width"] == 1.0
    assert "model.dof = 3.0" in capsys.readouterr().err
    assert not {"model.dof", "model.width"} & set(checked(file()))


def test_from_python_too(file, capsys):
    file()
    config = config_of("config.py")
    changes = {"model.likelihood": "bernoulli"}
    flat, members = without_unread(config | changes, before=config, given=changes)
    values = check(nest(flat), members).values
    assert values["model.likelihood_scale"] == 1.0
    assert capsys.readouterr().err.count("\n") == 1
    changes["model.likelihood_scale"] = 0.3
    flat, members = without_unread(config | changes, before=config, given=changes)
    with pytest.raises(UserError, match="has no effect"):
        check(nest(flat), members)
    assert flatten(nest(config))["model.likelihood_scale"] == 0.3

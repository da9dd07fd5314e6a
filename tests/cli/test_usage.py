"""What --help prints: all flags, and examples that are commands."""

import shlex

import pytest
from absl import flags

import vae_jax
from configs import default
from vae_jax.cli import main as cli
from vae_jax.cli.flags import (
    define_cache,
    define_compare,
    define_evaluate,
    define_explore,
    define_export,
    define_report,
    define_seeds,
    define_sweep,
    define_train,
    parse,
)
from vae_jax.cli.usage import VERBS as USAGE
from vae_jax.config.check import check

SEARCH = "--config=configs/sweeps/optimization.py"


def test_help_is_something_to_act_on(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert len(lines) < 24  # with the line of the next prompt
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith("  ")][: len(cli.VERBS)] == [
        *cli.VERBS
    ]
    assert cli.main([]) == 2
    assert capsys.readouterr().out == text


OWN_FLAGS = {
    "train": define_train,
    "evaluate": define_evaluate,
    "sweep": define_sweep,
    "search": define_seeds,
    "report": define_report,
    "compare": define_compare,
    "explore": define_explore,
    "export": define_export,
    "list": lambda values: None,
    "cache": define_cache,
}


# The arguments that are no flags, in the examples.
RUNS_OF = {"compare": ["runs/mnist", "runs/mnist_20d"], "cache": []}


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_help_of_a_verb_has_all_its_flags(capsys, verb):
    values = flags.FlagValues()
    OWN_FLAGS[verb](values)
    for arguments in ([verb, "--help"], ["--help", verb], ["help", verb]):
        assert cli.main(arguments) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: vae-jax {verb} ")
        assert max(map(len, text.splitlines())) <= 80
        for name in values:
            assert f"  --{name}" in text, name
        common = (
            [] if verb in ("compare", "list", "cache") else ["--workdir=", "--nocache", "--trust"]
        )
        assert all(flag in text for flag in common)
        assert f"example{'s' * (text.count('  vae-jax') > 1)}:\n  vae-jax {verb}" in text


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_examples_of_a_verb_s_help_are_commands(monkeypatch, tmp_path, verb):
    """Their flags and keys, that is: they are parsed."""
    example = USAGE[verb].partition("example")[2].replace("\\\n", "")
    for line in example.splitlines():
        words = shlex.split(line)[1:]
        if words and verb not in (*RUNS_OF, "list"):
            parse(words[1:], lambda _: (default.get_config(), {}), OWN_FLAGS[verb])
        elif words and verb in RUNS_OF:
            values = flags.FlagValues()
            OWN_FLAGS[verb](values)
            assert cli.parse_flags(values, words[1:]) == RUNS_OF[verb]


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vae_jax {vae_jax.__version__}\n"


def test_a_search_takes_one_seed(tmp_path):
    command = parse([SEARCH, f"--workdir={tmp_path}", "--seeds=1"], define=define_seeds)
    assert command.config.training.seeds == (0,)


def test_one_flag_gives_several_names(tmp_path):
    more = ["--config.training.trained=prior,decoder", "--config.dataset.name=anndata"]
    more += ["--config.dataset.covariates=batch,donor", "--config.dataset.path=cells.h5ad"]
    command = parse([SEARCH, f"--workdir={tmp_path}", *more])
    values = check(command.config, command.members).values
    assert values["training.trained"] == ("prior", "decoder")
    assert values["dataset.covariates"] == ("batch", "donor")

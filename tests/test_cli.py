"""Each mistake gets one line that says what is wrong and what would be right, and exit code 2."""

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags

import vae_jax
from configs import default
from vae_jax import cli
from vae_jax.arguments import (
    define_explore,
    define_report,
    define_seeds,
    define_sweep,
    define_table,
    define_train,
    parse,
)
from vae_jax.config.check import check
from vae_jax.data import DATASETS
from vae_jax.errors import Failed, Stopped, UserError
from vae_jax.networks import NETWORKS
from vae_jax.runs import folder
from vae_jax.usage import VERBS as USAGE

REPOSITORY = Path(__file__).parents[1]
SMOKE = "--config=configs/smoke.py"
SEEDS = "--config=configs/sweeps/seeds.py"
SEARCH = "--config=configs/sweeps/optimization.py"


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


def tree(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


CASES = {
    "no such verb": (["trian"], "verb = 'trian' is unknown; did you mean 'train'? known: compare,"),
    "no workdir": (["train", SMOKE], "--workdir is missing"),
    "no config": (["train", "--workdir=WORKDIR"], "--config is missing"),
    "unknown flag": (
        ["train", SMOKE, "--workdri=WORKDIR"],
        "there is no flag --workdri; did you mean --workdir?",
    ),
    "a flag like no other": (
        ["train", SMOKE, "--qqqqqq=1"],
        "there is no flag --qqqqqq; see vae-jax train --help",
    ),
    "a key without its section": (
        ["train", SMOKE, "--workdir=WORKDIR", "--learning_rate=1e-3"],
        "there is no flag --learning_rate; did you mean --config.optimizer.learning_rate?\n",
    ),
    "a key without config": (
        ["train", SMOKE, "--workdir=WORKDIR", "--model.latent_size=3"],
        "did you mean --config.model.latent_size?\n",
    ),
    "a misspelt key without its section": (
        ["sweep", SEEDS, "--workdir=WORKDIR", "--latent_sise=3"],
        "did you mean --config.model.latent_size?\n",
    ),
    "a key of several sections": (
        ["train", SMOKE, "--workdir=WORKDIR", "--activation=relu"],
        "--config.model.encoder.activation or --config.model.decoder.activation?",
    ),
    "a flag without its value": (
        ["train", SMOKE, "--workdir"],
        "--workdir has no value; write --workdir=VALUE; see vae-jax train --help",
    ),
    "a key without its value": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.batch_size"],
        "--config.training.batch_size has no value",
    ),
    "seeds of a flag that are no number": (
        ["train", SMOKE, "--workdir=WORKDIR", "--seeds=x"],
        "--seeds=x should be a whole number, at least 1, at most 100,000; see vae-jax train --help",
    ),
    "a flag that is no text": (
        ["report", "--workdir=WORKDIR", "--html=maybe"],
        "--html=maybe should be --html or --nohtml; see vae-jax report --help",
    ),
    "a key that is no text": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.log.html=maybe"],
        "log.html = 'maybe' should be True or False",
    ),
    "no number": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.optimizer.learning_rate=fast"],
        "optimizer.learning_rate = 'fast' should be a number above 0",
    ),
    "two seeds of a search": (
        ["search", SEARCH, "--workdir=WORKDIR", "--seeds=2"],
        "a search has one seed, and training.seeds = (0, 1)",
    ),
    "stray word": (["train", SMOKE, "--workdir=WORKDIR", "5"], "unexpected argument '5'"),
    "no such config": (
        ["train", "--config=mnits.py", "--workdir=WORKDIR"],
        "--config=mnits.py does not exist; did you mean mnist? there are: default, mnist,",
    ),
    "a name that is not UTF-8": (
        ["train", SMOKE, "--workdir=WORKDIR/\udcff"],
        "/\\udcff is not UTF-8, and files could not be named so; rename it",
    ),
    "unknown key": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.bacth_size=4"],
        "'training.bacth_size'; did you mean 'training.batch_size'",
    ),
    "unknown section": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.modle.latent_size=4"],
        "did you mean 'model.latent_size'",
    ),
    "wrong type": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.batch_size=many"],
        "training.batch_size = 'many' should be a whole number, at least 1",
    ),
    "fraction": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.batch_size=1.5"],
        "training.batch_size = '1.5' should be a whole number, at least 1",
    ),
    "a whole section": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model=3"],
        "model is a section of keys; set one of them, such as --config.model.name",
    ),
    "zero": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.latent_size=0"],
        "model.latent_size = 0 should be a whole number, at least 1",
    ),
    "negative": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.encoder.widths=-3"],
        "model.encoder.widths[0] = -3 should be",
    ),
    "unknown dataset": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.dataset.name=cifar"],
        f"'cifar' is unknown; known: {', '.join(sorted(DATASETS))}",
    ),
    "unknown network": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.encoder.name=cnn"],
        f"'cnn' is unknown; known: {', '.join(sorted(NETWORKS))}",
    ),
    "unknown likelihood": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.likelihood=gauss"],
        "known: bernoulli",
    ),
    "unknown optimiser": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.optimizer.name=adm"],
        "known: adam",
    ),
    "too large a batch": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.batch_size=60000",
         "--config.training.data_devices=2"],
        "at most the 55000 training examples",
    ),
    "repeated seeds": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.seeds=1,2,1"],
        "1 is there twice",
    ),
    "no such npz": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.dataset.name=arrays",
         "--config.dataset.path=nowhere.npz"],
        "nowhere.npz can't be read",
    ),
    "nothing to evaluate": (["evaluate", "--workdir=WORKDIR"], "holds no run"),
    "evaluate with a config": (["evaluate", SMOKE, "--workdir=WORKDIR"], "leave --config=FILE out"),
    "no dashes": (
        ["train", SMOKE, "--workdir=WORKDIR", "config.model.latent_size=8"],
        "unexpected argument 'config.model.latent_size=8'",
    ),
    "an index": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.seeds[7]=1"],
        "out of range",
    ),
    "too long a name": (["train", SMOKE, "--workdir=/tmp/" + "x" * 300], "File name too long"),
    "an unread path": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.dataset.path=mine.npz"],
        "it is for dataset.name = 'arrays' or 'tfds', and that is 'mnist'",
    ),
    "no sweep in the config": (["sweep", SMOKE, "--workdir=WORKDIR"], "has no sweep(hyper)"),
    "no lanes": (
        ["sweep", SEEDS, "--workdir=WORKDIR", "--config.sweep.max_lanes=0"],
        "sweep.max_lanes = 0 should be a whole number, at least 1",
    ),
    "no SLURM": (
        ["sweep", SEEDS, "--workdir=WORKDIR", "--launcher=slurm"],
        "this machine can't submit jobs (no sbatch); --launcher=local",
    ),
    "no such launcher": (
        ["sweep", SEEDS, "--workdir=WORKDIR", "--launcher=cloud"],
        "--launcher=cloud should be one of local, dask, slurm, pbs, sge, lsf; see vae-jax sweep",
    ),
    "no workers": (
        ["sweep", SEEDS, "--workdir=WORKDIR", "--launcher=local", "--workers=0"],
        "--workers=0 should be a whole number, at least 1, at most 10,000",
    ),
    "workers of no launcher": (
        ["sweep", SEEDS, "--workdir=WORKDIR", "--workers=2"],
        "--workers=2 needs a --launcher: local, dask, slurm",
    ),
    "no sweep to join": (["sweep", "--workdir=WORKDIR"], "holds no run"),
    "nothing to report": (["report", "--workdir=WORKDIR"], "holds no run"),
    "half a coordinator": (
        ["train", SMOKE, "--workdir=WORKDIR", "--coordinator=localhost:1"],
        "--num_processes and --process_id, all three",
    ),
    "a process too many": (
        ["train", SMOKE, "--workdir=WORKDIR", "--coordinator=localhost:1", "--num_processes=2",
         "--process_id=2"],
        "at least 0 and below --num_processes=2",
    ),
    "too few devices": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.data_devices=50"],
        "at most the 8 cpu devices there are",
    ),
    "uneven devices": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.data_devices=3"],
        "should divide training.batch_size = 500",
    ),
    "an estimator that does not fit": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.objective.gradient=wake_sleep"],
        "does not go with objective.name = 'elbo'; it should be reparameterized or",
    ),
    "a KL without a closed form": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.posterior=planar"],
        "objective.kl = 'analytic' has no closed form for model.name = 'vae', model.prior =",
    ),
    "a likelihood of other data": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.likelihood=poisson",
         "--config.dataset.binarization=dynamic"],
        "dataset.binarization = 'dynamic' should be 'none'",
    ),
    "a value for a flag without one": (["list", "--write=x"], "unexpected argument '--write=x'"),
    "a value for a negated flag": (
        ["train", SMOKE, "--workdir=WORKDIR", "--nocache=abc"],
        "--nocache",
    ),
    "the home of nobody": (
        ["train", SMOKE, "--workdir=~nosuchuser/x"],
        "~nosuchuser/x: there is no home folder ~nosuchuser; write the whole path",
    ),
    "the home of nobody, compared": (["compare", "~nosuchuser/x", "y"], "write the whole path"),
    "a port that is none": (
        ["explore", "--workdir=WORKDIR", "--port=65536"],
        "--port=65536 should be a whole number, at least 0, at most 65,535",
    ),
    "an address that is none": (
        ["explore", "--workdir=WORKDIR", "--address="],
        "--address= would listen to all machines; say which, such as localhost",
    ),
    "a billion seeds": (
        ["train", SMOKE, "--workdir=WORKDIR", "--seeds=1000000000"],
        "--seeds=1000000000 should be a whole number, at least 1, at most 100,000",
    ),
    "a billion workers": (
        ["sweep", SEEDS, "--workdir=WORKDIR", "--launcher=local", "--workers=1000000000"],
        "--workers=1000000000 should be a whole number, at least 1, at most 10,000",
    ),
    "a process before the first": (
        ["train", SMOKE, "--workdir=WORKDIR", "--coordinator=x:1", "--num_processes=2",
         "--process_id=-1"],
        "--process_id=-1 should be a whole number, at least 0, at most 10,000",
    ),
    "seeds that are no numbers": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.seeds=abc"],
        "training.seeds[0] = 'abc' should be a whole number",
    ),
    "no seeds": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.seeds="],
        "training.seeds[0] = '' should be a whole number",
    ),
    "a line break": (
        ["train", SMOKE, "--workdir=WORKDIR/a\nb"],
        "/a\\nb' has a control character, such as a line break; rename it",
    ),
    "an escape sequence": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.dataset.path=\x1b]0;mine\x07"],
        "\\x1b]0;mine\\x07' has a control character",
    ),
    "a key without effect": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.objective.capacity_epochs=3"],
        "objective.capacity_epochs = 3.0 has no effect while objective.capacity is 0; leave it",
    ),
    "list of something": (["list", "priors"], "unexpected argument 'priors'"),
    "unwritable": (["train", SMOKE, "--workdir=/proc/nowhere"], "can't be written"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_line_and_leaves_nothing(fails, tmp_path, name):
    arguments, message = CASES[name]
    workdir = tmp_path / "run"
    line = fails(*(argument.replace("WORKDIR", str(workdir)) for argument in arguments))
    assert message in line
    assert not workdir.exists()


LONG = "x" * 5_000
SPOKEN = {
    "a verb": [LONG],
    "a word": ["train", SMOKE, "--workdir=WORKDIR", LONG],
    "a flag": ["train", SMOKE, "--workdir=WORKDIR", f"--{LONG}=1"],
    "a value": ["train", SMOKE, "--workdir=WORKDIR", f"--seeds={LONG}"],
    "a key": ["train", SMOKE, "--workdir=WORKDIR", f"--config.{LONG}=1"],
    "a value of a key": ["train", SMOKE, "--workdir=WORKDIR", f"--config.training.keep={LONG}"],
    "a name": ["train", SMOKE, "--workdir=WORKDIR", f"--config.model.prior={LONG}"],
    "a path": ["train", SMOKE, f"--workdir=WORKDIR/{LONG}"],
    "a file": ["train", f"--config={LONG}.py", "--workdir=WORKDIR"],
}  # fmt: skip


@pytest.mark.parametrize("name", SPOKEN)
def test_a_message_that_quotes_a_long_value_is_short(fails, tmp_path, name):
    line = fails(*(part.replace("WORKDIR", str(tmp_path / "run")) for part in SPOKEN[name]))
    assert len(line) <= 1_001
    assert "x" * 50 in line


def test_what_leaves_is_one_line_and_does_nothing_to_a_terminal(capsys):
    def fail(error):
        def command():
            raise error

        return cli.answered(command), capsys.readouterr().err

    said = "a\nb \x1b[31m red \x9b2J \u202e back\r."
    shown = "vae-jax: a b \\x1b[31m red \\x9b2J \\u202e back\\r."
    assert fail(UserError(said)) == (2, f"{shown}\n")
    assert fail(Failed(said)) == (1, f"{shown}\n")
    assert fail(Stopped(said)) == (1, f"{shown}; the same command goes on from there\n")
    full = OSError(errno.ENOSPC, "No space\nleft", "/x\n\x1b[0m")
    assert fail(full)[1].startswith("vae-jax: /x \\x1b[0m: No space left; mend that")


def test_names_on_stdout_do_nothing_to_a_terminal(capsys):
    cli.answered(lambda: (cli.prepare([]), print("\x1b]0;mine\x07 a\tb\r\nc é\n")))
    assert capsys.readouterr().out == "\\x1b]0;mine\\x07 a\tb\r\nc é\n\n"


SWEPT = """
from configs.smoke import get_config as smoke


def get_config():
    config = smoke()
    config.objective.capacity_epochs = 3.0
    return config


def sweep(hyper):
    return hyper.sweep("objective.capacity", {capacities})
"""


def test_a_key_that_has_an_effect_in_one_config_of_a_sweep_is_taken(fails, tmp_path, capsys):
    path, command = tmp_path / "mine.py", ["sweep", f"--workdir={tmp_path / 'run'}", "--dry_run"]
    path.write_text(SWEPT.format(capacities="(0.0, 25.0)"))
    assert cli.main([*command, f"--config={path}"]) == 0
    assert "4 lanes in 1 program" in capsys.readouterr().out
    path.write_text(SWEPT.format(capacities="(0.0,)"))
    assert "capacity_epochs = 3.0 has no effect" in fails(*command, f"--config={path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:\n", "SyntaxError"),
        ("import nowhere\n", "ModuleNotFoundError"),
        ("x = 1\n", "should have a get_config()"),
        ("def get_config():\n    return 3\n", "that returns a ConfigDict"),
        ("def get_config():\n    return 1 / 0\n", "line 2: ZeroDivisionError"),
        ("def get_config():\n    return {}['x']\n", "line 2: KeyError"),
        ("\0", "SyntaxError"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
        (
            "from configs import default\n\n\ndef get_config():\n"
            "    config = default.get_config()\n"
            "    config.model.latent_sise = 3\n    return config\n",
            "'model.latent_sise'; did you mean 'model.latent_size'",
        ),
    ],
)
def test_a_broken_config_file_is_told(fails, tmp_path, content, message):
    path = tmp_path / "mine.py"
    path.write_text(content)
    assert message in fails("train", f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


SWEEPS = {
    "unknown key": ("hyper.sweep('model.latent_sise', (1, 2))", "did you mean 'model.latent_size'"),
    "wrong type": (
        "hyper.sweep('objective.beta', (1, 'two'))",
        "config 1 of the sweep (objective.beta=two): objective.beta = 'two' should be a number",
    ),
    "empty": ("[]", "the sweep is empty"),
    "twice": (
        "hyper.sweep('objective.beta', (1, 2, 1.0))",
        "config 2 of the sweep (objective.beta=1.0) is config 0 once more",
    ),
    "different lengths": (
        "hyper.zipit([hyper.sweep('objective.beta', (1, 2)), hyper.fixed('optimizer.b1', 0.5)])",
        "line 4: hyper.zipit needs parts of one length; these have [2, 1]",
    ),
    "an error in it": ("hyper.seep('objective.beta', (1,))", "line 4: AttributeError"),
    "nothing": ("None", "sweep(hyper) should return what hyper's functions give"),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_mistake_in_a_sweep_is_one_line_and_leaves_nothing(fails, tmp_path, name):
    expression, message = SWEEPS[name]
    path = tmp_path / "mine.py"
    path.write_text(
        f"from configs.smoke import get_config\n\ndef sweep(hyper):\n    return {expression}\n"
    )
    assert message in fails("sweep", f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def train(path, workdir, *more) -> int:
    return cli.main(
        [
            "train",
            SMOKE,
            f"--workdir={workdir}",
            "--config.dataset.name=arrays",
            f"--config.dataset.path={path}",
            "--config.dataset.validation_size=40",
            "--config.training.batch_size=20",
            *more,
        ]
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(workdir, npz) of a small finished run."""
    folder_ = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 4, 5), dtype=np.uint8)
    np.savez(folder_ / "data.npz", train_images=images[:100], test_images=images[100:])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        assert train(folder_ / "data.npz", folder_ / "run") == 0
    return folder_ / "run", folder_ / "data.npz"


def test_a_finished_run_is_left_alone(finished, capsys):
    workdir, path = finished
    before = tree(workdir)
    assert train(path, workdir) == 0
    assert "there is nothing to do" in capsys.readouterr().out
    assert tree(workdir) == before


def test_another_config_s_folder_is_refused_and_the_keys_named(finished, capsys):
    workdir, path = finished
    before = tree(workdir)
    assert train(path, workdir, "--config.model.latent_size=3") == 2
    assert "model.latent_size: 2 there, 3 here" in capsys.readouterr().err
    assert tree(workdir) == before


def test_changed_data_are_refused(finished, tmp_path, fails):
    workdir, path = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    original = path.read_bytes()
    try:
        images = np.zeros((120, 4, 5), np.uint8)
        np.savez(path, train_images=images[:100], test_images=images[100:])
        before = tree(copy)
        assert "the dataset is not the one" in fails("evaluate", f"--workdir={copy}")
        assert tree(copy) == before
    finally:
        path.write_bytes(original)


def test_evaluate_repeats_the_results_and_changes_evaluation_only(finished, tmp_path, fails):
    workdir, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    (copy / folder.RESULTS).unlink()
    shutil.rmtree(copy / folder.FIGURES)
    assert cli.main(["evaluate", f"--workdir={copy}"]) == 0
    assert (copy / folder.RESULTS).read_bytes() == (workdir / folder.RESULTS).read_bytes()
    for figure in (workdir / folder.FIGURES).iterdir():
        assert (copy / folder.FIGURES / figure.name).read_bytes() == figure.read_bytes()
    assert cli.main(["evaluate", f"--workdir={copy}", "--config.evaluation.num_samples=50"]) == 0
    again = json.loads((copy / folder.RESULTS).read_text())
    assert again["evaluation"]["evaluation.num_samples"] == 50
    line = fails("evaluate", f"--workdir={copy}", "--config.model.latent_size=3")
    assert "evaluate can change evaluation.* and dataset.path only" in line


def test_a_folder_in_use_is_refused(finished, fails):
    workdir, _ = finished
    with folder.locked(workdir):
        assert "another process is working in" in fails("evaluate", f"--workdir={workdir}")


def test_a_reader_who_goes_away_is_no_traceback(finished):
    workdir, _ = finished
    command = (
        f"{sys.executable} -m vae_jax report --workdir={workdir} | true; echo ${{PIPESTATUS[0]}}"
    )
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("1\n", "")


def test_damaged_or_missing_records_are_told(finished, tmp_path, fails):
    workdir, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    shutil.rmtree(copy / folder.CHECKPOINTS)
    assert "has no checkpoint yet" in fails("evaluate", f"--workdir={copy}")
    (copy / folder.CONFIG).write_text("{")
    assert "config.json is damaged" in fails("evaluate", f"--workdir={copy}")


@pytest.mark.parametrize(
    ("tracker", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")]
)
def test_a_tracker_without_its_extra_says_what_to_install(
    finished, tmp_path, capsys, monkeypatch, tracker, package
):
    monkeypatch.setitem(sys.modules, package, None)
    _, path = finished
    assert train(path, tmp_path / "run", f"--config.log.{tracker}=True") == 2
    assert f"pip install -e '.[{tracker}]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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
    "evaluate": lambda values: None,
    "sweep": define_sweep,
    "search": define_seeds,
    "report": define_report,
    "compare": lambda values: define_table(values, "text"),
    "explore": define_explore,
    "list": lambda values: None,
}


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
        common = [] if verb in ("compare", "list") else ["--workdir=", "--nocache", "--trust"]
        assert all(flag in text for flag in common)
        assert f"example{'s' * (text.count('  vae-jax') > 1)}:\n  vae-jax {verb}" in text


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_examples_of_a_verb_s_help_are_commands(monkeypatch, tmp_path, verb):
    """Their flags and keys, that is: they are parsed."""
    example = USAGE[verb].partition("example")[2].replace("\\\n", "")
    for line in example.splitlines():
        words = shlex.split(line)[1:]
        if words and verb not in ("compare", "list"):
            parse(words[1:], lambda _: default.get_config(), OWN_FLAGS[verb])
        elif words and verb == "compare":
            values = flags.FlagValues()
            OWN_FLAGS[verb](values)
            assert cli.parsed(values, words[1:]) == ["runs/mnist", "runs/mnist_20d"]


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vae_jax {vae_jax.__version__}\n"


def test_a_search_takes_one_seed(tmp_path):
    command = parse([SEARCH, f"--workdir={tmp_path}", "--seeds=1"], define=define_seeds)
    assert command.config.training.seeds == (0,)


def test_the_current_folder_comes_last_on_the_path(monkeypatch, tmp_path):
    """Config files import from it, and no file there hides a library."""
    monkeypatch.setattr(sys, "path", ["", str(REPOSITORY), *sys.path])
    cli.main(["train", f"--workdir={tmp_path}", "--config=no"])
    assert sys.path[-1] == str(REPOSITORY)
    assert not {"", str(REPOSITORY)} & set(sys.path[:-1])
    cli.main(["report", f"--workdir={tmp_path}"])  # it may be a run folder of someone else
    assert not {"", str(REPOSITORY)} & set(sys.path)


def parsed(*arguments: str) -> cli.Command:
    return cli.parse(arguments)


def test_of_a_key_that_is_given_twice_the_last_counts(tmp_path):
    command = parsed(
        SMOKE,
        f"--workdir={tmp_path}",
        "--config.model.encoder.widths=512",
        "--config.training.seeds=1,2",
        "--config.model.encoder.widths=256,128",
        "--config.training.seeds=3",
        "--config.model.latent_size=3",
        "--config.model.latent_size=4",
    )
    assert command.config.model.encoder.widths == (256, 128)
    assert command.config.training.seeds == (3,)
    assert command.config.model.latent_size == 4


def test_the_user_s_home_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("from configs.smoke import get_config\n")
    command = parsed("--config=~/mine.py", "--workdir=~/runs/x")
    assert command.workdir == tmp_path / "runs" / "x"


def test_the_package_s_configs_are_found_from_anywhere(tmp_path):
    """By name, and by `from configs import ...` in a file of one's own, in a process of its own."""
    (tmp_path / "mine.py").write_text(
        "from configs import default, own\n\n\ndef get_config():\n"
        "    config = default.get_config()\n    config.model.latent_size = own.SIZE\n"
        "    return config\n"
    )
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "own.py").write_text("SIZE = 11\n")
    code = f"""
import sys
from vae_jax.config.file import config_from_file
sys.path[:] = [p for p in sys.path if p not in ("", {str(REPOSITORY)!r})]
for name in ("mine.py", "mnist_20d", "configs/mnist.py", "sweeps/latent_size"):
    print(config_from_file(name)[0].model.latent_size)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.stdout.split() == ["11", "20", "2", "20"], said.stderr


def test_a_frozen_config_and_numbers_of_numpy_are_taken(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\nfrom ml_collections import FrozenConfigDict\n"
        "from configs.smoke import get_config as smoke\n\n\ndef get_config():\n"
        "    config = smoke()\n    config.unlock()\n"
        "    config.objective.beta = np.float64(2)\n"
        "    return FrozenConfigDict(config)\n"
    )
    command = parsed(f"--config={path}", f"--workdir={tmp_path}", "--config.model.latent_size=3")
    assert check(command.config)["model.latent_size"] == 3
    assert check(command.config)["objective.beta"] == 2.0


@pytest.mark.parametrize(("stream", "code"), [("1>/dev/full", 2), ("1>&-", 0), ("2>&-", 0)])
def test_a_stream_that_is_full_or_closed_is_one_line_or_none(stream, code):
    command = f"PYTHONUNBUFFERED=1 {sys.executable} -m vae_jax list {stream}"
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert said.returncode == code
    assert "Exception ignored" not in said.stderr
    assert said.stderr[:47] == ("vae-jax: stdout: No space left on device; mend " if code else "")
    assert said.stderr.count("\n") == (1 if code else 0)


def test_letters_that_a_stream_does_not_have(tmp_path, monkeypatch):
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.answered(lambda: (cli.prepare([]), print("0.3 ± 0.1 → 4"))) == 0
    assert (tmp_path / "out").read_text() == "0.3 +- 0.1 ? 4\n"

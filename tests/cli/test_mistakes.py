"""Each mistake gets one line that says what is wrong and what would be right, and exit code 2."""

import pytest

from vae_jax.data import DATASETS
from vae_jax.networks import NETWORKS

SMOKE = "--config=configs/smoke.py"
SEEDS = "--config=configs/sweeps/seeds.py"
SEARCH = "--config=configs/sweeps/optimization.py"


CASES = {
    "no such verb": (["trian"], "verb = 'trian' is unknown; did you mean 'train'? there are: "),
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
        "--config.model.upper.activation or --config.model.top.activation or ",
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
        "--config=mnits.py does not exist; did you mean mnist? there are: binarized_mnist,",
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
    "a key inside of a word": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.posterior.name=planar"],
        "unknown config key 'model.posterior.name'; did you mean 'model.posterior'?",
    ),
    "a key inside of a tuple": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.training.seeds.first=3"],
        "unknown config key 'training.seeds.first'; did you mean 'training.seeds'?",
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
        ["train", SMOKE, "--workdir=WORKDIR", "--config.dataset.name=zzz"],
        f"'zzz' is unknown; there are: {', '.join(sorted(DATASETS))}",
    ),
    "unknown network": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.encoder.name=cnn"],
        f"'cnn' is unknown; there are: {', '.join(sorted(NETWORKS))}",
    ),
    "unknown likelihood": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.model.likelihood=gauss"],
        "there are: bernoulli",
    ),
    "unknown optimiser": (
        ["train", SMOKE, "--workdir=WORKDIR", "--config.optimizer.name=adm"],
        "there are: adam",
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
        "nowhere.npz does not exist; --config.dataset.path should be",
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
        "'svhn' or 'tfds', and that is 'mnist'",
    ),
    "no sweep in the config": (["sweep", SMOKE, "--workdir=WORKDIR"], "has no function sweep("),
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
        "--address= is empty, which is every address; give one, such as localhost",
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

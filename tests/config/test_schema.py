"""Every config builds, and configs/default.py holds every key that exists."""

import importlib
from pathlib import Path

import jax
import numpy as np
import pytest

import configs
from configs import default
from vae_jax.config.build import lane_spec, make_config, make_spec, overridden
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_data
from vae_jax.config.schema import KEYS, differences, flatten, nest
from vae_jax.data import DATASETS
from vae_jax.errors import UserError
from vae_jax.networks import NETWORKS
from vae_jax.objectives import OBJECTIVES, Objective
from vae_jax.runs.run import make_dataset
from vae_jax.training.optimizer import Optimizer

FOLDER = Path(configs.__path__[0])
NAMES = sorted(
    path.relative_to(FOLDER).with_suffix("").as_posix()
    for path in FOLDER.rglob("*.py")
    if path.stem[0] != "_"
)


@pytest.fixture(scope="module")
def mnist():
    return make_dataset(check(default.get_config()))


def module(name):
    return importlib.import_module(f"configs.{name.replace('/', '.')}")


@pytest.mark.parametrize("name", NAMES)
def test_it_builds(name, mnist):
    config = check(module(name).get_config())
    spec = make_spec([config] * 3, mnist)
    assert jax.tree.structure(spec) == jax.tree.structure(make_spec([config] * 2, mnist))
    assert len(spec.optimizer.learning_rate) == 3


def assert_equal(section, other):
    """With the same numbers. Of numbers by layer, none at all is () or an empty array."""
    parts = [[np.ravel(leaf) for leaf in jax.tree.leaves(each)] for each in (section, other)]
    np.testing.assert_array_equal(*map(np.concatenate, parts))
    assert type(section) is type(other)


def test_a_section_made_in_python_is_that_of_a_config(mnist):
    """What is left out means the same: no restart of beta, no clipping."""
    plain = check(default.get_config())
    assert plain.objective == Objective()
    assert plain.optimizer == Optimizer()
    assert_equal(lane_spec(plain, mnist).objective, Objective())
    assert_equal(lane_spec(plain, mnist).optimizer, Optimizer())
    longer = overridden(plain, {"objective.warmup_epochs": 2.0, "optimizer.max_grad_norm": 5.0})
    spec = lane_spec(longer, mnist)
    assert_equal(spec.objective, Objective(warmup_steps=2.0 * spec.steps_per_epoch))
    assert spec.optimizer == Optimizer(max_grad_norm=5.0)


@pytest.mark.parametrize("name", NAMES)
def test_its_header_says_what_command_time_and_number(name):
    header = module(name).__doc__
    assert f"--config=configs/{name}.py" in header
    if name != "default":
        assert "Time:" in header
        assert "Expect:" in header


def test_default_holds_exactly_the_keys_that_exist():
    assert flatten(default.get_config()).keys() == KEYS.keys()


def test_every_default_key_has_a_comment():
    lines = Path(default.__file__).read_text().splitlines()
    keys = [i for i, line in enumerate(lines) if " = " in line and "ConfigDict()" not in line]
    above = [lines[i - 1].lstrip().startswith("#") for i in keys]
    assert [
        lines[i] for i, a in zip(keys, above, strict=True) if "#" not in lines[i] and not a
    ] == []


def test_types_are_normalised_and_flattening_is_undone():
    config = default.get_config()
    config.objective.beta = 1
    values = check(config).values
    assert isinstance(values["objective.beta"], float)
    assert check(nest(values)) == check(config)
    assert differences(values, values | {"model.latent_size": 3}) == [
        "model.latent_size: 20 there, 3 here"
    ]


WRONG = [
    ("training.batch_size", 0, "a whole number, at least 1"),
    ("training.batch_size", -5, "a whole number, at least 1"),
    ("training.batch_size", 2.0, "a whole number, at least 1"),
    ("model.latent_size", True, "a whole number"),
    ("model.encoder.widths", (400, 0), r"model.encoder.widths\[1\] = 0 should be"),
    ("model.encoder.widths", 400, "a tuple"),
    ("optimizer.learning_rate", 0.0, "a number above 0"),
    ("optimizer.learning_rate", float("nan"), "a number above 0"),
    ("optimizer.learning_rate", "fast", "a number above 0"),
    ("optimizer.b1", 1.0, "at least 0 and below 1"),
    ("training.seeds", (), "at least one seed"),
    ("training.seeds", (1, 2, 1), "1 is there twice"),
    ("training.seeds", (2**32,), r"training.seeds\[0\] = 4294967296 should be below 2\*\*32"),
    (
        "dataset.name",
        "zzz",
        f"'zzz' is unknown; there are: {', '.join(sorted(DATASETS))}",
    ),
    ("dataset.binarization", "yes", "there are: dynamic, none, static, threshold"),
    ("model.encoder.name", "cnn", f"there are: {', '.join(sorted(NETWORKS))}"),
    ("model.encoder.activation", "rleu", "there are: elu, gelu"),
    ("model.likelihood", "gauss", "there are: bernoulli"),
    ("objective.name", "elob", f"there are: {', '.join(sorted(OBJECTIVES))}"),
    ("optimizer.name", "adm", "there are: adam, adamax, adamw, rmsprop, sgd"),
    ("log.tensorboard", 1, "True or False"),
    ("dataset.name", 3, "a text"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_wrong_value_is_told_with_what_would_be_right(key, value, message):
    values = check(default.get_config()).values
    with pytest.raises(UserError, match=message) as error:
        check(nest(values | {key: value}))
    assert key in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_value_of_a_key_that_one_choice_reads():
    values = check(default.get_config()).values | {"optimizer.schedule.name": "stepwise"}
    with pytest.raises(UserError, match=r"optimizer.schedule.boundaries = .* should be increasing"):
        check(nest(values | {"optimizer.schedule.boundaries": (3.0, 2.0)}))


def test_unknown_and_missing_keys_are_told():
    values = check(default.get_config()).values
    with pytest.raises(UserError, match=r"'model.latent_sise'; did you mean 'model.latent_size'"):
        check(nest(values | {"model.latent_sise": 3}))
    del values["optimizer.b2"]
    with pytest.raises(UserError, match=r"no 'optimizer.b2'"):
        check(nest(values))


def test_a_batch_larger_than_the_data_is_all_of_them(mnist):
    values = check(default.get_config()).values | {"training.batch_size": 55_001}
    refuse_data(make_config(values), mnist)
    spec = lane_spec(make_config(values), mnist)
    assert spec.training.batch_size == 55_000
    assert spec.steps_per_epoch == 1
    values["training.data_devices"] = 11
    with pytest.raises(UserError, match=r"at most the 55000 training examples"):
        refuse_data(make_config(values), mnist)

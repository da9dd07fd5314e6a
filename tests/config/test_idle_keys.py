"""Keys that are set without effect are refused."""

import re
from pathlib import Path

import pytest

from configs import default
from tests.small.runs import train
from vae_jax.config.build import overridden
from vae_jax.config.check import check
from vae_jax.config.declared import is_chosen
from vae_jax.config.file import config_from_file
from vae_jax.config.needs import refuse_idle
from vae_jax.config.schema import KEYS, nest
from vae_jax.errors import UserError

CONFIGS = Path(default.__file__).parent
IDLE = {
    "objective.alpha": (0.9, "it is for objective.name = 'renyi', and that is 'elbo'"),
    "optimizer.weight_decay": (0.1, "it is for optimizer.name = 'adamw', and that is 'adam'"),
    "objective.regularizer_weight": (2.0, "it is for objective.regularizer = 'dip_i' or"),
    "objective.discriminator.widths": ((9,), "--config.objective.discriminator.widths=256,256"),
    "model.flow.width": (32, "it is for model.prior = 'autoregressive' or"),
    "model.encoder.norm": (
        "group",
        "it is for model.encoder.name = 'grid' or 'resnet'",
    ),
    "model.likelihood_scale": (0.1, "it is for model.likelihood = 'gaussian' or 'laplace'"),
    "model.top.widths": ([50], "it is for model.name = 'two_layers', and that is 'vae'"),
    "evaluation.ais.chains": (4, "it is for evaluation.metrics = 'ais', and that is"),
    "dataset.path": (
        "digits.npz",
        "it is for dataset.name = 'anndata' or 'arrays'",
    ),
}


@pytest.mark.parametrize("key", IDLE)
def test_a_key_that_nothing_chosen_reads_is_refused(key):
    value, message = IDLE[key]
    config = nest(check(default.get_config()).values | {key: value})
    with pytest.raises(UserError, match=rf"{key} = .* has no effect: .*") as error:
        check(config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert check(config, idle_allowed=True) == check(default.get_config())


def test_every_key_that_only_some_read_is_refused_without_them():
    plain = check(default.get_config()).values
    for name, key in KEYS.items():
        if any(is_chosen(reader.when, plain) for reader in key.readers):
            continue
        with pytest.raises(UserError, match=f"{name} = 'set' has no effect"):
            check(nest(plain | {name: "set"}))


WITHOUT_EFFECT = [
    ({"objective.capacity_epochs": 5.0}, "capacity_epochs = 5.0 .* objective.capacity is 0"),
    ({"objective.free_bits_group": 0}, "free_bits_group = 0 has no effect while .*free_bits is 0"),
    ({"objective.warmup_cycles": 3}, "warmup_cycles = 3 .* while objective.warmup_epochs is 0"),
    ({"objective.warmup_epochs": 3.0, "objective.beta": 0.0}, "warmup_epochs = 3.0 .*beta is 0"),
    ({"objective.free_bits": 0.5, "objective.beta": 0.0}, "free_bits = 0.5 .*beta is 0"),
    ({"objective.capacity": 5.0, "objective.beta": 0.0}, "capacity = 5.0 .*objective.beta is 0"),
    ({"objective.regularizer": "mmd"}, "regularizer = 'mmd' .* while objective.regularizer_weight"),
    ({"objective.corruption": "masking"}, "'masking' .* while objective.corruption_amount is 0"),
    ({"objective.corruption": "gaussian"}, "'gaussian' .* while objective.corruption_amount is 0"),
    (
        {"objective.name": "renyi", "objective.alpha": 0.9},
        "objective.alpha = 0.9 has no effect while objective.num_samples is 1; leave it out, or",
    ),
    ({"objective.name": "ciwae", "objective.elbo_weight": 0.9}, "elbo_weight = 0.9 has no effect"),
    ({"optimizer.schedule.name": "stepwise"}, "'stepwise' .* optimizer.schedule.boundaries is ()"),
]  # fmt: skip
# With this the same keys have one.
EFFECTIVE = {
    "objective.capacity": 25.0, "objective.free_bits": 0.5, "objective.warmup_epochs": 2.0,
    "objective.beta": 4.0, "objective.regularizer_weight": 10.0, "objective.corruption_amount": 0.2,
    "objective.num_samples": 5, "optimizer.schedule.boundaries": (5.0,),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WITHOUT_EFFECT)
def test_a_key_that_is_without_effect_beside_the_others_is_refused(changes, message, tmp_path):
    config = check(nest(check(default.get_config()).values | changes))
    with pytest.raises(UserError, match=message) as error:
        train(nest(config.values), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
    key = re.search(r"while (\S+) is", str(error.value))[1]
    effective = check(nest(config.values | {key: EFFECTIVE[key]}))
    refuse_idle([effective])
    # In a sweep over it there may be a 0, and the key is set for all.
    refuse_idle([config, effective])
    refuse_idle([check(default.get_config()), effective, config])
    with pytest.raises(UserError, match=message):
        refuse_idle([config, overridden(config, {"model.latent_size": 2})])


def test_the_defaults_and_every_config_file_set_nothing_without_effect():
    for path in sorted(CONFIGS.glob("[!_]*.py")):
        refuse_idle([check(config_from_file(str(path))[0])])

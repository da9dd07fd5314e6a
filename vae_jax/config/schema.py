"""Every config key, what it must be, and the error if it is not.

`KEYS` is the one place that says which keys exist: a config must have exactly these.
"""

import difflib
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from vae_jax.config.listing import FAMILIES
from vae_jax.config.needs import refuse_combination
from vae_jax.errors import UserError, choose
from vae_jax.networks.network import ACTIVATIONS, NORMS

Values = dict[str, Any]  # {"model.latent_size": 2, ...}: a config, flat, its types normalised
Check = Callable[[str, Any], Any]  # (key, value) -> the value, of its one type


def wrong(key: str, value: Any, right: str) -> UserError:
    return UserError(f"{key} = {value!r} should be {right}")


def whole(low: int) -> Check:
    """A whole number, at least `low`."""

    def check(key, value):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise wrong(key, value, f"a whole number, at least {low}")
        return value

    return check


def number(
    low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> Check:
    """A finite number from low to high; an open end is itself out."""
    right = f"a number above {low:g}" if open_low else f"a number, at least {low:g}"
    if high != math.inf:
        right += f" and below {high:g}" if open_high else f" and at most {high:g}"

    def check(key, value):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong(key, value, right)
        if not math.isfinite(value) or not low <= value <= high:
            raise wrong(key, value, right)
        if (open_low and value == low) or (open_high and value == high):
            raise wrong(key, value, right)
        return float(value)

    return check


def several(check_one: Check) -> Check:
    """A tuple, every member as `check_one` has it."""

    def check(key, value):
        if not isinstance(value, (tuple, list)):
            raise wrong(key, value, "a tuple, such as (1,) or (1, 2)")
        return tuple(check_one(f"{key}[{i}]", member) for i, member in enumerate(value))

    return check


def seed(key: str, value: Any) -> int:
    """A whole number of 32 bits."""
    if whole(0)(key, value) >= 2**32:
        raise wrong(key, value, "below 2**32")
    return value


def seeds(key: str, value: Any) -> tuple[int, ...]:
    """One or more seeds, all different."""
    value = several(seed)(key, value)
    if not value:
        raise wrong(key, value, "at least one seed, such as (0,)")
    repeated = sorted({seed for seed in value if value.count(seed) > 1})
    if repeated:
        raise wrong(key, value, f"seeds that all differ; {repeated[0]} is there twice")
    return value


def increasing(key: str, value: Any) -> tuple[float, ...]:
    """Numbers above zero, each larger than the one before."""
    value = several(number(0, open_low=True))(key, value)
    if any(later <= earlier for earlier, later in itertools.pairwise(value)):
        raise wrong(key, value, "increasing")
    return value


def text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(key, value, "a text")
    return value


def flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(key, value, "True or False")
    return value


def name_in(table: Mapping[str, Any]) -> Check:
    """A key of `table`."""

    def check(key, value):
        choose(table, text(key, value), key)
        return value

    return check


def names_in(family: Mapping[str, Any]) -> Check:
    """A tuple of names; a string of the command line is split at its commas."""

    def check(key, value):
        if isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value):
            value = tuple(part for name in value for part in name.split(","))
        return several(name_in(family))(key, value)

    return check


KEYS: dict[str, Check] = {
    "dataset.name": name_in(FAMILIES["dataset.name"]),
    "dataset.path": text,
    "dataset.tfds_name": text,
    "dataset.validation_size": whole(1),
    "dataset.binarization": name_in(FAMILIES["dataset.binarization"]),
    "dataset.binarization_seed": seed,
    "dataset.num_labels": whole(0),
    "model.name": name_in(FAMILIES["model.name"]),
    "model.conditional": flag,
    "model.latent_size": whole(1),
    "model.encoder.name": name_in(FAMILIES["model.encoder.name"]),
    "model.encoder.widths": several(whole(1)),
    "model.encoder.activation": name_in(ACTIVATIONS),
    "model.encoder.norm": name_in(NORMS),
    "model.decoder.name": name_in(FAMILIES["model.decoder.name"]),
    "model.decoder.widths": several(whole(1)),
    "model.decoder.activation": name_in(ACTIVATIONS),
    "model.decoder.norm": name_in(NORMS),
    "model.decoder.output_bias_from_data": flag,
    "model.likelihood": name_in(FAMILIES["model.likelihood"]),
    "model.likelihood_scale": number(0, open_low=True),
    "model.prior": name_in(FAMILIES["model.prior"]),
    "model.prior_components": whole(1),
    "model.posterior": name_in(FAMILIES["model.posterior"]),
    "model.posterior_components": whole(1),
    "model.flow.layers": whole(1),
    "model.flow.width": whole(1),
    "model.top.latent_size": whole(1),
    "model.top.widths": several(whole(1)),
    "model.top.activation": name_in(ACTIVATIONS),
    "objective.name": name_in(FAMILIES["objective.name"]),
    "objective.num_samples": whole(1),
    "objective.beta": number(0),
    "objective.warmup_epochs": number(0),
    "objective.warmup_cycles": whole(1),
    "objective.kl": name_in(FAMILIES["objective.kl"]),
    "objective.gradient": name_in(FAMILIES["objective.gradient"]),
    "objective.num_groups": whole(1),
    "objective.alpha": number(0),
    "objective.elbo_weight": number(0, 1),
    "objective.free_bits": number(0),
    "objective.free_bits_group": whole(0),
    "objective.capacity": number(0),
    "objective.capacity_epochs": number(0),
    "objective.corruption": name_in(FAMILIES["objective.corruption"]),
    "objective.corruption_amount": number(0),
    "objective.regularizer": name_in(FAMILIES["objective.regularizer"]),
    "objective.regularizer_weight": number(0),
    "objective.diagonal_weight": number(0),
    "objective.classification_weight": number(0),
    "objective.discriminator.widths": several(whole(1)),
    "objective.discriminator.learning_rate": number(0, open_low=True),
    "objective.discriminator.b1": number(0, 1, open_high=True),
    "objective.discriminator.b2": number(0, 1, open_high=True),
    "optimizer.name": name_in(FAMILIES["optimizer.name"]),
    "optimizer.learning_rate": number(0, open_low=True),
    "optimizer.b1": number(0, 1, open_high=True),
    "optimizer.b2": number(0, 1, open_high=True),
    "optimizer.eps": number(1e-30),  # float32 must not round it to zero
    "optimizer.momentum": number(0, 1, open_high=True),
    "optimizer.weight_decay": number(0),
    "optimizer.max_grad_norm": number(0),
    "optimizer.schedule.name": name_in(FAMILIES["optimizer.schedule.name"]),
    "optimizer.schedule.final_fraction": number(0, 1),
    "optimizer.schedule.boundaries": increasing,
    "optimizer.schedule.decay_factor": number(0, 1, open_low=True),
    "training.num_epochs": whole(1),
    "training.batch_size": whole(1),
    "training.seeds": seeds,
    "training.data_devices": whole(1),
    "training.labelled_per_batch": whole(0),
    "training.lanes_at_once": whole(0),
    "evaluation.every_epochs": whole(1),
    "evaluation.batch_size": whole(1),
    "evaluation.num_samples": whole(1),
    "evaluation.metrics": names_in(FAMILIES["evaluation.metrics"]),
    "evaluation.num_importance_samples": whole(1),
    "evaluation.draws_at_once": whole(1),
    "evaluation.ais.images": whole(1),
    "evaluation.ais.chains": whole(1),
    "evaluation.ais.temperatures": whole(1),
    "evaluation.ais.leapfrog_steps": whole(1),
    "evaluation.gaps.images": whole(1),
    "evaluation.gaps.steps": whole(1),
    "evaluation.samples.features": text,
    "evaluation.allow_pseudo_likelihood": flag,
    "sweep.pad_latents": flag,
    "sweep.max_lanes": whole(1),
    "log.every_steps": whole(1),
    "log.keep_checkpoints": whole(1),
    "log.tensorboard": flag,
}


def nearest(key: str, known) -> str:
    """The known key most like `key`."""
    return difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)[0]


def unknown_key(key: str) -> UserError:
    return UserError(f"unknown config key {key!r}; did you mean {nearest(key, KEYS)!r}?")


def flatten(config: Mapping[str, Any], prefix: str = "") -> Values:
    """Nested sections to {"section.key": value}."""
    flat: Values = {}
    for name, value in config.items():
        if isinstance(value, Mapping) or hasattr(value, "items"):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def nest(values: Values) -> dict[str, Any]:
    """The inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return nested


def check(config: Mapping[str, Any]) -> Values:
    """The config, flat, every value of its one type (1 and 1.0 hash alike, so types matter).

    Raises:
      UserError: an unknown key, a missing one, or a value that can't be.
    """
    flat = flatten(config)
    for key in flat:
        if key not in KEYS:
            raise unknown_key(key)
    for key in KEYS:
        if key not in flat:
            raise UserError(f"the config has no {key!r}; start it from configs/default.py")
    values = {key: check_key(key, flat[key]) for key, check_key in KEYS.items()}
    refuse_combination(values)
    return values


def differences(old: Values, new: Values) -> list[str]:
    """A line for each key whose values differ."""
    keys = [key for key in old | new if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key)!r} there, {new.get(key)!r} here" for key in keys]

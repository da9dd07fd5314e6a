"""The sections of a config, and every key that they declare."""

import difflib
from collections.abc import Mapping
from typing import Any

from vae_jax.checks import flag, whole, written
from vae_jax.config.declared import keys_of
from vae_jax.data import DatasetSpec
from vae_jax.errors import UserError
from vae_jax.evaluation.metrics import Evaluation
from vae_jax.keys import Values, host, section
from vae_jax.models import ModelSpec
from vae_jax.objectives import Objective
from vae_jax.training.optimizer import Optimizer
from vae_jax.training.search import Search
from vae_jax.training.spec import Training


@section
class Sweep:
    """The config's section `sweep`."""

    pad_latents: bool = host(True, flag, "lanes of different latent sizes share a program, padded")
    max_lanes: int = host(1_000, whole(1), "most lanes in one program; fewer if memory is short")


@section
class Log:
    """The config's section `log`."""

    every_steps: int = host(
        500, whole(1), "steps between rows of training metrics; also at an epoch's end"
    )
    keep_checkpoints: int = host(
        2, whole(1), "newest checkpoints to keep; each holds every lane's best"
    )
    html: bool = host(False, flag, "also write the report page (pip install -e '.[pages]')")
    tensorboard: bool = host(
        False, flag, "also write event files (pip install -e '.[tensorboard]')"
    )
    wandb: bool = host(False, flag, "also log to Weights & Biases (pip install -e '.[wandb]')")


SECTIONS: dict[str, Any] = {
    "dataset": DatasetSpec,
    "model": ModelSpec,
    "objective": Objective,
    "optimizer": Optimizer,
    "training": Training,
    "evaluation": Evaluation,
    "sweep": Sweep,
    "search": Search,
    "log": Log,
}
KEYS = keys_of(SECTIONS)
DATA_PATH = "dataset.path"
# The keys that say where the images are from.
SOURCE_KEYS = ["dataset.name", DATA_PATH, "dataset.image_size", "dataset.tfds_name"]
# The numbers that may differ between the lanes of one program.
LANE_KEYS = {name for name, key in KEYS.items() if key.is_traced}


def defaults() -> Values:
    """The values of configs/default.py."""
    return {name: key.default for name, key in KEYS.items()}


def nearest(key: str, known) -> str:
    """The known key most similar to `key`."""
    return difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)[0]


def unknown_key(key: str) -> UserError:
    return UserError(f"unknown config key {written(key)}; did you mean {nearest(key, KEYS)!r}?")


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
    """The inverse of `flatten`.

    Raises:
      UserError: one name is both a key and a section.
    """
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        inner = nested
        for name in path:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise UserError(f"{written(key)} is no config key: {name!r} is one, and no section")
        if isinstance(inner.get(last), dict):
            raise UserError(f"{written(key)} is no config key, but a section of keys")
        inner[last] = value
    return nested


def differences(old: Values, new: Values) -> list[str]:
    """A line for each key whose values differ.

    Not for the path of the data: they may be moved, and their checksum tells what they are.
    """
    keys = [key for key in old | new if key != DATA_PATH and old.get(key) != new.get(key)]
    return [f"{key}: {written(old.get(key))} there, {written(new.get(key))} here" for key in keys]

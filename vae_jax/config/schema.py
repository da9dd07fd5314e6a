"""The sections of a config, and every key that they declare."""

import difflib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from vae_jax.config.code import Members
from vae_jax.config.declared import Key, keys_of
from vae_jax.data import DatasetSpec
from vae_jax.errors import UserError
from vae_jax.evaluation.metrics import Evaluation
from vae_jax.figures.style import DPI, FORMATS
from vae_jax.models import ModelSpec
from vae_jax.objectives import Objective
from vae_jax.sections.checks import flag, names_in, whole, written, wrong
from vae_jax.sections.declare import UserSections, Values, families, host, section
from vae_jax.training.optimizer import Optimizer
from vae_jax.training.search import Search
from vae_jax.training.spec import Training
from vae_jax.views.figures import FIGURES
from vae_jax.views.interface import FigureSection
from vae_jax.words import to_install


def formats(key: str, value: Any) -> tuple[str, ...]:
    """One or more formats of figures; one may stand alone, as a name."""
    names = names_in(FORMATS)(key, (value,) if isinstance(value, str) else value)
    if not names:
        raise wrong(key, value, f"at least one of {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


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
    figures: tuple[FigureSection, ...] = families(
        FIGURES, (), "what is drawn; (): all that fit", interface=FigureSection
    )
    figure_format: tuple[str, ...] = host(
        ("png",), formats, "of the files of figures, one or several", choices=FORMATS
    )
    figure_dpi: int = host(DPI, whole(20, 1_200), "pixels of an inch of a figure's images")
    html: bool = host(False, flag, f"also write the report page ({to_install('pages')})")
    tensorboard: bool = host(False, flag, f"also write event files ({to_install('tensorboard')})")
    wandb: bool = host(False, flag, f"also log to Weights & Biases ({to_install('wandb')})")


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


def defaults() -> Values:
    """The values of configs/default.py."""
    return {name: key.default for name, key in KEYS.items()}


def sections_of(members: Members) -> UserSections:
    """{(family key, name): section} of user-defined members."""
    return {chosen: member.cls for chosen, member in members.items()}


def keys_with(members: Members) -> Mapping[str, Key]:
    """KEYS, with what user-defined members add: themselves as choices, and their own keys.

    Raises:
      TypeError: as in `keys_of`.
    """
    return keys_with_sections(tuple(sections_of(members).items())) if members else KEYS


@lru_cache(maxsize=32)
def keys_with_sections(of_user: tuple[tuple[tuple[str, str], type], ...]) -> Mapping[str, Key]:
    return KEYS | keys_of(SECTIONS, dict(of_user))


def lane_keys(keys: Mapping[str, Key]) -> set[str]:
    """The numbers that may differ between the lanes of one program."""
    return {name for name, key in keys.items() if key.is_traced or key.is_of_lane}


def nearest(key: str, known: Collection[str]) -> str:
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
                raise UserError(
                    f"{written(key)} is not a config key: {name!r} is a key, not a section"
                )
        if isinstance(inner.get(last), dict):
            raise UserError(f"{written(key)} is not a config key, but a section of keys")
        inner[last] = value
    return nested


def differences(old: Values, new: Values) -> list[str]:
    """A line for each key whose values differ.

    Not for the path of the data: they may be moved, and their checksum tells what they are.
    """
    keys = [key for key in old | new if key != DATA_PATH and old.get(key) != new.get(key)]
    return [f"{key}: {written(old.get(key))} there, {written(new.get(key))} here" for key in keys]

"""What the chosen members require of each other and of the data; each member declares its own.

A section may have

    needs(config)               what is wrong with the choices: sentences
    needs_of_data(config, data) what is wrong with the data for them: sentences
    idle(config)                which keys are set without effect: (key, sentence) pairs
"""

from collections.abc import Iterator, Sequence
from typing import Any

from vae_jax.config.build import Config, make_config
from vae_jax.config.schema import KEYS
from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.keys import Values, parts_of


def problems(config: Config) -> Iterator[str]:
    """What is wrong with the combination of choices: one sentence for each problem."""
    for section in config:
        for part in parts_of(section):
            if hasattr(part, "needs"):
                yield from part.needs(config)


def data_problems(config: Config, data: Dataset) -> Iterator[str]:
    """What is wrong with the data for these choices: one sentence for each problem."""
    for section in config:
        for part in parts_of(section):
            if hasattr(part, "needs_of_data"):
                yield from part.needs_of_data(config, data)


def idle(config: Config) -> Iterator[tuple[str, str]]:
    """The keys that are set but have no effect beside the other values, each with a sentence."""
    for section in config:
        for part in parts_of(section):
            if hasattr(part, "idle"):
                yield from part.idle(config)


def refuse_idle(configs: Sequence[Values]) -> None:
    """Raises UserError for a key that is set without effect, with the first one.

    In a sweep, a key may have none in some configs, such as a weight of a part that others leave
    out; it should have one in at least one config.
    """
    found: list[dict[str, Any]] = [dict(idle(make_config(values))) for values in configs]
    for own in found:
        for key, problem in own.items():
            has_effect = any(
                values[key] != KEYS[key].default and key not in other
                for values, other in zip(configs, found, strict=True)
            )
            if not has_effect:
                raise UserError(problem)


def refuse_combination(config: Config) -> None:
    """Raises UserError for choices that cannot be combined, with the first problem."""
    for problem in problems(config):
        raise UserError(problem)


def refuse_data(config: Config, data: Dataset) -> None:
    """Raises UserError for data that do not fit the choices, with the first problem."""
    for problem in data_problems(config, data):
        raise UserError(problem)

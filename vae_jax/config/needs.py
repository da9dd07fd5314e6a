"""What the chosen members require of each other and of the data; each member declares its own."""

from collections.abc import Iterator

from vae_jax.config.build import Config
from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.keys import parts_of


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


def refuse_combination(config: Config) -> None:
    """Raises UserError for choices that cannot be combined, with the first problem."""
    for problem in problems(config):
        raise UserError(problem)


def refuse_data(config: Config, data: Dataset) -> None:
    """Raises UserError for data that do not fit the choices, with the first problem."""
    for problem in data_problems(config, data):
        raise UserError(problem)

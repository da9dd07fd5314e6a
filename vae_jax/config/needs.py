"""What the chosen members require of each other and of the data; each member declares its own.

`Part` in sections/interface.py has the three methods; where a section lacks one, it has nothing to
say.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from vae_jax.config.build import Config
from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.sections.declare import parts_of


def problems(config: Config) -> Iterator[str]:
    """What is wrong with the combination of choices: one sentence for each problem."""
    for section in config.sections:
        for part in parts_of(section):
            yield from part.needs(config)


def data_problems(config: Config, data: Dataset) -> Iterator[str]:
    """What is wrong with the data for these choices: one sentence for each problem."""
    for section in config.sections:
        yield from part_problems(section, config, data)


def part_problems(section: Any, config: Config, data: Dataset) -> Iterator[str]:
    """The same, of the choices of one section."""
    for part in parts_of(section):
        yield from part.needs_of_data(config, data)


def idle(config: Config) -> Iterator[tuple[str, str]]:
    """The keys that are set but have no effect beside the other values, each with a sentence."""
    for section in config.sections:
        for part in parts_of(section):
            yield from part.idle(config)


def refuse_idle(configs: Sequence[Config]) -> None:
    """Raises UserError for a key that is set without effect, with the first one.

    In a sweep, a key may have none in some configs, such as a weight of a part that others leave
    out; it should have one in at least one config.
    """
    several: list[dict[str, Any]] = [dict(idle(config)) for config in configs]
    for problems_of_one in several:
        for key, problem in problems_of_one.items():
            has_effect = any(
                config.value(key) != config.keys[key].default and key not in others
                for config, others in zip(configs, several, strict=True)
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


def refuse_figures(config: Config, data: Dataset) -> None:
    """Raises UserError for named figures that do not fit, with the first problem."""
    for part in config.log.figures:
        for problem in (*part.needs(config), *part.needs_of_data(config, data)):
            raise UserError(problem)


def refuse_measured_data(config: Config, data: Dataset) -> None:
    """Raises UserError for data that the metrics do not fit, with the first problem."""
    for problem in part_problems(config.evaluation, config, data):
        raise UserError(problem)

"""A paper's command: trains a sweep of this codebase, and prints the paper's table.

    python -m experiments.papers.NAME --workdir=runs/papers/NAME

trains what is missing, as `vae-jax sweep` does, and prints the table of what is there; `--table`
alone only prints. `--seeds=5` takes the seeds 0 to 4, and `--config.KEY=VALUE` changes any key.
The folder is a sweep's: `vae-jax report`, `vae-jax evaluate` and `vae_jax.load` read it too.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from configs import default
from vae_jax.cli import flags as own_flags
from vae_jax.cli import main as cli
from vae_jax.commands.sweep import sweep as train
from vae_jax.config.check import check
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of
from vae_jax.sweeps import language
from vae_jax.sweeps.plan import Datasets, make_sweep

Lane = dict[str, Any]  # a row of results.json


def short_recipe(num_epochs: int) -> ConfigDict:
    """What the short trainings share: a rate that falls to 0, three seeds, the last epoch's params,
    which alone are validated."""
    config = default.get_config()
    config.model.decoder.output_bias_from_data = True
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule.name = "cosine"
    config.training.batch_size = 200
    judge_at_the_end(config, num_epochs)
    return config


def judge_at_the_end(config: ConfigDict, num_epochs: int, seeds: int = 3) -> None:
    """Sets the length, the seeds 0, 1, ..., and that the last params alone are kept and validated;
    one figure."""
    config.training.num_epochs = config.evaluation.every_epochs = num_epochs
    config.training.seeds = tuple(range(seeds))
    config.training.keep = "last"
    config.log.figures = ("training_curves",)


class Study(NamedTuple):
    """What a paper's file gives."""

    get_config: Callable[[], ConfigDict]
    sweep: Callable[[Any], list[dict[str, Any]]]  # as in a config file
    table: Callable[[Path], str]  # of what is in the folder
    measure: Callable[[Path], None] = lambda workdir: None  # after the training, once


def define(values: flags.FlagValues) -> None:
    """Defines the flags of these commands."""
    own_flags.define_seeds(values)
    flags.DEFINE_bool("table", False, "only print the table", flag_values=values)


def run(study: Study, arguments: Sequence[str]) -> None:
    """Trains what is missing in the folder, and prints the table.

    Raises:
      UserError: a mistake in the flags or the folder.
    """
    command = cli.parse(arguments, lambda workdir: (study.get_config(), {}), define)
    workdir = command.workdir
    if command.flags.config:
        raise UserError("this command has its own config; change keys of it with --config.KEY=...")
    if command.flags.table and kind_of(workdir) is not Kind.SWEEP:
        raise UserError(f"{workdir} holds no sweep yet; leave --table out to train it")
    with cli.jax_started(command):
        if not command.flags.table:
            data = Datasets()
            base = check(command.config, command.members)
            plan = make_sweep(base, study.sweep(language), workdir, data)
            folder.refuse_new_idle(workdir, plan.configs)
            train(workdir, plan, data)
            study.measure(workdir)
        print(study.table(workdir))


def lanes(workdir: Path) -> list[Lane]:
    """The lanes that are measured, of a sweep that may be unfinished; none that diverged."""
    rows = folder.read_results(workdir)["lanes"]
    return [row for row in rows if row["status"] != "diverged"]


def by_seed(rows: Sequence[Lane], name: str, **where: Any) -> dict[int, float]:
    """{seed: the number of that name} of the lanes with these values; `.` of a key is `__`.

    A lane without the number is left out: it was not measured, or is not finite.
    """
    wanted = {key.replace("__", "."): value for key, value in where.items()}
    return {
        row["seed"]: float(row[name])
        for row in rows
        if all(row.get(key) == value for key, value in wanted.items())
        and row.get(name) is not None
        and np.isfinite(row[name])
    }

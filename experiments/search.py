"""Which hyperparameters are best? A search that proposes lanes, one program for each batch.

    pip install -e '.[search]'
    python -m experiments.search --config=configs/search.py --workdir=runs/search

The config file's `search(hyper)` gives the space: {key: distribution}. Optuna's tree-structured
Parzen estimator (Bergstra et al. 2011) proposes `--lanes` settings at a time. They are trained as
one sweep, every setting with every seed. The estimator is then given each setting's validation
ELBO, the mean over seeds of each lane's best. This is repeated `--batches` times. Everything is in
the workdir, with optuna's journal: the same command continues a search that was stopped or killed,
and with a higher --batches one that had ended.
"""

import csv
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vae_jax import cli
from vae_jax.commands.sweep import sweep
from vae_jax.config.check import check
from vae_jax.config.file import blamed_on
from vae_jax.config.schema import differences, nest
from vae_jax.devices.setup import use_cache, use_cores
from vae_jax.errors import UserError
from vae_jax.keys import Values
from vae_jax.runs import folder
from vae_jax.runs.schemas import read_json
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep

JOURNAL = "journal.log"
TRIALS = "trials.csv"
SPACE = "space.json"
BEST = 5

Space = dict[str, hyper.Distribution]


def define(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("batches", 4, "how many", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("lanes", 8, "settings a batch", lower_bound=1, flag_values=values)


def checked_space(space: Any, base: Values, data: Datasets) -> Space:
    """Raises UserError if `space` is none, or has a value that a config can't have."""
    if not isinstance(space, dict) or not space:
        raise UserError("search(hyper) should return a dict: {key: hyper.uniform(...), ...}")
    for key, distribution in space.items():
        if not isinstance(distribution, hyper.Distribution):
            raise UserError(
                f"search(hyper): {key} should be hyper.uniform, hyper.log_uniform or hyper.choice"
            )
        if isinstance(distribution, hyper.Choice):
            values = distribution.values
        else:
            values = (distribution.low, distribution.at(0.37), distribution.high)
        make_sweep(base, [{key: value} for value in values], Path(), data)
    return space


def distributions(space: Space) -> dict[str, Any]:
    """Optuna's: a choice is one of indices, since it takes no tuples."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        key: CategoricalDistribution(range(len(d.values)))
        if isinstance(d, hyper.Choice)
        else FloatDistribution(d.low, d.high, log=isinstance(d, hyper.LogUniform))
        for key, d in space.items()
    }


def overrides_of(trial, space: Space) -> dict[str, Any]:
    """The config keys of a trial."""
    return {
        key: d.values[trial.params[key]] if isinstance(d, hyper.Choice) else trial.params[key]
        for key, d in space.items()
    }


def open_study(workdir: Path, base: Values, space: Space):
    """The study in the workdir, made if it is not there.

    Raises:
      UserError: no optuna; or the folder holds a search of another config or space.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise UserError("a search needs optuna: pip install -e '.[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    here = {key: [type(d).__name__, *map(str, d)] for key, d in space.items()}
    folder.refuse_sweep(workdir)
    folder.refuse_other_config(workdir, base)
    if (workdir / SPACE).exists():
        if different := differences(read_json(workdir / SPACE), here):
            raise UserError(
                f"{workdir} holds a search of another space ({'; '.join(different)}); "
                "take another --workdir or the same space"
            )
    elif (workdir / folder.CONFIG).exists():
        raise UserError(f"{workdir} holds a single run; take another --workdir")
    with folder.locked(workdir):
        folder.write_json(workdir / SPACE, here)
        folder.write_json(workdir / folder.CONFIG, nest(base))
    storage = JournalStorage(JournalFileBackend(str(workdir / JOURNAL)))
    return optuna.create_study(
        study_name="search", storage=storage, direction="maximize", load_if_exists=True
    )


def proposed(study, batch: int, lanes: int, space: Space, begun: bool) -> list:
    """The batch's trials: those there are, or new ones.

    A batch whose sweep has not begun is proposed anew, so that what is proposed does not depend on
    where an earlier attempt was killed.
    """
    import optuna
    from optuna.trial import TrialState

    own = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get("batch") == batch and trial.state != TrialState.FAIL
    ]
    if begun:
        return own
    for trial in own:
        study.tell(trial.number, state=TrialState.FAIL)
    with warnings.catch_warnings():
        # A constant for the lanes that are still out keeps a batch apart; optuna calls that new.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(
            seed=batch, n_startup_trials=lanes, constant_liar=True
        )
    for _ in range(lanes):
        study.ask(distributions(space)).set_user_attr("batch", batch)
    return proposed(study, batch, lanes, space, begun=True)


def trained(
    base: Values, overrides: list[dict], workdir: Path, data: Datasets
) -> list[list[float]]:
    """The validation ELBOs of each setting, a seed each; those that diverged left out."""
    distinct = [o for i, o in enumerate(overrides) if o not in overrides[:i]]
    plan = make_sweep(base, distinct, workdir, data)
    sweep(workdir, plan, data)
    lanes = read_json(workdir / folder.RESULTS)["lanes"]
    seeds = len(base["training.seeds"])
    found = []
    for override in overrides:
        at = distinct.index(override) * seeds
        own = [lane for lane in lanes if at <= lane["lane"] < at + seeds]
        healthy = [lane["validation_bound"] for lane in own if lane["status"] != "diverged"]
        found.append([elbo for elbo in healthy if elbo is not None])
    return found


def search(
    base: Values, space: Space, workdir: Path, data: Datasets, *, batches: int, lanes: int
) -> None:
    """Proposes, trains and tells, batch by batch; leaves trials.csv."""
    study = open_study(workdir, base, space)
    from optuna.trial import TrialState

    for batch in range(batches):
        at = workdir / "batches" / f"{batch:03d}"
        trials = proposed(study, batch, lanes, space, begun=(at / folder.SWEEP).exists())
        if all(trial.state.is_finished() for trial in trials):
            continue
        print(f"batch {batch + 1} of {batches}", flush=True)
        overrides = [overrides_of(trial, space) for trial in trials]
        for trial, elbos in zip(trials, trained(base, overrides, at, data), strict=True):
            if trial.state.is_finished():
                continue
            if elbos:
                study.tell(trial.number, float(np.mean(elbos)))
            else:  # all diverged: the estimator takes it for worse than any value
                study.tell(trial.number, state=TrialState.PRUNED)
        write_trials(study, space, workdir)
    print(summary(study, space, workdir))


def rows_of(study, space: Space) -> list[dict[str, Any]]:
    """A row for each trial that was trained."""
    return [
        {
            "trial": trial.number,
            "batch": trial.user_attrs["batch"],
            **overrides_of(trial, space),
            "validation_bound": trial.value,
        }
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED")
    ]


def write_trials(study, space: Space, workdir: Path) -> None:
    rows, table = rows_of(study, space), io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.write_text(workdir / TRIALS, table.getvalue())


def summary(study, space: Space, workdir: Path) -> str:
    """The best trials."""
    rows = [row for row in rows_of(study, space) if row["validation_bound"] is not None]
    best = sorted(rows, key=lambda row: -row["validation_bound"])[:BEST]
    lines = [
        f"validation bound {row['validation_bound']:.2f}: "
        + ", ".join(f"{key}={row[key]}" for key in space)
        for row in best
    ]
    head, foot = f"the best of {len(rows)} trials", f"trials       {workdir / TRIALS}"
    return "\n".join([head, *lines, foot])


def run(arguments: Sequence[str]) -> None:
    command = cli.parse(arguments, define=define)
    own = command.flags
    if "search" not in command.names:
        raise UserError(f"--config={own.config} has no search(hyper), which gives the space")
    use_cores()
    use_cache()
    data, base = Datasets(), check(command.config)
    with blamed_on(own.config):
        space = command.names["search"](hyper)
    space = checked_space(space, base, data)
    search(base, space, command.workdir, data, batches=own.batches, lanes=own.lanes)


if __name__ == "__main__":
    sys.exit(cli.answered(lambda: run(sys.argv[1:])))

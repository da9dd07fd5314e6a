"""The plan of a search: its settings, which share one compiled program, and its trials."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.config.build import make_config
from vae_jax.config.check import check
from vae_jax.config.schema import LANE_KEYS, nest
from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.keys import Values
from vae_jax.runs import folder
from vae_jax.runs.environment import environment
from vae_jax.runs.run import Datasets, Lane, Run, make_program
from vae_jax.sweeps.plan import (
    Sweep,
    differing,
    make_sweep,
    read_plan,
    refuse_other_checksum,
    refuse_other_sweep,
    write_sweep,
)
from vae_jax.training.search import PBT, Trial, Trials, rungs

SEEDS, EVERY, EPOCHS = "training.seeds", "evaluation.every_epochs", "training.num_epochs"


class Plan(NamedTuple):
    """What a search has to do."""

    sweep: Sweep  # of one seed, and of one program
    data: Dataset
    rule: Any  # which trials go on

    @property
    def workdir(self) -> Path:
        return self.sweep.workdir

    @property
    def num_epochs(self) -> int:
        return self.sweep.base[EPOCHS]

    @property
    def seed(self) -> int:
        return self.sweep.base[SEEDS][0]

    def values(self, setting: dict[str, Any]) -> Values:
        """The whole config of a setting."""
        return self.sweep.base | setting

    def lane(self, trial: Trial) -> Lane:
        values = self.values(trial.setting)
        return Lane(trial.number, self.seed, {key: values[key] for key in self.sweep.swept}, values)

    def run(self, trials: Trials) -> Run:
        """All trials as the lanes of one run."""
        padded = self.sweep.programs[0].padded_latent_size
        return make_program(list(map(self.lane, trials)), self.workdir, self.data, padded)

    def varied(self, trial: Trial, factor: Callable[[], float]) -> dict[str, Any]:
        """The setting, each number multiplied by a factor, or divided by it if that is invalid."""
        setting = dict(trial.setting)
        for key in varied_keys(self.sweep):
            by = factor()
            for new in (float(setting[key] * by), float(setting[key] / by)):
                try:
                    check(nest(self.values(setting | {key: new})))
                except UserError:
                    continue
                setting[key] = new
                break
        return setting


def varied_keys(sweep: Sweep) -> list[str]:
    """The swept keys that are numbers of a lane."""
    return [
        key
        for key in sweep.swept
        if key in LANE_KEYS and all(isinstance(s.get(key), float) for s in sweep.settings)
    ]


def first_trials(settings: Iterable[dict[str, Any]], start: int = 0) -> Trials:
    """A trial for each setting, before its first step."""
    return tuple(
        Trial(number, setting, lineage=((0, number, setting),))
        for number, setting in enumerate(settings, start)
    )


def make_plan(base: Values, overrides: Any, workdir: Path, data: Datasets) -> Plan:
    """The plan of a search over the settings of a sweep.

    Raises:
      UserError: a mistake in any setting; settings that do not share one program.
    """
    if len(base[SEEDS]) != 1:
        raise UserError(
            f"a search has one seed, and {SEEDS} = {base[SEEDS]!r}; sweep the best settings that "
            "it finds over more"
        )
    if base[EVERY] != 1:
        raise UserError(f"a search validates after every epoch; {EVERY} should be 1")
    sweep = make_sweep(base, overrides, workdir, data)
    if len(sweep.programs) > 1:
        firsts = [sweep.lane(program.lanes[0]).values for program in sweep.programs]
        several = [key for key in differing(firsts) if key not in LANE_KEYS]
        raise UserError(
            "the settings of a search share one compiled program, and these need "
            f"{len(sweep.programs)}, by {', '.join(several) or 'sweep.max_lanes'}; `vae-jax sweep` "
            "trains them"
        )
    plan = plan_of(sweep, data)
    rule = plan.rule
    if isinstance(rule, PBT):
        if not varied_keys(sweep):
            raise UserError(
                "search.name = 'pbt' changes numbers, and every setting should have some of its "
                "own, such as optimizer.learning_rate"
            )
    elif not rungs(plan.num_epochs, rule.first_epochs, rule.reduction):
        raise UserError(
            f"{EPOCHS} = {plan.num_epochs} leaves no epoch at which to stop a trial; it should be "
            f"at least {rule.first_epochs * rule.reduction}, search.reduction times "
            "search.first_epochs"
        )
    return plan


def plan_of(sweep: Sweep, data: Datasets) -> Plan:
    """The plan of a search, of its settings and programs."""
    own = data.of(sweep.lane(0).values)
    refuse_other_checksum(sweep.workdir, sweep.programs[0], own.identity)
    return Plan(sweep, own, make_config(sweep.base).search.rule)


def is_search(workdir: Path) -> bool:
    return (workdir / folder.SEARCH).exists()


def read_search(workdir: Path, data: Datasets) -> Plan:
    """The plan of the search in `workdir`.

    Raises:
      UserError: there is none, it is damaged, or its data are not those that it began with.
    """
    if not is_search(workdir):
        raise UserError(f"{workdir} holds no search (no {folder.SEARCH}); start one with --config")
    return plan_of(read_plan(workdir, folder.SEARCH), data)


def open_search(plan: Plan) -> None:
    """Writes the plan into its folder, unless it is there already.

    Raises:
      UserError: the folder holds something else.
    """
    workdir = plan.workdir
    if is_search(workdir):
        refuse_other_sweep(read_plan(workdir, folder.SEARCH), plan.sweep)
        return
    folder.refuse_sweep(workdir)
    if (workdir / folder.LANES).exists():
        raise UserError(f"{workdir} holds a single run; take another --workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    there = environment(plan.sweep.base, *plan.sweep.settings)
    there |= {"dataset": plan.data.identity}
    folder.write_json(workdir / folder.ENVIRONMENT, there)
    folder.write_config(workdir, plan.sweep.base, plan.sweep.settings)
    write_sweep(plan.sweep, folder.SEARCH)  # last: it marks the folder as a search

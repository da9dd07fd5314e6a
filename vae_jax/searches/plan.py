"""The plan of a search: its settings, which share one compiled program, and its trials."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.config.build import Config, overridden
from vae_jax.config.check import check
from vae_jax.config.schema import lane_keys, nest
from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of, refuse_run, refuse_sweep
from vae_jax.runs.run import Datasets, Lane, Run, make_program
from vae_jax.sections.declare import Values
from vae_jax.sweeps.plan import (
    SweepPlan,
    differing,
    make_sweep,
    read_plan,
    refuse_other_checksum,
    refuse_other_sweep,
    write_sweep,
)
from vae_jax.training.search import ASHA, PBT, Halving, SearchRule, Trial, Trials, rungs


class Plan(NamedTuple):
    """What a search has to do."""

    sweep: SweepPlan  # of one seed, and of one program
    data: Dataset
    rule: SearchRule  # which trials go on

    @property
    def workdir(self) -> Path:
        return self.sweep.workdir

    @property
    def num_epochs(self) -> int:
        return self.sweep.base.training.num_epochs

    @property
    def seed(self) -> int:
        return self.sweep.base.training.seeds[0]

    def config(self, setting: Values) -> Config:
        """The whole config of a setting."""
        return overridden(self.sweep.base, setting)

    def lane(self, trial: Trial) -> Lane:
        config = self.config(trial.setting)
        swept = {key: config.value(key) for key in self.sweep.swept}
        return Lane(trial.number, self.seed, swept, config)

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
                    base = self.sweep.base
                    check(nest(base.values | setting | {key: new}), base.members)
                except UserError:
                    continue
                setting[key] = new
                break
        return setting


def varied_keys(sweep: SweepPlan) -> list[str]:
    """The swept keys that are numbers of a lane."""
    numbers = lane_keys(sweep.base.keys)
    return [
        key
        for key in sweep.swept
        if key in numbers and all(isinstance(s.get(key), float) for s in sweep.settings)
    ]


def first_trials(settings: Iterable[dict[str, Any]], start: int = 0) -> Trials:
    """A trial for each setting, before its first step."""
    return tuple(
        Trial(number, setting, lineage=((0, number, setting),))
        for number, setting in enumerate(settings, start)
    )


def make_plan(base: Config, overrides: Any, workdir: Path, data: Datasets) -> Plan:
    """The plan of a search over the settings of a sweep.

    Raises:
      UserError: a mistake in any setting; settings that do not share one program.
    """
    if len(base.training.seeds) != 1:
        raise UserError(
            f"a search has one seed, and training.seeds = {base.training.seeds!r}; sweep the "
            "best settings that it finds over more"
        )
    if base.evaluation.every_epochs != 1:
        raise UserError("a search validates after every epoch; evaluation.every_epochs should be 1")
    sweep = make_sweep(base, overrides, workdir, data)
    if len(sweep.programs) > 1:
        firsts = [sweep.lane(program.lanes[0]).config for program in sweep.programs]
        numbers = lane_keys(sweep.base.keys)
        several = [key for key in differing(firsts) if key not in numbers]
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
    elif isinstance(rule, Halving | ASHA) and not rungs(
        plan.num_epochs, rule.first_epochs, rule.reduction
    ):
        raise UserError(
            f"training.num_epochs = {plan.num_epochs} leaves no epoch at which to stop a trial; it "
            f"should be at least {rule.first_epochs * rule.reduction}, search.reduction times "
            "search.first_epochs"
        )
    return plan


def plan_of(sweep: SweepPlan, data: Datasets) -> Plan:
    """The plan of a search, of its settings and programs."""
    dataset = data.of(sweep.lane(0).config)
    refuse_other_checksum(sweep.workdir, sweep.programs[0], dataset.identity)
    if dataset.is_streamed:
        raise UserError(
            "the trials of a search are in different epochs, and would each read other images: "
            "dataset.in_memory should be 'yes' for it, or `vae-jax sweep` trains all settings"
        )
    return Plan(sweep, dataset, sweep.base.search.rule)


def read_search(workdir: Path, data: Datasets) -> Plan:
    """The plan of the search in `workdir`.

    Raises:
      UserError: there is none, it is damaged, or its data are not those that it began with.
    """
    if kind_of(workdir) is not Kind.SEARCH:
        raise UserError(f"{workdir} holds no search (no {folder.SEARCH}); start one with --config")
    return plan_of(read_plan(workdir, folder.SEARCH), data)


def open_search(plan: Plan) -> None:
    """Writes the plan into its folder, unless it is there already.

    Raises:
      UserError: the folder holds something else.
    """
    workdir = plan.workdir
    if kind_of(workdir) is Kind.SEARCH:
        refuse_other_sweep(read_plan(workdir, folder.SEARCH, plan.sweep.base.members), plan.sweep)
        return
    refuse_sweep(workdir)
    refuse_run(workdir)
    about = {"dataset": plan.data.identity}
    folder.lay_out(workdir, plan.sweep.base, plan.sweep.configs, about=about)
    write_sweep(plan.sweep, folder.SEARCH)  # last: it marks the folder as a search

"""Searches that stop early: they decide by scores which settings of a sweep are trained further.

A trial is one setting. All are judged by the bound on the validation set, higher is better. To add
a rule, write its section, and list it; `SearchRule` says what it has. All randomness comes from a
seed, so a search that was killed continues exactly.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from vae_jax.sections.checks import number, whole
from vae_jax.sections.declare import family, host, section
from vae_jax.sections.interface import Part

LIVE, STOPPED, DIVERGED, DONE = "running", "stopped", "diverged", "done"


class Trial(NamedTuple):
    """A setting, and how far its training is."""

    number: int
    setting: dict[str, Any]  # its overrides of the config
    status: str = LIVE
    epochs: int = 0  # trained so far; those of what it is a copy of included
    scores: tuple[tuple[int, float], ...] = ()  # (epochs, score), of every validation
    best_epoch: int = 0  # whose params are kept
    judged: int = 0  # the last rung that it passed, in epochs
    diverged_step: int | None = None
    # (epochs, number, setting): from those epochs on it was trained as that trial, so.
    lineage: tuple[tuple[int, int, dict[str, Any]], ...] = ()

    def score_at(self, epochs: int) -> float | None:
        """The score after that many epochs; None if there is none."""
        return dict(self.scores).get(epochs)

    @property
    def score(self) -> float | None:
        """The score of the params that are kept."""
        return self.score_at(self.best_epoch)


Trials = tuple[Trial, ...]
# (trial, a function that gives a factor) -> its setting, each number times a factor of its own.
Vary = Callable[[Trial, Callable[[], float]], dict[str, Any]]


class Judged(NamedTuple):
    """The trials after a judgement."""

    trials: Trials
    copies: dict[int, int]  # {a trial: the trial whose state it takes}


class SearchRule(Part, Protocol):
    """Which trials of a search go on."""

    @abstractmethod
    def ready(self, trials: Trials, num_epochs: int, /) -> list[int]:
        """The numbers of the trials to train now."""

    @abstractmethod
    def judged(self, trials: Trials, num_epochs: int, vary: Vary, /) -> Judged:
        """The trials, stopped or passed, and which take the state of another: a
        vae_jax.training.search.Judged. `vary` gives a setting with other numbers."""


def first_epochs_key() -> Any:
    """The key of the first rung."""
    return host(1, whole(1), "epochs before the first are stopped")


def reduction_key() -> Any:
    """The key of the ratio of two rungs."""
    return host(3, whole(2), "r: the best 1/r of the trials go on, to r times the epochs")


def rungs(num_epochs: int, first_epochs: int, reduction: int) -> list[int]:
    """The epochs after which trials are judged: num_epochs over powers of the reduction."""
    last_first, rung = [], num_epochs // reduction
    while rung >= first_epochs:
        last_first.append(rung)
        rung //= reduction
    return last_first[::-1]


def running(trials: Trials) -> list[Trial]:
    """The trials that are neither stopped, diverged nor done."""
    return [trial for trial in trials if trial.status == LIVE]


def rank(trials: Sequence[Trial], epochs: int) -> list[int]:
    """The numbers of the trials, best score at those epochs first; of equal ones, the first."""
    scores = {trial.number: trial.score_at(epochs) for trial in trials}
    known = {n: score for n, score in scores.items() if score is not None}
    return sorted(known, key=lambda n: (-known[n], n))


def pass_rung(trials: Trials, numbers: set[int], rung: int, kept: set[int]) -> Trials:
    """The trials after a rung: of the `numbers`, the kept ones passed it, the others stopped."""

    def after(trial: Trial) -> Trial:
        if trial.number not in numbers:
            return trial
        return (
            trial._replace(judged=rung) if trial.number in kept else trial._replace(status=STOPPED)
        )

    return tuple(map(after, trials))


@section
class Halving(SearchRule):
    """Successive halving: all reach a rung, then the best part of them goes on.

    References: Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification and
    Hyperparameter Optimization; Karnin, Koren and Somekh 2013.
    """

    first_epochs: int = first_epochs_key()
    reduction: int = reduction_key()

    def next_rung(self, trials: Trials, num_epochs: int) -> int:
        """The rung that the trials are on their way to, or wait at."""
        every_rung = rungs(num_epochs, self.first_epochs, self.reduction)
        passed_by_all = min((trial.judged for trial in running(trials)), default=0)
        return next((rung for rung in every_rung if rung > passed_by_all), num_epochs)

    def ready(self, trials: Trials, num_epochs: int) -> list[int]:
        """The trials to train now, most urgent first."""
        rung = self.next_rung(trials, num_epochs)
        return [trial.number for trial in running(trials) if trial.epochs < rung]

    def judged(self, trials: Trials, num_epochs: int, vary: Vary) -> Judged:
        """The trials after the decisions that are due."""
        rung = self.next_rung(trials, num_epochs)
        live = running(trials)
        if rung == num_epochs or any(trial.epochs < rung for trial in live):
            return Judged(trials, {})
        every_rung = rungs(num_epochs, self.first_epochs, self.reduction)
        most = max(1, len(trials) // self.reduction ** (every_rung.index(rung) + 1))
        kept = set(rank(live, rung)[:most])
        return Judged(pass_rung(trials, {trial.number for trial in live}, rung, kept), {})


@section
class ASHA(SearchRule):
    """Halving without waiting: a trial at a rung is compared with those that were there before.

    The variant that stops trials. The first at a rung always passes it.

    References: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning.
    """

    first_epochs: int = first_epochs_key()
    reduction: int = reduction_key()

    def ready(self, trials: Trials, num_epochs: int) -> list[int]:
        """The trials to train now: those begun, then new ones."""
        live = sorted(running(trials), key=lambda trial: trial.epochs == 0)
        return [trial.number for trial in live if trial.epochs < num_epochs]

    def judged(self, trials: Trials, num_epochs: int, vary: Vary) -> Judged:
        """The trials after the decisions that are due."""
        for rung in rungs(num_epochs, self.first_epochs, self.reduction):
            arrivals = {t.number for t in running(trials) if t.epochs == rung and t.judged < rung}
            ranking = rank(trials, rung)
            best = set(ranking[: max(1, len(ranking) // self.reduction)])
            trials = pass_rung(trials, arrivals, rung, best & arrivals)
        return Judged(trials, {})


@section
class PBT(SearchRule):
    """Population-based training: the worst become copies of the best, with other numbers.

    References: Jaderberg et al. 2017, Population Based Training of Neural Networks.
    """

    every_epochs: int = host(1, whole(1), "epochs between two rounds of copies")
    fraction: float = host(
        0.2,
        number(0, 0.5, open_low=True),
        "of the trials: the worst are replaced by copies of as many of the best",
    )
    factor: float = host(
        1.2, number(1, 10, open_low=True), "a copy's numbers are multiplied or divided by it"
    )

    def next_rung(self, trials: Trials, num_epochs: int) -> int:
        begun = min((trial.judged for trial in running(trials)), default=0)
        return min(begun + self.every_epochs, num_epochs)

    def ready(self, trials: Trials, num_epochs: int) -> list[int]:
        """The trials to train now."""
        rung = self.next_rung(trials, num_epochs)
        return [trial.number for trial in running(trials) if trial.epochs < rung]

    def judged(self, trials: Trials, num_epochs: int, vary: Vary) -> Judged:
        """The trials after the copies that are due; a diverged trial is among the worst."""
        rung, live = self.next_rung(trials, num_epochs), running(trials)
        if rung == num_epochs or not live or any(trial.epochs < rung for trial in live):
            return Judged(trials, {})
        order = rank(live, rung)
        if not order:  # nobody has a finite score: there is nothing to copy
            passed_it = [t._replace(judged=rung) if t.status == LIVE else t for t in trials]
            return Judged(tuple(passed_it), {})
        lost = [trial.number for trial in trials if trial.status == DIVERGED]
        most = max(1, int(self.fraction * len(trials)))
        top = order[:most]
        worst = [n for n in [*lost, *reversed(order)] if n not in top][: max(most, len(lost))]
        copies, new_trials = {}, []
        for trial in trials:
            if trial.number in worst:
                rng = np.random.default_rng([rung, trial.number])
                parent = trials[rng.choice(top)]
                setting = vary(parent, partial(rng.choice, [self.factor, 1 / self.factor]))
                copies[trial.number] = parent.number
                lineage = (*parent.lineage, (rung, trial.number, setting))
                trial = parent._replace(number=trial.number, setting=setting, lineage=lineage)
            new_trials.append(trial._replace(judged=rung) if trial.status == LIVE else trial)
        return Judged(tuple(new_trials), copies)


RULES: dict[str, type[SearchRule]] = {"halving": Halving, "asha": ASHA, "pbt": PBT}


@section
class Search:
    """The config's section `search`."""

    rule: SearchRule = family(
        RULES,
        "halving",
        "which trials of `vae-jax search` go on",
        key="name",
        interface=SearchRule,
    )
    places: int = host(16, whole(1), "trials trained at once, in one compiled program")

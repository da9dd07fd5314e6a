"""Searches that stop early: they decide by scores which settings of a sweep are trained further.

A trial is one setting. All are judged by the bound on the validation set, higher is better. To add
a rule, write its section with `ready` and `judged`, and list it. All randomness comes from a
seed, so a search that was killed continues exactly.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vae_jax.checks import flag, number, whole
from vae_jax.keys import family, host, section

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
        """Its score after that many epochs; None if it has none."""
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


def first_epochs_key():
    return host(1, whole(1), "epochs before the first are stopped")


def reduction_key():
    return host(3, whole(2), "r: the best 1/r of the trials go on, to r times the epochs")


def rungs(num_epochs: int, first_epochs: int, reduction: int) -> list[int]:
    """The epochs after which trials are judged: num_epochs over powers of the reduction."""
    found, at = [], num_epochs // reduction
    while at >= first_epochs:
        found.append(at)
        at //= reduction
    return found[::-1]


def running(trials: Trials) -> list[Trial]:
    return [trial for trial in trials if trial.status == LIVE]


def ranked(trials: Sequence[Trial], epochs: int) -> list[int]:
    """The numbers of the trials, best score at those epochs first; of equal ones, the first."""
    scores = {trial.number: trial.score_at(epochs) for trial in trials}
    known = {n: score for n, score in scores.items() if score is not None}
    return sorted(known, key=lambda n: (-known[n], n))


def passed(trials: Trials, numbers: set[int], rung: int, kept: set[int]) -> Trials:
    """Of the trials `numbers`, those kept have passed the rung, and the others are stopped."""

    def after(trial: Trial) -> Trial:
        if trial.number not in numbers:
            return trial
        return (
            trial._replace(judged=rung) if trial.number in kept else trial._replace(status=STOPPED)
        )

    return tuple(map(after, trials))


@section
class Halving:
    """Successive halving: all reach a rung, then the best part of them goes on.

    References: Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification and
    Hyperparameter Optimization; Karnin, Koren and Somekh 2013.
    """

    first_epochs: int = first_epochs_key()
    reduction: int = reduction_key()

    def next_rung(self, trials: Trials, num_epochs: int) -> int:
        """The rung that the trials are on their way to, or wait at."""
        own = rungs(num_epochs, self.first_epochs, self.reduction)
        passed_by_all = min((trial.judged for trial in running(trials)), default=0)
        return next((rung for rung in own if rung > passed_by_all), num_epochs)

    def ready(self, trials: Trials, num_epochs: int) -> list[int]:
        """The trials to train now, most urgent first."""
        rung = self.next_rung(trials, num_epochs)
        return [trial.number for trial in running(trials) if trial.epochs < rung]

    def judged(self, trials: Trials, num_epochs: int, vary: Vary) -> Judged:
        """The trials after the decisions that are due."""
        rung = self.next_rung(trials, num_epochs)
        here = running(trials)
        if rung == num_epochs or any(trial.epochs < rung for trial in here):
            return Judged(trials, {})
        own = rungs(num_epochs, self.first_epochs, self.reduction)
        most = max(1, len(trials) // self.reduction ** (own.index(rung) + 1))
        kept = set(ranked(here, rung)[:most])
        return Judged(passed(trials, {trial.number for trial in here}, rung, kept), {})


@section
class ASHA:
    """Halving without waiting: a trial at a rung is compared with those that were there before.

    The variant that stops trials. The first at a rung always passes it.

    References: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning.
    """

    first_epochs: int = first_epochs_key()
    reduction: int = reduction_key()

    def ready(self, trials: Trials, num_epochs: int) -> list[int]:
        """The trials to train now: those begun, then new ones."""
        here = sorted(running(trials), key=lambda trial: trial.epochs == 0)
        return [trial.number for trial in here if trial.epochs < num_epochs]

    def judged(self, trials: Trials, num_epochs: int, vary: Vary) -> Judged:
        """The trials after the decisions that are due."""
        for rung in rungs(num_epochs, self.first_epochs, self.reduction):
            here = {t.number for t in running(trials) if t.epochs == rung and t.judged < rung}
            there = ranked(trials, rung)
            best = set(there[: max(1, len(there) // self.reduction)])
            trials = passed(trials, here, rung, best & here)
        return Judged(trials, {})


@section
class PBT:
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
        rung, here = self.next_rung(trials, num_epochs), running(trials)
        if rung == num_epochs or not here or any(trial.epochs < rung for trial in here):
            return Judged(trials, {})
        order = ranked(here, rung)
        if not order:  # nobody has a finite score: there is nothing to copy
            passed_it = [t._replace(judged=rung) if t.status == LIVE else t for t in trials]
            return Judged(tuple(passed_it), {})
        lost = [trial.number for trial in trials if trial.status == DIVERGED]
        most = max(1, int(self.fraction * len(trials)))
        top = order[:most]
        worst = [n for n in [*lost, *reversed(order)] if n not in top][: max(most, len(lost))]
        copies, found = {}, []
        for trial in trials:
            if trial.number in worst:
                rng = np.random.default_rng([rung, trial.number])
                parent = trials[rng.choice(top)]
                setting = vary(parent, partial(rng.choice, [self.factor, 1 / self.factor]))
                copies[trial.number] = parent.number
                lineage = (*parent.lineage, (rung, trial.number, setting))
                trial = parent._replace(number=trial.number, setting=setting, lineage=lineage)
            found.append(trial._replace(judged=rung) if trial.status == LIVE else trial)
        return Judged(tuple(found), copies)


@section
class ToTheEnd:
    """All trials, one after another, to the end: a random search, if the settings are random."""

    def ready(self, trials: Trials, num_epochs: int) -> list[int]:
        """The trials to train now."""
        return [trial.number for trial in running(trials) if trial.epochs < num_epochs]

    def judged(self, trials: Trials, num_epochs: int, vary: Vary) -> Judged:
        """Nothing is ever stopped."""
        return Judged(trials, {})


RULES = {"halving": Halving, "asha": ASHA, "pbt": PBT}


@section
class Search:
    """The config's section `search`."""

    rule: Any = family(RULES, "halving", "which trials of `vae-jax search` go on", key="name")
    places: int = host(16, whole(1), "trials trained at once, in one compiled program")
    beside_random: bool = host(
        False, flag, "also trains the first settings to the end, for as many epochs as the search"
    )

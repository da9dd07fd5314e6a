"""The rules of searches, on trials whose scores are made up."""

import pytest

from vae_jax.training.search import (
    ASHA,
    DIVERGED,
    DONE,
    LIVE,
    PBT,
    RULES,
    STOPPED,
    Halving,
    Trial,
    rungs,
)

NUM_EPOCHS = 9


def trials_of(qualities):
    return tuple(Trial(n, {"rate": q}, lineage=((0, n, {"rate": q}),))
                 for n, q in enumerate(qualities))  # fmt: skip


def vary(trial, factor):
    return {"rate": trial.setting["rate"] * factor()}


def play(rule, trials, places, num_epochs=NUM_EPOCHS, most=1_000):
    """Trains to the end, or for `most` rounds; gives the trials, and those of each round.

    The score is the rate less 1 / epochs; a rate below 0 diverges.
    """
    rounds = []
    while len(rounds) < most and (ready := rule.ready(trials, num_epochs)[:places]):
        rounds.append(ready)
        trials = list(trials)
        for n in ready:
            trial = trials[n]
            rate, epochs = trial.setting["rate"], trial.epochs + 1
            if rate < 0:
                trials[n] = trial._replace(status=DIVERGED, epochs=epochs)
                continue
            scores = (*trial.scores, (epochs, rate - 1 / epochs))
            status = DONE if epochs == num_epochs else LIVE
            trials[n] = trial._replace(epochs=epochs, scores=scores, status=status)
        trials = rule.judged(tuple(trials), num_epochs, vary).trials
    assert len(rounds) < 1_000
    return trials, rounds


def epochs_of(trials):
    return {trial.number: trial.epochs for trial in trials}


@pytest.mark.parametrize(
    ("num_epochs", "first_epochs", "reduction", "expected"),
    [(27, 1, 3, [1, 3, 9]), (10, 1, 3, [1, 3]), (16, 2, 2, [2, 4, 8]), (2, 1, 3, []),
     (81, 5, 3, [9, 27])],
)  # fmt: skip
def test_rungs_are_the_epochs_over_powers(num_epochs, first_epochs, reduction, expected):
    assert rungs(num_epochs, first_epochs, reduction) == expected


@pytest.mark.parametrize("places", [1, 4, 27])
def test_halving_keeps_a_third_at_each_rung(places):
    qualities = [(7 * n) % 27 for n in range(27)]
    trials, rounds = play(Halving(1, 3), trials_of(qualities), places)
    at_least = {e: [t.setting["rate"] for t in trials if t.epochs >= e] for e in (1, 3, 9)}
    assert sorted(at_least[3]) == list(range(18, 27))
    assert sorted(at_least[9]) == [24, 25, 26]
    assert {t.setting["rate"] for t in trials if t.status == DONE} == {24, 25, 26}
    assert all(t.status == STOPPED for t in trials if t.epochs < 9)
    assert sum(map(len, rounds)) == 27 * 1 + 9 * 2 + 3 * 6


def test_halving_waits_for_all_before_it_judges():
    trials, _ = play(Halving(1, 3), trials_of([5, 4, 3, 2, 1, 0, 9, 8, 7]), places=2)
    assert {t.number for t in trials if t.epochs >= 3} == {6, 7, 8}


def test_asha_judges_whom_it_has_seen():
    # In one place, each is judged when it arrives. The first always goes on; the second is no
    # better; the third is the best of three, and one of three goes on.
    trials, rounds = play(ASHA(1, 3), trials_of([5, 4, 6, 1, 5.5, 7]), places=1)
    assert epochs_of(trials) == {0: 9, 1: 1, 2: 9, 3: 1, 4: 1, 5: 9}
    assert rounds[:11] == [[0]] * 9 + [[1], [2]]


def test_a_place_that_gets_free_is_filled_at_once():
    qualities = [(7 * n) % 27 for n in range(27)]
    trials, rounds = play(ASHA(1, 3), trials_of(qualities), places=9)
    assert [len(r) for r in rounds[:3]] == [9, 9, 9]
    assert set(rounds[0]) == set(range(9))
    assert rounds[1][:3] == sorted(n for n in rounds[0] if trials[n].epochs > 1)  # those kept first
    assert set(rounds[1][3:]) == set(range(9, 15))
    best = max(trials, key=lambda t: t.setting["rate"])
    assert best.status == DONE


def test_the_worst_of_a_population_become_copies_of_the_best():
    qualities = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    rule = PBT(every_epochs=3, fraction=0.2, factor=1.5)
    trials, rounds = play(rule, trials_of(qualities), places=10)
    assert [len(r) for r in rounds] == [10] * 9
    assert all(trial.status == DONE for trial in trials)
    for worst in (0, 1):
        (start, own, first), (epochs, number, setting), *more = trials[worst].lineage
        assert own in (8, 9)
        assert (start, first["rate"]) == (0, qualities[own])
        assert (epochs, number) == (3, worst)
        by = setting["rate"] / qualities[own]
        assert by == pytest.approx(1.5) or by == pytest.approx(1 / 1.5)
        assert all(at == 6 for at, _, _ in more)
    assert trials[9].lineage == ((0, 9, {"rate": 100}),)  # the best is never replaced
    # A copy has the scores of what it copies up to then.
    assert dict(trials[0].scores)[3] == qualities[trials[0].lineage[0][1]] - 1 / 3


def test_a_population_in_fewer_places_is_the_same():
    rule = PBT(1, 0.3, 1.2)
    one, _ = play(rule, trials_of(range(1, 11)), places=10)
    other, rounds = play(rule, trials_of(range(1, 11)), places=3)
    assert one == other
    assert max(map(len, rounds)) == 3


def test_what_diverged_is_stopped_or_replaced():
    qualities = [3, -1, 5, -1, 4, 2]
    for rule in (Halving(1, 3), ASHA(1, 3)):
        trials, _ = play(rule, trials_of(qualities), places=6)
        assert [t.status == DIVERGED for t in trials] == [q < 0 for q in qualities]
        assert epochs_of(trials)[1] == 1
        assert trials[2].status == DONE
    trials, _ = play(PBT(1, 0.2, 1.2), trials_of(qualities), places=6)
    assert all(trial.status == DONE for trial in trials)


@pytest.mark.parametrize("name", RULES)
def test_all_that_diverge_end_the_search(name):
    trials, rounds = play(RULES[name](), trials_of([-1, -1, -1]), places=2)
    assert [trial.status for trial in trials] == [DIVERGED] * 3
    assert sum(map(len, rounds)) == 3


@pytest.mark.parametrize("name", RULES)
def test_a_rule_goes_on_from_where_it_was(name):
    # A rule is a function of the trials alone: what a killed search has saved is enough.
    rule, trials = RULES[name](), trials_of([(7 * n) % 27 for n in range(27)])
    whole, _ = play(rule, trials, places=5)
    trials, _ = play(rule, trials, places=5, most=12)
    assert rule.judged(trials, NUM_EPOCHS, vary).trials == trials  # nothing is judged twice
    assert play(rule, trials, places=5)[0] == whole

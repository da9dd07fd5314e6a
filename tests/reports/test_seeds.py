"""What seeds say: exact cases, and how often the intervals hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from vae_jax.reports.seeds import (
    Difference,
    Interval,
    interquartile_mean,
    paired_difference,
    power,
    probability_above,
    seeds_needed,
    wrong_sign,
)


def test_the_interquartile_mean_is_that_of_the_middle_half():
    eight = [100.0, 1, 2, 3, 4, 5, 6, -50]
    assert interquartile_mean(eight).value == 3.5  # of 2, 3, 4, 5
    assert interquartile_mean([1.0, 2, 6]).value == 3.0  # of three nothing is cut
    assert interquartile_mean([0.0, 1, 3, 1000]).value == 2.0


def test_its_interval_is_of_a_fixed_seed_and_within_the_values():
    values = np.random.default_rng(0).normal(size=40)
    of = interquartile_mean(values)
    assert of == interquartile_mean(values)
    assert values.min() < of.low < of.value < of.high < values.max()
    # About that of a mean: the normal interval, as the data are normal.
    assert of.high - of.low == pytest.approx(2 * 1.96 * np.std(values) / math.sqrt(40), rel=0.35)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([7.0], Interval(7.0, None, None)),
        ([7.0, 9.0], Interval(8.0, None, None)),  # two values do not tell an interval
        ([7.0] * 5, Interval(7.0, 7.0, 7.0)),
        ([1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0], Interval(5.0, 1.0, 9.0)),
    ],
)
def test_few_equal_and_tied_values(values, wanted):
    assert interquartile_mean(values) == wanted


def test_the_paired_difference_by_hand():
    """Differences 1, 2, 6: mean 3, deviation sqrt(7), error sqrt(7 / 3), t(2) = 4.3027."""
    of = paired_difference([11.0, 22, 36], [10.0, 20, 30])
    se = math.sqrt(7 / 3)
    assert (of.seeds, of.mean, of.se) == (3, 3.0, pytest.approx(se))
    assert (of.low, of.high) == pytest.approx((3 - 4.302653 * se, 3 + 4.302653 * se))
    # Var A = 157, Var B = 100, Var(A - B) = 7.
    assert of.removed == pytest.approx(1 - 7 / 257)
    other = paired_difference([10.0, 20, 30], [11.0, 22, 36])
    assert (other.mean, other.low, other.high) == pytest.approx((-of.mean, -of.high, -of.low))


def test_differences_without_a_variance():
    assert paired_difference([2.0], [1.0]) == Difference(1, 1.0, None, None, None, None)
    assert paired_difference([2.0, 2], [1.0, 1]) == Difference(2, 1.0, 0.0, 1.0, 1.0, None)
    of = paired_difference([1.0, 2, 3], [0.0, 1, 2])  # the seeds explain everything
    assert (of.low, of.high, of.removed) == (1.0, 1.0, 1.0)


def test_pairing_removes_what_both_share():
    rng = np.random.default_rng(0)
    shared, a, b = rng.normal(size=(3, 100_000))
    assert paired_difference(a, b).removed == pytest.approx(0, abs=0.02)
    assert paired_difference(shared + a, shared + b).removed == pytest.approx(0.5, abs=0.02)
    assert paired_difference(a, -a).removed == pytest.approx(-1)  # pairing can add variance


def test_the_probability_is_mann_whitney_s_u():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 9).astype(float), rng.integers(0, 6, 7).astype(float)  # many ties
    of = probability_above(a, b)
    assert of.value == pytest.approx(stats.mannwhitneyu(a, b).statistic / 63)
    assert of.value == pytest.approx(np.mean([(x > y) + (x == y) / 2 for x in a for y in b]))
    other = probability_above(b, a)
    assert (other.value, other.low, other.high) == pytest.approx(
        (1 - of.value, 1 - of.high, 1 - of.low)
    )


def test_an_estimate_of_one_is_not_certain():
    few, many = (probability_above(np.arange(n) + n, np.arange(n)) for n in (3, 30))
    assert (few.value, few.high) == (1.0, 1.0)
    assert 0.4 < few.low < 0.6 < 0.85 < many.low < 1
    assert probability_above([1.0, 1], [1.0, 1]).value == 0.5
    assert probability_above([2.0], [1.0]) == Interval(1.0, None, None)


@pytest.mark.parametrize(
    ("effect", "paired", "unpaired"),
    [(0.2, 199, 394), (0.5, 34, 64), (0.8, 15, 26), (1.0, 10, 17)],  # Cohen 1988, and G*Power
)
def test_seeds_needed_are_those_of_the_tables(effect, paired, unpaired):
    assert seeds_needed(-effect, 1.0, paired=True) == paired
    assert seeds_needed(effect, math.sqrt(2), paired=False) == unpaired
    assert (
        power(paired, 1 / effect, paired=True) >= 0.8 > power(paired - 1, 1 / effect, paired=True)
    )


@pytest.mark.parametrize(("n", "effect"), [(2, 10.0), (2, 12.0), (3, 1.5), (20, 0.5)])
def test_the_power_is_how_often_a_t_test_finds_it(n, effect):
    x = np.random.default_rng(0).normal(effect, 1, (200_000, n))
    found = stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05
    assert power(n, 1 / effect, paired=True) == pytest.approx(found.mean(), abs=0.004)
    if n > 2:  # where scipy's has a value
        bound, shift = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)
        wanted = stats.nct.sf(bound, n - 1, shift) + stats.nct.cdf(-bound, n - 1, shift)
        assert power(n, 1 / effect, paired=True) == pytest.approx(wanted, abs=1e-4)


def test_the_power_grows_with_seeds_and_with_the_difference():
    for paired in (True, False):
        of = [[power(n, 1 / e, paired=paired) for n in range(2, 12)] for e in (0.1, 1, 9, 40, 1e3)]
        assert np.isfinite(of).all()
        assert (np.diff(of, axis=0) >= -1e-9).all()
        assert (np.diff(of, axis=1) >= -1e-9).all()
        assert np.max(of) <= 1 + 1e-9


def test_seeds_needed_at_the_ends():
    assert seeds_needed(0.0, 1.0, paired=True) == math.inf
    assert seeds_needed(0.0, 0.0, paired=True) == math.inf
    assert seeds_needed(1.0, 0.0, paired=True) == 2
    assert seeds_needed(1e-4, 1.0, paired=True) == math.inf  # more than a million
    assert seeds_needed(1e-300, 1e300, paired=False) == math.inf
    assert seeds_needed(0.01, 1.0, paired=True) == pytest.approx(7.849 / 1e-4, abs=3)


def test_the_wrong_sign_of_normal_differences():
    assert wrong_sign(0.0, 1.0, 5) == 0.5
    assert wrong_sign(1.0, 0.0, 3) == 0.0
    assert wrong_sign(-1.0, 1.0, 4) == pytest.approx(stats.norm.cdf(-2))
    draws = np.random.default_rng(0).normal(0.5, 1, (100_000, 3)).mean(axis=1)
    assert wrong_sign(0.5, 1.0, 3) == pytest.approx((draws < 0).mean(), abs=0.005)


def holds(of, truth):
    return of.low <= truth <= of.high


def assert_level(share, level, repeats):
    """The share is that level, up to three of its binomial errors."""
    assert share == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / repeats))


@pytest.mark.slow
def test_an_interquartile_mean_of_normal_data_is_in_its_interval():
    rng, repeats = np.random.default_rng(0), 600
    for n, level in ((50, 0.95), (10, 0.935), (5, 0.885), (3, 0.755)):  # docs/seeds.md
        found = [holds(interquartile_mean(rng.normal(size=n)), 0) for _ in range(repeats)]
        assert_level(np.mean(found), level, repeats)


@pytest.mark.slow
def test_a_paired_difference_is_in_its_interval_also_of_few_seeds():
    rng, repeats = np.random.default_rng(0), 3_000
    for n in (2, 3, 10):
        pairs = rng.normal(size=(repeats, 2, n)) + 5 * rng.normal(size=(repeats, 1, n))
        found = [holds(paired_difference(a + 1, b), 1) for a, b in pairs]
        assert_level(np.mean(found), 0.95, repeats)


@pytest.mark.slow
def test_a_probability_is_in_its_interval():
    rng, repeats = np.random.default_rng(0), 1_000
    for n, shift in ((5, 0.0), (10, 1.0), (30, 2.0)):
        truth = stats.norm.cdf(shift / math.sqrt(2))
        pairs = rng.normal(size=(repeats, 2, n))
        found = [holds(probability_above(a + shift, b), truth) for a, b in pairs]
        assert 0.93 < np.mean(found) < 0.99

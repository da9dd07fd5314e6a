"""What several seeds say of a number, and of the difference between two settings.

A value a seed; each function says what it assumes. Nothing here drops a value: lanes that diverged
are left out, and named, where the values are taken.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks".
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vae_jax.evaluation.metrics.metric import standard_error

Values = Sequence[float] | np.ndarray  # one a seed
LEVEL = 0.95  # of the intervals
POWER = 0.8  # of a test of level 1 - LEVEL, two-sided
RESAMPLES = 9_999
FEWEST = 3  # values that an interval by resampling takes
TRUSTED = 10  # values from which its level is about what it says
MOST_SEEDS = 1_000_000
POINTS = 10_000


class Interval(NamedTuple):
    """An estimate with its interval of level LEVEL; None: the values do not say."""

    value: float
    low: float | None
    high: float | None


class Difference(NamedTuple):
    """What n seeds say of A - B, where A and B each have a value of every seed."""

    seeds: int
    mean: float
    se: float | None  # None for one seed
    low: float | None  # of the interval of the mean
    high: float | None
    removed: float | None  # the part of the variance that pairing removes; None: there is none


def interquartile_mean(values_n: Values) -> Interval:
    """The mean of the middle half of the values, with an interval by resampling.

    int(n / 4) values are cut at each end, so of fewer than four it is the mean. The interval is
    the percentile bootstrap (Efron 1979), as in Agarwal et al. 2021, section 4.2; its samples are
    drawn from a fixed seed. BCa is not better for so few values, and has no answer for equal ones.
    Fewer than FEWEST values have no interval; of fewer than TRUSTED it is too narrow.
    """
    from scipy.stats import bootstrap, trim_mean  # slow to import, and few commands need it

    values = np.asarray(values_n, np.float64)
    value = float(trim_mean(values, 0.25))
    if len(values) < FEWEST:
        return Interval(value, None, None)
    if (values == values[0]).all():
        return Interval(value, value, value)

    def iqm(values: np.ndarray, axis: int) -> np.ndarray:
        return trim_mean(values, 0.25, axis=axis)

    found = bootstrap(
        (values,),
        iqm,
        n_resamples=RESAMPLES,
        batch=max(1, 10_000_000 // len(values)),
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))


def t_interval(mean: float, se: float, n: int) -> tuple[float, float]:
    """The interval of a mean of n >= 2 normal values with that standard error (Student 1908)."""
    from scipy.stats import t

    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * se
    return mean - half, mean + half


def paired_difference(a_n: Values, b_n: Values) -> Difference:
    """The mean of A - B over seeds that both have, with its t interval.

    It has its level at any number of seeds if the differences are normal, which the mean of
    resampled differences has not for few. `removed` is 1 - Var(A - B) / (Var A + Var B): 0 if the
    seeds of A and B have nothing in common, below 0 if pairing adds variance.
    """
    a, b = np.asarray(a_n, np.float64), np.asarray(b_n, np.float64)
    n, mean = len(a), float(np.mean(a - b))
    if n < 2:
        return Difference(n, mean, None, None, None, None)
    se = standard_error(a - b)
    alone = np.var(a, ddof=1) + np.var(b, ddof=1)
    removed = float(1 - np.var(a - b, ddof=1) / alone) if alone > 0 else None
    return Difference(n, mean, se, *t_interval(mean, se, n), removed)


def probability_above(a_n: Values, b_m: Values) -> Interval:
    """The probability that one run of A is above one of B: U / (n m), a tie counts half.

    U: Mann and Whitney 1947. The interval holds each p for which the estimate is within its error,
    whose variance is that of Hanley and McNeil 1982; this is method 5 of Newcombe 2006. So an
    estimate of 1 has a low end too. It takes all values as independent: where A and B share their
    seeds, it is wider than it needs to be.
    """
    from scipy.special import ndtri

    a, b = np.asarray(a_n, np.float64), np.asarray(b_m, np.float64)
    n, m = len(a), len(b)
    above = np.searchsorted(np.sort(b), a, "left") + np.searchsorted(np.sort(b), a, "right")
    value = float(above.sum() / (2 * n * m))
    if n < 2 or m < 2:
        return Interval(value, None, None)
    z, extra = float(ndtri((1 + LEVEL) / 2)), (n + m) / 2 - 1

    def distance(p: float) -> float:
        """Below 0 if p is in the interval."""
        of_pairs = 1 + extra * ((1 - p) / (2 - p) + p / (1 + p))
        return (value - p) ** 2 - z**2 * p * (1 - p) * of_pairs / (n * m)

    return Interval(value, bisected(distance, 0.0, value), bisected(distance, 1.0, value))


def bisected(function: Callable[[float], float], outside: float, inside: float) -> float:
    """Where the function changes its sign: not below 0 at `outside`, not above 0 at `inside`."""
    if function(outside) <= 0:  # at 0 and 1 the variance is 0: only if the estimate is there
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        if function(middle) <= 0:
            inside = middle
        else:
            outside = middle
    return (outside + inside) / 2


def seeds_needed(difference: float, deviation: float, *, paired: bool) -> float:
    """The seeds of each setting with which a t test finds a difference, with probability POWER.

    The level is 1 - LEVEL, two-sided. `deviation` is the standard deviation of A - B: of equal
    seeds if `paired`, else of independent ones, root (Var A + Var B). The power is that of the
    noncentral t distribution; about (z_0.975 + z_0.8)^2 (deviation / difference)^2 = 7.85 (...).
    Infinite if the difference is 0, or more than MOST_SEEDS are needed.
    """
    from scipy.special import ndtri

    if difference == 0:
        return math.inf
    ratio = deviation / abs(difference)
    if not math.isfinite(ratio) or ratio > MOST_SEEDS:
        return math.inf
    about = (float(ndtri((1 + LEVEL) / 2)) + float(ndtri(POWER))) ** 2 * ratio**2
    if about > MOST_SEEDS:
        return math.inf
    n = max(2, math.floor(about))
    while power(n, ratio, paired=paired) < POWER:
        n += 1
    return n


def power(n: int, ratio: float, *, paired: bool) -> float:
    """The probability that the t test of `seeds_needed` with n seeds finds the difference.

    It is E[P(|Z + shift| > bound S)] over the estimated deviation S, with chi^2 = freedom S^2: a
    mean over POINTS equally probable values of S. scipy's noncentral t is nan for large shifts.

    ratio: the standard deviation of A - B over the difference.
    """
    from scipy.special import chdtri, ndtr, stdtrit

    if ratio == 0:
        return 1.0
    freedom, shift = (n - 1) * (1 if paired else 2), math.sqrt(n) / ratio
    bound = float(stdtrit(freedom, (1 + LEVEL) / 2))
    s_p = np.sqrt(chdtri(freedom, (np.arange(POINTS) + 0.5) / POINTS) / freedom)
    return float(np.mean(ndtr(shift - bound * s_p) + ndtr(-shift - bound * s_p)))


def wrong_sign(difference: float, deviation: float, n: int) -> float:
    """The probability that the mean of n normal differences has the wrong sign.

    deviation: as in `seeds_needed`.
    """
    from scipy.special import ndtr

    if deviation == 0:
        return 0.5 if difference == 0 else 0.0
    return float(ndtr(-abs(difference) * math.sqrt(n) / deviation))

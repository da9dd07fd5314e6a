"""Scores of codes [n, l] against the factors [n, f], whole numbers, that made their images.

All are between 0 and 1, and higher is better. They do not depend on the order or sign of units.

A factor of one value is left out: there is nothing to tell about it, and what the papers divide by
(its entropy, its variance) is 0. If no factor varies, a score is NaN; so is one that tells factors
apart, of fewer than two.
"""

import math

import numpy as np
from jaxtyping import Float, Int

from vae_jax.evaluation.latents import ACTIVE, activity

BINS = 20  # equal-width bins of a code (Locatello et al. 2019); more if a factor has more values


def varying(factors_nf: Int[np.ndarray, "n f"]) -> Int[np.ndarray, "n v"]:
    """The factors that have several values."""
    return factors_nf[:, (factors_nf != factors_nf[:1]).any(axis=0)]


def standardised(values_nc: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    """Scales each column to mean 0 and variance 1; one that does not vary becomes 0."""
    spread_c = values_nc.std(axis=0)
    return (values_nc - values_nc.mean(axis=0)) / np.where(spread_c > 0, spread_c, 1.0)


def in_bins(codes_nl: Float[np.ndarray, "n l"], bins: int) -> Int[np.ndarray, "n l"]:
    """The bin number of each code; its bins have equal width, from its minimum to its maximum."""
    low, high = codes_nl.min(axis=0), codes_nl.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum((bins * (codes_nl - low) / width).astype(int), bins - 1)


def mutual_information(a_n: Int[np.ndarray, " n"], b_n: Int[np.ndarray, " n"]) -> float:
    """I(a; b) of the joint histogram, nats; too high by about (values of a - 1)(of b - 1) / 2n."""
    joint = np.zeros((a_n.max() + 1, b_n.max() + 1))
    np.add.at(joint, (a_n, b_n), 1 / len(a_n))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float(np.sum(joint[some] * np.log(joint[some] / apart[some])))


def information(a_n: Int[np.ndarray, " n"], b_n: Int[np.ndarray, " n"]) -> float:
    """I(a; b) minus its bias, in nats; 0 where it is no more than independent a and b can have.

    The bias is (pairs of values - values of a - values of b + 1) / 2n, where only values and pairs
    that occur are counted. For independent a and b, 2 n I is about chi-squared.

    References: Miller 1955, Note on the bias of information estimates.
    """
    values_a, values_b = len(np.unique(a_n)), len(np.unique(b_n))
    pairs = len(np.unique(a_n * (b_n.max() + 1) + b_n))
    degrees = (values_a - 1) * (values_b - 1)
    chance = (degrees + 4 * np.sqrt(2 * degrees)) / (2 * len(a_n))
    estimate = mutual_information(a_n, b_n)
    if estimate <= chance + 1e-9:
        return 0.0
    return estimate - (pairs - values_a - values_b + 1) / (2 * len(a_n))


def information_matrix(
    codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]
) -> Float[np.ndarray, "l f"]:
    """`information` of every code and factor; bins: `BINS`, or a factor's values if more."""
    binned_nl = in_bins(codes_nl, max(BINS, int(factors_nf.max()) + 1))
    return np.array([[information(c, f) for f in factors_nf.T] for c in binned_nl.T])


def largest_gap(score_lf: Float[np.ndarray, "l f"]) -> Float[np.ndarray, " f"]:
    """The largest score of a code minus the second largest, for each factor."""
    sorted_lf = np.sort(score_lf, axis=0)
    return sorted_lf[-1] - (sorted_lf[-2] if len(sorted_lf) > 1 else 0.0)


def mutual_information_gap(
    codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]
) -> float:
    """mean over factors of (largest - second largest I(code; factor)) / H(factor).

    References: Chen et al. 2018, equation 6; Locatello et al. 2019, for binned posterior means.
    """
    factors_nf = varying(factors_nf)
    if not factors_nf.shape[1]:
        return math.nan
    gap_f = largest_gap(information_matrix(codes_nl, factors_nf))
    entropy_f = np.array([information(f, f) for f in factors_nf.T])
    return float(np.mean(gap_f / np.maximum(entropy_f, 1e-12)))


def sap(codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]) -> float:
    """mean over factors of (largest - second largest R^2): separated attribute predictability.

    R^2 of the linear regression of a factor on one code is their squared correlation. It is the
    paper's score for ordered factors, with nothing to tune and nothing random. For categories, the
    paper uses the balanced accuracy of thresholds. Locatello et al. 2019 use the accuracy of a
    linear SVM for all factors, where even a perfect code scores at most 1 - chance. Here a category
    counts as its number: a code with the categories in another order scores less than 1. A unit
    that is not active has R^2 0.

    References: Kumar et al. 2018, section 3.
    """
    factors_nf = varying(factors_nf)
    if not factors_nf.shape[1]:
        return math.nan
    r_squared_lf = np.square(standardised(codes_nl).T @ standardised(factors_nf) / len(codes_nl))
    active_l = activity(codes_nl) > ACTIVE
    return float(np.mean(largest_gap(np.where(active_l[:, None], r_squared_lf, 0.0))))


def modularity(codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]) -> float:
    """mean over codes of 1 - (sum of I^2 except the largest) / (largest I^2 (factors - 1)).

    A code without information on any factor counts 0.

    References: Ridgeway and Mozer 2018, equation 2.
    """
    factors_nf = varying(factors_nf)
    if factors_nf.shape[1] < 2:
        return math.nan
    squares_lf = np.square(information_matrix(codes_nl, factors_nf))
    largest_l = squares_lf.max(axis=1)
    others_l = squares_lf.sum(axis=1) - largest_l
    spread_l = others_l / np.maximum(largest_l * (factors_nf.shape[1] - 1), 1e-12)
    return float(np.mean(np.where(largest_l > 0, 1 - spread_l, 0.0)))


def factor_vae_score(
    seed: int,
    codes_nl: Float[np.ndarray, "n l"],
    factors_nf: Int[np.ndarray, "n f"],
    votes: int = 800,
    examples: int = 64,
) -> float:
    """How often the code that varies least tells which factor was held fixed.

    A vote picks a factor, one of its values, and `examples` images that have it; it records the
    code whose variance among these, divided by its variance over all images, is least. A classifier
    that maps each code to its most frequent factor is fitted to half of the votes and scored on the
    other half. Only active units are used. Images are picked from the given ones.

    References: Kim and Mnih 2018, section 4.
    """
    factors_nf = varying(factors_nf)
    if factors_nf.shape[1] < 2:
        return math.nan
    rng = np.random.default_rng(seed)
    activity_l = activity(codes_nl)
    active_l = activity_l > ACTIVE
    if not active_l.any():
        return 0.0
    codes_nl = codes_nl[:, active_l] / np.sqrt(activity_l[active_l])
    counts = np.zeros((2, codes_nl.shape[1], factors_nf.shape[1]))
    for vote in range(2 * votes):
        factor = rng.integers(factors_nf.shape[1])
        value = factors_nf[rng.integers(len(factors_nf)), factor]
        rows = rng.choice(np.flatnonzero(factors_nf[:, factor] == value), examples)
        counts[vote % 2, np.argmin(codes_nl[rows].var(axis=0)), factor] += 1
    made, scored = counts
    guess_l = made.argmax(axis=1)
    return float(scored[np.arange(len(guess_l)), guess_l].sum() / votes)

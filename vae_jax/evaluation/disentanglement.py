"""Scores of codes [n, l] against the factors [n, f], whole numbers, that their images were made of.

All are between 0 and 1, the higher the better, and do not change with the order or sign of units.
"""

import numpy as np
from jaxtyping import Float, Int

from vae_jax.evaluation.latents import ACTIVE, activity

BINS = 20  # of each code, equally wide (Locatello et al. 2019); more where a factor has more values


def in_bins(codes_nl: Float[np.ndarray, "n l"], bins: int) -> Int[np.ndarray, "n l"]:
    """Each code as the number of its bin, the bins equally wide from its least to its largest."""
    low, high = codes_nl.min(axis=0), codes_nl.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum((bins * (codes_nl - low) / width).astype(int), bins - 1)


def mutual_information(a_n: Int[np.ndarray, " n"], b_n: Int[np.ndarray, " n"]) -> float:
    """I(a; b) of the joint histogram, in nats: high by about (values of a - 1)(of b - 1) / 2n."""
    joint = np.zeros((a_n.max() + 1, b_n.max() + 1))
    np.add.at(joint, (a_n, b_n), 1 / len(a_n))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float(np.sum(joint[some] * np.log(joint[some] / apart[some])))


def information_matrix(
    codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]
) -> Float[np.ndarray, "l f"]:
    """I(code; factor) of every pair, in nats, codes in `BINS` or as many as a factor's values.

    0 where it is what independent ones have by chance: 2 n I is then about chi-squared.
    """
    binned_nl = in_bins(codes_nl, max(BINS, int(factors_nf.max()) + 1))
    found_lf = np.array([[mutual_information(c, f) for f in factors_nf.T] for c in binned_nl.T])
    degrees_lf = np.outer(binned_nl.max(axis=0), factors_nf.max(axis=0))
    chance_lf = (degrees_lf + 4 * np.sqrt(2 * degrees_lf)) / (2 * len(codes_nl))
    return np.where(found_lf > chance_lf + 1e-9, found_lf, 0.0)


def mutual_information_gap(
    codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]
) -> float:
    """mean over factors of (the largest - the second largest I(code; factor)) / H(factor).

    References: Chen et al. 2018, equation 6; on binned posterior means, as Locatello et al. 2019.
    """
    information_lf = np.sort(information_matrix(codes_nl, factors_nf), axis=0)
    second_f = information_lf[-2] if len(information_lf) > 1 else 0.0
    entropy_f = np.array([mutual_information(f, f) for f in factors_nf.T])
    return float(np.mean((information_lf[-1] - second_f) / np.maximum(entropy_f, 1e-12)))


def modularity(codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]) -> float:
    """mean over codes of 1 - sum of its squared I but the largest / (largest^2 (factors - 1)).

    A code that knows nothing of any factor counts 0.

    References: Ridgeway and Mozer 2018, equation 2.
    """
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

    A vote: a factor, one of its values, `examples` images that have it, and the code of the least
    variance among them, over its variance in all. The classifier that takes each code's most
    frequent factor is made of half of the votes and scored on the other. Units that are not
    active take no part. The images are drawn from those there are, not made anew.

    References: Kim and Mnih 2018, section 4.
    """
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

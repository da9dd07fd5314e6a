"""Scores of codes [n, l]: how well a classifier or a forest predicts from them the labels [n] of
their images, or the factors [n, f] that the images were made from.

Labels and factors are whole numbers. All scores are between 0 and 1, and higher is better. They do
not depend on the sign of units, nor on their order, except for a forest's or solver's randomness.
A factor of one value is left out; without another, a score is NaN. They need scikit-learn.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vae_jax.errors import UserError
from vae_jax.evaluation.disentanglement import standardised, varying
from vae_jax.evaluation.latents import ACTIVE, activity
from vae_jax.words import to_install

NEIGHBOURS = 5
ROWS = 5_000  # the most rows of codes and factors: half to fit, half to score
TREES = 50  # in a forest; there is one forest for each factor
WEAK = 1e4  # 1 / penalty: weak, to tell tens of neighbouring values of a factor apart
ITERATIONS = 5_000  # the most iterations of the classifiers' solver


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness."""

    disentanglement: float
    completeness: float
    informativeness: float


class Halves(NamedTuple):
    """Rows [h] to fit and rows [t] to score on; the codes have mean 0 and variance 1."""

    codes_hl: Float[np.ndarray, "h l"]
    factors_hf: Int[np.ndarray, "h f"]
    codes_tl: Float[np.ndarray, "t l"]
    factors_tf: Int[np.ndarray, "t f"]


def scikit_learn() -> Any:
    """The package scikit-learn, with the modules that are used here.

    Raises:
      UserError: it is not installed.
    """
    try:
        import sklearn.ensemble
        import sklearn.linear_model
        import sklearn.metrics
        import sklearn.neighbors
        import sklearn.pipeline
        import sklearn.preprocessing
    except ImportError as error:
        raise UserError(f"probes of codes need scikit-learn: {to_install('evaluation')}") from error
    return sklearn


def neighbour_accuracy(
    codes_nl: Float[np.ndarray, "n l"],
    labels_n: Int[np.ndarray, " n"],
    test_codes_ml: Float[np.ndarray, "m l"],
    test_labels_m: Int[np.ndarray, " m"],
) -> float:
    """The accuracy of a 5-nearest-neighbour classifier; a tied vote goes to the lowest label.

    Raises:
      UserError: scikit-learn is not installed, or there are fewer codes than neighbours.
    """
    neighbors = scikit_learn().neighbors
    if len(codes_nl) < NEIGHBOURS:
        raise UserError(f"the {NEIGHBOURS} nearest codes need as many; there are {len(codes_nl)}")
    classifier = neighbors.KNeighborsClassifier(NEIGHBOURS).fit(codes_nl, labels_n)
    return float(classifier.score(test_codes_ml, test_labels_m))


def linear_accuracy(
    codes_nl: Float[np.ndarray, "n l"],
    labels_n: Int[np.ndarray, " n"],
    test_codes_ml: Float[np.ndarray, "m l"],
    test_labels_m: Int[np.ndarray, " m"],
) -> float:
    """The fraction of test labels that a linear classifier gets right.

    It is a logistic regression on standardised codes. Its L2 penalty of weight 1 is added to the
    loss summed over examples, so it is negligible for thousands of them.

    Raises:
      UserError: scikit-learn is not installed.
    """
    sklearn = scikit_learn()
    if len(np.unique(labels_n)) == 1:  # nothing to learn
        return float(np.mean(test_labels_m == labels_n[0]))
    classifier = sklearn.pipeline.make_pipeline(
        sklearn.preprocessing.StandardScaler(),
        sklearn.linear_model.LogisticRegression(max_iter=ITERATIONS),
    )
    return float(classifier.fit(codes_nl, labels_n).score(test_codes_ml, test_labels_m))


def halves(
    seed: int, codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]
) -> Halves:
    """The rows in random order, `ROWS` at most, in two halves."""
    rows = np.random.default_rng(seed).permutation(len(codes_nl))[:ROWS]
    learn, test = np.array_split(rows, 2)
    codes_nl = standardised(codes_nl)
    return Halves(codes_nl[learn], factors_nf[learn], codes_nl[test], factors_nf[test])


def evenness(weights_rc: Float[np.ndarray, "r c"]) -> Float[np.ndarray, " r"]:
    """H(a row's shares) / log c: 0 if one entry has all; 1 if all are equal, or the row is zero."""
    total_r = weights_rc.sum(axis=1)
    share_rc = weights_rc / np.where(total_r > 0, total_r, 1.0)[:, None]
    entropy_r = -np.sum(share_rc * np.log(np.where(share_rc > 0, share_rc, 1.0)), axis=1)
    return np.where(total_r > 0, entropy_r / np.log(max(weights_rc.shape[1], 2)), 1.0)


def disentanglement(importance_lf: Float[np.ndarray, "l f"]) -> float:
    """sum over codes of (the code's share of all importance) (1 - H(factor | code) / log f)."""
    share_l = importance_lf.sum(axis=1) / max(importance_lf.sum(), 1e-12)
    return float(np.sum(share_l * (1 - evenness(importance_lf))))


def completeness(importance_lf: Float[np.ndarray, "l f"]) -> float:
    """mean over factors of 1 - H(code | factor) / log l; 0 for a factor that no code predicts."""
    return float(np.mean(1 - evenness(importance_lf.T)))


def dci(seed: int, codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]) -> DCI:
    """Disentanglement, completeness and informativeness.

    A random forest predicts each factor's number from all codes. A code's importance for a factor
    is the share of the variance reduction that is due to splits on it, averaged over trees.
    Informativeness is the mean over factors of R^2 on the other half of the rows, clipped at 0. The
    paper reports an error instead, the root of 1 - R^2; Locatello et al. 2019 report the accuracy
    of boosted trees. Trees can predict a category from a code in which the categories have any
    order. A factor that cannot be predicted spreads its importance over all codes, so it lowers
    the first two scores too.

    References: Eastwood and Williams 2018, section 2.
    """
    forests = scikit_learn().ensemble
    factors_nf = varying(factors_nf)
    if not factors_nf.shape[1]:
        return DCI(math.nan, math.nan, math.nan)
    data = halves(seed, codes_nl, factors_nf)
    importances, r_squared = [], []
    for learn, test in zip(data.factors_hf.T, data.factors_tf.T, strict=True):
        forest = forests.RandomForestRegressor(TREES, random_state=seed)
        forest.fit(data.codes_hl, learn)
        importances.append(forest.feature_importances_)
        error = np.mean(np.square(forest.predict(data.codes_tl) - test))
        r_squared.append(max(0.0, 1 - error / test.var()) if test.var() > 0 else 0.0)
    importance_lf = np.stack(importances, axis=1)
    return DCI(
        disentanglement(importance_lf), completeness(importance_lf), float(np.mean(r_squared))
    )


def explicitness(
    seed: int, codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]
) -> float:
    """mean over factors of the mean over their values of 2 (AUC - 1/2), one value against the rest.

    A multinomial logistic regression of the factor on all codes gives each value's probability;
    AUC is the area under its ROC curve on the other half of the rows. The paper fits one logistic
    regression for each value instead: its boundary is straight, so if the values lie along a line,
    it cannot separate a middle value from the rest. Rotating the codes does not change the score.

    References: Ridgeway and Mozer 2018, section 3.
    """
    sklearn = scikit_learn()
    factors_nf = varying(factors_nf)
    if not factors_nf.shape[1]:
        return math.nan
    data = halves(seed, codes_nl, factors_nf)
    scores = []
    for learn, test in zip(data.factors_hf.T, data.factors_tf.T, strict=True):
        values = np.intersect1d(learn, test)
        if len(values) < 2:
            scores.append(0.0)
            continue
        classifier = sklearn.linear_model.LogisticRegression(C=WEAK, max_iter=ITERATIONS)
        classifier.fit(data.codes_hl, learn)
        columns = np.searchsorted(classifier.classes_, values)
        probability_tv = classifier.predict_proba(data.codes_tl)[:, columns]
        areas = [
            sklearn.metrics.roc_auc_score(test == value, probability_t)
            for value, probability_t in zip(values, probability_tv.T, strict=True)
        ]
        scores.append(2 * np.mean(areas) - 1)
    return max(0.0, float(np.mean(scores)))


def beta_vae_score(
    seed: int,
    codes_nl: Float[np.ndarray, "n l"],
    factors_nf: Int[np.ndarray, "n f"],
    votes: int = 800,
    pairs: int = 64,
) -> float:
    """The accuracy of a linear classifier that tells which factor the images of pairs share.

    A vote picks a factor and `pairs` pairs of images, both images of a pair with the same value of
    it. Its features are each code's mean |difference| over the pairs, standardised over votes. A
    logistic regression is fitted to half of the votes and scored on the other half, by plain
    accuracy; chance is 1 / factors. Only active units are used; if there are none, the score is
    chance. Images are picked from the given ones. Rotated codes can score 1 too,
    as the classifier weighs all codes.

    References: Higgins et al. 2017, section 3.
    """
    classifiers = scikit_learn().linear_model
    factors_nf = varying(factors_nf)
    n, num_factors = factors_nf.shape
    if num_factors < 2:
        return math.nan
    active_l = activity(codes_nl) > ACTIVE
    if not active_l.any():
        return 1 / num_factors
    codes_nl = standardised(codes_nl[:, active_l])
    rng = np.random.default_rng(seed)
    held_v = rng.integers(num_factors, size=2 * votes)
    difference_vl = np.empty((2 * votes, codes_nl.shape[1]))
    for factor in range(num_factors):
        ours = np.flatnonzero(held_v == factor)
        order = np.argsort(factors_nf[:, factor], kind="stable")
        in_order = factors_nf[order, factor]
        first_vp = rng.integers(n, size=(len(ours), pairs))
        low_vp = np.searchsorted(in_order, in_order[first_vp], "left")
        alike_vp = np.searchsorted(in_order, in_order[first_vp], "right") - low_vp
        step_vp = 1 + rng.integers(np.maximum(alike_vp - 1, 1))
        second_vp = low_vp + (first_vp - low_vp + step_vp) % alike_vp
        for vote, a_p, b_p in zip(ours, order[first_vp], order[second_vp], strict=True):
            difference_vl[vote] = np.abs(codes_nl[a_p] - codes_nl[b_p]).mean(axis=0)
    difference_vl = standardised(difference_vl)
    classifier = classifiers.LogisticRegression(max_iter=ITERATIONS)
    classifier.fit(difference_vl[:votes], held_v[:votes])
    return float(classifier.score(difference_vl[votes:], held_v[votes:]))

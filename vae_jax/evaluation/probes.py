"""Scores of codes [n, l] by what a classifier or a forest learns from them: the labels [n] of their
images, or the factors [n, f] that these were made of.

Labels and factors are whole numbers. All scores are between 0 and 1, the higher the better, and do
not change with the sign of units, nor with their order but for a forest's or solver's randomness.
They need scikit-learn.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vae_jax.errors import UserError
from vae_jax.evaluation.disentanglement import standardised
from vae_jax.evaluation.latents import ACTIVE, activity

NEIGHBOURS = 5
ROWS = 5_000  # of codes and factors, at most: half to learn from, half to be scored on
TREES = 50  # of a forest, one forest a factor
WEAK = 1e4  # 1 / penalty of the classifiers that tell up to tens of neighbouring values apart
ITERATIONS = 5_000  # of the classifiers' solver, at most


class DCI(NamedTuple):
    """The three scores."""

    disentanglement: float
    completeness: float
    informativeness: float


class Halves(NamedTuple):
    """Rows [h] to learn from and others [t] to be scored on, codes of mean 0 and variance 1."""

    codes_hl: Float[np.ndarray, "h l"]
    factors_hf: Int[np.ndarray, "h f"]
    codes_tl: Float[np.ndarray, "t l"]
    factors_tf: Int[np.ndarray, "t f"]


def scikit_learn() -> Any:
    """The package, with the modules that are used here.

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
        raise UserError(
            "probes of codes need scikit-learn: pip install -e '.[evaluation]'"
        ) from error
    return sklearn


def neighbour_accuracy(
    codes_nl: Float[np.ndarray, "n l"],
    labels_n: Int[np.ndarray, " n"],
    test_codes_ml: Float[np.ndarray, "m l"],
    test_labels_m: Int[np.ndarray, " m"],
) -> float:
    """The fraction of test labels that most of the 5 nearest codes have; of a tie, the lowest.

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

    A logistic regression of standardised codes, with an L2 penalty of weight 1 on the sum over
    examples, which for thousands of them is next to none.

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
    """Two halves of the rows in random order, of `ROWS` of them if there are more."""
    rows = np.random.default_rng(seed).permutation(len(codes_nl))[:ROWS]
    learn, test = np.array_split(rows, 2)
    codes_nl = standardised(codes_nl)
    return Halves(codes_nl[learn], factors_nf[learn], codes_nl[test], factors_nf[test])


def evenness(weights_rc: Float[np.ndarray, "r c"]) -> Float[np.ndarray, " r"]:
    """H of each row's shares / log c: 0 where one has all, 1 where all have the same or nothing."""
    total_r = weights_rc.sum(axis=1)
    share_rc = weights_rc / np.where(total_r > 0, total_r, 1.0)[:, None]
    entropy_r = -np.sum(share_rc * np.log(np.where(share_rc > 0, share_rc, 1.0)), axis=1)
    return np.where(total_r > 0, entropy_r / np.log(max(weights_rc.shape[1], 2)), 1.0)


def disentanglement(importance_lf: Float[np.ndarray, "l f"]) -> float:
    """sum over codes of (the code's share of all importance) (1 - H(factor | code) / log f)."""
    share_l = importance_lf.sum(axis=1) / max(importance_lf.sum(), 1e-12)
    return float(np.sum(share_l * (1 - evenness(importance_lf))))


def completeness(importance_lf: Float[np.ndarray, "l f"]) -> float:
    """mean over factors of 1 - H(code | factor) / log l; one that no code predicts counts 0."""
    return float(np.mean(1 - evenness(importance_lf.T)))


def dci(seed: int, codes_nl: Float[np.ndarray, "n l"], factors_nf: Int[np.ndarray, "n f"]) -> DCI:
    """Disentanglement, completeness and informativeness.

    A random forest predicts each factor's number from all codes; a code's importance is the
    variance that splits on it take away, as shares of a factor's, averaged over trees.
    Informativeness is the mean over factors of R^2 on the other half of the rows, 0 if below; the
    paper gives the root of 1 - R^2, an error, Locatello et al. 2019 the accuracy of boosted trees.
    Trees predict a category from a code in whatever order that has them. A factor that cannot be
    predicted has its importance spread over all codes, and lowers the first two scores too.

    References: Eastwood and Williams 2018, section 2.
    """
    forests = scikit_learn().ensemble
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
    """mean over factors, of the mean over values, of 2 (AUC - 1/2): each value against the rest.

    AUC is the area under the ROC curve, on the other half of the rows, of the value's probability
    in a multinomial logistic regression of the factor on all codes. The paper fits a logistic
    regression for each value: that has a straight boundary, and cannot single out the middle ones
    of values that lie along a line. Any rotation of the codes has the same explicitness.

    References: Ridgeway and Mozer 2018, section 3.
    """
    sklearn = scikit_learn()
    data = halves(seed, codes_nl, factors_nf)
    scores = []
    for learn, test in zip(data.factors_hf.T, data.factors_tf.T, strict=True):
        values = np.intersect1d(learn, test)
        if len(values) < 2:
            scores.append(0.0)
            continue
        classifier = sklearn.linear_model.LogisticRegression(C=WEAK, max_iter=ITERATIONS)
        classifier.fit(data.codes_hl, learn)
        at = np.searchsorted(classifier.classes_, values)
        probability_tv = classifier.predict_proba(data.codes_tl)[:, at]
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
    """How often a linear classifier tells which factor the images of many pairs have in common.

    A vote: a factor, `pairs` pairs of images, the two of each alike in it, and the mean over pairs
    of |difference| of each code, over its spread among votes. Logistic regression learns from half
    of the votes and is scored on the other: plain accuracy, chance 1 / factors. Units that are not
    active take no part; without any, the score is chance. The images are picked from those there
    are, not made anew. A rotated code can score 1 too: the classifier weighs all codes.

    References: Higgins et al. 2017, section 3.
    """
    classifiers = scikit_learn().linear_model
    n, num_factors = factors_nf.shape
    active_l = activity(codes_nl) > ACTIVE
    if not active_l.any() or num_factors < 2:
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

"""Ranks models by disentanglement without knowing the factors."""

import numpy as np
from jaxtyping import Float

INFORMATIVE = 0.01  # nats: a unit with a greater mean KL is informative (Duan et al. 2020)


def standard_ranks(codes_nl: Float[np.ndarray, "n l"]) -> Float[np.ndarray, "n l"]:
    """Each code's ranks, ties averaged, with mean 0 and variance 1, or 0 where it does not vary."""
    from scipy.stats import rankdata  # slow to import, and only this metric needs it

    ranks_nl = np.ascontiguousarray(rankdata(codes_nl, axis=0))  # the order in which sums are made
    spread_l = ranks_nl.std(axis=0)
    return (ranks_nl - ranks_nl.mean(axis=0)) / np.where(spread_l > 0, spread_l, 1.0)


def relative_strength(similarity_ab: Float[np.ndarray, "a b"]) -> float:
    """(sum_b max_a R^2 / sum_a R + sum_a max_b R^2 / sum_b R) / (number of a + number of b).

    1 if every unit equals one unit of the other model and is unlike the rest; 0 without units.
    """
    total = 0.0
    for axis in (0, 1):
        if similarity_ab.shape[axis] > 0:
            largest = similarity_ab.max(axis=axis)
            total += np.sum(largest**2 / np.maximum(similarity_ab.sum(axis=axis), 1e-12))
    return float(total / max(sum(similarity_ab.shape), 1))


def udr(
    codes_knl: Float[np.ndarray, "k n l"], kl_kl: Float[np.ndarray, "k l"]
) -> Float[np.ndarray, " k"]:
    """Unsupervised disentanglement ranking: how similar each model's units are to other models'.

    A model's score is the median over the other models of `relative_strength` of R(a, b), the
    absolute Spearman correlation of the two models' units (the paper's other choice is the
    coefficients of a lasso). Only informative units count, those with a mean KL above 0.01 nats; a
    model without any scores 0. Compare models with the same hyperparameters and different seeds.

    Args:
      codes_knl: posterior means of the same n images.
      kl_kl: the mean KL of each unit, nats.

    Raises:
      ValueError: there is only one model.

    References: Duan et al. 2020, Unsupervised model selection for variational disentangled
      representation learning.
    """
    models = len(codes_knl)
    if models < 2:
        raise ValueError("a model is ranked by others: at least 2 models")
    ranks = [
        standard_ranks(codes_nl[:, kl_l > INFORMATIVE])
        for codes_nl, kl_l in zip(codes_knl, kl_kl, strict=True)
    ]
    strength_kk = np.zeros((models, models))
    for i in range(models):
        for j in range(i):
            similarity_ab = np.abs(ranks[i].T @ ranks[j]) / len(ranks[i])
            strength_kk[i, j] = strength_kk[j, i] = relative_strength(similarity_ab)
    return np.array([np.median(np.delete(row, i)) for i, row in enumerate(strength_kk)])

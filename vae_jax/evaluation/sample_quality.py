"""Compares generated with real images by their features [n, f]: as sets, and as Gaussians.

Every score depends on the feature space, on the number of images and, except for the Fréchet
distance, on the number of neighbours. Compare only scores for which all of these are equal.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vae_jax.errors import UserError

NEIGHBOURS = 5  # as in Naeem et al.; Kynkäänniemi et al. use 3
PAIRS = 1_000_000  # the number of distances in memory at a time


class SampleQuality(NamedTuple):
    """Scores of a generated set.

    A point's ball reaches to its k-th nearest neighbour in its own set, which lies in it.

    For two sets of equal size from one distribution, the expected density is 1, and the expected
    coverage is 1 - 2^-k in the limit. For identical sets they are 1 + 1/k, without ties, and 1.
    """

    precision: float  # the fraction of generated points that lie in the ball of a real one
    recall: float  # the fraction of real points that lie in the ball of a generated one
    density: float  # the mean number of real balls that a generated point lies in, over k
    coverage: float  # the fraction of real points that have a generated one in their ball
    frechet_distance: float  # of the Gaussians with the sets' means and covariances
    kid: float  # the kernel distance: squared_mmd by a polynomial kernel


def sample_quality(
    real_nf: Float[np.ndarray, "n f"],
    made_mf: Float[np.ndarray, "m f"],
    neighbours: int = NEIGHBOURS,
) -> SampleQuality:
    """Precision, recall, density and coverage with k = `neighbours`, and two distances.

    All are NaN if any feature is not finite.

    Raises:
      UserError: a set has no more points than `neighbours`.

    References: Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing
    Generative Models; Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for Generative
    Models.
    """
    if not 1 <= neighbours < min(len(real_nf), len(made_mf)):
        raise UserError(
            f"sample quality by {neighbours} neighbours takes at least {neighbours + 1} samples, "
            f"and 1 neighbour or more; there are {len(real_nf)} real and {len(made_mf)} made ones"
        )
    if not (np.isfinite(real_nf).all() and np.isfinite(made_mf).all()):
        return SampleQuality(*len(SampleQuality._fields) * [np.nan])
    real, made = on_a_grid(real_nf, made_mf)
    real_radius_n, made_radius_m = squared_radii(real, neighbours), squared_radii(made, neighbours)
    balls_m = np.zeros(len(made), int)  # how many real balls each generated point lies in
    recalled, covered = 0, 0
    for rows, squared_bm in squared_distances(real, made):
        in_real_bm = squared_bm <= real_radius_n[rows, None]
        balls_m += in_real_bm.sum(axis=0)
        covered += in_real_bm.any(axis=1).sum()
        recalled += (squared_bm <= made_radius_m).any(axis=1).sum()
    return SampleQuality(
        precision=float(np.mean(balls_m > 0)),
        recall=float(recalled / len(real)),
        density=float(np.mean(balls_m) / neighbours),
        coverage=float(covered / len(real)),
        frechet_distance=frechet_distance(real_nf, made_mf),
        kid=kernel_distance(real_nf, made_mf),
    )


def on_a_grid(
    real_nf: Float[np.ndarray, "n f"], made_mf: Float[np.ndarray, "m f"]
) -> tuple[Float[np.ndarray, "n f"], Float[np.ndarray, "m f"]]:
    """Both sets, centred on their common mean, rounded to a grid, in units of its step.

    With 64 features the step is about 2^-22 of the largest value. Float64 then computes
    |a|^2 + |b|^2 - 2 ab exactly: equal points have distance 0, and ties stay ties, whatever the
    order and the blocks.
    """
    points = np.concatenate([real_nf, made_mf]).astype(np.float64)
    mean_f = points.mean(axis=0)
    # |point| <= 2^bits + 1 steps, the 1 for rounding: |a - b|^2 <= 4 f (2^bits + 1)^2 <= 2^53.
    bits = (50 - (points.shape[1] - 1).bit_length()) // 2
    # A power of 2, so that whole numbers stay whole.
    step = 2.0 ** (np.frexp(np.abs(points - mean_f).max())[1] - bits)
    points = np.rint(points / step) - np.rint(mean_f / step)
    return points[: len(real_nf)], points[len(real_nf) :]


def squared_distances(
    a_nf: Float[np.ndarray, "n f"], b_mf: Float[np.ndarray, "m f"]
) -> Iterator[tuple[slice, Float[np.ndarray, "b m"]]]:
    """|a - b|^2 of every pair, for a block of rows of a at a time."""
    a_n, b_m = (np.square(points).sum(axis=1) for points in (a_nf, b_mf))
    size = max(1, PAIRS // len(b_mf))
    for start in range(0, len(a_nf), size):
        rows = slice(start, start + size)
        squared_bm = (-2 * a_nf[rows]) @ b_mf.T
        squared_bm += a_n[rows, None]
        squared_bm += b_m
        yield rows, squared_bm


def squared_radii(points_nf: Float[np.ndarray, "n f"], neighbours: int) -> Float[np.ndarray, " n"]:
    """The squared distance of each point to its k-th nearest other point."""
    radius_n = np.empty(len(points_nf))
    for rows, squared_bn in squared_distances(points_nf, points_nf):
        squared_bn.partition(neighbours, axis=1)  # number 0 is the point itself
        radius_n[rows] = squared_bn[:, neighbours]
    return radius_n


def frechet_distance(real_nf: Float[np.ndarray, "n f"], made_mf: Float[np.ndarray, "m f"]) -> float:
    """`frechet_of_moments` of both sets' means and (unbiased) covariances.

    Features here are not Inception's, so do not compare it with an FID. The estimate is biased
    upwards, the more so the fewer the points.

    Raises:
      UserError: a set has fewer than two points.
    """
    if min(len(real_nf), len(made_mf)) < 2:
        raise UserError(
            f"a Fréchet distance takes two samples or more; there are {len(real_nf)} real and "
            f"{len(made_mf)} made ones"
        )
    return frechet_of_moments(*moments(real_nf), *moments(made_mf))


def kernel_distance(real_nf: Float[np.ndarray, "n f"], made_mf: Float[np.ndarray, "m f"]) -> float:
    """The squared MMD by the kernel (x . y / f + 1)^3, estimated without bias.

    So it is 0 in expectation for two sets of one distribution, whatever their size, and can be
    below 0. It compares the first three moments. All pairs are used, not subsets of them.

    Features here are not Inception's, so do not compare it with others' KID.

    Raises:
      UserError: a set has fewer than two points.

    References: Bińkowski, Sutherland, Arbel and Gretton 2018, Demystifying MMD GANs, section 3;
    Gretton et al. 2012, lemma 6.
    """
    if min(len(real_nf), len(made_mf)) < 2:
        raise UserError(
            f"a kernel distance takes two samples or more; there are {len(real_nf)} real and "
            f"{len(made_mf)} made ones"
        )
    real, made = (np.asarray(own, np.float64) / own.shape[1] ** 0.5 for own in (real_nf, made_mf))
    of_real, of_made = power_sums(real), power_sums(made)

    def within(points: np.ndarray, sums: tuple[np.ndarray, ...]) -> float:
        """The mean of the kernel over all pairs of two different points."""
        alone = ((np.square(points).sum(axis=1) + 1) ** 3).sum()  # each point with itself
        return (kernel_sum(sums, sums) - alone) / (len(points) * (len(points) - 1))

    between = kernel_sum(of_real, of_made) / (len(real) * len(made))
    return float(within(real, of_real) + within(made, of_made) - 2 * between)


def kernel_sum(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> float:
    """sum_ij (a_i . b_j + 1)^3, by the sums of powers of both sets."""
    return sum(
        times * np.vdot(own, other) for times, own, other in zip((1, 3, 3, 1), a, b, strict=True)
    )


def power_sums(points_nf: Float[np.ndarray, "n f"]) -> tuple[np.ndarray, ...]:
    """The number of points, and the sums of x, x x^T and x x x^T: [f], [f, f], [f, f f].

    As (a . b)^p is the scalar product of the p-fold products of a and b, no pair has to be formed.
    """
    f = points_nf.shape[1]
    cubes = np.zeros((f, f * f))
    size = max(1, PAIRS // (f * f))
    for start in range(0, len(points_nf), size):
        own = points_nf[start : start + size]
        cubes += own.T @ (own[:, :, None] * own[:, None]).reshape(len(own), -1)
    ones = np.array([len(points_nf)], np.float64)
    return ones, points_nf.sum(axis=0), points_nf.T @ points_nf, cubes


def moments(
    points_nf: Float[np.ndarray, "n f"],
) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, "f f"]]:
    """The mean and the covariance."""
    points_nf = np.asarray(points_nf, np.float64)
    mean_f = points_nf.mean(axis=0)
    centred_nf = points_nf - mean_f
    return mean_f, centred_nf.T @ centred_nf / (len(points_nf) - 1)


def frechet_of_moments(
    mean_f: Float[np.ndarray, " f"],
    covariance_ff: Float[np.ndarray, "f f"],
    other_mean_f: Float[np.ndarray, " f"],
    other_covariance_ff: Float[np.ndarray, "f f"],
) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)): the squared 2-Wasserstein distance of Gaussians.

    References: Dowson and Landau 1982; Heusel et al. 2017, GANs Trained by a Two Time-Scale Update
    Rule, equation 6.
    """
    # With S = A A^T, S' = B B^T: S S' has the nonzero eigenvalues of (A^T B)(A^T B)^T. So the trace
    # of its root is the sum of the singular values of A^T B, without the root of a small number.
    overlap = np.linalg.svd(root(covariance_ff).T @ root(other_covariance_ff), compute_uv=False)
    between = np.square(mean_f - other_mean_f).sum()
    within = np.trace(covariance_ff) + np.trace(other_covariance_ff) - 2 * overlap.sum()
    return float(between + max(within, 0.0))


def root(covariance_ff: Float[np.ndarray, "f f"]) -> Float[np.ndarray, "f f"]:
    """A matrix A such that A A^T is the covariance, which may be singular."""
    value_f, vector_ff = np.linalg.eigh(covariance_ff)
    return vector_ff * np.sqrt(np.maximum(value_f, 0.0))

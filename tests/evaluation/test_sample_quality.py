"""The scores of sets made by hand, by brute force, and in expectation; Gaussians' closed forms."""

import itertools
import math

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.evaluation import sample_quality as module
from vae_jax.evaluation.sample_quality import (
    frechet_distance,
    frechet_of_moments,
    kernel_distance,
    on_a_grid,
    sample_quality,
)


def normal(n, f, seed=0):
    return np.random.default_rng(seed).normal(size=(n, f)).astype(np.float32)


def rotation(f, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(f, f)))[0]


def by_hand(real, made, k):
    """Precision, recall, density, coverage, pair by pair, in Python's whole numbers."""

    def squared(a, b):
        return sum((int(x) - int(y)) ** 2 for x, y in zip(a, b, strict=True))

    def radii(points):
        return [
            sorted(squared(p, q) for j, q in enumerate(points) if j != i)[k - 1]
            for i, p in enumerate(points)
        ]

    real_radii, made_radii = radii(real), radii(made)
    in_real = [[squared(a, b) <= r for b in made] for a, r in zip(real, real_radii, strict=True)]
    in_made = [[squared(a, b) <= r for a in real] for b, r in zip(made, made_radii, strict=True)]
    return (
        np.any(in_real, axis=0).mean(),
        np.any(in_made, axis=0).mean(),
        np.sum(in_real) / (k * len(made)),
        np.any(in_real, axis=1).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("values", [2, 4, 1_000])
def test_pair_by_pair_with_ties_and_duplicates(values, k):
    """Few values: many equal points, many equal distances; far from 0, where digits are lost."""
    rng = np.random.default_rng(values)
    real = rng.integers(0, values, (41, 3)) + 30_000
    made = rng.integers(0, values, (29, 3)) + 30_000
    found = sample_quality(real.astype(np.float32), made.astype(np.float32), k)
    assert found[:4] == pytest.approx(by_hand(real, made, k), abs=1e-12)


def test_distances_are_exact():
    """Whole numbers of at most 2^53, as Python has them, of opposite corners too."""
    corner = np.full((1, 64), 777.123)
    real = np.concatenate([normal(30, 64), corner])
    made = np.concatenate([100 * normal(20, 64, seed=1), -corner])
    real, made = on_a_grid(1e3 + real, 1e3 + made)
    ((_, found),) = module.squared_distances(real, made)
    exact = [[sum((int(x) - int(y)) ** 2 for x, y in zip(a, b, strict=True)) for b in made]
             for a in real]  # fmt: skip
    assert 2**50 < max(map(max, exact)) <= 2**53
    assert found.astype(int).tolist() == exact


@pytest.mark.parametrize("pairs", [1, 500, 10_000])
def test_blocks_do_not_change_the_result(pairs, monkeypatch):
    real, made = normal(83, 7), normal(61, 7, seed=1)
    whole = sample_quality(real, made)
    monkeypatch.setattr(module, "PAIRS", pairs)
    found = sample_quality(real, made)
    assert found[:-1] == whole[:-1]
    assert found.kid == pytest.approx(whole.kid, rel=1e-9)


def test_rotating_moving_and_scaling_do_not_change_the_sets():
    real, made = normal(90, 6), 0.7 * normal(80, 6, seed=1)
    found = sample_quality(real, made)
    turned = sample_quality(real @ rotation(6), made @ rotation(6))
    assert turned == pytest.approx(found, rel=1e-5)
    assert sample_quality(50 + 8 * real, 50 + 8 * made)[:4] == found[:4]


def test_equal_sets():
    real = normal(200, 5)
    found = sample_quality(real, real[::-1])
    # Every real ball holds its own centre and 5 others.
    assert found[:4] == (1.0, 1.0, pytest.approx(1 + 1 / 5), 1.0)
    assert found.frechet_distance == pytest.approx(0, abs=1e-12)


def test_one_point_many_times():
    real = np.ones((20, 3))
    assert sample_quality(real, real)[:4] == (1.0, 1.0, 20 / 5, 1.0)
    assert sample_quality(real, real + 1e-3)[:4] == (0.0, 0.0, 0.0, 0.0)


def test_far_apart_sets():
    real = normal(200, 5)
    found = sample_quality(real, real + 1e4)
    assert found[:4] == (0.0, 0.0, 0.0, 0.0)
    assert found.frechet_distance == pytest.approx(5e8)


def test_half_of_the_modes():
    one, other = normal(100, 5), 1e3 + normal(100, 5, seed=1)
    found = sample_quality(np.concatenate([one, other]), one)
    assert found[:4] == (1.0, 0.5, pytest.approx(1.2), 0.5)
    found = sample_quality(one, np.concatenate([one, other]))
    assert found[:4] == (0.5, 1.0, pytest.approx(0.6), 1.0)


def test_real_and_made_change_places():
    real, made = normal(90, 6), 0.7 * normal(80, 6, seed=1)
    there, back = sample_quality(real, made), sample_quality(made, real)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.frechet_distance == pytest.approx(back.frechet_distance)
    assert there.precision > there.recall


def test_expectations_of_one_distribution():
    """E[density] = 1; all of the k nearest of the n - 1 + m others are real: not covered."""
    n, m, k, trials = 20, 15, 3, 1_500
    points = np.random.default_rng(0).normal(size=(trials, n + m, 2))
    found = np.array([sample_quality(own[:n], own[n:], k) for own in points])
    mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(trials)
    coverage = 1 - math.prod((n - 1 - i) / (n - 1 + m - i) for i in range(k))
    assert abs(mean[2] - 1) < 4.4 * error[2]
    assert abs(mean[3] - coverage) < 4.4 * error[3]
    assert max(error[2:4]) < 0.01


@pytest.mark.parametrize("sizes", [(5, 100), (100, 5), (5, 5), (0, 100)])
def test_too_few_samples(sizes):
    with pytest.raises(UserError, match=r"at least 6 samples.*; there are \d+ real"):
        sample_quality(*(normal(n, 3) for n in sizes))
    assert sample_quality(normal(6, 3), normal(6, 3)).recall == 1


def test_no_neighbour():
    with pytest.raises(UserError, match="1 neighbour or more"):
        sample_quality(normal(9, 3), normal(9, 3), neighbours=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_score_nothing(bad):
    made = normal(20, 3)
    made[4, 1] = bad
    assert all(map(np.isnan, sample_quality(normal(20, 3), made)))


def spread(f, seed):
    """A covariance [f, f]."""
    points = np.random.default_rng(seed).normal(size=(3 * f, f))
    return points.T @ points / f


def test_frechet_distance_of_independent_coordinates():
    variance, other = np.array([4.0, 9.0, 0.0]), np.array([1.0, 0.0, 0.0])
    found = frechet_of_moments(np.zeros(3), np.diag(variance), np.ones(3), np.diag(other))
    assert found == pytest.approx(3 + (2 - 1) ** 2 + (3 - 0) ** 2)


@pytest.mark.parametrize("rank", [6, 2])
def test_frechet_distance_of_gaussians_that_a_linear_map_takes_to_each_other(rank):
    """z -> M z, M symmetric, is the best transport from S to M S M: the root's trace is tr(M S)."""
    axes = rotation(6)[:, :rank]
    covariance, linear = axes @ spread(rank, 0) @ axes.T, spread(6, 1)
    image = linear @ covariance @ linear
    exact = np.trace(covariance + image - 2 * linear @ covariance)
    mean, other = np.arange(6.0), np.ones(6)
    found = frechet_of_moments(mean, covariance, other, image)
    assert found == pytest.approx(exact + np.sum((mean - other) ** 2), rel=1e-12)


def test_frechet_distance_of_equal_gaussians_is_0_whatever_their_scale():
    covariance = spread(40, 0)
    for scale in (1e-8, 1.0, 1e8):
        found = frechet_of_moments(
            np.zeros(40), scale * covariance, np.zeros(40), scale * covariance
        )
        assert 0 <= found < 1e-13 * scale * np.trace(covariance)


def test_frechet_distance_of_samples():
    f, n = 4, 300

    def sample(mean, covariance, seed):
        """Of exactly these moments."""
        points = np.random.default_rng(seed).normal(size=(n, f))
        points -= points.mean(axis=0)
        points = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
        return mean + points @ np.linalg.cholesky(covariance).T

    given = [(np.zeros(f), spread(f, 0)), (np.ones(f), spread(f, 1))]
    real, made = (sample(*moments, seed=i) for i, moments in enumerate(given))
    exact = frechet_of_moments(*given[0], *given[1])
    assert frechet_distance(real, made) == pytest.approx(exact, rel=1e-9)
    assert sample_quality(real, made).frechet_distance == pytest.approx(exact, rel=1e-9)


def test_frechet_distance_of_many_samples():
    scale = np.array([1.0, 2.0, 0.5])
    real, made = normal(40_000, 3), 0.3 + scale * normal(40_000, 3, seed=1)
    exact = 3 * 0.3**2 + np.sum((scale - 1) ** 2)
    assert frechet_distance(real, made) == pytest.approx(exact, abs=0.05)


def test_frechet_distance_of_one_sample():
    with pytest.raises(UserError, match="two samples or more; there are 1 real and 5 made"):
        frechet_distance(normal(1, 3), normal(5, 3))


def kernel_by_hand(real, made):
    """The unbiased squared MMD, pair by pair."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    def mean(pairs):
        values = [k(a, b) for a, b in pairs]
        return sum(values) / len(values)

    within = [
        mean((a, b) for i, a in enumerate(own) for j, b in enumerate(own) if i != j)
        for own in (real, made)
    ]
    return sum(within) - 2 * mean((a, b) for a in real for b in made)


@pytest.mark.parametrize("pairs", [7, 1_000_000])
def test_kernel_distance_pair_by_pair(pairs, monkeypatch):
    monkeypatch.setattr(module, "PAIRS", pairs)
    real = normal(9, 4).astype(np.float64)
    made = 1.5 * normal(6, 4, seed=1).astype(np.float64) + 0.5
    assert kernel_distance(real, made) == pytest.approx(kernel_by_hand(real, made), rel=1e-9)


def test_kernel_distance_has_no_bias():
    """The mean over all sets of two points of two values is the distance of the distributions."""
    values, other = np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]])
    every = list(itertools.product(range(2), repeat=2))
    estimates = [
        kernel_distance(values[list(a)], of[list(b)])
        for of in (values, other)
        for a in every
        for b in every
    ]

    def mean(a, b):
        return ((a @ b.T + 1) ** 3).mean()

    exact = mean(values, values) + mean(other, other) - 2 * mean(values, other)
    half = len(every) ** 2
    assert np.mean(estimates[:half]) == pytest.approx(0, abs=1e-12)
    assert min(estimates[:half]) < 0
    assert np.mean(estimates[half:]) == pytest.approx(exact, rel=1e-12)


def test_kernel_distance_of_one_sample():
    with pytest.raises(UserError, match="takes two samples or more; there are 1 real and 3 made"):
        kernel_distance(normal(1, 2), normal(3, 2))

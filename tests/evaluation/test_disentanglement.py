"""Perfect codes, codes that know nothing, and those in between."""

import numpy as np
import pytest

from vae_jax.evaluation.disentanglement import (
    factor_vae_score,
    in_bins,
    modularity,
    mutual_information,
    mutual_information_gap,
)

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, n, 5_000) for n in (3, 6, 40)], axis=1)
PERFECT = FACTORS * np.array([2.0, -0.3, 1.0]) + 1
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
ROTATED = (FACTORS - FACTORS.mean(axis=0)) / FACTORS.std(axis=0) @ ROTATION
INDEPENDENT = RNG.normal(size=(5_000, 3))

SCORES = {
    "mutual_information_gap": mutual_information_gap,
    "modularity": modularity,
    "factor_vae_score": lambda codes, factors: factor_vae_score(0, codes, factors),
}
NOTHING = {"mutual_information_gap": 0.01, "modularity": 0.01, "factor_vae_score": 0.45}


@pytest.mark.parametrize("name", SCORES)
def test_a_perfect_code_scores_1_an_independent_one_little_a_rotated_one_in_between(name):
    score = SCORES[name]
    perfect, rotated, nothing = (score(c, FACTORS) for c in (PERFECT, ROTATED, INDEPENDENT))
    assert perfect == pytest.approx(1, abs=0.01)
    assert nothing < NOTHING[name]
    assert nothing < rotated < 0.999


@pytest.mark.parametrize("name", SCORES)
def test_order_and_sign_of_units_do_not_matter(name):
    codes = ROTATED + 0.3 * INDEPENDENT
    other = -codes[:, [2, 0, 1]]
    # Bins are half open: of 5,000 values a few move to the neighbour when turned around.
    assert SCORES[name](other, FACTORS) == pytest.approx(SCORES[name](codes, FACTORS), abs=0.01)


def test_a_code_twice_has_no_gap():
    twice = np.concatenate([PERFECT, PERFECT], axis=1)
    assert mutual_information_gap(twice, FACTORS) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", SCORES)
def test_codes_that_do_not_vary_score_nothing(name):
    assert SCORES[name](np.zeros((5_000, 3)), FACTORS) == 0


def test_mutual_information_is_the_entropy_of_a_thing_with_itself_and_0_of_independent_ones():
    a = np.repeat([0, 1, 2, 3], 25)
    b = np.tile(np.repeat([0, 1, 2, 3, 4], 5), 4)
    assert mutual_information(a, a) == pytest.approx(np.log(4))
    assert mutual_information(a, b) == pytest.approx(0, abs=1e-12)
    joint = np.array([0, 0, 0, 1, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1, 1, 0])
    p = np.array([[2, 1], [1, 4]]) / 8
    expected = (p * np.log(p / (p.sum(1, keepdims=True) * p.sum(0, keepdims=True)))).sum()
    assert mutual_information(*joint) == pytest.approx(expected)


def test_bins_are_equally_wide():
    assert in_bins(np.array([[0.0], [0.49], [0.51], [1.0]]), 2)[:, 0].tolist() == [0, 0, 1, 1]

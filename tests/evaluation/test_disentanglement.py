"""Perfect codes, codes that know nothing, and those in between."""

import sys
from functools import cache

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.evaluation import probes
from vae_jax.evaluation.disentanglement import (
    factor_vae_score,
    in_bins,
    information,
    modularity,
    mutual_information,
    mutual_information_gap,
    sap,
)

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, n, 5_000) for n in (3, 6, 40)], axis=1)
PERFECT = FACTORS * np.array([2.0, -0.3, 1.0]) + 1
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
ROTATED = (FACTORS - FACTORS.mean(axis=0)) / FACTORS.std(axis=0) @ ROTATION
INDEPENDENT = RNG.normal(size=(5_000, 3))
MIXED = ROTATED + 0.3 * INDEPENDENT
CODES = {
    "perfect": PERFECT,
    "rotated": ROTATED,
    "independent": INDEPENDENT,
    "mixed": MIXED,
    "mixed, in another order and sign": -MIXED[:, [2, 0, 1]],
    "rotated, noisy": ROTATED + INDEPENDENT,
    "constant": np.full((5_000, 3), 0.3),
}


@cache
def dci(codes: str) -> probes.DCI:
    return probes.dci(0, CODES[codes], FACTORS)


@cache
def explicitness_of_few(codes: str) -> float:
    return probes.explicitness(0, CODES[codes], FACTORS[:, :2])


SCORES = {
    "mutual_information_gap": lambda codes: mutual_information_gap(CODES[codes], FACTORS),
    "sap": lambda codes: sap(CODES[codes], FACTORS),
    "modularity": lambda codes: modularity(CODES[codes], FACTORS),
    "factor_vae_score": lambda codes: factor_vae_score(0, CODES[codes], FACTORS),
    "beta_vae_score": lambda codes: probes.beta_vae_score(0, CODES[codes], FACTORS),
    "explicitness": lambda codes: probes.explicitness(0, CODES[codes], FACTORS),
    "explicitness, few values": lambda codes: explicitness_of_few(codes),
    "disentanglement": lambda codes: dci(codes).disentanglement,
    "completeness": lambda codes: dci(codes).completeness,
    "informativeness": lambda codes: dci(codes).informativeness,
}
LITTLE = dict.fromkeys(SCORES, 0.01) | {
    "factor_vae_score": 0.45,  # an accuracy, chance 1/3, of which every code has the best guess
    "beta_vae_score": 0.38,  # an accuracy, chance 1/3
    "explicitness": 0.02,
    "explicitness, few values": 0.02,
}
# A rotated code has all that there is to know, and of beta_vae_score all differences.
BLIND_TO_ROTATION = (
    "beta_vae_score", "explicitness", "explicitness, few values", "informativeness",
)  # fmt: skip
OF_A_FOREST = ("disentanglement", "completeness", "informativeness")


def names(*slow: str) -> list:
    """Every score, those whose learners take seconds marked slow."""
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in SCORES]


@pytest.mark.parametrize("name", names("explicitness"))
def test_a_perfect_code_scores_1_an_independent_one_little_a_rotated_one_in_between(name):
    perfect, rotated, nothing = (SCORES[name](c) for c in ("perfect", "rotated", "independent"))
    assert perfect == pytest.approx(1, abs=0.01)
    assert 0 <= nothing < LITTLE[name]
    if name in BLIND_TO_ROTATION:
        assert 0.95 < rotated <= 1
        rotated = SCORES[name]("rotated, noisy")
    assert LITTLE[name] + 0.01 < rotated < 0.99


@pytest.mark.parametrize("name", names("explicitness", *OF_A_FOREST))
def test_order_and_sign_of_units_do_not_matter(name):
    # Bins are half open: of 5,000 values a few move to the neighbour when turned around.
    # A forest breaks ties by the order of units.
    other = SCORES[name]("mixed, in another order and sign")
    assert other == pytest.approx(SCORES[name]("mixed"), abs=0.01)


@pytest.mark.parametrize("name", names("explicitness"))
def test_codes_that_do_not_vary_score_nothing(name):
    chance = 1 / 3 if name == "beta_vae_score" else 0
    assert SCORES[name]("constant") == pytest.approx(chance, abs=1e-9)


def test_a_code_twice_has_no_gap():
    twice = np.concatenate([PERFECT, PERFECT], axis=1)
    assert mutual_information_gap(twice, FACTORS) == pytest.approx(0, abs=1e-9)
    assert sap(twice, FACTORS) == pytest.approx(0, abs=1e-9)


def test_a_code_alone_has_the_whole_gap():
    assert mutual_information_gap(PERFECT[:, :1], FACTORS[:, :1]) == pytest.approx(1)
    assert sap(PERFECT[:, :1], FACTORS[:, :1]) == pytest.approx(1)


def test_sap_by_hand():
    factor = np.array([[0], [0], [1], [1]])
    codes = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 1]])  # R^2: 1, 1/3, 0
    assert sap(codes[:, [1, 0, 2]].astype(float), factor) == pytest.approx(2 / 3)
    assert sap(codes[:, 1:].astype(float), factor) == pytest.approx(1 / 3)
    inactive = codes * np.array([0.1, 1, 1])  # a variance of 0.0025
    assert sap(inactive, factor) == pytest.approx(1 / 3)


def test_disentanglement_and_completeness_by_hand():
    one_each = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    assert probes.disentanglement(one_each) == pytest.approx(1)
    assert probes.completeness(one_each) == pytest.approx(1)
    alike = np.full((3, 2), 1 / 3)
    assert probes.disentanglement(alike) == pytest.approx(0)
    assert probes.completeness(alike) == pytest.approx(0)
    # Code 0 has 3/4 of all importance, 2 to 1 of the two factors; code 1 has of one alone.
    some = np.array([[1.0, 0.5], [0.0, 0.5]])
    two_to_one = -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    assert probes.disentanglement(some) == pytest.approx(3 / 4 * (1 - two_to_one) + 1 / 4)
    assert probes.completeness(some) == pytest.approx((1 + 0) / 2)
    nothing = np.zeros((3, 2))
    assert probes.disentanglement(nothing) == probes.completeness(nothing) == 0
    one_code = np.array([[1.0, 1.0]])
    assert probes.disentanglement(one_code) == pytest.approx(0)
    assert probes.completeness(one_code) == 1


def test_a_category_can_be_in_any_order():
    shape = FACTORS[:, :1]
    codes = np.concatenate([np.array([0.0, 2.0, 1.0])[shape], INDEPENDENT[:, :1]], axis=1)
    assert mutual_information_gap(codes, shape) == pytest.approx(1)
    assert probes.explicitness(0, codes, shape) == pytest.approx(1, abs=0.01)
    assert probes.dci(0, codes, shape).informativeness == pytest.approx(1)
    assert sap(codes, shape) == pytest.approx(1 / 4, abs=0.03)


@pytest.mark.parametrize(
    "score",
    [
        mutual_information_gap,
        sap,
        modularity,
        pytest.param(lambda *given: factor_vae_score(0, *given), id="factor_vae_score"),
        pytest.param(lambda *given: probes.beta_vae_score(0, *given), id="beta_vae_score"),
        pytest.param(lambda *given: probes.dci(0, *given), id="dci"),
        pytest.param(lambda *given: probes.explicitness(0, *given), id="explicitness"),
    ],
)
def test_a_factor_of_one_value_is_left_out(score):
    """The score is that of the factors that vary; without any there is none."""
    codes, some = PERFECT[:500], FACTORS[:500, :2]
    constant = np.full((500, 1), 3)
    beside = np.concatenate([some[:, :1], constant, some[:, 1:]], axis=1)
    assert score(codes, beside) == pytest.approx(score(codes, some))
    assert np.isnan(score(codes, constant)).all()


def test_what_tells_factors_apart_needs_two():
    for score in (
        modularity,
        lambda *given: factor_vae_score(0, *given),
        lambda *given: probes.beta_vae_score(0, *given),
    ):
        assert np.isnan(score(PERFECT[:500], FACTORS[:500] * np.array([1, 0, 0])))


def test_pairs_of_one_image_do_not_tell_the_factor():
    # Of four images of each value of the first factor, one pair in four would not differ.
    n = np.arange(4_000)
    factors, codes = np.stack([n // 4, n % 2], axis=1), INDEPENDENT[:4_000, :1]
    assert probes.beta_vae_score(0, codes, factors) == pytest.approx(1 / 2, abs=0.05)


@pytest.mark.parametrize("name", ["dci", "explicitness", "beta_vae_score"])
def test_scikit_learn_is_asked_for(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(UserError, match=r"needs? scikit-learn: pip install blackjax scikit"):
        getattr(probes, name)(0, PERFECT, FACTORS)


def test_mutual_information_is_the_entropy_of_a_thing_with_itself_and_0_of_independent_ones():
    a = np.repeat([0, 1, 2, 3], 25)
    b = np.tile(np.repeat([0, 1, 2, 3, 4], 5), 4)
    assert mutual_information(a, a) == pytest.approx(np.log(4))
    assert mutual_information(a, b) == pytest.approx(0, abs=1e-12)
    joint = np.array([0, 0, 0, 1, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1, 1, 0])
    p = np.array([[2, 1], [1, 4]]) / 8
    expected = (p * np.log(p / (p.sum(1, keepdims=True) * p.sum(0, keepdims=True)))).sum()
    assert mutual_information(*joint) == pytest.approx(expected)


def test_information_of_few_examples_is_that_of_many():
    def of(n, estimate):
        rng = np.random.default_rng(n)
        a = rng.integers(0, 40, n)
        b = in_bins((a + 10 * rng.normal(size=n))[:, None], 40)[:, 0]
        return estimate(a, b)

    many = of(400_000, mutual_information)
    assert of(5_000, information) == pytest.approx(many, abs=0.05)
    assert of(5_000, mutual_information) > many + 0.1


def test_bins_are_equally_wide():
    assert in_bins(np.array([[0.0], [0.49], [0.51], [1.0]]), 2)[:, 0].tolist() == [0, 0, 1, 1]

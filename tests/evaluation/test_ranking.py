"""Models that agree, and those that do not."""

import numpy as np
import pytest

from vae_jax.evaluation.ranking import relative_strength, standard_ranks, udr

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(2_000, 4))
ROTATION = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
# A permutation, signs, and a curve that keeps the order; of finitely many rows, independent units
# are not quite uncorrelated: 1 up to their mean |correlation|.
ALIKE = np.stack([CODES, -CODES[:, [2, 0, 3, 1]], np.exp(CODES[:, ::-1])])
INFORMED = np.ones((3, 4))


def test_models_that_agree_up_to_order_and_sign_score_1_a_rotated_one_less():
    assert udr(ALIKE, INFORMED) == pytest.approx(1, abs=0.07)
    with_rotated = udr(np.concatenate([ALIKE, [CODES @ ROTATION]]), np.ones((4, 4)))
    assert with_rotated[:3] == pytest.approx(udr(ALIKE, INFORMED), abs=0.02)
    assert 0.1 < with_rotated[3] < 0.6


def test_uncorrelated_units_score_exactly_1():
    signs = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]).T[:, 1:]
    codes = np.stack([signs, -signs[:, [1, 2, 0]]]).astype(float)
    assert udr(codes, np.ones((2, 3))) == pytest.approx(1)


def test_a_unit_that_is_not_informative_does_not_matter():
    def with_units(units_kn, kl):
        more = np.concatenate([ALIKE, units_kn[:, :, None]], axis=2)
        return udr(more, np.concatenate([INFORMED, np.full((3, 1), kl)], axis=1))

    noise = RNG.normal(size=(3, 2_000))
    assert with_units(noise, 0.009) == pytest.approx(udr(ALIKE, INFORMED))
    assert with_units(noise, 0.011).max() < udr(ALIKE, INFORMED).min() - 0.1
    # Without variance it is like no other, itself included.
    assert with_units(np.zeros((3, 2_000)), 1.0) == pytest.approx(
        4 / 5 * udr(ALIKE, INFORMED), abs=0.02
    )


def test_a_model_without_an_informative_unit_scores_0():
    kl = INFORMED * np.array([[1], [0], [1]])
    scores = udr(ALIKE, kl)
    assert scores[1] == 0
    # The median of two: of the other, and of this one.
    assert scores[[0, 2]] == pytest.approx(udr(ALIKE[[0, 2]], INFORMED[[0, 2]]) / 2)
    assert udr(ALIKE, 0 * INFORMED) == pytest.approx(0)


def test_relative_strength_by_hand():
    similarity = np.array([[0.8, 0.2, 0.0], [0.0, 0.6, 0.0]])
    columns = 0.8**2 / 0.8 + 0.6**2 / 0.8 + 0
    rows = 0.8**2 / 1 + 0.6**2 / 0.6
    assert relative_strength(similarity) == pytest.approx((columns + rows) / 5)
    assert relative_strength(similarity.T) == pytest.approx((columns + rows) / 5)
    assert relative_strength(np.zeros((0, 3))) == relative_strength(np.zeros((0, 0))) == 0


def test_ties_have_one_rank():
    ranks = standard_ranks(np.array([[3.0, 1.0], [1.0, 1.0], [3.0, 1.0], [7.0, 1.0]]))
    expected = np.array([2.5, 1, 2.5, 4]) - 2.5
    assert ranks[:, 0] == pytest.approx(expected / expected.std())
    assert ranks[:, 1].tolist() == [0, 0, 0, 0]


def test_one_model_is_not_ranked():
    with pytest.raises(ValueError, match="at least 2 models"):
        udr(ALIKE[:1], INFORMED[:1])

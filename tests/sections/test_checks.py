"""Values as users and numpy write them, and the ends of their ranges."""

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.sections.checks import flag, increasing, number, seeds, several, text, whole


def test_numpy_s_numbers_are_numbers():
    assert [type(v) for v in several(whole(0))("k", np.arange(3))] == [int] * 3
    found = several(number(0))("k", np.linspace(0.1, 0.3, 3, dtype=np.float32))
    assert found == (0.1, 0.2, 0.3)
    assert type(number(0)("k", np.float64(2))) is float
    assert number(0)("k", np.int32(2)) == 2.0
    assert flag("k", np.bool_(True)) is True
    assert text("k", np.str_("a")) == "a"
    assert seeds("k", np.array([1, 2])) == (1, 2)
    assert increasing("k", np.array([1.0, 2.5])) == (1.0, 2.5)
    with pytest.raises(UserError, match="a whole number"):
        whole(0)("k", np.float32(1.5))
    with pytest.raises(UserError, match="a whole number"):
        whole(0)("k", np.bool_(True))


@pytest.mark.parametrize("value", [10**400, 10**5_000, 1e308, float("inf"), 3.5e38], ids=range(5))
def test_a_number_is_finite_in_float32(value):
    with pytest.raises(UserError) as error:
        number(0)("objective.beta", value)
    assert str(error.value).startswith("objective.beta = ")
    assert len(str(error.value)) < 400
    with pytest.raises(UserError):
        number(0)("k", -value)


def test_a_whole_number_has_an_upper_end():
    assert whole(1)("k", 2**31 - 1) == 2**31 - 1
    for check, value in ((whole(1), 2**31), (whole(1, 100), 101), (whole(1), 10**5_000)):
        with pytest.raises(UserError, match="at most"):
            check("k", value)
    assert seeds("k", (2**32 - 1,)) == (2**32 - 1,)
    with pytest.raises(UserError, match=r"below 2\*\*32"):
        seeds("k", (2**32,))

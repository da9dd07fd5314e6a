"""The same numbers as jax.random's, to the last bit."""

import jax
import numpy as np
import pytest

from vae_jax import threefry


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("seed", [0, 1, 2**31 + 7])
def test_the_numbers_are_jax_s(implementation, seed):
    key = jax.random.key(seed, impl=implementation)
    cases = (
        (threefry.normal, jax.random.normal, (1000, 3)),
        *((threefry.bits, jax.random.bits, shape) for shape in ((), (1,), (3, 5, 7))),
    )
    for own, theirs, size in cases:
        found, expected = own(jax.random.clone(key), size), theirs(jax.random.clone(key), size)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_they_are_jax_s_for_many_keys_at_once():
    keys = jax.random.split(jax.random.key(3), 4)
    np.testing.assert_array_equal(
        jax.vmap(lambda key: threefry.bits(key, (6,)))(jax.random.clone(keys)),
        jax.vmap(lambda key: jax.random.bits(key, (6,), np.uint32))(jax.random.clone(keys)),
    )


@pytest.mark.parametrize("sample", [threefry.bits, threefry.normal])
def test_a_key_used_twice_is_seen(sample):
    def twice(key):
        return sample(key, (3,)) + sample(key, (3,))

    with pytest.raises(jax.errors.KeyReuseError):
        jax.jit(twice)(jax.random.key(0))

"""jax.random's default numbers, the same to the last bit, each as one elementwise expression.

On a CPU, jax compiles the hash as a loop of small passes over memory: the random numbers of a
training step take two and a half times as long as by this. Keys of another kind than jax's default
go to jax.random.

Only random numbers are written so. Keys are derived from keys by jax.random (`fold_in`, `split`):
the hash of a hash, both as expressions, is one expression, which jaxlib 0.11 and newer copies into
all that reads it, and then compiles for hours.

References: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Threefry 2x32, 20
rounds); a bit's place in an array is its counter.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)
IMPLEMENTATION = "threefry2x32"

Words = tuple[UInt32[Array, "*shape"], UInt32[Array, "*shape"]]


def words_of(key: Key[Array, ""]) -> Words:
    data = jax.random.key_data(key)
    return data[..., 0], data[..., 1]


def used(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key, its use made known to jax's debugging of keys that are used twice."""
    if jax.config.jax_debug_key_reuse:  # type: ignore[attr-defined]
        jax.random.bits(key)
    return key


def hashed(key: Words, counter: Words) -> Words:
    """Threefry 2x32 of each counter; the key's words broadcast against them."""
    schedule = (*key, key[0] ^ key[1] ^ PARITY)
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for i in range(5):
        for rotation in ROTATIONS[i % 2]:
            x = x + y
            y = x ^ (y << np.uint32(rotation) | y >> np.uint32(32 - rotation))
        x = x + schedule[(i + 1) % 3]
        y = y + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def counters(shape: tuple[int, ...]) -> Words:
    """(0, place) of each element."""
    size = math.prod(shape)
    assert size < 2**32, shape
    places = jax.lax.iota(jnp.uint32, size).reshape(shape)
    return jnp.zeros_like(places), places


def bits(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """jax.random.bits."""
    if jax.random.key_impl(key) != IMPLEMENTATION:
        return jax.random.bits(key, shape, jnp.uint32)
    x, y = hashed(words_of(used(key)), counters(shape))
    return x ^ y


def normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """jax.random.normal: 23 random bits each, mapped to (-1, 1) and through erf^-1."""
    mantissas = bits(key, shape) >> np.uint32(9) | np.uint32(0x3F800000)  # floats in [1, 2)
    fractions = jax.lax.bitcast_convert_type(mantissas, jnp.float32) - 1.0
    low = np.nextafter(np.float32(-1.0), np.float32(0.0))
    uniform = jnp.maximum(low, fractions * (np.float32(1.0) - low) + low)
    return np.float32(math.sqrt(2)) * jax.lax.erf_inv(uniform)

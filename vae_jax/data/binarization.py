"""Turns grey values into the binary x of a Bernoulli likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax import threefry

# These apply to training images; with `dynamic`, validation and test images are binarised once.
BINARIZATIONS = {
    "dynamic": "each minibatch samples the training pixels anew: 1 with probability grey value",
    "static": "each pixel sampled once",
    "threshold": "a pixel is on if it is above one half",
    "none": "grey values as they are",
}

BLOCK = 5_000  # images at a time, so that memory does not grow with the dataset


def scale(images: Array) -> Float[Array, "b d"]:
    """Scales uint8 to float32 in [0, 1]; counts become floats, which stay as they are."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    return images.astype(jnp.float32) if jnp.issubdtype(images.dtype, jnp.integer) else images


scale_on_device = jax.jit(scale)


def scaled(images: np.ndarray) -> np.ndarray:
    """Images on the host, scaled as `scale` does, with the bits that a model sees.

    numpy's division has other bits.
    """
    return np.asarray(scale_on_device(images)) if images.dtype.kind in "iu" else images


def sample(key: Key[Array, ""], grey_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """Samples 0. or 1.: 1. with probability grey value (Salakhutdinov and Murray 2008).

    The probability is within 2^-16 of the grey value, and exact for 0 and 1. A pixel takes 16
    random bits, so two pixels share a word, and half as many words are hashed.
    """
    b, d = grey_bd.shape
    words = threefry.bits(key, (b, (d + 1) // 2))
    bits_bd = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(b, -1)[:, :d]
    return (bits_bd.astype(jnp.float32) < grey_bd * 2**16).astype(jnp.float32)


@jax.jit
def sample_block(key: Key[Array, ""], start: Int[Array, ""], images: Array) -> Array:
    """Samples the pixels of stored images [b, d], the first of them `start`: uint8 0 or 255."""
    return 255 * sample(jax.random.fold_in(key, start), scale(images)).astype(jnp.uint8)


def sampled_once(key: Key[Array, ""], images: np.ndarray) -> np.ndarray:
    """Samples the pixels of images [n, d]: uint8 0 or 255. Depends on (key, images) alone."""
    blocks = [
        np.asarray(sample_block(key, np.uint32(start), images[start : start + BLOCK]))
        for start in range(0, len(images), BLOCK)
    ]
    return np.concatenate(blocks)


def threshold(images: np.ndarray) -> np.ndarray:
    """Thresholds images to uint8: 255 where the grey value is above one half, else 0."""
    half = 127 if images.dtype == np.uint8 else 0.5
    return np.where(images > half, 255, 0).astype(np.uint8)

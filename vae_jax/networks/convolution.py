"""Convolutions as matrix products of shifted images.

XLA's convolutions are slow in two cases that occur here. On a CPU, the gradient of a transposed one
takes seconds: 15 s a step for 64 to 32 channels at 28 x 28, batch 128, two cores; with this module
0.1 s. Under vmap over lanes, they become grouped convolutions; these become batched products.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def same_padding(size: int, width: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, with which ceil(size / stride) windows fit: "SAME"."""
    total = max((-(-size // stride) - 1) * stride + width - size, 0)
    return total // 2, total - total // 2


def convolve(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c o"], stride: int
) -> Float[Array, "b h2 w2 o"]:
    """y_rs = sum_ij x_(stride r + i, stride s + j) kernel_ij, zeros around x ("SAME")."""
    b, height, width, channels = x.shape
    k, _, _, features = kernel.shape
    sides = [same_padding(size, k, stride) for size in (height, width)]
    rows, columns = -(-height // stride), -(-width // stride)

    def shift(x: Array, i: int, j: int) -> Array:
        return x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]

    taps = [(i, j) for i in range(k) for j in range(k)]
    if features >= channels:  # gather, then multiply: the smaller of the two intermediates
        x = jnp.pad(x, ((0, 0), *sides, (0, 0)))
        patches = jnp.concatenate([shift(x, i, j) for i, j in taps], axis=-1)
        return patches @ kernel.reshape(-1, features)
    flat = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    y = (x.reshape(-1, channels) @ flat).reshape(b, height, width, k, k, features)
    y = jnp.pad(y, ((0, 0), *sides, (0, 0), (0, 0), (0, 0)))
    total: Any = sum(shift(y[:, :, :, i, j], i, j) for i, j in taps)
    return total


def upsample(
    x: Float[Array, "b h w c"], kernel: Float[Array, "4 4 c o"]
) -> Float[Array, "b h2 w2 o"]:
    """The transposed convolution of stride 2: x_rs kernel_ij adds to y_(2 r + i - 1, 2 s + j - 1).

    y is twice as high and wide. Every 2 x 2 window of x, with zeros around it, makes a 2 x 2 block
    of y alone: one product of 4 c inputs and 4 o outputs (sub-pixel convolution, Shi et al. 2016).
    """
    b, height, width, channels = x.shape
    features = kernel.shape[-1]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = jnp.concatenate(
        [x[:, i : i + height + 1, j : j + width + 1] for i in (0, 1) for j in (0, 1)], axis=-1
    )
    # Window v is (x_(v - 1), x_v) and its block (y_(2 v - 1), y_2v): x's first is reached by the
    # kernel's rows 2 and 3, its second by rows 0 and 1.
    taps = kernel.reshape(2, 2, 2, 2, channels, features)[::-1, :, ::-1]
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(4 * channels, 4 * features)
    y = (windows.reshape(-1, 4 * channels) @ taps).reshape(b, height + 1, width + 1, 2, 2, features)
    y = y.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * height + 2, 2 * width + 2, features)
    return y[:, 1:-1, 1:-1]


Padding = tuple[tuple[int, int], tuple[int, int]]  # above and below, left and right


def by_columns(
    x: Float[Array, "b h w c"], kernel: Float[Array, "r k c o"], padding: Padding
) -> Float[Array, "b h w o"]:
    """`windowed` as a product for each row of the kernel, with its columns gathered."""
    rows, columns, _, features = kernel.shape
    height, width = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    patches = jnp.concatenate([x[:, :, j : j + width] for j in range(columns)], axis=-1)
    of_rows = [patches[:, i : i + height] @ kernel[i].reshape(-1, features) for i in range(rows)]
    return sum(of_rows[1:], start=of_rows[0])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def windowed(
    x: Float[Array, "b h w c"], kernel: Float[Array, "r k c o"], padding: Padding
) -> Float[Array, "b h w o"]:
    """The convolution by a kernel of any height and width, with this padding of zeros.

    Where a gradient is taken, it is `by_columns`. Elsewhere it is XLA's convolution: on a CPU, half
    the time and 0.4 of the memory.
    """
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=dimensions)


def windowed_forwards(x: Any, kernel: Any, padding: Padding) -> Any:
    return jax.vjp(lambda x, kernel: by_columns(x, kernel, padding), x, kernel)


def windowed_backwards(padding: Padding, back: Any, gradient: Any) -> Any:
    return back(gradient)


windowed.defvjp(windowed_forwards, windowed_backwards)


class Convolution(nn.Module):
    """`convolve` with a k x k kernel and a bias."""

    features: int
    k: int
    stride: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        shape = (self.k, self.k, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolve(x, kernel, self.stride) + bias[None, None, None]


class Upsampling(nn.Module):
    """`upsample` with a 4 x 4 kernel and a bias."""

    features: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        kernel = self.param("kernel", self.kernel_init, (4, 4, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return upsample(x, kernel) + bias[None, None, None]

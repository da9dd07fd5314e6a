"""Convolutions as matrix products of shifted images.

XLA's own are slow where these networks need them: on a CPU the gradient of a transposed one takes
seconds (15 s a step for 64 to 32 channels at 28 x 28, batch 128, two cores, where this takes 0.1),
and under vmap over lanes they become grouped convolutions, where these become batched products.
"""

import flax.linen as nn
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

    def shifted(x, i, j):
        return x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]

    taps = [(i, j) for i in range(k) for j in range(k)]
    if features >= channels:  # gather, then multiply: the smaller of the two intermediates
        x = jnp.pad(x, ((0, 0), *sides, (0, 0)))
        patches = jnp.concatenate([shifted(x, i, j) for i, j in taps], axis=-1)
        return patches @ kernel.reshape(-1, features)
    flat = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    y = (x.reshape(-1, channels) @ flat).reshape(b, height, width, k, k, features)
    y = jnp.pad(y, ((0, 0), *sides, (0, 0), (0, 0), (0, 0)))
    return sum(shifted(y[:, :, :, i, j], i, j) for i, j in taps)


def upsample(
    x: Float[Array, "b h w c"], kernel: Float[Array, "4 4 c o"]
) -> Float[Array, "b h2 w2 o"]:
    """The transposed convolution of stride 2: x_rs kernel_ij adds to y_(2 r + i - 1, 2 s + j - 1).

    y is twice as high and wide. With i = 2 t + p, tap t shifts by whole pixels of x, phase p is
    which of the two rows between them it goes to.
    """
    b, height, width, channels = x.shape
    features = kernel.shape[-1]
    flat = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    y = (x.reshape(-1, channels) @ flat).reshape(b, height, width, 2, 2, 2, 2, features)
    y = y.transpose(0, 3, 5, 1, 4, 2, 6, 7)  # taps to the front, phases beside their pixels
    y = y.reshape(b, 2, 2, 2 * height, 2 * width, features)
    y = added(added(y, axis=2), axis=2)  # of the rows, then of the columns
    return y[:, 1:-1, 1:-1]


def added(y: Array, axis: int) -> Array:
    """The two taps y [b, 2, ...] together, the second one pixel of x further along `axis`."""
    first, second = ([(0, 0)] * (y.ndim - 1) for _ in range(2))
    first[axis], second[axis] = (0, 2), (2, 0)
    return jnp.pad(y[:, 0], first) + jnp.pad(y[:, 1], second)


class Convolution(nn.Module):
    """`convolve` with a k x k kernel and a bias."""

    features: int
    k: int
    stride: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        shape = (self.k, self.k, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolve(x, kernel, self.stride) + bias[None, None, None]


class Upsampling(nn.Module):
    """`upsample` with a 4 x 4 kernel and a bias."""

    features: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", self.kernel_init, (4, 4, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return upsample(x, kernel) + bias[None, None, None]

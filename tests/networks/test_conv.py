"""What is particular to the convolutional networks: maps, pixels' order, blocks, norms."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from tests.small.samples import normal, sampled
from vae_jax.networks import Conv, ResNet
from vae_jax.networks.conv import map_sizes, upsampling_init
from vae_jax.networks.convolution import Upsampling, convolve, upsample
from vae_jax.networks.network import NORMS, number_of_groups

MEAN = (("mean", 3),)


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((28, 28, 1), [(7, 7), (14, 14), (28, 28)]),
        ((7, 5, 3), [(2, 2), (4, 3), (7, 5)]),
        ((1, 9, 1), [(1, 3), (1, 5), (1, 9)]),
    ],
)
def test_the_decoder_s_maps_have_the_encoder_s_sizes(shape, sizes):
    assert map_sizes(shape, 2) == sizes
    encoder = Conv((6, 5)).encoder(shape, MEAN)
    params = jax.eval_shape(encoder.init, jax.random.key(0))
    assert params["mean"]["kernel"].shape == (5 * sizes[0][0] * sizes[0][1], 3)
    decoder = Conv((5, 6)).decoder(shape, 1, 3)
    params = jax.eval_shape(decoder.init, jax.random.key(0))
    assert params["map"]["kernel"].shape == (3, 5 * sizes[0][0] * sizes[0][1])


def reach(size: int, position: int) -> list[int]:
    """The outputs, along one axis, of a 4-wide SAME convolution of stride 2 that see `position`."""
    outputs = -(-size // 2)
    low = max(2 * (outputs - 1) + 4 - size, 0) // 2
    return [o for o in range(outputs) if 0 <= position - (2 * o - low) < 4]


@pytest.mark.parametrize("shape", [(7, 4, 3), (4, 9, 2)])
@pytest.mark.parametrize("pixel", [(0, 0, 0), (3, 1, 1), (2, 3, 1)])
def test_an_input_pixel_reaches_its_neighbourhood_alone(shape, pixel):
    """Which is false of any other order of height, width and channels."""
    height, width = map_sizes(shape, 1)[0]
    size = height * width * 6
    encoder = Conv((6,), "elu").encoder(shape, (("mean", size),))
    params = sampled(encoder)
    params["mean"] = {"kernel": np.eye(size), "bias": np.zeros(size)}  # the head is the map
    x_bd = np.tile(normal(0, int(np.prod(shape))), (2, 1))
    x_bd[1, np.ravel_multi_index(pixel, shape)] += 1
    maps = np.asarray(jax.jit(encoder.apply)(params, x_bd)["mean"])
    reached = np.abs((maps[1] - maps[0]).reshape(height, width, 6)) > 1e-6
    expected = np.zeros((height, width, 6), bool)
    expected[np.ix_(reach(shape[0], pixel[0]), reach(shape[1], pixel[1]))] = True
    np.testing.assert_array_equal(reached, expected)


@pytest.mark.parametrize("shape", [(7, 4, 3), (4, 9, 2)])
def test_a_decoder_s_map_comes_out_around_the_same_pixel(shape):
    d = int(np.prod(shape))
    decoder = Conv((), "elu").decoder(shape, 2, d)
    params = sampled(decoder)
    params["map"] = {"kernel": np.eye(d), "bias": np.zeros(d)}  # z is the map
    z = np.concatenate([np.eye(d), np.zeros((1, d))])
    out = np.asarray(jax.jit(decoder.apply)(params, z)).reshape(d + 1, *shape, 2)
    for index, response in enumerate(out[:-1] - out[-1]):
        row, column, _ = np.unravel_index(index, shape)
        expected = np.zeros(shape[:2], bool)
        expected[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
        reached = np.abs(response) > 1e-6
        np.testing.assert_array_equal(
            reached, np.broadcast_to(expected[..., None, None], (*shape, 2))
        )


@pytest.mark.parametrize("size", [7, 8])
def test_a_map_s_pixel_comes_out_where_the_encoder_s_convolution_saw_it(size):
    """That of index i sees 2 i - 1 to 2 i + 2; one more on each side is the output's kernel."""
    decoder = Conv((2,), "elu").decoder((size, 1, 1), 1, 8)
    params = sampled(decoder)
    params["map"] = {"kernel": np.eye(8), "bias": np.zeros(8)}  # z is the map
    z = np.concatenate([np.repeat(np.eye(4), 2, axis=1), np.zeros((1, 8))])
    out = np.asarray(jax.jit(decoder.apply)(params, z))[..., 0]
    for i, response in enumerate(out[:-1] - out[-1]):
        seen = [p for p in range(size) if 2 * i - 2 <= p <= 2 * i + 3]
        assert np.flatnonzero(np.abs(response) > 1e-6).tolist() == seen
        assert all(i in reach(size, p) for p in seen[1:-1])


def test_a_shifted_map_gives_a_shifted_image():
    """One pixel of the smallest map is two of the image; away from the borders."""
    decoder = Conv((2,), "elu").decoder((16, 12, 1), 1, 8 * 6 * 2)
    params = sampled(decoder)
    params["map"] = {"kernel": np.eye(96), "bias": np.zeros(96)}  # z is the map
    z = np.zeros((3, 8, 6, 2), np.float32)
    z[0, 3, 2] = z[1, 4, 3] = 1, -2
    images = np.asarray(jax.jit(decoder.apply)(params, z.reshape(3, 96))).reshape(3, 16, 12)
    first, shifted = images[:2] - images[2]
    assert np.abs(first).max() > 1e-2
    np.testing.assert_allclose(np.roll(first, (2, 2), (0, 1)), shifted, atol=1e-6)


@pytest.mark.parametrize("network", [Conv, ResNet])
def test_context_is_constant_channels(network):
    conditional = network((6, 5), "elu").encoder((5, 4, 2), MEAN, 3)
    plain = network((6, 5), "elu").encoder((5, 4, 5), MEAN)
    x, context = normal(0, 3, 5, 4, 2), np.eye(3, dtype=np.float32)
    channels = np.broadcast_to(context[:, None, None], (3, 5, 4, 3))
    wider = np.concatenate([x, channels], axis=-1)
    np.testing.assert_allclose(
        jax.jit(conditional.apply)(sampled(conditional), x.reshape(3, -1), context)["mean"],
        jax.jit(plain.apply)(sampled(plain), wider.reshape(3, -1))["mean"],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("network", [Conv, ResNet])
def test_the_output_s_bias_is_the_mean_over_the_pixels(network):
    bias_dp = normal(0, 30, 2)
    decoder = network((6,)).decoder((3, 5, 2), 2, 4)
    params = jax.jit(decoder.init)(jax.random.key(0), bias_dp)
    np.testing.assert_allclose(
        params["output"]["bias"].reshape(2, 2), bias_dp.reshape(15, 2, 2).mean(0), rtol=1e-5
    )


@pytest.mark.parametrize("norm", NORMS)
def test_a_resnet_whose_blocks_give_nothing_is_the_convolutional_network(norm):
    x, z = normal(0, 2, 84), normal(1, 2, 3)
    resnet = (
        ResNet((6, 5), "elu", norm).encoder((7, 4, 3), MEAN),
        ResNet((5, 6), "elu", norm).decoder((7, 4, 3), 1, 3),
    )
    conv = (
        Conv((6, 5), "elu").encoder((7, 4, 3), MEAN),
        Conv((5, 6), "elu").decoder((7, 4, 3), 1, 3),
    )
    for with_blocks, without, inputs in zip(resnet, conv, (x, z), strict=True):
        params = sampled(with_blocks)
        for layer in params:
            if layer.startswith("block_"):
                params[layer] = jax.tree.map(np.zeros_like, params[layer])
        shared = {layer: params[layer] for layer in sampled(without)}
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            jax.jit(with_blocks.apply)(params, inputs),
            jax.jit(without.apply)(shared, inputs),
        )


@pytest.mark.parametrize(("norm", "invariant"), [("none", False), ("group", True)])
def test_group_norm_forgets_the_scale_of_the_convolution_before_it(norm, invariant):
    encoder = ResNet((8,), "elu", norm).encoder((7, 4, 3), MEAN)
    params, apply, x = sampled(encoder), jax.jit(encoder.apply), normal(0, 2, 84)
    before = apply(params, x)["mean"]
    params["block_0_conv_0"] = jax.tree.map(lambda leaf: 10 * leaf, params["block_0_conv_0"])
    after = apply(params, x)["mean"]
    assert np.allclose(before, after, rtol=1e-3, atol=1e-3) == invariant


def test_groups():
    groups = {channels: number_of_groups(channels) for channels in (1, 2, 5, 6, 12, 16, 32, 48)}
    assert groups == {1: 1, 2: 1, 5: 1, 6: 1, 12: 3, 16: 4, 32: 8, 48: 8}


def test_group_norm_by_hand_where_the_mean_is_large():
    class Norm(nn.Module):
        @nn.compact
        def __call__(self, h):
            return NORMS["group"](h, "norm")

    h = normal(0, 2, 3, 5, 8) + 1000
    groups = np.asarray(h, np.float64).reshape(2, 15, 2, 4)
    mean, variance = (f(groups, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    expected = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(h.shape)
    normed, _ = jax.jit(Norm().init_with_output)(jax.random.key(1), h)
    np.testing.assert_allclose(normed, expected, atol=1e-3)


def test_upsampling_keeps_the_variance():
    """Which `hidden_init` would cut to a quarter."""
    layer = Upsampling(64, upsampling_init)
    out, _ = jax.jit(layer.init_with_output)(jax.random.key(1), normal(0, 4, 8, 8, 64))
    assert abs(np.var(out[:, 2:-2, 2:-2]) - 1) < 0.1


SHAPES = [(1, 1), (4, 6), (7, 5)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [3, 4])
@pytest.mark.parametrize("channels", [(2, 5), (5, 2)])
def test_convolution_is_xla_s(stride, k, channels):
    @jax.jit
    def ours_and_xla_s(x, kernel):
        exact = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return convolve(x, kernel, stride), exact

    for shape in SHAPES:
        ours, exact = ours_and_xla_s(normal(0, 2, *shape, channels[0]), normal(1, k, k, *channels))
        np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_upsampling_is_xla_s_transposed_convolution(shape):
    """And so the transpose of a convolution of stride 2 with the same kernel, channels swapped."""

    @jax.jit
    def ours_and_xla_s(x, kernel):
        flipped = kernel[::-1, ::-1]
        exact = jax.lax.conv_transpose(
            x, flipped, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return upsample(x, kernel), exact

    ours, exact = ours_and_xla_s(normal(0, 2, *shape, 3), normal(1, 4, 4, 3, 5))
    assert ours.shape == (2, 2 * shape[0], 2 * shape[1], 5)
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-4)

"""A decoder whose values depend on those before them: what each sees, and what it gives."""

import itertools
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.samples import normal, sampled
from vae_jax.errors import UserError
from vae_jax.networks.convolution import by_columns, windowed
from vae_jax.networks.pixelcnn import PixelCNN, Window, odd, window

# (2, 3, 2) has what the others have, but those of a single pixel.
slow = pytest.mark.slow
WHOLE = (
    pytest.param((3, 4, 1), marks=slow), (2, 3, 2), pytest.param((3, 2, 3), marks=slow),
    pytest.param((1, 1, 1), marks=slow), (1, 1, 3),
)  # fmt: skip


@pytest.fixture
def in_float64():
    """In float32, a gate that saturates hides what it sees."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def slopes(image, network, p=2):
    """max_p |d raw_i / d x_j| [d, d] at random params."""
    decoder = network.decoder(image, p, 2)
    d = int(np.prod(image))
    params = jax.tree.map(np.float64, sampled(decoder))
    x = np.random.default_rng(0).uniform(size=(1, d))
    map_z = normal(3, 1, *image[:2], network.features).astype(np.float64)
    raw = jax.jit(jax.jacrev(lambda x: decoder.given(params, map_z, x)[0]))(x)
    return np.abs(np.asarray(raw)[:, :, 0]).max(axis=1)


@pytest.mark.parametrize("image", WHOLE)
def test_a_value_sees_all_that_come_before_it_and_no_other(in_float64, image):
    slope = slopes(image, PixelCNN((), "elu", 3, 6, 3))
    d = len(slope)
    assert (slope[np.triu_indices(d)] == 0).all()
    assert (slope[np.tril_indices(d, -1)] > 0).all()


@pytest.mark.parametrize(
    ("layers", "kernel_size"),
    [(2, 3), *(pytest.param(*own, marks=slow) for own in ((1, 3), (1, 5)))],
)
def test_a_value_sees_as_far_as_is_said(in_float64, layers, kernel_size):
    height, width = image = (5, 7)
    slope = slopes((*image, 1), PixelCNN((), "elu", layers, 6, kernel_size)).reshape(image * 2)
    rows, columns = window(layers, kernel_size)
    assert Window(rows, columns) == (layers * (kernel_size // 2),) * 2
    for r, c, s, t in itertools.product(range(height), range(width), range(height), range(width)):
        is_above = 0 < r - s <= rows and abs(c - t) <= columns
        is_left = r == s and 0 < c - t <= columns
        assert (slope[r, c, s, t] > 0) == (is_above or is_left), (r, c, s, t)


def test_a_value_sees_as_many_features_of_each_channel():
    config, data = SimpleNamespace(), SimpleNamespace(image_shape=(4, 4, 3))
    assert not list(PixelCNN(features=6).needs_of_data(config, data))
    (problem,) = PixelCNN(features=8).needs_of_data(config, data)
    assert problem.startswith("model.decoder.features = 8 should be a multiple of 3")


@pytest.mark.parametrize("size", [1, 4, 101, 3.0])
def test_a_kernel_has_a_middle(size):
    assert odd(3, 99)("k", 5) == 5
    with pytest.raises(UserError, match=r"k = .* should be"):
        odd(3, 99)("k", size)


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (3, 5)])
def test_both_ways_to_convolve_agree(rows, columns):
    x, kernel = normal(0, 2, 4, 5, 3), normal(1, rows, columns, 3, 4)
    padding = ((rows - 1, 0), (columns // 2, columns // 2))

    @jax.jit
    def both(x, kernel):
        without = windowed(x, kernel, padding)
        within, back = jax.vjp(lambda *own: windowed(*own, padding), x, kernel)
        plain = partial(jax.lax.conv_general_dilated, window_strides=(1, 1), padding=padding)
        plain = partial(plain, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        _, expected = jax.vjp(plain, x, kernel)
        return (without, within, by_columns(x, kernel, padding)), back(within), expected(within)

    values, gradients, expected = both(x, kernel)
    for own in values[1:]:
        np.testing.assert_allclose(own, values[0], rtol=1e-5, atol=1e-5)
    for own, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4)


IMAGE = (3, 2, 2)


def starts_and_outputs(latent_size, widths):
    decoder = PixelCNN(widths, "elu", 2, 4, 3).decoder(IMAGE, 2, latent_size, 2)
    x, context = normal(0, 3, 12), normal(1, 3, 2)

    def run(key, z, mask_l, bias=None):
        params = decoder.init(key, bias, mask_l)
        return params, decoder.given(params, decoder.apply(params, z, context), x)

    return run


@slow
@pytest.mark.parametrize("widths", [(5,), ()])
def test_a_masked_one_is_that_of_the_units_that_are_left(widths):
    z, keys = normal(2, 3, 4), jax.random.split(jax.random.key(0))
    mask = np.array([1, 1, 0, 0], np.float32)
    masked, raw = jax.jit(jax.vmap(starts_and_outputs(4, widths), (0, None, None)))(keys, z, mask)
    alone, own_raw = jax.jit(starts_and_outputs(2, widths), static_argnums=2)(
        jax.random.clone(keys)[0], z[:, :2], None
    )
    np.testing.assert_allclose(raw[0], own_raw, rtol=1e-4, atol=1e-5)
    assert (raw[0] != raw[1]).all()  # each lane its own key
    first = "hidden_0" if widths else "map"
    np.testing.assert_allclose(masked[first]["kernel"][0, :4], alone[first]["kernel"], rtol=1e-5)
    assert (masked[first]["kernel"][:, 4:] == 0).all()


def test_the_bias_of_each_channel_and_parameter_comes_out_there():
    decoder = PixelCNN((5,), "elu", 1, 4, 3).decoder(IMAGE, 2, 3, 2)
    bias = np.float32(10 * (np.arange(12) % 2)[:, None] + np.arange(2)[None])
    params = jax.jit(decoder.init)(jax.random.key(0), bias)
    zero = {name: jax.tree.map(np.zeros_like, own) for name, own in params.items()}
    zero["output"] = {**params["output"], "kernel": np.zeros_like(params["output"]["kernel"])}
    raw = jax.jit(decoder.given)(zero, jnp.zeros((2, 3, 2, 4)), jnp.ones((2, 12)))
    np.testing.assert_array_equal(raw, [bias, bias])


def test_gradients_are_nowhere_dead_and_finite_at_huge_inputs():
    decoder = PixelCNN((5,), "elu", 2, 4, 3).decoder(IMAGE, 2, 3, 2)

    def loss(params, x, z, context):
        raw = decoder.given(params, decoder.apply(params, z, context), x)
        return jnp.sum(jnp.sin(raw + 1))

    gradients_of = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))
    params, x, z, context = sampled(decoder), normal(0, 6, 12), normal(1, 6, 3), normal(2, 6, 2)
    gradients = gradients_of(params, x, z, context)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(gradient).max() > 1e-4, path
    at_huge = gradients_of(params, 1e4 * np.sign(x), 1e4 * np.sign(z), context)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(at_huge))

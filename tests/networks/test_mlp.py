"""The layers of the multilayer perceptrons, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.networks.draws import drawn
from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.networks.network import ACTIVATIONS, NetworkSpec


def dense(layer, h):
    return h @ layer["kernel"] + layer.get("bias", jnp.zeros(layer["kernel"].shape[1]))[None]


def encoder_and_params(name, widths, activation="elu"):
    encoder = ENCODERS[name](NetworkSpec(name, widths, activation), (1, 2, 1), (("mean", 3),))
    return encoder, drawn(encoder)


X = np.linspace(-2, 2, 8, dtype=np.float32).reshape(4, 2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp(activation):
    encoder, p = encoder_and_params("mlp", (5,), activation)
    expected = dense(p["mean"], ACTIVATIONS[activation](dense(p["hidden_0"], X)))
    np.testing.assert_allclose(encoder.apply(p, X)["mean"], expected, rtol=1e-5, atol=1e-6)


def test_gated_mlp():
    encoder, p = encoder_and_params("gated_mlp", (5, 4))
    h = dense(p["hidden_0"], X) * jax.nn.sigmoid(dense(p["gate_0"], X))
    h = dense(p["hidden_1"], h) * jax.nn.sigmoid(dense(p["gate_1"], h))
    expected = dense(p["mean"], h)
    np.testing.assert_allclose(encoder.apply(p, X)["mean"], expected, rtol=1e-5, atol=1e-6)


def test_residual_mlp():
    encoder, p = encoder_and_params("residual_mlp", (5, 5, 4))
    h = dense(p["hidden_0"], X)
    h = h + dense(p["hidden_1"], jax.nn.elu(h))
    h = dense(p["projection_2"], h) + dense(p["hidden_2"], jax.nn.elu(h))
    expected = dense(p["mean"], jax.nn.elu(h))
    np.testing.assert_allclose(encoder.apply(p, X)["mean"], expected, rtol=1e-5, atol=1e-6)
    assert set(p) == {"hidden_0", "hidden_1", "hidden_2", "projection_2", "mean"}


@pytest.mark.parametrize("name", ["mlp", "gated_mlp", "residual_mlp"])
@pytest.mark.parametrize("widths", [(), (6,)])
def test_each_pixel_and_parameter_has_its_own_output_bias(name, widths):
    bias_dp = jnp.arange(60.0).reshape(30, 2)
    decoder = DECODERS[name](NetworkSpec(name, widths, "relu"), (3, 5, 2), 2, 4)
    params = decoder.init(jax.random.key(0), bias_dp)
    np.testing.assert_array_equal(decoder.apply(params, jnp.zeros((1, 4)))[0], bias_dp)


def test_context_and_z_share_the_decoder_s_first_layer_in_this_order():
    spec = NetworkSpec("mlp", (), "relu")
    decoder = DECODERS["mlp"](spec, (1, 1, 5), 1, 2, 3)
    params = decoder.init(jax.random.key(0))
    z, context = jnp.ones((1, 2)), 2 * jnp.ones((1, 3))
    expected = 2 * params["output"]["kernel"][:3].sum(0) + params["output"]["kernel"][3:].sum(0)
    np.testing.assert_allclose(decoder.apply(params, z, context)[0, :, 0], expected, rtol=1e-5)

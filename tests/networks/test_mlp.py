"""The layers of the multilayer perceptrons, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from tests.small.samples import sampled
from vae_jax.networks import MLP, GatedMLP, ResidualMLP
from vae_jax.networks.network import ACTIVATIONS


def dense(layer, h):
    return h @ layer["kernel"] + layer.get("bias", np.zeros(layer["kernel"].shape[1]))


def mean_and_params(network):
    """What an encoder makes of X, and its params."""
    encoder = network.encoder((1, 2, 1), (("mean", 3),))
    params = sampled(encoder)
    return jax.jit(encoder.apply)(params, X)["mean"], params


X = np.linspace(-2, 2, 8, dtype=np.float32).reshape(4, 2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp(activation):
    mean, p = mean_and_params(MLP((5,), activation))
    h = np.asarray(ACTIVATIONS[activation](dense(p["hidden_0"], X)))
    expected = dense(p["mean"], h)
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


def test_gated_mlp():
    mean, p = mean_and_params(GatedMLP((5, 4)))
    h = dense(p["hidden_0"], X) * expit(dense(p["gate_0"], X))
    h = dense(p["hidden_1"], h) * expit(dense(p["gate_1"], h))
    np.testing.assert_allclose(mean, dense(p["mean"], h), rtol=1e-5, atol=1e-6)


def test_residual_mlp():
    mean, p = mean_and_params(ResidualMLP((5, 5, 4), "tanh"))
    h = dense(p["hidden_0"], X)
    h = h + dense(p["hidden_1"], np.tanh(h))
    h = dense(p["projection_2"], h) + dense(p["hidden_2"], np.tanh(h))
    expected = dense(p["mean"], np.tanh(h))
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)
    assert set(p) == {"hidden_0", "hidden_1", "hidden_2", "projection_2", "mean"}


@pytest.mark.parametrize("network", [MLP, GatedMLP, ResidualMLP])
@pytest.mark.parametrize("widths", [(), (6,)])
def test_each_pixel_and_parameter_has_its_own_output_bias(network, widths):
    decoder = network(widths).decoder((3, 5, 2), 2, 4)

    @jax.jit
    def at_zero(key, bias_dp):
        return decoder.apply(decoder.init(key, bias_dp), jnp.zeros((1, 4)))[0]

    bias_dp = np.arange(60, dtype=np.float32).reshape(30, 2)
    np.testing.assert_array_equal(at_zero(jax.random.key(0), bias_dp), bias_dp)


def test_context_and_z_share_the_decoder_s_first_layer_in_this_order():
    decoder = MLP((), "relu").decoder((1, 1, 5), 1, 2, 3)
    params = sampled(decoder)
    z, context = np.ones((1, 2), np.float32), 2 * np.ones((1, 3), np.float32)
    kernel, bias = params["output"]["kernel"], params["output"]["bias"]
    expected = 2 * kernel[:3].sum(0) + kernel[3:].sum(0) + bias
    out = jax.jit(decoder.apply)(params, z, context)
    np.testing.assert_allclose(out[0, :, 0], expected, rtol=1e-5)

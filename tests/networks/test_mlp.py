import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.networks.network import ACTIVATIONS, NetworkSpec

HEADS = ("mean", "log_scale")


def built(family, name, widths=(6, 5), latent_size=3, shape=(3, 5, 2), activation="relu"):
    spec = NetworkSpec(name, widths, activation)
    if family is ENCODERS:
        return ENCODERS[name](spec, shape, HEADS, latent_size)
    return DECODERS[name](spec, shape, 1, latent_size)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (7, 4, 3)])
@pytest.mark.parametrize("widths", [(), (6,), (6, 5)])
def test_shapes_of_any_image(name, shape, widths):
    size = int(np.prod(shape))
    encoder = built(ENCODERS, name, widths=widths, shape=shape)
    decoder = built(DECODERS, name, widths=widths, shape=shape)
    outputs = encoder.apply(encoder.init(jax.random.key(0)), jnp.ones((4, size)))
    assert {head: output.shape for head, output in outputs.items()} == dict.fromkeys(HEADS, (4, 3))
    x_params = decoder.apply(decoder.init(jax.random.key(0)), jnp.ones((2, 4, 3)))
    assert x_params.shape == (2, 4, size)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_is_used(activation):
    x = jnp.linspace(-2, 2, 8).reshape(4, 2)
    encoder = built(ENCODERS, "mlp", widths=(5,), shape=(1, 2, 1), activation=activation)
    p = encoder.init(jax.random.key(0))
    hidden = ACTIVATIONS[activation](x @ p["hidden_0"]["kernel"] + p["hidden_0"]["bias"][None])
    expected = hidden @ p["mean"]["kernel"] + p["mean"]["bias"][None]
    np.testing.assert_allclose(encoder.apply(p, x)["mean"], expected, rtol=1e-5, atol=1e-6)


def test_a_latent_unit_s_first_weights_depend_on_key_and_unit_alone():
    small = built(ENCODERS, "mlp", latent_size=2).init(jax.random.key(1))
    large = built(ENCODERS, "mlp", latent_size=7).init(jax.random.key(1))
    for head in HEADS:
        np.testing.assert_array_equal(large[head]["kernel"][:, :2], small[head]["kernel"])
    np.testing.assert_array_equal(large["hidden_0"]["kernel"], small["hidden_0"]["kernel"])
    small = built(DECODERS, "mlp", latent_size=2).init(jax.random.key(1))
    large = built(DECODERS, "mlp", latent_size=7).init(jax.random.key(1))
    # Up to the scale 1 / sqrt(l), which keeps the variance of what comes out.
    np.testing.assert_allclose(
        np.sqrt(7) * large["hidden_0"]["kernel"][:2],
        np.sqrt(2) * small["hidden_0"]["kernel"],
        rtol=1e-5,
    )


def test_latent_weights_have_the_stated_variance():
    wide = built(DECODERS, "mlp", widths=(4_000,), latent_size=9).init(jax.random.key(1))
    assert abs(np.var(wide["hidden_0"]["kernel"]) * 9 - 1) < 0.05
    wide = built(ENCODERS, "mlp", widths=(4_000,), latent_size=9).init(jax.random.key(1))
    assert abs(np.var(wide["mean"]["kernel"]) * 4_000 - 1) < 0.05


def test_output_bias_starts_where_it_is_told():
    bias = jnp.arange(30.0)
    decoder = built(DECODERS, "mlp")
    params = decoder.init(jax.random.key(0), bias)
    np.testing.assert_array_equal(params["output"]["bias"], bias)
    assert not decoder.init(jax.random.key(0))["output"]["bias"].any()

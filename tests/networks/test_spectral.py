"""Weights of spectral norm 1: against the singular values, and by the distances of outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks.spectral import SpectralMLP, normalized, spectral_norm


def matrix(values, shape, seed=0):
    """One of these singular values."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, len(values))))[0] for n in shape)
    return np.float32(left * np.array(values) @ right.T)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 4)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_it_is_the_largest_singular_value(shape, scale):
    own = scale * matrix((3.0, 1.5, 0.2), shape)
    assert jax.jit(spectral_norm)(own) == pytest.approx(3 * scale, rel=1e-5)


def test_its_gradient_is_the_product_of_the_singular_vectors():
    own = matrix((3.0, 1.5), (5, 4))
    left, _, right = np.linalg.svd(own)
    gradient = jax.jit(jax.grad(spectral_norm))(own)
    np.testing.assert_allclose(gradient, np.outer(left[:, 0], right[0]), atol=1e-5)


def test_it_is_never_above_and_near_for_weights_at_the_start():
    own = np.random.default_rng(0).normal(size=(400, 784)).astype(np.float32)
    exact = np.linalg.svd(own, compute_uv=False)[0]
    assert 0.97 * exact < jax.jit(spectral_norm)(own) < 1.0001 * exact


def test_weights_of_0_stay_finite():
    value, gradient = jax.value_and_grad(spectral_norm)(jnp.zeros((3, 4)))
    assert value == 0
    assert np.isfinite(gradient).all()
    assert not normalized({"kernel": jnp.zeros((3, 4))})["kernel"].any()


def test_no_distance_grows_in_a_decoder_whatever_the_scale_of_its_params():
    decoder = SpectralMLP((16, 16), "relu").decoder((4, 4, 1), 1, 3)
    params = jax.tree.map(lambda leaf: 50 * leaf, decoder.init(jax.random.key(0)))
    z = 10 * jax.random.normal(jax.random.key(1), (40, 3))
    x = jax.jit(decoder.apply)(params, z)[..., 0]
    grown = jnp.linalg.norm(x[1:] - x[:-1], axis=1) / jnp.linalg.norm(z[1:] - z[:-1], axis=1)
    assert grown.max() <= 1.02
    assert grown.max() > 0.05
    again = jax.jit(decoder.apply)(normalized(params), z)[..., 0]
    np.testing.assert_allclose(again, x, rtol=0.02, atol=0.02 * float(jnp.abs(x).max()))

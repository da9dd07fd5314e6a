"""One table of properties that every flow passes: both directions, and their determinants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.probability.flows import (
    FlowSpec,
    autoregressive,
    autoregressive_masks,
    coupling,
    inverse_autoregressive,
    planar_forward,
)

SPEC = FlowSpec(layers=3, width=8)
FLOWS = {
    "autoregressive": autoregressive(SPEC),
    "coupling": coupling(SPEC),
    "inverse_autoregressive": inverse_autoregressive(SPEC),
}
SIZES = [2, 3, 5]


def moved(params, seed=0, scale=0.5):
    """Params some way from where they start."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: leaf + jnp.array(scale * rng.normal(size=leaf.shape), jnp.float32), params
    )


def setting(name, size, context_size=0, scale=0.5):
    flow = FLOWS[name]
    params = moved(flow.init(jax.random.key(0), size, context_size), scale=scale)
    rng = np.random.default_rng(1)
    context = jnp.array(rng.normal(size=(4, context_size)), jnp.float32) if context_size else None
    return flow, params, jnp.array(rng.normal(size=(4, size)), jnp.float32), context


@pytest.mark.parametrize("context_size", [0, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FLOWS)
def test_log_det_is_that_of_the_jacobian_and_inverse_undoes_forward(name, size, context_size):
    flow, params, u, context = setting(name, size, context_size)
    for direction, back in ((flow.forward, flow.inverse), (flow.inverse, flow.forward)):
        there, log_det = jax.jit(direction)(params, u, context)
        for i in range(len(u)):
            own = None if context is None else context[i]
            jacobian = jax.jacfwd(lambda x, d=direction, c=own: d(params, x, c)[0])(u[i])
            np.testing.assert_allclose(
                log_det[i], np.linalg.slogdet(jacobian)[1], rtol=1e-3, atol=1e-4
            )
        again, log_det_back = jax.jit(back)(params, there, context)
        np.testing.assert_allclose(again, u, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_the_context_is_seen(name):
    flow, params, u, context = setting(name, 3, 2)
    one, other = (flow.forward(params, u, c)[0] for c in (context, context + 1))
    assert (np.abs(one - other).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("name", FLOWS)
def test_it_starts_near_the_identity_and_its_gradients_flow(name):
    flow = FLOWS[name]
    params = flow.init(jax.random.key(0), 3, 0)
    u = jax.random.normal(jax.random.key(1), (50, 3))
    z, log_det = flow.forward(params, u, None)
    np.testing.assert_allclose(np.sort(z), np.sort(u), atol=0.3)  # units may change places
    assert np.abs(log_det).max() < 0.3
    gradients = jax.grad(lambda p: jnp.sum(flow.inverse(p, u, None)[0] ** 2))(moved(params))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("name", FLOWS)
def test_draws_pushed_forward_have_a_density_that_integrates_to_one(name):
    flow, params, _, _ = setting(name, 2, scale=0.2)
    axis = np.linspace(-14, 14, 401, dtype=np.float32)
    z = jnp.stack(jnp.meshgrid(axis, axis), axis=-1)
    u, log_det = jax.jit(flow.inverse)(params, z, None)
    density = np.exp(-0.5 * np.sum(np.square(u), axis=-1) + log_det) / (2 * np.pi)
    np.testing.assert_allclose(density.sum() * (axis[1] - axis[0]) ** 2, 1, rtol=1e-2)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_autoregressive_network_sees_only_what_comes_before(size):
    """Through the three masked layers, output i is reached by inputs 0 to i - 1, and by all."""
    first, second, last = autoregressive_masks(size, 16)
    paths = first @ second @ last  # [input, output]
    reached = np.tile(np.triu(np.ones((size, size)), 1), (1, 2)) > 0
    np.testing.assert_array_equal(paths > 0, reached)


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
@pytest.mark.parametrize("name", FLOWS)
def test_values_and_gradients_are_finite_at_extremes(name, extreme):
    flow, params, _, _ = setting(name, 3)
    for direction in (flow.forward, flow.inverse):

        def total(x, direction=direction):
            y, log_det = direction(params, x, None)
            return jnp.sum(y) + jnp.sum(log_det)

        value, gradient = jax.value_and_grad(total)(jnp.full((2, 3), extreme))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", FLOWS)
def test_lanes_of_params(name):
    flow, _, u, _ = setting(name, 3)
    keys = jax.random.split(jax.random.key(7), 3)
    together = jax.vmap(lambda key: flow.forward(flow.init(key, 3, 0), u, None)[0])(keys)
    alone = flow.forward(flow.init(jax.random.split(jax.random.key(7), 3)[1], 3, 0), u, None)[0]
    np.testing.assert_allclose(together[1], alone, rtol=1e-4, atol=1e-5)


def test_a_coupling_of_one_unit_is_refused():
    with pytest.raises(ValueError, match="at least 2 latent units"):
        FLOWS["coupling"].init(jax.random.key(0), 1, 0)


@pytest.mark.parametrize("size", SIZES)
def test_planar_log_det_is_that_of_the_jacobian_and_every_layer_is_invertible(size):
    rng = np.random.default_rng(0)
    raw = jnp.array(3 * rng.normal(size=(6, SPEC.layers * (2 * size + 1))), jnp.float32)
    u = jnp.array(rng.normal(size=(2, 6, size)), jnp.float32)
    _, log_det = planar_forward(u, raw, SPEC.layers)
    assert log_det.shape == (2, 6)
    for k in range(2):
        for i in range(6):
            jacobian = jax.jacfwd(
                lambda x, i=i: planar_forward(x[None, None], raw[i : i + 1], SPEC.layers)[0][0, 0]
            )(u[k, i])
            sign, exact = np.linalg.slogdet(jacobian)
            assert sign == 1  # a product of slopes above zero
            np.testing.assert_allclose(log_det[k, i], exact, rtol=1e-3, atol=2e-3)


def test_planar_of_zeros_is_the_identity():
    u = jax.random.normal(jax.random.key(0), (2, 3, 4))
    z, log_det = planar_forward(u, jnp.zeros((3, SPEC.layers * 9)), SPEC.layers)
    np.testing.assert_array_equal(z, u)
    np.testing.assert_array_equal(log_det, jnp.zeros((2, 3)))


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_planar_is_finite_at_extremes(extreme):
    def total(raw, u):
        z, log_det = planar_forward(u, raw, 2)
        return jnp.sum(z) + jnp.sum(log_det)

    for u in (jnp.zeros((2, 3, 4)), jnp.full((2, 3, 4), 1e4)):
        raw = jnp.full((3, 18), extreme)
        value, gradients = jax.value_and_grad(total, argnums=(0, 1))(raw, u)
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() for g in gradients)

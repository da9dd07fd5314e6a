"""One table of properties that every flow passes: both directions, and their determinants."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks.conv import Conv
from vae_jax.networks.grid import Grid
from vae_jax.networks.mlp import MLP
from vae_jax.probability.flows import (
    FlowSpec,
    autoregressive,
    autoregressive_masks,
    coupling,
    inverse_autoregressive,
    planar_forward,
)
from vae_jax.probability.posteriors import Planar

SPEC = FlowSpec(layers=2, width=8)
FLOWS = {
    "autoregressive": autoregressive,
    "coupling": coupling,
    "inverse_autoregressive": inverse_autoregressive,
}


def params_like(flow, size, context_size=0, scale=0.8):
    """Params of a flow, far from where they start."""
    like = jax.eval_shape(lambda: flow.init(jax.random.key(0), size, context_size))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.float32(scale * rng.normal(size=leaf.shape)), like)


def inputs_of(size, context_size=0):
    """(u [4, l], context [4, c] or None)"""
    rng = np.random.default_rng(1)
    u, context = (np.float32(rng.normal(size=(4, n))) for n in (size, context_size))
    return u, context if context_size else None


# name, latent units, numbers of context
CASES = [(name, 5, 3) for name in FLOWS] + [("coupling", 2, 0)]
OTHER_CASES = [
    (name, size, context_size)
    for name in FLOWS
    for size in (2, 3, 5)
    for context_size in (0, 3)
    if (name, size, context_size) not in CASES
]


@pytest.mark.parametrize(
    ("name", "size", "context_size"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in OTHER_CASES)],
)
def test_log_det_is_that_of_the_jacobian_and_inverse_undoes_forward(name, size, context_size):
    """Of an odd number of layers where there is context, of an even one where there is none."""
    flow = FLOWS[name](FlowSpec(layers=3 if context_size else 2, width=8))
    u, context = inputs_of(size, context_size)

    @jax.jit
    def both_ways(params, u, context):
        def there_and_back(there, back):
            def of_one(u, context):
                return there(params, u, context)[0]

            moved, log_det = there(params, u, context)
            axes = (0, None if context is None else 0)
            jacobian = jax.vmap(jax.jacfwd(of_one), axes)(u, context)
            return log_det, jacobian, *back(params, moved, context)

        return there_and_back(flow.forward, flow.inverse), there_and_back(
            flow.inverse, flow.forward
        )

    params = params_like(flow, size, context_size)
    for log_det, jacobian, again, log_det_back in both_ways(params, u, context):
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(again, u, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_the_context_is_seen(name):
    flow, (u, context) = FLOWS[name](SPEC), inputs_of(3, 2)
    forward, params = jax.jit(flow.forward), params_like(flow, 3, 2)
    one, other = (forward(params, u, own)[0] for own in (context, context + 1))
    assert (np.abs(one - other).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("name", FLOWS)
def test_it_starts_near_the_identity_and_its_gradients_flow(name):
    flow = FLOWS[name](SPEC)

    @jax.jit
    def start(key, u):
        return flow.forward(flow.init(key, 3, 0), u, None)

    @jax.jit
    @jax.grad
    def gradients(params, u):
        return jnp.sum(flow.inverse(params, u, None)[0] ** 2)

    u = np.float32(np.random.default_rng(0).normal(size=(50, 3)))
    z, log_det = start(jax.random.key(0), u)
    np.testing.assert_allclose(np.sort(z), np.sort(u), atol=0.3)  # units may change places
    assert np.abs(log_det).max() < 0.3
    found = gradients(params_like(flow, 3), u)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("name", FLOWS)
def test_samples_pushed_forward_have_a_density_that_integrates_to_one(name):
    axis = np.linspace(-14, 14, 281, dtype=np.float32)
    z = np.stack(np.meshgrid(axis, axis), axis=-1)
    flow = FLOWS[name](SPEC)
    u, log_det = jax.jit(flow.inverse)(params_like(flow, 2, scale=0.3), z, None)
    density = np.exp(-0.5 * np.sum(np.square(u), axis=-1) + log_det) / (2 * np.pi)
    np.testing.assert_allclose(density.sum() * (axis[1] - axis[0]) ** 2, 1, rtol=1e-2)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_autoregressive_network_sees_only_what_comes_before(size):
    """Through the three masked layers, output i is reached by inputs 0 to i - 1, and by all."""
    first, second, last = autoregressive_masks(size, 16)
    paths = first @ second @ last  # [input, output]
    reached = np.tile(np.triu(np.ones((size, size)), 1), (1, 2)) > 0
    np.testing.assert_array_equal(paths > 0, reached)


@pytest.mark.parametrize("name", FLOWS)
def test_values_and_gradients_are_finite_at_extremes(name):
    flow = FLOWS[name](SPEC)
    params = params_like(flow, 3)

    @jax.jit
    @jax.vmap
    @functools.partial(jax.value_and_grad, has_aux=True)
    def of_both_directions(x):
        found = [direction(params, x, None) for direction in (flow.forward, flow.inverse)]
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(found)), found

    found = of_both_directions(np.float32([-1e4, 1e4])[:, None, None] * np.ones((2, 3), "f"))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("name", FLOWS)
def test_lanes_of_params(name):
    flow, (u, _) = FLOWS[name](SPEC), inputs_of(3)

    def start(key):
        return flow.forward(flow.init(key, 3, 0), u, None)[0]

    keys = jax.vmap(jax.random.key)(np.arange(3))
    together, alone = jax.jit(jax.vmap(start))(keys), jax.jit(start)(jax.random.key(1))
    np.testing.assert_allclose(together[1], alone, rtol=1e-4, atol=1e-5)


def test_a_coupling_of_one_unit_is_refused():
    with pytest.raises(ValueError, match="at least 2 latent units"):
        coupling(SPEC).init(jax.random.key(0), 1, 0)


@pytest.mark.parametrize("size", [2, 5, pytest.param(3, marks=pytest.mark.slow)])
def test_planar_log_det_is_that_of_the_jacobian_and_every_layer_is_invertible(size):
    rng = np.random.default_rng(0)
    raw = np.float32(3 * rng.normal(size=(6, SPEC.layers * (2 * size + 1))))
    u = np.float32(rng.normal(size=(2, 6, size)))

    @jax.jit
    def log_det_and_jacobian(u, raw):
        def of_one(u_l, raw):
            return planar_forward(u_l[None, None], raw[None], SPEC.layers)[0][0, 0]

        jacobian = jax.vmap(jax.vmap(jax.jacfwd(of_one)), (0, None))(u, raw)
        return planar_forward(u, raw, SPEC.layers)[1], jacobian

    log_det, jacobian = log_det_and_jacobian(u, raw)
    assert log_det.shape == (2, 6)
    sign, exact = np.linalg.slogdet(jacobian)
    assert (sign == 1).all()  # a product of slopes above zero
    np.testing.assert_allclose(log_det, exact, rtol=1e-3, atol=2e-3)


def test_planar_of_zeros_is_the_identity():
    u = np.float32(np.random.default_rng(0).normal(size=(2, 3, 4)))
    forward = jax.jit(planar_forward, static_argnums=2)
    z, log_det = forward(u, np.zeros((3, SPEC.layers * 9), np.float32), SPEC.layers)
    np.testing.assert_array_equal(z, u)
    np.testing.assert_array_equal(log_det, np.zeros((2, 3)))


@pytest.mark.parametrize("network", [MLP, Conv, Grid])
def test_a_new_planar_posterior_is_near_its_gaussian(network):
    posterior = Planar(layers=16)
    encoder = network(widths=(16,)).encoder((8, 8, 1), posterior.heads(16))
    keys = jax.random.split(jax.random.key(0), 2)
    x = np.random.default_rng(0).uniform(size=(4, 64)).astype(np.float32)

    @jax.jit
    def moved_by_the_maps(init_key, key):
        q = posterior.distribution({}, encoder.apply(encoder.init(init_key), x))
        z, log_q = q.sample(key, 3)
        u, log_base = q.base.sample(jax.random.clone(key), 3)
        return z - u, log_q - log_base

    moved, log_det = moved_by_the_maps(*keys)
    assert 0 < np.abs(moved).max() < 0.05
    assert np.abs(log_det).max() < 0.05


def test_planar_is_finite_at_extremes():
    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    @functools.partial(jax.vmap, in_axes=(None, 0))
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def total(raw, u):
        raw, u = raw * jnp.ones((3, 18)), u * jnp.ones((2, 3, 4))
        z, log_det = planar_forward(u, raw, 2)
        return jnp.sum(z) + jnp.sum(log_det)

    found = total(np.float32([-1e4, 1e4]), np.float32([0.0, 1e4]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))

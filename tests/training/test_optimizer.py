"""Every optimiser and schedule beside optax's own, and the traced numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vae_jax.training import optimizer
from vae_jax.training.optimizer import OPTIMIZERS, SCHEDULES, OptimizerHyper, OptimizerSpec

HYPER = OptimizerHyper(
    learning_rate=0.1,
    b1=0.8,
    b2=0.95,
    eps=1e-3,
    momentum=0.7,
    weight_decay=0.02,
    max_grad_norm=np.inf,
    total_steps=10.0,
    final_fraction=0.1,
    boundaries=np.array([3.0, 6.0]),
    decay_factor=0.5,
)
TRACED = jax.tree.map(jnp.float32, HYPER)
OPTAX = {
    "adam": optax.adam(0.1, b1=0.8, b2=0.95, eps=1e-3),
    "adamax": optax.adamax(0.1, b1=0.8, b2=0.95, eps=1e-3),
    "adamw": optax.adamw(0.1, b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.02),
    "rmsprop": optax.rmsprop(0.1, decay=0.95, eps=1e-3),
    "sgd": optax.sgd(0.1, momentum=0.7),
}
TAKEN = jnp.array(True)
PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[0.5]])}


def gradients(params):
    return jax.tree.map(lambda p: jnp.sin(p) + p, params)


def follow(spec, hyper, steps=8):
    params, state = PARAMS, optimizer.init(spec, hyper, PARAMS)
    for step in range(steps):
        g = gradients(params)
        norm = optimizer.global_norm(g)
        params, state = optimizer.update(
            spec, hyper, g, norm, TAKEN, state, params, jnp.int32(step)
        )
    return params


def test_every_optimizer_has_a_reference():
    assert OPTAX.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_path_is_optax_s(name):
    params, state = PARAMS, OPTAX[name].init(PARAMS)
    for _ in range(8):
        updates, state = OPTAX[name].update(gradients(params), state, params)
        params = optax.apply_updates(params, updates)
    ours = follow(OptimizerSpec(name, "constant"), TRACED)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours, params)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_are_traced_one_a_lane(name):
    spec = OptimizerSpec(name, "constant")
    rates = jnp.array([0.01, 0.1])
    hypers = jax.tree.map(lambda v: jnp.stack([v, v]), TRACED)._replace(learning_rate=rates)
    together = jax.jit(jax.vmap(lambda h: follow(spec, h, steps=3)))(hypers)
    for lane, rate in enumerate(rates):
        alone = follow(spec, TRACED._replace(learning_rate=rate), steps=3)
        jax.tree.map(
            lambda a, b, lane=lane: np.testing.assert_allclose(a[lane], b, rtol=1e-4),
            together,
            alone,
        )


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("constant", optax.constant_schedule(1.0)),
        ("cosine", optax.cosine_decay_schedule(1.0, 10, alpha=0.1)),
        ("stepwise", optax.piecewise_constant_schedule(1.0, {3: 0.5, 6: 0.5})),
    ],
)
def test_schedules_are_optax_s(name, reference):
    for step in (0, 1, 5, 10, 12):
        np.testing.assert_allclose(
            SCHEDULES[name](TRACED, jnp.int32(step)), reference(step), rtol=1e-5
        )


def test_stepwise_falls_at_its_boundary():
    factors = [float(SCHEDULES["stepwise"](TRACED, jnp.int32(step))) for step in (2, 3, 5, 6)]
    assert factors == [1.0, 0.5, 0.5, 0.25]


def test_clipping_keeps_the_direction_and_bounds_the_norm():
    spec = OptimizerSpec("sgd", "constant")
    hyper = TRACED._replace(max_grad_norm=jnp.float32(0.5), momentum=jnp.float32(0))
    g = gradients(PARAMS)
    norm = optimizer.global_norm(g)
    np.testing.assert_allclose(norm, optax.tree.norm(g), rtol=1e-6)
    state = optimizer.init(spec, hyper, PARAMS)
    new, _ = optimizer.update(spec, hyper, g, norm, TAKEN, state, PARAMS, jnp.int32(0))
    moved = jax.tree.map(lambda p, n: (p - n) / 0.1, PARAMS, new)
    jax.tree.map(lambda m, g: np.testing.assert_allclose(m, 0.5 * g / norm, rtol=1e-4), moved, g)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 1.0])
def test_a_step_not_taken_leaves_the_params_and_nothing_that_is_not_finite(name, value):
    spec = OptimizerSpec(name, "constant")
    state = optimizer.init(spec, TRACED, PARAMS)
    g = gradients(PARAMS)
    norm = optimizer.global_norm(g)
    params, state = optimizer.update(spec, TRACED, g, norm, TAKEN, state, PARAMS, jnp.int32(0))
    g = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), g)
    norm = optimizer.global_norm(g)
    new, state = optimizer.update(spec, TRACED, g, norm, ~TAKEN, state, params, jnp.int32(1))
    jax.tree.map(np.testing.assert_array_equal, new, params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))

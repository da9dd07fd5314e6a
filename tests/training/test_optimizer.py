"""Every optimiser and schedule beside optax's own, and the traced numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vae_jax.sections.declare import stack
from vae_jax.training import optimizer
from vae_jax.training.optimizer import (
    OPTIMIZERS,
    SCHEDULES,
    SGD,
    Adam,
    AdaMax,
    AdamW,
    Constant,
    Cosine,
    Optimizer,
    RMSProp,
    Stepwise,
)

RULES = {
    "adam": Adam(b1=0.8, b2=0.95, eps=1e-3),
    "adamax": AdaMax(b1=0.8, b2=0.95, eps=1e-3),
    "adamw": AdamW(b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.02),
    "rmsprop": RMSProp(b2=0.95, eps=1e-3),
    "sgd": SGD(momentum=0.7),
}
OPTAX = {
    "adam": optax.adam(0.1, b1=0.8, b2=0.95, eps=1e-3),
    "adamax": optax.adamax(0.1, b1=0.8, b2=0.95, eps=1e-3),
    "adamw": optax.adamw(0.1, b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.02),
    "rmsprop": optax.rmsprop(0.1, decay=0.95, eps=1e-3),
    "sgd": optax.sgd(0.1, momentum=0.7),
}
PLANS = {
    "constant": Constant(),
    "cosine": Cosine(final_fraction=0.1, total_steps=10.0),
    "stepwise": Stepwise(boundaries=np.array([3.0, 6.0]), decay_factor=0.5),
}
PARAMS = {"a": np.array([1.0, -2.0], np.float32), "b": np.array([[0.5]], np.float32)}


def traced(rule, **numbers) -> Optimizer:
    """At a learning rate of 0.1, without clipping, its numbers as a program has them."""
    numbers = {"learning_rate": 0.1} | numbers
    return jax.tree.map(np.float32, Optimizer(rule, **numbers))


def gradients(params):
    return jax.tree.map(lambda p: jnp.sin(p) + p, params)


def stepped(own: Optimizer, g, taken, state, params, step):
    norm = optimizer.global_norm(g)
    return optimizer.update(own, g, norm, taken, state, params, step)


@jax.jit
def first_state(own: Optimizer):
    return optimizer.init(own, PARAMS)


take_step = jax.jit(stepped)


@partial(jax.jit, static_argnames="steps")
def follow(own: Optimizer, steps=8):
    def body(step, carry):
        params, state = carry
        return stepped(own, gradients(params), True, state, params, step)

    start = jax.tree.map(jnp.asarray, PARAMS)
    return jax.lax.fori_loop(0, steps, body, (start, optimizer.init(own, start)))[0]


def test_every_optimizer_has_a_reference():
    assert OPTAX.keys() == RULES.keys() == OPTIMIZERS.keys()
    assert PLANS.keys() == SCHEDULES.keys()
    assert {name: type(rule) for name, rule in RULES.items()} == OPTIMIZERS
    assert {name: type(plan) for name, plan in PLANS.items()} == SCHEDULES


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_path_is_optax_s(name):
    @jax.jit
    def theirs():
        def body(_, carry):
            params, state = carry
            updates, state = OPTAX[name].update(gradients(params), state, params)
            return optax.apply_updates(params, updates), state

        start = jax.tree.map(jnp.asarray, PARAMS)
        return jax.lax.fori_loop(0, 8, body, (start, OPTAX[name].init(start)))[0]

    ours = follow(traced(RULES[name]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours, theirs())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_are_traced_one_a_lane(name):
    lanes = [traced(RULES[name], learning_rate=rate) for rate in (0.01, 0.1)]
    together = jax.jit(jax.vmap(partial(follow, steps=3)))(stack(lanes))
    for lane, own in enumerate(lanes):
        alone = follow(own, steps=3)
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
    steps = np.array([0, 1, 5, 10, 12], np.int32)
    ours, theirs = factors_of(PLANS[name], steps), jax.vmap(reference)(steps)
    np.testing.assert_allclose(ours, np.broadcast_to(theirs, 5), rtol=1e-5)


@jax.jit
def factors_of(plan, steps):
    """The schedule's fractions, its numbers traced."""
    return jax.vmap(plan)(steps)


def test_stepwise_falls_at_its_boundary():
    factors = factors_of(PLANS["stepwise"], np.array([2, 3, 5, 6], np.int32))
    assert factors.tolist() == [1.0, 0.5, 0.5, 0.25]


def test_clipping_keeps_the_direction_and_bounds_the_norm():
    own = traced(SGD(momentum=0.0), max_grad_norm=0.5)
    g = jax.jit(gradients)(PARAMS)
    norm = jax.jit(optimizer.global_norm)(g)
    np.testing.assert_allclose(norm, optax.tree.norm(g), rtol=1e-6)
    new, _ = take_step(own, g, True, first_state(own), PARAMS, 0)
    moved = jax.tree.map(lambda p, n: (p - n) / 0.1, PARAMS, new)
    jax.tree.map(lambda m, g: np.testing.assert_allclose(m, 0.5 * g / norm, rtol=1e-4), moved, g)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 1.0])
def test_a_step_not_taken_leaves_the_params_and_nothing_that_is_not_finite(name, value):
    own = traced(RULES[name])
    g = jax.device_get(jax.jit(gradients)(PARAMS))
    params, state = take_step(own, g, True, first_state(own), PARAMS, 0)
    g = jax.tree.map(lambda leaf: np.full_like(leaf, value), g)
    new, state = take_step(own, g, False, state, params, 1)
    jax.tree.map(np.testing.assert_array_equal, new, params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))

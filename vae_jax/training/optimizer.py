"""Optimisers and learning-rate schedules whose every number is traced, one value a lane."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int


class OptimizerSpec(NamedTuple):
    """The static choice: keys of OPTIMIZERS and SCHEDULES."""

    name: str
    schedule: str


class OptimizerHyper(NamedTuple):
    """The numbers of an optimiser. A number that the chosen optimiser does not use is ignored."""

    learning_rate: Float[Array, ""]
    b1: Float[Array, ""]  # adam, adamw, adamax: decay of the first moment
    b2: Float[Array, ""]  # adam, adamw, adamax, rmsprop: decay of the second moment
    eps: Float[Array, ""]  # adam, adamw, adamax, rmsprop: added to the denominator
    momentum: Float[Array, ""]  # sgd
    weight_decay: Float[Array, ""]  # adamw: decoupled (Loshchilov and Hutter 2019)
    max_grad_norm: Float[Array, ""]  # gradients are scaled down to this global norm; inf: never
    total_steps: Float[Array, ""]  # cosine: where it ends
    final_fraction: Float[Array, ""]  # cosine: of the learning rate, at the end
    boundaries: Float[Array, " n"]  # stepwise: where the learning rate falls, in steps
    decay_factor: Float[Array, ""]  # stepwise: what it is multiplied by there


def global_norm(gradients) -> Float[Array, ""]:
    """The Euclidean norm of all gradients together; infinite or NaN if any of them is."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradients)))


def init(spec: OptimizerSpec, hyper: OptimizerHyper, params):
    """The optimiser's first state: arrays only."""
    return OPTIMIZERS[spec.name](hyper).init(params)


def update(
    spec: OptimizerSpec,
    hyper: OptimizerHyper,
    gradients,
    norm: Float[Array, ""],
    taken: Bool[Array, ""],
    opt_state,
    params,
    step: Int[Array, ""],
):
    """One step: clip, find the direction, go `learning rate * schedule` along it.

    Returns (params, opt_state). `norm` is the gradients' global norm. A step that is not `taken`
    leaves the params as they are, and to the optimiser it was one of zero gradients, whatever
    theirs were.
    """
    clip = jnp.minimum(1.0, hyper.max_grad_norm / jnp.maximum(norm, 1e-30))
    # Chosen here, not between old and new params and moments: XLA then reads the new moments for
    # the params' update, where it would compute them again from copies of the old.
    gradients = jax.tree.map(lambda g: jnp.where(taken, clip * g, 0.0), gradients)
    direction, opt_state = OPTIMIZERS[spec.name](hyper).update(gradients, opt_state, params)
    rate = hyper.learning_rate * SCHEDULES[spec.schedule](hyper, step)
    rate = jnp.where(taken, rate, 0.0)
    return jax.tree.map(lambda p, d: p - rate * d, params, direction), opt_state


def constant(hyper: OptimizerHyper, step: Int[Array, ""]) -> Float[Array, ""]:
    """1."""
    return jnp.ones_like(hyper.learning_rate)


def cosine(hyper: OptimizerHyper, step: Int[Array, ""]) -> Float[Array, ""]:
    """f + (1 - f) (1 + cos(pi step / total)) / 2 (Loshchilov and Hutter 2017, without restarts)."""
    progress = jnp.minimum(1.0, step / hyper.total_steps)
    wave = 0.5 * (1 + jnp.cos(jnp.pi * progress))
    return hyper.final_fraction + (1 - hyper.final_fraction) * wave


def stepwise(hyper: OptimizerHyper, step: Int[Array, ""]) -> Float[Array, ""]:
    """decay_factor ** (boundaries passed)."""
    return hyper.decay_factor ** jnp.sum(step >= hyper.boundaries)


def scale_by_adam(b1, b2, eps) -> optax.GradientTransformation:
    """optax's, its two corrections of bias moved out of the pass over the params.

    There one division is left of three: (m / c1) / (sqrt(v / c2) + eps) is
    (sqrt(c2) / c1) m / (sqrt(v) + sqrt(c2) eps), c = 1 - b^t.

    References: Kingma and Ba 2015, section 2.
    """

    def update(gradients, state, params=None):
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, gradients)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.nu, gradients)
        root = jnp.sqrt(1 - b2**count)
        size = root / (1 - b1**count)
        direction = jax.tree.map(lambda m, v: size * m / (jnp.sqrt(v) + root * eps), mu, nu)
        return direction, state._replace(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(optax.scale_by_adam(b1, b2, eps).init, update)


# Each gives the direction to go against, before the learning rate: (hyper) -> optax transformation.
OPTIMIZERS = {
    "adam": lambda h: scale_by_adam(h.b1, h.b2, h.eps),
    "adamax": lambda h: optax.scale_by_adamax(h.b1, h.b2, h.eps),
    "adamw": lambda h: optax.chain(
        scale_by_adam(h.b1, h.b2, h.eps), optax.add_decayed_weights(h.weight_decay)
    ),
    "rmsprop": lambda h: optax.scale_by_rms(h.b2, h.eps),
    "sgd": lambda h: optax.trace(h.momentum),
}

# Each gives the fraction of the learning rate in force: (hyper, step) -> fraction.
SCHEDULES = {"constant": constant, "cosine": cosine, "stepwise": stepwise}

"""Optimisers and learning-rate schedules; all their numbers are traced, one value per lane.

To add one, write its section and list it; interface.py says what it has.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from vae_jax.models.model import Params
from vae_jax.objectives.objective import Scalar
from vae_jax.sections.checks import increasing, no_effect, number
from vae_jax.sections.declare import fact, family, in_steps, section, static, traced
from vae_jax.training.interface import Rule, Schedule


def b1_key() -> Any:
    """The key of the decay of the first moment."""
    return traced(0.9, number(0, 1, open_high=True), "decay of the first moment")


def b2_key() -> Any:
    """The key of the decay of the second moment."""
    return traced(0.999, number(0, 1, open_high=True), "decay of the second moment")


def eps_key(doc: str = "added to the denominator") -> Any:
    """The key of a small number that keeps a denominator from 0."""
    # float32 must not round it to zero
    return traced(1e-8, number(1e-30), doc)


def scale_by_adam(b1: Scalar, b2: Scalar, eps: Scalar) -> optax.GradientTransformation:
    """optax.scale_by_adam with both bias corrections computed once, not for each param.

    This leaves one division per param instead of three: (m / c1) / (sqrt(v / c2) + eps) is
    (sqrt(c2) / c1) m / (sqrt(v) + sqrt(c2) eps), c = 1 - b^t.

    References: Kingma and Ba 2015, section 2.
    """

    def update(gradients: Params, state: Any, params: Any = None) -> tuple[Params, Any]:
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, gradients)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.nu, gradients)
        steps = count.astype(jnp.float32)
        root = jnp.sqrt(1 - b2**steps)
        size = root / (1 - b1**steps)
        direction = jax.tree.map(lambda m, v: size * m / (jnp.sqrt(v) + root * eps), mu, nu)
        return direction, state._replace(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(optax.scale_by_adam(b1, b2, eps).init, update)


@section
class Adam(Rule):
    """Kingma and Ba 2015."""

    b1: float = b1_key()
    b2: float = b2_key()
    eps: float = eps_key()

    def transformation(self) -> optax.GradientTransformation:
        return scale_by_adam(self.b1, self.b2, self.eps)


@section
class AdaMax(Rule):
    """Adam with a decayed maximum as second moment (Kingma and Ba 2015, section 7)."""

    b1: float = b1_key()
    b2: float = b2_key()
    eps: float = eps_key()

    def transformation(self) -> optax.GradientTransformation:
        return optax.scale_by_adamax(self.b1, self.b2, self.eps)


@section
class AdamW(Rule):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    b1: float = b1_key()
    b2: float = b2_key()
    eps: float = eps_key()
    weight_decay: float = traced(0.0, number(0), "decoupled from the gradient")

    def transformation(self) -> optax.GradientTransformation:
        adam = scale_by_adam(self.b1, self.b2, self.eps)
        return optax.chain(adam, optax.add_decayed_weights(self.weight_decay))


@section
class RMSProp(Rule):
    """The gradient over the root of its mean square + eps (Tieleman and Hinton 2012)."""

    b2: float = b2_key()
    eps: float = eps_key("of rmsprop: added inside the root")

    def transformation(self) -> optax.GradientTransformation:
        return optax.scale_by_rms(self.b2, self.eps)


@section
class SGD(Rule):
    """Stochastic gradient descent, with optional momentum."""

    momentum: float = traced(0.0, number(0, 1, open_high=True), "the momentum coefficient")

    def transformation(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum)


@section
class Constant(Schedule):
    """1."""

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        return jnp.float32(1)


@section
class Cosine(Schedule):
    """f + (1 - f) (1 + cos(pi step / total)) / 2 (Loshchilov and Hutter 2017, without restarts)."""

    final_fraction: float = traced(0.0, number(0, 1), "final fraction of the learning rate")
    total_steps: Any = fact(lambda facts: facts.total_steps, is_static=False)

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        progress = jnp.minimum(1.0, step.astype(jnp.float32) / self.total_steps)
        wave = 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return self.final_fraction + (1 - self.final_fraction) * wave


@section
class Stepwise(Schedule):
    """decay_factor ** (boundaries passed)."""

    boundaries: Any = traced((), increasing, "epochs at which the learning rate falls", to=in_steps)
    decay_factor: float = traced(0.1, number(0, 1, open_low=True), "factor on it at each boundary")

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        passed = step.astype(jnp.float32) >= self.boundaries
        return self.decay_factor ** jnp.sum(passed, dtype=jnp.float32)

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        if not len(self.boundaries):
            key = "optimizer.schedule.boundaries"
            yield no_effect("optimizer.schedule.name", "stepwise", key, "()")


OPTIMIZERS: dict[str, type[Rule]] = {
    "adam": Adam,
    "adamax": AdaMax,
    "adamw": AdamW,
    "rmsprop": RMSProp,
    "sgd": SGD,
}
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "cosine": Cosine,
    "stepwise": Stepwise,
}


@section
class Optimizer:
    """The config's section `optimizer`."""

    rule: Rule = family(
        OPTIMIZERS, "adam", "the optimiser of the model", key="name", interface=Rule
    )
    learning_rate: float = traced(1e-3, number(0, open_low=True), "step size, before the schedule")
    max_grad_norm: float = traced(
        math.inf,
        number(0),
        "gradients are scaled down to this global norm; 0: never",
        none=0.0,
    )
    skip_above: float = static(
        0.0,
        number(0),
        "updates whose gradients have a greater global norm, before clipping, are skipped; 0: none",
    )
    unclipped: Any = fact()  # True: no lane of the program has a max_grad_norm
    schedule: Schedule = family(
        SCHEDULES, "constant", "of the learning rate", key="schedule.name", interface=Schedule
    )

    def needs(self, config: Any) -> Iterator[str]:
        if 0 < self.skip_above <= self.max_grad_norm < math.inf:
            yield (
                f"optimizer.max_grad_norm = {self.max_grad_norm:g} would clip nothing: updates of "
                f"a norm above optimizer.skip_above = {self.skip_above:g} are skipped; it should "
                "be below that"
            )


def adam(learning_rate: Any, b1: Any, b2: Any) -> Optimizer:
    """Adam without schedule or clipping, in the units of a program."""
    return Optimizer(Adam(b1, b2), learning_rate, unclipped=True)


def global_norm(gradients: Params) -> Float[Array, ""]:
    """The Euclidean norm of all gradients together; infinite or NaN if any gradient is."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradients)))


def init(optimizer: Optimizer, params: Params) -> Any:
    """The initial state of the optimiser: arrays only."""
    return optimizer.rule.transformation().init(params)


def update(
    optimizer: Optimizer,
    gradients: Params,
    norm: Float[Array, ""] | None,
    taken: Bool[Array, ""],
    opt_state: Any,
    params: Params,
    step: Int[Array, ""],
) -> tuple[Params, Any]:
    """Takes a step: clips the gradients, and subtracts learning rate * schedule * direction.

    Returns (params, opt_state). `norm` is the global norm of the gradients, or None where they are
    not clipped. A step that is not `taken` leaves the params unchanged and updates opt_state with
    zero gradients.
    """
    if norm is not None:
        clip = jnp.minimum(1.0, optimizer.max_grad_norm / jnp.maximum(norm, 1e-30))
        gradients = jax.tree.map(lambda g: clip * g, gradients)
    # `taken` acts on the gradients and the rate, not by a choice between old and new values: then
    # XLA updates the params from the new moments, and does not recompute those from old copies.
    gradients = jax.tree.map(lambda g: jnp.where(taken, g, 0.0), gradients)
    transformation = optimizer.rule.transformation()
    direction, opt_state = transformation.update(gradients, opt_state, params)
    rate = optimizer.learning_rate * optimizer.schedule(step)
    rate = jnp.where(taken, rate, 0.0)
    return jax.tree.map(lambda p, d: p - rate * d, params, direction), opt_state

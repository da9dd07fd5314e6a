"""Training objectives. To add a bound, write its section and list it here or in BOUNDS."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.checks import number, whole
from vae_jax.keys import family, in_steps, section, static, steps_of_a_part, traced
from vae_jax.models.model import Model, Variables
from vae_jax.objectives.corruption import CORRUPTIONS, NoCorruption, corrupted
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import BOUNDS
from vae_jax.objectives.m2 import M2Bound
from vae_jax.objectives.objective import Loss, Player, Weights, ramp
from vae_jax.objectives.regularizers import REGULARIZERS, NoRegularizer

OBJECTIVES = {"elbo": Elbo, **BOUNDS, "m2": M2Bound}


@section
class Objective:
    """The config's section `objective`."""

    bound: Any = family(OBJECTIVES, "elbo", "the bound on log p(x), in nats", key="name")
    num_samples: int = static(1, whole(1), "samples of q(z | x) for each example")
    beta: float = traced(1.0, number(0), "weight of the KL; 1 makes the objective the bound itself")
    warmup_steps: float = traced(
        0.0,
        number(0),
        "epochs over which beta rises linearly from 0; 0: none",
        key="warmup_epochs",
        to=in_steps,
    )
    warmup_cycle: float = traced(
        1,
        whole(1),
        "equal parts of the run; beta restarts from 0 in each",
        key="warmup_cycles",
        to=steps_of_a_part,
    )
    corruption: Any = family(
        CORRUPTIONS, "none", "noise on the encoder's input; the likelihood is of the clean x"
    )
    regularizer: Any = family(REGULARIZERS, "none", "term added to the loss of a minibatch")

    @property
    def is_unit_by_unit(self) -> bool:
        """Whether no part of it mixes latent units: then a masked unit has no effect."""
        return self.bound.is_unit_by_unit and isinstance(self.regularizer, NoRegularizer)

    def regularizer_named(self) -> str:
        """The chosen regulariser, in the syntax of the config."""
        name = next(n for n, own in REGULARIZERS.items() if type(self.regularizer) is own)
        return f"objective.regularizer = {name!r}"

    def players(self, latent_size: int) -> dict[str, Player]:
        """{name: player}: the networks that are trained beside the model."""
        named = getattr(self.regularizer, "players", None)
        return named(latent_size) if named else {}

    def needs(self, config):
        if self.warmup_cycle > 1 and not self.warmup_steps:
            yield (
                f"objective.warmup_cycles = {self.warmup_cycle} is of a warm-up; "
                "objective.warmup_epochs should be above 0"
            )


def weights_at(objective: Objective, step: Any) -> Weights:
    """beta * min(1, (step mod warmup_cycle) / warmup_steps).

    References: Bowman et al. 2016; Sonderby et al. 2016 (linear KL warm-up); Fu et al. 2019
    (cyclical).
    """
    step = jnp.asarray(step, jnp.float32)
    cycles = jnp.floor(step / objective.warmup_cycle)  # 0 if the cycle is infinite
    in_cycle = step - jnp.where(cycles > 0, cycles * objective.warmup_cycle, 0.0)
    beta = objective.beta * ramp(in_cycle, objective.warmup_steps)
    return Weights(objective.num_samples, beta, step)


def loss(
    objective: Objective,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Any,
    step: Any,
    *,
    regularized: bool = True,
) -> Loss:
    """The loss at a training step, and the terms of its bound for each example.

    With `regularized` False, the loss is that of the bound alone, which is defined for one example
    (free bits and a capacity act on a batch's mean KL: they then see a batch of one). The gradient
    of a player is that of its own loss, whatever the weight of the regulariser.
    """
    weights = weights_at(objective, step)
    if not isinstance(objective.corruption, NoCorruption):
        key, corruption_key = jax.random.split(key)
        model = corrupted(model, corruption_key, objective.corruption)
    regularizer = objective.regularizer
    if isinstance(regularizer, NoRegularizer) or not regularized:
        return objective.bound.loss(model, variables, key, x_bd, label_b, weights)
    key, regularizer_key = jax.random.split(key)
    found = objective.bound.loss(model, variables, key, x_bd, label_b, weights)
    added, of_players = regularizer(regularizer_key, model, variables, found.trace, x_bd, label_b)
    value = found.value + regularizer.weight * added
    if of_players is not None:
        value += of_players - jax.lax.stop_gradient(of_players)  # adds a gradient, not a value
    return found._replace(value=value)

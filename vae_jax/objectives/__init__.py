"""Training objectives. To add a bound, write its section and list it here or in BOUNDS."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.checks import no_effect, number, whole
from vae_jax.keys import choices_of, family, in_steps, section, static, steps_of_a_part, traced
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

    def idle(self, config):
        if self.warmup_cycle > 1 and not self.warmup_steps:
            yield no_effect("objective.warmup_cycles", self.warmup_cycle, "objective.warmup_epochs")
        if self.warmup_steps and not self.beta:
            yield no_effect("objective.warmup_epochs", self.warmup_steps, "objective.beta")
        chosen = choices_of(self, "objective")
        for key, part in (("objective.regularizer", self.regularizer),
                          ("objective.corruption", self.corruption)):  # fmt: skip
            if strength(part) == 0:
                by = "regularizer_weight" if part is self.regularizer else "corruption_amount"
                yield no_effect(key, chosen[key], f"objective.{by}")


def strength(part: Any) -> Any:
    """The weight of a regulariser, or the amount of a corruption; 1 for one that has none."""
    names = (name for name in ("weight", "scale", "chance") if hasattr(part, name))
    return getattr(part, next(names, ""), 1)


def weights_at(objective: Objective, step: Any) -> Weights:
    """beta * min(1, (step mod warmup_cycle) / warmup_steps).

    References: Bowman et al. 2016; Sonderby et al. 2016 (linear KL warm-up); Fu et al. 2019
    (cyclical).
    """
    step = jnp.asarray(step, jnp.float32)
    # No infinity is multiplied by 0, which jax_debug_nans would find.
    endless = jnp.isinf(objective.warmup_cycle)
    cycle = jnp.where(endless, 1.0, objective.warmup_cycle)
    in_cycle = step - jnp.where(endless, 0.0, jnp.floor(step / cycle) * cycle)
    beta = objective.beta * ramp(in_cycle, objective.warmup_steps)
    return Weights(objective.num_samples, beta, step)


def validation_score(
    objective: Objective, means: dict[str, float], kl_u: np.ndarray | None, total_steps: int
) -> float:
    """The objective of a whole split, as it is at the end of the run; higher is better, nats.

    Without a beta, free bits and a capacity it is the bound. The regulariser is not in it: it is
    defined for a batch.

    Args:
      means: each term's mean over the split; "loss" is that of single examples at the end.
      kl_u: the mean KL of each latent unit; None if the bound does not tell it.
    """
    weights = weights_at(objective, total_steps - 1)
    if hasattr(objective.bound, "validation_score"):
        return objective.bound.validation_score(means, kl_u, weights)
    return means["bound"] if weights.beta == 1 else -means["loss"]


def is_the_bound(objective: Objective, total_steps: int) -> bool:
    """Whether the objective is the bound itself at the end of the run."""
    bound = objective.bound
    constrained = getattr(bound, "free_bits", 0) > 0 or getattr(bound, "capacity", 0) > 0
    return bool(weights_at(objective, total_steps - 1).beta == 1) and not constrained


def annealed_step(objective: Objective, total_steps: int) -> float:
    """The step from which on the objective is as at its end; at most `total_steps`."""
    cycle = float(objective.warmup_cycle)
    last_cycle = (math.ceil(total_steps / cycle) - 1) * cycle if math.isfinite(cycle) else 0.0
    ends = [last_cycle + objective.warmup_steps] if objective.warmup_steps > 0 else [0.0]
    if getattr(objective.bound, "capacity", 0) > 0:
        ends.append(objective.bound.capacity_steps)
    return min(float(max(ends)), total_steps)


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

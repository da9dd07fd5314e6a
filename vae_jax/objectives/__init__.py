"""Training objectives. To add a bound, write its section and list it here or in BOUNDS."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.models import facts_of_data
from vae_jax.models.model import Model, Variables
from vae_jax.objectives.aae import AAE, WAEGAN
from vae_jax.objectives.avb import AVB
from vae_jax.objectives.corruption import CORRUPTIONS, NoCorruption, corrupt
from vae_jax.objectives.discrete import LEAVE_ONE_OUT, PATHS
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import BOUNDS
from vae_jax.objectives.interface import Bound, Corruption, Regularizer
from vae_jax.objectives.m2 import M2Bound
from vae_jax.objectives.objective import NONE, Loss, Player, Weights, fixed_but_owned, ramp
from vae_jax.objectives.rae import RAE
from vae_jax.objectives.regularizers import REGULARIZERS, NoRegularizer
from vae_jax.objectives.terms import with_layers
from vae_jax.objectives.vae_gan import VAEGAN
from vae_jax.sections.checks import no_effect, number, whole
from vae_jax.sections.declare import (
    choices_of,
    family,
    in_steps,
    name_among,
    resolve,
    section,
    static,
    steps_of_a_part,
    traced,
)

PLAYERS = 1_000  # folded into the key of players; a bound splits the same key

OBJECTIVES: dict[str, type[Bound]] = {
    "elbo": Elbo,
    **BOUNDS,
    "aae": AAE,
    "avb": AVB,
    "m2": M2Bound,
    "rae": RAE,
    "vae_gan": VAEGAN,
    "wae_gan": WAEGAN,
}


@section
class Objective:
    """The config's section `objective`."""

    bound: Bound = family(
        OBJECTIVES, "elbo", "the bound on log p(x), in nats", key="name", interface=Bound
    )
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
        math.inf,
        whole(1),
        "equal parts of the run; beta restarts from 0 in each",
        key="warmup_cycles",
        to=steps_of_a_part,
        none=1,
    )
    corruption: Corruption = family(
        CORRUPTIONS,
        "none",
        "noise on the encoder's input; the likelihood is of the clean x",
        interface=Corruption,
    )
    regularizer: Regularizer = family(
        REGULARIZERS, "none", "term added to the loss of a minibatch", interface=Regularizer
    )

    @property
    def is_unit_by_unit(self) -> bool:
        """Whether no part of the objective mixes latent units: then a masked unit has no effect."""
        return self.bound.is_unit_by_unit and isinstance(self.regularizer, NoRegularizer)

    def regularizer_named(self) -> str:
        """The chosen regulariser, in the syntax of the config."""
        return f"objective.regularizer = {name_among(REGULARIZERS, self.regularizer)!r}"

    def needs(self, config: Any) -> Iterator[str]:
        able = config.model.abilities
        is_point = able.is_point
        name = name_among(OBJECTIVES, self.bound)
        kind = able.kind_of_q
        if kind not in self.bound.kinds_of_q and kind != "density":
            lack = {"point": "has none", "implicit": "has one that is not known"}[kind]
            yield (
                f"objective.name = {name!r} needs a density of q(z | x), and "
                f"{config.model.named()} {lack}; it should be "
                f"{' or '.join(repr(own) for own in objectives_for(kind))}"
            )
        if self.bound.compared and self.bound.compared not in self.bound.terms:
            yield (
                f"objective.name = {name!r} is compared by {self.bound.compared!r}, which should "
                f"be one of its terms: {', '.join(self.bound.terms)}"
            )
        if able.is_code and not isinstance(self.bound, Elbo):
            yield (
                f"objective.name = {name!r} is not for a q(z | x) of one code, as that of "
                f"{config.model.named()}; it should be 'elbo'"
            )
        if not able.has_path and getattr(self.bound, "gradient", PATHS[0]) in PATHS:
            yield (
                f"the gradient of objective.name = {name!r} goes through the samples of z, and "
                f"those of {config.model.named()} are discrete; take 'elbo' or 'iwae' with "
                f"objective.gradient = {LEAVE_ONE_OUT!r} and objective.num_samples of at least 2, "
                "or 'elbo' with 'straight_through'"
            )
        is_plain = isinstance(self.regularizer, NoRegularizer)
        if not is_plain and (able.is_code or not able.has_path):
            yield (
                f"{self.regularizer_named()} is for a real z, and that of {config.model.named()} "
                "is discrete; it should be 'none'"
            )
        numbers = {
            "objective.num_samples": (self.num_samples, 1),
            "evaluation.num_samples": (config.evaluation.num_samples, 0),
        }
        for key, (samples, usual) in numbers.items():
            if (is_point or able.is_code) and samples > 1:
                one = "a point" if is_point else "one code"
                yield (
                    f"{key} = {samples} are samples of q(z | x), and that of "
                    f"{config.model.named()} is {one}; it should be {usual}"
                )

    def players(self, spec: Any) -> dict[str, Player]:
        """{name: player}: what is trained beside the model of this spec, in order."""
        return self.bound.players(spec) | self.regularizer.players(spec)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        model = resolve(config.model, facts_of_data(data))
        yield from self.shared_at_once(model)
        if config.training.trained and self.bound.players(model):
            yield (
                f"training.trained = {config.training.trained} is for an objective without "
                f"players, and objective.name = {name_among(OBJECTIVES, self.bound)!r} has some; "
                "it should be ()"
            )

    def shared_at_once(self, spec: Any) -> Iterator[str]:
        """What is wrong with players at once that move the same parts of the model's params."""
        players = self.players(spec).values()
        parts = [part for player in players if player.at_once for part in player.owns]
        shared = set(parts) & set(self.bound.owns) if self.bound.owns else set(parts)
        for part in sorted(shared | {part for part in parts if parts.count(part) > 1}):
            yield (
                f"{part!r} of the model's params is moved at once by two losses of "
                f"objective.name = {name_among(OBJECTIVES, self.bound)!r}; one of them should "
                "move in turn"
            )

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        if math.isfinite(self.warmup_cycle) and not self.warmup_steps:
            yield no_effect("objective.warmup_cycles", self.warmup_cycle, "objective.warmup_epochs")
        if self.warmup_steps and not self.beta:
            yield no_effect("objective.warmup_epochs", self.warmup_steps, "objective.beta")
        chosen = choices_of(self, "objective")
        for key, strength, by in (
            ("regularizer", self.regularizer.weight, "regularizer_weight"),
            ("corruption", self.corruption.amount, "corruption_amount"),
        ):
            if strength == 0:
                key = f"objective.{key}"
                yield no_effect(key, chosen[key], f"objective.{by}")


def objectives_for(kind: str) -> list[str]:
    """The names of the objectives for such a q(z | x)."""
    return [name for name, bound in OBJECTIVES.items() if kind in bound().kinds_of_q]


def weights_at(objective: Objective, step: Any, xp: Any = jnp) -> Weights:
    """beta * min(1, (step mod warmup_cycle) / warmup_steps); xp: as in `ramp`.

    References: Bowman et al. 2016; Sonderby et al. 2016 (linear KL warm-up); Fu et al. 2019
    (cyclical).
    """
    step = xp.asarray(step, xp.float32)
    # No infinity is multiplied by 0, which jax_debug_nans would find.
    endless = xp.isinf(objective.warmup_cycle)
    cycle = xp.where(endless, xp.float32(1), objective.warmup_cycle)
    in_cycle = step - xp.where(endless, xp.float32(0), xp.floor(step / cycle) * cycle)
    beta = objective.beta * ramp(in_cycle, objective.warmup_steps, xp)
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
    weights = weights_at(objective, total_steps - 1, np)
    return objective.bound.validation_score(means, kl_u, weights)


def is_the_bound(objective: Objective, total_steps: int) -> bool:
    """Whether the objective is the bound itself at the end of the run."""
    is_weighted = weights_at(objective, total_steps - 1, np).beta != 1
    return not is_weighted and not objective.bound.is_constrained


def annealed_step(objective: Objective, total_steps: int) -> float:
    """The step from which on the objective is as at its end; at most `total_steps`."""
    cycle = float(objective.warmup_cycle)
    last_cycle = (math.ceil(total_steps / cycle) - 1) * cycle if math.isfinite(cycle) else 0.0
    warm = last_cycle + objective.warmup_steps if objective.warmup_steps > 0 else 0.0
    return min(float(max(warm, objective.bound.annealed_steps)), total_steps)


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
    players: Mapping[str, Player] = NONE,
) -> Loss:
    """The loss at a training step, and the terms of its bound for each example.

    With `regularized` False, the loss is that of the bound alone, which is defined for one example
    (free bits and a capacity act on a batch's mean KL: they then see a batch of one). What players
    move is constant in it, but for the parts that the bound owns.

    Args:
      players: those that move at once with the model; their losses are in the result.
    """
    weights = weights_at(objective, step)
    if not isinstance(objective.corruption, NoCorruption):
        key, corruption_key = jax.random.split(key)
        model = corrupt(model, corruption_key, objective.corruption)
    bound, regularizer = objective.bound, objective.regularizer
    is_plain = isinstance(regularizer, NoRegularizer) or not regularized
    if not is_plain:
        key, regularizer_key = jax.random.split(key)
    moved = of_bound(bound, variables)
    bound_loss = bound.loss(model, moved, key, x_bd, label_b, weights)
    terms = with_layers(model, bound_loss.terms, bound_loss.trace, analytic=bound.kl == "analytic")
    bound_loss = bound_loss._replace(terms=terms)
    if not is_plain:
        (added,) = regularizer(regularizer_key, model, moved, bound_loss.trace, x_bd, label_b)
        bound_loss = bound_loss._replace(value=bound_loss.value + regularizer.weight * added)
    if not players:
        return bound_loss
    trace = jax.lax.stop_gradient(bound_loss.trace)
    own_key = jax.random.fold_in(key, PLAYERS) if is_plain else regularizer_key
    of_players = {
        name: player.loss(
            model,
            fixed_but_owned(name, player, variables),
            jax.random.fold_in(own_key, i),
            x_bd,
            label_b,
            trace,
        )
        for i, (name, player) in enumerate(players.items())
    }
    return bound_loss._replace(of_players=of_players)


def of_bound(bound: Bound, variables: Variables) -> Variables:
    """The variables, constant but for the model's params that the bound's own loss moves."""
    if "players" in variables:
        variables = variables | {"players": jax.lax.stop_gradient(variables["players"])}
    if not bound.owns:
        return variables
    params = variables["params"]
    own = {part: params[part] for part in bound.owns}
    return variables | {"params": jax.lax.stop_gradient(params) | own}


def loss_in_turn(
    objective: Objective,
    player: Player,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Any,
) -> Float[Array, ""]:
    """The loss of a player that moves after the model, by samples of its own."""
    if not isinstance(objective.corruption, NoCorruption):
        key, corruption_key = jax.random.split(key)
        model = corrupt(model, corruption_key, objective.corruption)
    return player.loss(model, variables, key, x_bd, label_b, None)

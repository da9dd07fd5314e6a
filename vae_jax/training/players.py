"""The players of a step: what each moves, by which optimiser, and the moves in turn."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from vae_jax.models.model import Params, Variables
from vae_jax.objectives import loss_in_turn
from vae_jax.objectives.objective import Player, owned, with_owned
from vae_jax.sections.declare import replace
from vae_jax.training import optimizer
from vae_jax.training.optimizer import Optimizer, adam
from vae_jax.training.spec import Spec

MODEL = "model"  # the model's own name among the players
TURNS = 2_000  # folded into the key of a step for the first player, 2,001 for the next, ...


def players_of(spec: Spec) -> dict[str, Player]:
    """What is trained beside the model, in the order of their moves."""
    return spec.objective.players(spec.model)


def loss_named(player: str) -> str:
    """The metric of a player's loss, its mean over the moves of a step."""
    return f"{player}_loss"


def params_by_player(spec: Spec, variables: Variables) -> dict[str, Any]:
    """The params that each optimiser trains; a part can have several."""
    params, trained = variables["params"], spec.training.trained
    parts = spec.objective.bound.owns or tuple(params)
    of_model = {part: params[part] for part in parts if not trained or part in trained}
    players = players_of(spec).items()
    return {MODEL: of_model} | {name: owned(name, own, variables) for name, own in players}


def with_params(spec: Spec, variables: Variables, params: dict[str, Any]) -> Variables:
    """The variables with new params of these players."""
    players = players_of(spec)
    for name, own in params.items():
        if name == MODEL:
            variables = variables | {"params": variables["params"] | own}
        else:
            variables = with_owned(name, players[name], variables, own)
    return variables


def optimizers_of(spec: Spec) -> dict[str, Optimizer]:
    """The optimiser of each player."""
    of_players = {name: optimizer_of(spec, player) for name, player in players_of(spec).items()}
    return {MODEL: spec.optimizer, **of_players}


def optimizer_of(spec: Spec, player: Player) -> Optimizer:
    """The optimiser of a player."""
    if player.learning_rate is None:
        return spec.optimizer
    own = adam(player.learning_rate, player.b1, player.b2)
    return replace(own, schedule=spec.optimizer.schedule) if player.scheduled else own


def in_turn(
    spec: Spec,
    variables: Variables,
    opt_state: dict[str, Any],
    key: Key[Array, ""],
    batch: tuple[Any, Any],
    step: Int[Array, ""],
) -> tuple[Variables, dict[str, Any], dict[str, Float[Array, ""]], Bool[Array, ""]]:
    """The moves of the players that are not at once: each sees all those before it.

    Returns the variables and optimiser states after them, the mean loss of each player's moves, and
    whether all of these were finite.
    """
    values: dict[str, Float[Array, ""]] = {}
    for i, (name, player) in enumerate(players_of(spec).items()):
        if player.at_once:
            continue
        moved = moves(
            spec,
            (name, player),
            variables,
            opt_state[name],
            jax.random.fold_in(key, TURNS + i),
            batch,
            step,
        )
        variables, own_state, values[name] = moved
        opt_state = opt_state | {name: own_state}
    finite = jnp.isfinite(jnp.stack(list(values.values()))).all()
    return variables, opt_state, values, finite


def moves(
    spec: Spec,
    named: tuple[str, Player],
    variables: Variables,
    own_state: Any,
    key: Key[Array, ""],
    batch: tuple[Any, Any],
    step: Int[Array, ""],
) -> tuple[Variables, Any, Float[Array, ""]]:
    """All moves of one player in a step; its mean loss, which is not finite if a move can't be."""
    name, player = named
    model, rule = spec.trained_model, optimizers_of(spec)[name]

    def move(j: Any, carry: tuple[Params, Any, Any]) -> tuple[Params, Any, Any]:
        own, own_state, total = carry
        of_move = jax.random.fold_in(key, j)

        def loss_of(own: Params) -> Float[Array, ""]:
            moved = with_owned(name, player, variables, own)
            return loss_in_turn(spec.objective, player, model, moved, of_move, *batch)

        value, gradients = jax.value_and_grad(loss_of)(own)
        norm = None if rule.unclipped else optimizer.global_norm(gradients)
        if norm is not None:
            value += 0 * norm  # not finite if the norm is not
        taken = jnp.bool_(True)
        own, own_state = optimizer.update(rule, gradients, norm, taken, own_state, own, step)
        return own, own_state, total + value

    carry = (owned(name, player, variables), own_state, jnp.float32(0))
    several = player.times > 1
    carry = jax.lax.fori_loop(0, player.times, move, carry) if several else move(0, carry)
    own, own_state, total = carry
    return with_owned(name, player, variables, own), own_state, total / player.times

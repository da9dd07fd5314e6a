"""What an objective gives: its loss, its terms, its players. interface.py: what it is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.models.model import Params, Trace, Variables

Scalar = Float[Array, ""] | float


TERMS = ("elbo", "reconstruction", "kl")  # the terms of most bounds
NONE: dict[str, Any] = {}
KL_OF_LAYER = "kl_layer_"  # and the layer's name: its part of the KL, of a model with several


class Terms(NamedTuple):
    """The terms of the bound for each example, without the weights of the loss.

    Records, tables and curves use these names.
    """

    bound: Float[Array, " b"]  # on log p(x), nats; or what the objective is compared by
    parts: dict[str, Float[Array, " b"]]
    kl_bu: Float[Array, "b u"] | None = None  # the KL of each unit, where a bound tells it


class Loss(NamedTuple):
    """The loss to minimise, and the terms of its bound."""

    value: Float[Array, ""]
    terms: Terms
    trace: Trace  # for the regularisers
    of_players: dict[str, Float[Array, ""]] = NONE  # the losses of those that move with the model


class Weights(NamedTuple):
    """What an objective passes to its bound at a training step."""

    num_samples: int  # k, samples of q(z | x) for each example
    beta: Scalar  # weight of the KL
    step: Scalar


class Player(NamedTuple):
    """A part of the params with a loss and an optimiser of its own, and its moves in a step.

    It moves a network of its own (`init`), or parts of the model's params (`owns`). In its loss,
    everything else is constant. A player that is `at_once` moves by its gradient at the params
    before the step, as the model does; the others follow in turn, and see all moves before theirs.
    """

    # (model, variables, key, x [b, d], y [b] or None, trace) -> its loss of a minibatch. trace: at
    # once, that of the model's own loss, constant; in turn None: the player takes its own.
    loss: Callable[..., Float[Array, ""]]
    init: Callable[..., Any] | None = None  # key -> the params of its network, named as the player
    owns: tuple[str, ...] = ()  # without `init`: such as ("encoder", "posterior")
    learning_rate: Scalar | None = None  # of its Adam; None: the config's section `optimizer`
    b1: Scalar = 0.9
    b2: Scalar = 0.999
    scheduled: bool = False  # whether this Adam follows the schedule of the config's `optimizer`
    times: int = 1  # moves in a step, each with other random numbers; 1 for one that is at once
    at_once: bool = False


def owned(name: str, player: Player, variables: Variables) -> Params:
    """The params that a player moves."""
    if player.init is not None:
        return variables["players"][name]
    return {part: variables["params"][part] for part in player.owns}


def with_owned(name: str, player: Player, variables: Variables, own: Params) -> Variables:
    """The variables with other params of what a player moves."""
    if player.init is not None:
        return variables | {"players": variables["players"] | {name: own}}
    return variables | {"params": variables["params"] | own}


def fixed_but_owned(name: str, player: Player, variables: Variables) -> Variables:
    """The variables, constant but for what a player moves."""
    own = owned(name, player, variables)
    return with_owned(name, player, jax.lax.stop_gradient(variables), own)


def ramp(step: Scalar, over: Scalar, xp: Any = jnp) -> Any:
    """min(1, step / over): the fraction of a linear rise over `over` steps; 1 if over is 0.

    xp: numpy on the host, where jax would compile each operation.
    """
    # If over is 0, the ratio at step 0 is 1 / 1.
    step = xp.asarray(step, xp.float32)
    return xp.minimum(1.0, xp.maximum(step, xp.float32(over == 0)) / xp.maximum(over, 1))

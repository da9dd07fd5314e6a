"""What an objective gives: its loss, its terms, its players. interface.py: what it is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.models.model import Trace

Scalar = Float[Array, ""] | float


TERMS = ("elbo", "reconstruction", "kl")  # the terms of most bounds
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


class Weights(NamedTuple):
    """What an objective passes to its bound at a training step."""

    num_samples: int  # k, samples of q(z | x) for each example
    beta: Scalar  # weight of the KL
    step: Scalar


class Player(NamedTuple):
    """A network that an objective trains beside the model, with its own Adam."""

    init: Callable[..., Any]  # key -> params
    learning_rate: Scalar
    b1: Scalar
    b2: Scalar


def ramp(step: Scalar, over: Scalar, xp: Any = jnp) -> Any:
    """min(1, step / over): the fraction of a linear rise over `over` steps; 1 if over is 0.

    xp: numpy on the host, where jax would compile each operation.
    """
    # If over is 0, the ratio at step 0 is 1 / 1.
    step = xp.asarray(step, xp.float32)
    return xp.minimum(1.0, xp.maximum(step, xp.float32(over == 0)) / xp.maximum(over, 1))

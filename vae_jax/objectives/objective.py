"""The interface of objectives.

The section of a bound has the attributes infers_labels, is_unit_by_unit (True if no part of it
mixes latent units) and terms (their names), and the method

    loss(model, variables, key, x [b, d], y [b] or None, weights: Weights) -> Loss
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.models.model import Trace

Scalar = Float[Array, ""] | float


TERMS = ("elbo", "reconstruction", "kl")  # the terms of most bounds


class Terms(NamedTuple):
    """The terms of the bound for each example, without the weights of the loss.

    Records, tables and curves use these names.
    """

    score: Float[Array, " b"]  # validation picks the best params by it: higher is better; nats
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


def ramp(step: Scalar, over: Scalar):
    """min(1, step / over): the fraction of a linear rise over `over` steps; 1 if over is 0."""
    # If over is 0, the ratio at step 0 is 1 / 1.
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(1.0, jnp.maximum(step, jnp.float32(over == 0)) / jnp.maximum(over, 1))

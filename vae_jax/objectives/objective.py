"""What every objective takes and gives.

A bound's section says whether it infers_labels, whether it is_unit_by_unit (no part of it sees
latent units together), the names of its terms, and has

    loss(model, variables, key, x [b, d], y [b] or None, weights: Weights) -> Loss
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.models.model import Trace

Scalar = Float[Array, ""] | float


TERMS = ("elbo", "reconstruction", "kl")  # those of most


class Terms(NamedTuple):
    """What an objective says of each example, without the weights of its loss.

    Records, tables and curves are made of these names.
    """

    score: Float[Array, " b"]  # what validation picks the best by: higher is better; nats
    parts: dict[str, Float[Array, " b"]]


class Loss(NamedTuple):
    """What is minimised, and what it is made of."""

    value: Float[Array, ""]
    terms: Terms
    trace: Trace  # that regularisers look at


class Weights(NamedTuple):
    """What an objective gives to its bound, at a step of the training."""

    num_samples: int  # k, of q(z | x) for each example
    beta: Scalar  # of the KL
    step: Scalar


class Player(NamedTuple):
    """What an objective trains beside the model, by an Adam of its own."""

    init: Callable[..., Any]  # key -> params
    learning_rate: Scalar
    b1: Scalar
    b2: Scalar


def ramp(step: Scalar, over: Scalar):
    """min(1, step / over): how far a number has risen; 1 where it does not take any steps."""
    # Where it takes none, the ratio at step 0 is 1 / 1.
    return jnp.minimum(1.0, jnp.maximum(step, over == 0) / jnp.maximum(over, 1))

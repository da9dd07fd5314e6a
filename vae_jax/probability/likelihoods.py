"""Likelihoods p(x | z): what the decoder's output means. To add one, write it and list it below."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Likelihood(NamedTuple):
    """p(x | z) as pure functions of the decoder's output, `x_params`.

    log_prob: (x_params [..., d * params_per_dim], x [..., d]) -> nats [...], summed over d.
    mean:     x_params -> E[x] [..., d].
    sample:   (key, x_params) -> x [..., d].
    initial_bias: mean of the data [d] -> x_params whose mean it is: where the decoder may start.
    params_per_dim: how many numbers the decoder gives for each dimension of x.
    binary: whether it is a probability of binary x alone (so that grey x make a pseudo-likelihood).
    """

    log_prob: Callable[[Array, Array], Array]
    mean: Callable[[Array], Array]
    sample: Callable[[Array, Array], Array]
    initial_bias: Callable[[Array], Array]
    params_per_dim: int
    binary: bool


def bernoulli_log_prob(
    logits: Float[Array, "*batch d"], x: Float[Array, "*batch d"]
) -> Float[Array, "*batch"]:
    """sum_d x log p + (1 - x) log(1 - p), p = sigmoid(logits): x * logits - softplus(logits).

    For x strictly between 0 and 1 this is no log probability (it does not sum to one over x):
    then call it a pseudo-likelihood.
    """
    return jnp.sum(x * logits - jax.nn.softplus(logits), axis=-1)


def bernoulli_sample(
    key: Key[Array, ""], logits: Float[Array, "*batch d"]
) -> Float[Array, "*batch d"]:
    """One draw, 0. or 1."""
    return jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(logits.dtype)


def bernoulli_initial_bias(mean_d: Float[Array, " d"]) -> Float[Array, " d"]:
    """The logits of the data's mean, clipped to 0.001 to 0.999 (Burda et al. 2015, their code)."""
    mean_d = jnp.clip(mean_d, 0.001, 0.999)
    return jnp.log(mean_d) - jnp.log1p(-mean_d)


bernoulli = Likelihood(
    log_prob=bernoulli_log_prob,
    mean=jax.nn.sigmoid,
    sample=bernoulli_sample,
    initial_bias=bernoulli_initial_bias,
    params_per_dim=1,
    binary=True,
)

LIKELIHOODS = {"bernoulli": bernoulli}

"""The interface of a model, and what can be computed from a trace of it.

A model has one or more layers of latents. For each layer, the function `take` chooses z: samples
from q(z | x) or from p(z), means, or given values. The model calls it as

    take(i, q, p) -> z [k, b, l], its log density [k, b] or None

i: the layer, 0 at the top; q: q(z | x, ...), None without x; p: p(z | the layers above), None if
the layers above have no z yet.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax.probability.divergences import kl_divergence

Params = dict[str, Any]
# "params": trained; "stats": updated without a gradient; "players": what an objective trains beside
# the model.
Variables = dict[str, Params]
Take = Callable[[int, Any, Any], tuple[Array, Array | None]]


class Start(NamedTuple):
    """What the initial params take from the training set."""

    mean_d: Any = None  # [d], pixel means that set the decoder's output bias; None: it starts at 0
    examples_nd: Any = None  # [n, d], initial pseudo-inputs of a prior
    scale: Any = np.float32(1)  # of the pixels around their means
    centre_d: Any = None  # [d], pixel means that the encoder's inputs are centred at; None: 0


NO_START = Start()  # takes nothing from it


class Abilities(NamedTuple):
    """The properties of a model that an objective, a metric or a sweep may require."""

    num_layers: int
    posterior_type: type | None  # the distribution of a single layer's q(z | x)
    prior_type: type | None  # the distribution of its p(z)
    has_density: bool  # log q(z | x) can be computed for any z
    has_closed_form: bool  # KL(q(z | x) || p(z)) has one
    can_be_masked: bool  # single latent units can be masked out
    reads_labels: bool  # takes labels as an input
    infers_labels: bool  # has a q(y | x)
    examples: int  # the number of training images that its initial params take
    losses: tuple[str, ...] = ()  # the names in Trace.losses


class Layer(NamedTuple):
    """A layer of latents."""

    z_kbl: Float[Array, "k b l"]
    log_q_kb: Float[Array, "k b"] | None  # log density that `take` gave with z, or None
    q: Any  # q(z | x, ...), or None
    p: Any  # p(z | the layers above)


NOTHING: dict[str, Any] = {}


class Trace(NamedTuple):
    """The outputs of a model for one choice of latents."""

    layers: tuple[Layer, ...]  # from the top to the bottom
    x: Any  # p(x | z), of shape [k, b, d]
    y: Float[Array, "b c"] | None = None  # logits of q(y | x), if the model infers labels
    losses: dict[str, Float[Array, " b"]] = NOTHING  # the model's own, added to any objective
    stats: Params = NOTHING  # their values after this minibatch


class Model(NamedTuple):
    """A model as pure functions of its variables. x is [b, d]: flattened images.

    init:  (key, start: Start) -> {"params": ..., "stats": ...}.
    trace: (variables, take, x=None, y=None) -> Trace; y [b]: labels, if the model takes them.
    """

    init: Callable[..., Variables]
    trace: Callable[..., Trace]
    num_layers: int = 1


# ---- functions for `take` ------------------------------------------------------------------------


def posterior_samples(model: Model, key: Key[Array, ""], k: int) -> Take:
    """k samples from the q of every layer."""
    # From the bottom up, which is the order of inference.
    keys = [key] if model.num_layers == 1 else list(jax.random.split(key, model.num_layers))[::-1]
    return lambda i, q, p: q.sample(keys[i], k)


def prior_samples(model: Model, key: Key[Array, ""], k: int) -> Take:
    """k samples from the p of every layer, for each example."""
    keys = [key] if model.num_layers == 1 else list(jax.random.split(key, model.num_layers))
    return lambda i, q, p: p.sample(keys[i], k)


def cooled_samples(model: Model, key: Key[Array, ""], k: int, temperature: Any) -> Take:
    """The same, with the distance from the mean of p multiplied by `temperature` [layers].

    Of a Gaussian, this is a sample with its scale multiplied. No log density.
    """
    take = prior_samples(model, key, k)

    def cooled(i, q, p):
        mean_kbl = p.mean()
        return mean_kbl + temperature[i] * (take(i, q, p)[0] - mean_kbl), None

    return cooled


def samples_of(q: Any, key: Key[Array, ""], k: int) -> Take:
    """k samples from this q instead of the model's own; for a model with one layer."""
    return lambda i, _, p: q.sample(key, k)


def posterior_means(i: int, q: Any, p: Any):
    """The mean of the q of every layer."""
    return q.mean(), None


def given(z: Sequence[Float[Array, "k b l"]]) -> Take:
    """These z, from the top to the bottom; with log q(z | x) if x is given."""
    return lambda i, q, p: (z[i], None if q is None else q.log_prob(z[i]))


# ---- what a trace gives --------------------------------------------------------------------------


def latents(trace: Trace) -> tuple[Float[Array, "k b l"], ...]:
    """z of every layer, from the top to the bottom."""
    return tuple(layer.z_kbl for layer in trace.layers)


def joined(z: Sequence[Float[Array, "k b l"]]) -> Float[Array, "k b l"]:
    """The latent units of all layers concatenated, the bottom layer first."""
    return jnp.concatenate(z[::-1], axis=-1) if len(z) > 1 else z[0]


def parted(z_kbl: Float[Array, "k b l"], sizes: Sequence[int]) -> tuple[Array, ...]:
    """The inverse of `joined`, for layers of these sizes; from the top to the bottom."""
    parts, start = [], 0
    for size in sizes[::-1]:
        parts.append(z_kbl[..., start : start + size])
        start += size
    return tuple(parts[::-1])


def log_prior(trace: Trace) -> Float[Array, "k b"]:
    """log p(z), nats."""
    return sum_up([layer.p.log_prob(layer.z_kbl) for layer in trace.layers])


def log_posterior(trace: Trace) -> Float[Array, "k b"]:
    """log q(z | x), nats."""
    found = [layer.log_q_kb for layer in trace.layers if layer.log_q_kb is not None]
    assert len(found) == len(trace.layers), "the density of these latents was not taken"
    return sum_up(found)


def sum_up(terms: Sequence[Array]) -> Array:
    """The sum of one term for each layer, added from the bottom to the top."""
    return functools.reduce(operator.add, terms[::-1])


def log_joint(trace: Trace, x_bd: Float[Array, "b d"]) -> Float[Array, "k b"]:
    """log p(x, z), nats."""
    return log_prior(trace) + trace.x.log_prob(x_bd[None])


def kl_by_unit(trace: Trace) -> Float[Array, "b l"] | None:
    """KL(q(z | x) || p(z)) of each latent unit, nats; None if a layer has no closed form."""
    found = []
    for layer in trace.layers:
        kl_kbl = kl_divergence(layer.q, layer.p)
        if kl_kbl is None:
            return None
        found.append(jnp.mean(kl_kbl, axis=0) if len(kl_kbl) > 1 else kl_kbl[0])
    return joined(found)


def posterior_mean(
    model: Model, variables: Variables, x_bd: Float[Array, "b d"], label_b: Any = None
) -> Float[Array, "b l"]:
    """E_q[z] of all layers concatenated, the bottom layer first."""
    return joined(latents(model.trace(variables, posterior_means, x_bd, label_b)))[0]


def reconstruct(
    model: Model, variables: Variables, x_bd: Float[Array, "b d"], label_b: Any = None
) -> Float[Array, "b d"]:
    """E[x | z] at z = the posterior mean."""
    return model.trace(variables, posterior_means, x_bd, label_b).x.mean()[0]


def sample_prior(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    n: int,
    label_n: Int[Array, " n"] | None = None,
    temperature: Any = None,
) -> Trace:
    """A trace of n samples from the prior, as a batch of n with one sample each: z [1, n, l].

    `temperature`: as in `cooled_samples`; None: 1.
    """

    def take(k):
        if temperature is None:
            return prior_samples(model, key, k)
        return cooled_samples(model, key, k, temperature)

    if label_n is not None:
        return model.trace(variables, take(1), None, label_n)
    trace = model.trace(variables, take(n))
    return trace._replace(
        layers=tuple(layer._replace(z_kbl=layer.z_kbl.swapaxes(0, 1)) for layer in trace.layers),
        x=jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), trace.x),
    )


def generate(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    n: int,
    label_n: Int[Array, " n"] | None = None,
    temperature: Any = None,
) -> Float[Array, "n d"]:
    """E[x | z] for n samples z from the prior; `temperature` as in `sample_prior`."""
    return sample_prior(model, variables, key, n, label_n, temperature).x.mean()[0]


def descend(
    model: Model, variables: Variables, z: Float[Array, "n l"], sizes, layer: int, label_n=None
) -> Float[Array, "n l"]:
    """z with every layer below `layer` at the mean of p(z | the layers above)."""
    own = parted(z[None], sizes)

    def take(i, q, p):
        return (own[i] if i <= layer else p.mean()), None

    return joined(latents(model.trace(variables, take, None, label_n)))[0]


def layer_sizes(model: Model, variables: Variables, label_b: Any = None) -> tuple[int, ...]:
    """The number of latent units of each layer, top first; only shapes are evaluated."""

    def z(variables):
        return latents(sample_prior(model, variables, jax.random.key(0), 1, label_b))

    return tuple(leaf.shape[-1] for leaf in jax.eval_shape(z, variables))

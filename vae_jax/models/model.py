"""The interface of a model, and what can be computed from a trace of it.

A model has one or more layers of latents. For each layer, `take` chooses z: samples from q(z | x)
or from p(z), means, or given values. The model calls it as

    take(i, q, p) -> z [k, b, l], its log density [k, b] or None

i: the layer, 0 at the top; q: q(z | x, ...), None without x; p: p(z | the layers above), None if
the layers above have no z yet. A `Take` also serves a model that scans over equal layers.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax.errors import UserError
from vae_jax.probability.distributions import DiagonalGaussian, StandardNormal
from vae_jax.probability.divergences import kl_divergence

Params = dict[str, Any]
# "params": trained; "stats": updated without a gradient; "players": what an objective trains beside
# the model.
Variables = dict[str, Params]


class Take(NamedTuple):
    """How z is chosen: choose(own, q, p) -> z, log density; `own`: what a layer has for itself.

    Data rather than a function of the layer, so that layers can be scanned over.
    """

    choose: Callable[[Any, Any, Any], tuple[Array, Array | None]]
    own: tuple[Any, ...] | None = None  # of each layer, the top first; None: nothing

    def __call__(self, i: int, q: Any, p: Any) -> tuple[Array, Array | None]:
        return self.choose(None if self.own is None else self.own[i], q, p)

    def stacked(self, start: int, stop: int) -> Any:
        """`own` of the layers from `start` to `stop`, with a leading axis of layers."""
        if self.own is None:
            return None
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *self.own[start:stop])


class Start(NamedTuple):
    """What the initial params take from the training set."""

    mean_d: Any = None  # [d], pixel means that set the decoder's output bias; None: it starts at 0
    examples_nd: Any = None  # [n, d], initial pseudo-inputs of a prior
    scale: Any = np.float32(1)  # of the pixels around their means
    centre_d: Any = None  # [d], pixel means that the encoder's inputs are centred at; None: 0
    log_total: Any = (np.float32(0), np.float32(1))  # mean, deviation of the log totals of counts


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
    num_groups: int = 0  # of layers, by their names; 0: each layer is one
    is_point: bool = False  # q(z | x) is a point: it has no density, and there is no bound
    is_code: bool = False  # q(z | x) has probability 1 at one code
    has_path: bool = True  # samples of q(z | x) have a gradient
    unit_size: int = 1  # numbers of z for each latent unit
    values: tuple[int, int] | None = None  # of a discrete z: stages of a unit, entries of each
    notes: tuple[str, ...] = ()  # the names in Trace.notes
    is_implicit: bool = False  # its density is unknown even for its own samples: nor is there one

    @property
    def kind_of_q(self) -> str:
        """What q(z | x) is: "point", "implicit", or "density"."""
        return "point" if self.is_point else "implicit" if self.is_implicit else "density"


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
    notes: dict[str, Float[Array, ""]] = NOTHING  # numbers of the minibatch, for the records


class Model(NamedTuple):
    """A model as pure functions of its variables. x is [b, d]: flattened images.

    init:  (key, start: Start) -> {"params": ..., "stats": ...}.
    trace: (variables, take, x=None, y=None) -> Trace; y [b]: labels, if the model takes them.
    """

    init: Callable[..., Variables]
    trace: Callable[..., Trace]
    num_layers: int = 1
    layer_names: tuple[str, ...] = ()  # of several layers, the top first; equal names: one sum


# ---- functions for `take` ------------------------------------------------------------------------


def posterior_samples(model: Model, key: Key[Array, ""], k: int) -> Take:
    """k samples from the q of every layer."""
    # From the bottom up, which is the order of inference.
    keys = [key] if model.num_layers == 1 else list(jax.random.split(key, model.num_layers))[::-1]
    return Take(lambda own, q, p: q.sample(own, k), tuple(keys))


def prior_samples(model: Model, key: Key[Array, ""], k: int) -> Take:
    """k samples from the p of every layer, for each example."""
    keys = [key] if model.num_layers == 1 else list(jax.random.split(key, model.num_layers))
    return Take(lambda own, q, p: p.sample(own, k), tuple(keys))


def cooled_samples(model: Model, key: Key[Array, ""], k: int, temperature: Any) -> Take:
    """`prior_samples` with the distance from the mean of p multiplied by `temperature` [layers]; of
    discrete z, the logits divided by it. There is no log density."""
    take = prior_samples(model, key, k)
    assert take.own is not None

    def cooled(own: Any, q: Any, p: Any) -> tuple[Array, None]:
        key, heat = own
        if hasattr(p, "cooled"):
            return p.cooled(heat).sample(key, k)[0], None
        mean_kbl = p.mean()
        return mean_kbl + heat * (take.choose(key, q, p)[0] - mean_kbl), None

    return Take(cooled, tuple((key, temperature[i]) for i, key in enumerate(take.own)))


def samples_of(q: Any, key: Key[Array, ""], k: int) -> Take:
    """k samples from this q instead of the model's own; for a model with one layer."""
    return Take(lambda own, _, p: q.sample(own, k), (key,))


posterior_means = Take(lambda own, q, p: (q.mean(), None))  # the mean of the q of every layer
# The z that stands for q where it is decoded: its mean, or of a discrete one the most probable.
posterior_centres = Take(lambda own, q, p: (getattr(q, "centre", q.mean)(), None))


def given(z: Sequence[Float[Array, "k b l"]]) -> Take:
    """These z, from the top to the bottom; with log q(z | x) if x is given."""
    return Take(lambda own, q, p: (own, None if q is None else q.log_prob(own)), tuple(z))


def from_noise(e: Sequence[Float[Array, "k b l"]]) -> Take:
    """z = mean + scale * e of the p of every layer, from the top to the bottom."""
    return Take(lambda own, q, p: (p.of_noise(own), None), tuple(e))


# ---- what a trace gives --------------------------------------------------------------------------


def latents(trace: Trace) -> tuple[Float[Array, "k b l"], ...]:
    """z of every layer, from the top to the bottom."""
    return tuple(layer.z_kbl for layer in trace.layers)


def noise(trace: Trace) -> tuple[Float[Array, "k b l"], ...] | None:
    """(z - mean) / scale under the p of every layer, from the top to the bottom; under p, N(0, 1).

    A unit of one layer can be moved in it: the layers below follow. None: p has no such form.
    """
    if not all(isinstance(layer.p, (DiagonalGaussian, StandardNormal)) for layer in trace.layers):
        return None
    return tuple(layer.p.noise_of(layer.z_kbl) for layer in trace.layers)


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
    if len(found) < len(trace.layers):
        raise UserError(
            "q(z | x) has no density here: it is a point or implicit, or z was given without x; "
            "there is no bound on log p(x)"
        )
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


def kl_of_units(trace: Trace) -> Float[Array, "b l"] | None:
    """The part of each latent unit in KL(q(z | x) || p(z)), estimated without bias, nats.

    Of a sampled trace. The closed form of a layer given the samples above it, where there is one;
    else log q - log p of each unit: these sum to the KL too, but where q goes from the bottom to
    the top (`BottomUp`), a unit's mean may be below 0. None: a layer is no diagonal Gaussian.
    """
    found = []
    for layer in trace.layers:
        kl_kbl = kl_divergence(layer.q, layer.p)
        if kl_kbl is None:
            if not isinstance(layer.q, DiagonalGaussian):
                return None
            if not isinstance(layer.p, (DiagonalGaussian, StandardNormal)):
                return None
            # log N(z) of a unit is -(log 2 pi + noise^2) / 2 - log scale.
            noises = [0.5 * jnp.square(own.noise_of(layer.z_kbl)) for own in (layer.p, layer.q)]
            scale_of_p = layer.p.log_scale_kbl if isinstance(layer.p, DiagonalGaussian) else 0.0
            kl_kbl = noises[0] - noises[1] + scale_of_p - layer.q.log_scale_kbl
        found.append(jnp.mean(kl_kbl, axis=0))
    return joined(found)


def kl_by_layer(
    trace: Trace, names: Sequence[str], *, analytic: bool
) -> dict[str, Float[Array, " b"]]:
    """The KL of each layer, nats; layers of one name are summed.

    Analytic: KL(q || p) of the layer, in closed form, given the samples above it, averaged over
    them. Else: the mean of log q - log p over the samples.
    """
    kls: dict[str, Float[Array, " b"]] = {}
    for name, layer in zip(names, trace.layers, strict=True):
        if analytic:
            kl_kbl = kl_divergence(layer.q, layer.p)
            assert kl_kbl is not None, "this KL has no closed form: take kl='sampled'"
            kl_kb = jnp.sum(kl_kbl, axis=-1)
        else:
            assert layer.log_q_kb is not None, "the density of these latents was not taken"
            kl_kb = layer.log_q_kb - layer.p.log_prob(layer.z_kbl)
        kl_b = jnp.mean(kl_kb, axis=0)
        kls[name] = kls[name] + kl_b if name in kls else kl_b
    return kls


def posterior_mean(
    model: Model, variables: Variables, x_bd: Float[Array, "b d"], label_b: Any = None
) -> Float[Array, "b l"]:
    """E_q[z] of all layers concatenated, the bottom layer first."""
    return joined(latents(model.trace(variables, posterior_means, x_bd, label_b)))[0]


def posterior_sample(
    model: Model, variables: Variables, key: Key[Array, ""], x_bd: Float[Array, "b d"], label_b: Any
) -> Float[Array, "b l"]:
    """A sample of q(z | x) of all layers concatenated, the bottom layer first."""
    take = posterior_samples(model, key, 1)
    return joined(latents(model.trace(variables, take, x_bd, label_b)))[0]


def names_of_layers(model: Model) -> tuple[str, ...]:
    """The name of each layer, the top first; of a model that gives none, its number."""
    return model.layer_names or tuple(map(str, range(model.num_layers)))


def picture(p: Any, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
    """What is shown of p(x | z): E[x | z]; of an autoregressive one, where that has no value, the
    mean of each value given a sample's values before it.

    `key`: of the sample; one for all, or one for each [n].
    """
    own = getattr(p, "picture", None)  # a user's own distribution may have none
    return p.mean() if own is None else own(key)


def reconstruct(
    model: Model,
    variables: Variables,
    x_bd: Float[Array, "b d"],
    label_b: Any = None,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "b d"]:
    """E[x | z] at z = the posterior mean, or what is shown in its place (`picture`).

    Of a discrete z, at its most probable values.

    `key`: of that; None: key 0. All images have the same noise.
    """
    key = jax.random.key(0) if key is None else key
    p = model.trace(variables, posterior_centres, x_bd, label_b).x
    p = p.given_total(x_bd[None]) if hasattr(p, "given_total") else p  # of counts with a size
    return picture(p, key)[0]


def sample_prior(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    n: int,
    label_n: Int[Array, " n"] | None = None,
    temperature: Any = None,
) -> Trace:
    """A trace of n samples from the prior, as a batch of n with one sample each: z [1, n, l].
    `temperature`: as in `cooled_samples`; None: 1."""

    def take(k: int) -> Take:
        if temperature is None:
            return prior_samples(model, key, k)
        return cooled_samples(model, key, k, temperature)

    if label_n is not None:
        return model.trace(variables, take(1), None, label_n)
    # Without labels, a trace is of a batch of one. Its x is not used, so XLA leaves it out.
    z = latents(model.trace(variables, take(n)))
    return model.trace(variables, given([own.swapaxes(0, 1) for own in z]))


def generate(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    n: int,
    label_n: Int[Array, " n"] | None = None,
    temperature: Any = None,
) -> Float[Array, "n d"]:
    """E[x | z] for n samples z from the prior, or what is shown in its place (`picture`)."""
    keys_n = jax.random.split(jax.random.fold_in(key, 0), n)
    return picture(sample_prior(model, variables, key, n, label_n, temperature).x, keys_n)[0]


def descend(
    model: Model,
    variables: Variables,
    z: Float[Array, "n l"],
    sizes: Sequence[int],
    layer: Int[Array, ""] | int,
    label_n: Int[Array, " n"] | None = None,
) -> Float[Array, "n l"]:
    """z with every layer below `layer` at the mean of p(z | the layers above)."""
    kept = tuple((z_kbl, i <= layer) for i, z_kbl in enumerate(parted(z[None], sizes)))
    take = Take(lambda own, q, p: (jnp.where(own[1], own[0], p.mean()), None), kept)
    return joined(latents(model.trace(variables, take, None, label_n)))[0]


def layer_sizes(model: Model, variables: Variables, label_b: Any = None) -> tuple[int, ...]:
    """The number of latent units of each layer, top first; only shapes are evaluated."""

    def z(variables: Variables) -> tuple[Array, ...]:
        return latents(sample_prior(model, variables, jax.random.key(0), 1, label_b))

    return tuple(leaf.shape[-1] for leaf in jax.eval_shape(z, variables))

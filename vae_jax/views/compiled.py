"""The compiled functions by which a trained model is looked at: one program for all who do."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int, UInt32

from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.evaluation.latents import latents as codes
from vae_jax.evaluation.samplers.interface import Sampler
from vae_jax.evaluation.samplers.prior import with_sampler
from vae_jax.functions import decode
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import (
    Model,
    Variables,
    descend,
    from_noise,
    generate,
    given,
    joined,
    latents,
    noise,
    parted,
    picture,
    posterior_mean,
    posterior_sample,
    posterior_samples,
    reconstruct,
    sample_prior,
)
from vae_jax.objectives.terms import reconstruction, terms_of_samples

MODELS = 32  # whose functions are kept

Images = Float[Array, "b d"]
Labels = Int[Array, " b"] | None
Number = UInt32[Array, ""]  # a seed, or the index of a batch


class Compiled(NamedTuple):
    """Functions of (variables, ...). A seed is a uint32: keys are made inside the programs.

    means:       (x, label) -> the posterior means [b, l], the bottom layer first.
    codes:       (x, label) -> Latents: the posterior means [b, l], and the KL of each unit [b, l].
    reconstruct: (x, label, seed) -> [b, d], the picture at the posterior means.
    decode:      (z [n, l], label, seed) -> [n, d], the picture: E[x | z], or what stands for it;
                 all rows have the same noise.
    generate:    (seed, n, label, temperature) -> [n, d], the pictures of samples of the prior.
    samples:     (seed, index, x, label) -> a sample of each q(z | x), and as many of p(z): [b, l].
    noise:       (z [n, l], label, sizes) -> z as noise of p [n, l], or None.
    of_noise:    (noise [n, l], label, sizes) -> z [n, l].
    descend:     (z [n, l], label, sizes, layer) -> z, each lower layer at its mean.
    scales:      (x, label) -> the sd of q(z | x) of each layer, the bottom first, or None.
    terms:       (x, label) -> {term of the ELBO: [b]}, nats, by one sample.
    log_likelihood: (seed, start, x, label, num_samples) -> [b], nats, by importance sampling.
    """

    means: Callable[..., Any]
    codes: Callable[..., Any]
    reconstruct: Callable[..., Any]
    decode: Callable[..., Any]
    generate: Callable[..., Any]
    samples: Callable[..., Any]
    noise: Callable[..., Any]
    of_noise: Callable[..., Any]
    descend: Callable[..., Any]
    scales: Callable[..., Any]
    terms: Callable[..., Any]
    log_likelihood: Callable[..., Any]


@functools.lru_cache(MODELS)
def compiled(spec: ModelSpec, sampler: Sampler | None = None) -> Compiled:
    """The functions of a model; lanes with an equal model share them.

    sampler: in place of its p(z); then the variables have what was fitted, as "sampler".
    """
    model = make_model(spec)
    model = model if sampler is None else with_sampler(model, sampler)

    def of_model(view: Callable[..., Any], **static: Any) -> Callable[..., Any]:
        return jax.jit(functools.partial(view, model), **static)

    return Compiled(
        means=of_model(posterior_mean),
        codes=of_model(codes),
        reconstruct=of_model(show_reconstruction),
        decode=of_model(show_decoded),
        generate=of_model(generate_from_seed, static_argnums=2),
        samples=of_model(samples),
        noise=of_model(noise_of, static_argnums=3),
        of_noise=of_model(of_noise, static_argnums=3),
        descend=of_model(descend_layers, static_argnums=3),
        scales=of_model(scales),
        terms=of_model(terms),
        log_likelihood=of_model(log_likelihood, static_argnums=5),
    )


def show_reconstruction(
    model: Model, variables: Variables, x_bd: Float[Array, "b d"], label_b: Labels, seed: Any = 0
) -> Images:
    """What is shown of p(x | z) at the posterior means."""
    return reconstruct(model, variables, x_bd, label_b, jax.random.key(seed))


def show_decoded(
    model: Model, variables: Variables, z_nl: Float[Array, "n l"], label_n: Labels, seed: Any = 0
) -> Images:
    """What is shown of p(x | z)."""
    return picture(decode(model, variables, z_nl, label_n), jax.random.key(seed))


def generate_from_seed(
    model: Model,
    variables: Variables,
    seed: Number,
    n: int,
    label_n: Labels,
    temperature: Any,
) -> Images:
    """E[x | z] of n samples of the prior."""
    return generate(model, variables, jax.random.key(seed), n, label_n, temperature)


def samples(
    model: Model,
    variables: Variables,
    seed: Number,
    index: Number,
    x_bd: Images,
    label_b: Labels,
) -> tuple[Float[Array, "b l"], Float[Array, "b l"]]:
    """One sample of each q(z | x), and equally many of p(z); `index`: of the batch."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), index))
    posterior_bl = posterior_sample(model, variables, keys[0], x_bd, label_b)
    prior = sample_prior(model, variables, keys[1], len(x_bd), label_b)
    return posterior_bl, joined(latents(prior))[0]


def noise_of(
    model: Model,
    variables: Variables,
    z_nl: Float[Array, "n l"],
    label_n: Labels,
    sizes: tuple[int, ...],
) -> Float[Array, "n l"] | None:
    """z as noise of p, the layers concatenated, the bottom one first; None: p has no such form."""
    e = noise(model.trace(variables, given(parted(z_nl[None], sizes)), None, label_n))
    return None if e is None else joined(e)[0]


def of_noise(
    model: Model,
    variables: Variables,
    noise_nl: Float[Array, "n l"],
    label_n: Labels,
    sizes: tuple[int, ...],
) -> Float[Array, "n l"]:
    """z of noise of p; both have all layers concatenated, the bottom layer first."""
    take = from_noise(parted(noise_nl[None], sizes))
    return joined(latents(model.trace(variables, take, None, label_n)))[0]


def descend_layers(
    model: Model,
    variables: Variables,
    z_nl: Float[Array, "n l"],
    label_n: Labels,
    sizes: tuple[int, ...],
    layer: Int[Array, ""],
) -> Float[Array, "n l"]:
    """z with each layer below the given one at its mean; `sizes`: of the layers."""
    return descend(model, variables, z_nl, sizes, layer, label_n)


def scales(
    model: Model, variables: Variables, x_bd: Images, label_b: Labels
) -> list[Float[Array, "1 b l"] | None]:
    """The sd of q(z | x) of each layer, the bottom first; None: it is not known."""
    take = posterior_samples(model, jax.random.key(0), 1)
    layers = model.trace(variables, take, x_bd, label_b).layers[::-1]
    known = [getattr(layer.q, "scale", None) for layer in layers]
    return [None if scale is None else scale() for scale in known]


def terms(
    model: Model, variables: Variables, x_bd: Images, label_b: Labels
) -> dict[str, Float[Array, " b"]]:
    """The terms of the ELBO of each image, nats, by one sample; of a point, the reconstruction."""
    trace = model.trace(variables, posterior_samples(model, jax.random.key(0), 1), x_bd, label_b)
    if any(layer.log_q_kb is None for layer in trace.layers):
        return {"reconstruction": reconstruction(trace, x_bd)}
    return terms_of_samples(model, trace, x_bd).parts


def log_likelihood(
    model: Model,
    variables: Variables,
    seed: Number,
    start: Number,
    x_bd: Images,
    label_b: Labels,
    num_samples: int,
) -> Float[Array, " b"]:
    """log p(x) of each image, nats; `start`: the index of the first, which the noise depends on."""
    key = jax.random.fold_in(jax.random.key(seed), start)
    estimate = importance_sampling(model, variables, key, x_bd, num_samples, label_b)
    return estimate.log_likelihood

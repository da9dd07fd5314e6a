"""What the z of a model is: real numbers, or discrete.

A discrete z has a probability, a real one a density. One beside the other gives a KL, and so an
ELBO, that means nothing; and what moves z along a gradient needs a density.

A prior, posterior or model says it by its attribute `support`, "real" or "discrete". Where one of
the user's own says nothing, samples tell: those of a density are all different.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from vae_jax.models.model import Model, latents, sample_prior
from vae_jax.probability.distributions import DiagonalGaussian, FullGaussian, StandardNormal
from vae_jax.probability.posteriors import POSTERIORS
from vae_jax.probability.priors import PRIORS, Shape
from vae_jax.words import page

REAL, DISCRETE = SUPPORTS = ("real", "discrete")
SAMPLES, EXAMPLES, UNITS = 64, 2, 4  # of z, to tell what it is
SAME = 0.1  # more samples of a unit that are like another: it has no density
OURS: list[Any] = [*POSTERIORS.values(), *PRIORS.values()]
DENSITIES = {DiagonalGaussian, FullGaussian, StandardNormal}
DENSITIES |= {part.distribution_type for part in OURS}


def said(part: Any) -> str | None:
    """What a prior, a posterior or a model says of its z; None: nothing."""
    if part.support is not None:
        return part.support
    if getattr(part, "is_point", False):  # whose samples are all the same
        return REAL
    is_ours = getattr(part, "distribution_type", None) in DENSITIES
    return REAL if is_ours else None


def by_samples(sample: Callable[[], Sequence[Any]]) -> str:
    """What z is, by its samples: arrays [k, ...], one for each layer.

    What can't be sampled here has its error where it is trained, and is taken for real.
    """
    try:
        layers = [np.asarray(z).reshape(len(z), -1) for z in sample()]
    except Exception:  # it is the user's code
        return REAL
    for z_kn in layers:
        same_n = (np.diff(np.sort(z_kn, axis=0), axis=0) == 0).mean(axis=0)
        if not np.issubdtype(z_kn.dtype, np.floating) or (same_n > SAME).any():
            return DISCRETE
    return REAL


@functools.cache
def of_posterior(posterior: Any) -> str:
    """What z is under q(z | x)."""

    def sample() -> list[Array]:
        key, z_key = jax.random.split(jax.random.key(0))
        # Not 0, where a mean that is always the same would look like any other.
        outputs = {
            head: jax.random.normal(jax.random.fold_in(key, i), (EXAMPLES, size))
            for i, (head, size) in enumerate(posterior.heads(UNITS))
        }
        q = posterior.distribution(posterior.init(key, UNITS), outputs, None)
        return [q.sample(z_key, SAMPLES)[0]]

    return said(posterior) or by_samples(sample)


@functools.cache
def of_prior(prior: Any) -> str:
    """What z is under p(z)."""

    def sample() -> list[Array]:
        key, z_key = jax.random.split(jax.random.key(0))
        params = prior.init(key, UNITS, 0, None)
        p = prior.distribution(params, None, None, Shape(EXAMPLES, UNITS))
        return [p.sample(z_key, SAMPLES)[0]]

    return said(prior) or by_samples(sample)


def of_model(kind: Any, make: Callable[[], Model]) -> str:
    """What z is under a model, which `make` gives; of several layers, discrete if one is."""
    parts = pair_of(kind)
    if parts:
        return of_posterior(parts[0])

    def sample() -> list[Array]:
        model, key = make(), jax.random.key(0)
        labels = jnp.zeros(SAMPLES, int) if kind.abilities.reads_labels else None

        @jax.jit
        def sampled(key: Key[Array, ""], z_key: Key[Array, ""]) -> tuple[Array, ...]:
            return latents(sample_prior(model, model.init(key), z_key, SAMPLES, labels))

        return [z_kbl.reshape(SAMPLES, -1) for z_kbl in sampled(*jax.random.split(key))]

    return said(kind) or by_samples(sample)


def pair_of(kind: Any) -> tuple[Any, Any] | None:
    """The posterior and the prior of a model that has both as its parts."""
    if hasattr(kind, "posterior") and hasattr(kind, "prior"):
        return kind.posterior, kind.prior
    return None


def said_problems(spec: Any) -> Iterator[str]:
    """What is wrong with what the parts of a model say of z; nothing is computed."""
    parts = (spec.kind, *(pair_of(spec.kind) or ()))
    for part in parts:
        if said(part) not in (None, *SUPPORTS):
            yield (
                f"{type(part).__name__}.support = {said(part)!r} should be "
                f"{' or '.join(map(repr, SUPPORTS))}: what its z is"
            )
    yield from pair_problems(spec, *map(said, parts[1:]))


def sampled_problems(spec: Any) -> Iterator[str]:
    """What is wrong with a pair of q(z | x) and p(z), by samples where they say nothing."""
    parts = pair_of(spec.kind)
    if parts:
        yield from pair_problems(spec, of_posterior(parts[0]), of_prior(parts[1]))


def pair_problems(
    spec: Any, posterior: str | None = None, prior: str | None = None
) -> Iterator[str]:
    """What is wrong with q(z | x) and p(z) that say these of z; None: they say nothing."""
    if posterior and prior and posterior != prior:
        what = {REAL: "a density of real numbers", DISCRETE: "a probability of discrete values"}
        fitting = [name for name, own in PRIORS.items() if said(own()) == posterior]
        yield (
            f"q(z | x) is {what[posterior]} and p(z) is {what[prior]}, so KL(q(z | x) || p(z)) has "
            f"no meaning; these are {spec.named()}; take two of one kind, such as model.prior = "
            f"{' or '.join(map(repr, fitting))}: {page('own_parts')}"
        )

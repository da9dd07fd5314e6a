"""log p(x) by importance sampling from q(z | x), a block of samples at a time.

References: Rezende, Mohamed and Wierstra 2014, appendix E; Burda et al. 2015, section 5.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.model import (
    Model,
    Take,
    Variables,
    log_joint,
    log_posterior,
    posterior_samples,
    samples_of,
)

# Samples that share a key. The estimate depends on this block size, but on no batch size.
BLOCK = 50


class ImportanceSampling(NamedTuple):
    """The estimate for examples [b], in nats, and diagnostics of its reliability."""

    log_likelihood: Float[Array, "*b"]  # log (1/k) sum_k w_k: below log p(x), in expectation
    effective_sample_size: Float[Array, "*b"]  # (sum w)^2 / sum w^2, 1 to k
    largest_weight: Float[Array, "*b"]  # of the weights, which sum to 1
    curve: Float[Array, "*b j"]  # log_likelihood of the first `curve_samples(k)` samples


def curve_samples(num_samples: int) -> tuple[int, ...]:
    """The sample sizes of the curve: 1, 2, 5, 10, ... and last `num_samples`."""
    decades = range(len(str(num_samples)))
    numbers = (n * 10**decade for decade in decades for n in (1, 2, 5))
    return (*(n for n in numbers if n < num_samples), num_samples)


class Sums(NamedTuple):
    """Sums over the weights so far, relative to the largest of them."""

    largest: Float[Array, " b"]  # log w
    total: Float[Array, " b"]
    squares: Float[Array, " b"]


def proposed_samples(model: Model, key: Key[Array, ""], k: int) -> Take:
    """`posterior_samples`, but from the proposal of a q whose density is not known."""
    take = posterior_samples(model, key, k)

    def choose(own: Any, q: Any, p: Any) -> tuple[Array, Array | None]:
        proposal = getattr(q, "proposal", None)
        return take.choose(own, q if proposal is None else proposal(), p)

    return Take(choose, take.own)


def importance_sampling(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    num_samples: int,
    label_b: Any = None,
    *,
    q: Any = None,
) -> ImportanceSampling:
    """log p(x) by the mean of `num_samples` weights w = p(x, z) / q(z | x), z ~ q(z | x).

    Where the density of q(z | x) is not known, z is of its proposal, a Gaussian with its moments.

    `q`: a distribution of z in place of the encoder's q(z | x). Memory is that of BLOCK samples,
    whatever their number.
    """
    points = curve_samples(num_samples)

    def log_weights(block: Int[Array, ""] | int) -> Float[Array, "k b"]:
        block_key = jax.random.fold_in(key, block)
        if q is None:
            # The encoder's part does not depend on the block: XLA computes it once.
            trace = model.trace(variables, proposed_samples(model, block_key, BLOCK), x_bd, label_b)
        else:
            trace = model.trace(variables, samples_of(q, block_key, BLOCK), None, label_b)
        is_one_k = block * BLOCK + jnp.arange(BLOCK) < num_samples
        log_w_kb = log_joint(trace, x_bd) - log_posterior(trace)
        return jnp.where(is_one_k[:, None], log_w_kb, -jnp.inf)

    def add(sums: Sums, log_w_kb: Float[Array, "k b"]) -> tuple[Sums, Float[Array, " b"]]:
        # Before the first weight that is not 0, any finite number will do.
        largest = jnp.maximum(sums.largest, jnp.max(log_w_kb, axis=0))
        w_kb = jnp.exp(log_w_kb - largest[None])
        old = jnp.exp(sums.largest - largest)
        after = Sums(
            largest,
            old * sums.total + jnp.sum(w_kb, axis=0),
            old**2 * sums.squares + jnp.sum(jnp.square(w_kb), axis=0),
        )
        return after, jnp.log(after.total) + largest

    shape = (len(x_bd),)
    nothing = Sums(jnp.full(shape, jnp.finfo(jnp.float32).min), jnp.zeros(shape), jnp.zeros(shape))
    blocks = -(-num_samples // BLOCK)
    first_kb = log_weights(0)  # apart from the others: the curve has points within it
    sums, _ = add(nothing, first_kb)
    sums, log_totals_jb = jax.lax.scan(
        lambda sums, block: add(sums, log_weights(block)), sums, jnp.arange(1, blocks)
    )
    within_kb = jax.lax.cumlogsumexp(first_kb, axis=0)
    curve = [
        (within_kb[n - 1] if n <= BLOCK else log_totals_jb[-(-n // BLOCK) - 2]) - math.log(n)
        for n in points
    ]
    return ImportanceSampling(
        log_likelihood=jnp.log(sums.total) + sums.largest - math.log(num_samples),
        effective_sample_size=jnp.square(sums.total) / sums.squares,
        largest_weight=1 / sums.total,
        curve=jnp.stack(curve, axis=-1),
    )

"""The interface of likelihoods, and functions that they share.

A likelihood p(x | z) is a section. x [..., d] is float32, images scaled to [0, 1]. It has

    params_per_dim         p: the number of decoder outputs per dimension
    support                its x: "binary" (0 or 1), "unit" (0 to 1), "real", "levels"
                           (n / 255 of whole n up to 255) or "counts" (n / 255 of any whole n)
    init(scale)            its own params, trained with the model; {} for most
    distribution(params, raw [..., d, p]) -> p(x | z)
    initial_bias(mean [d], scale) -> raw [d, p] with this mean: an initial output bias of the
                           decoder; where it has a scale, with that standard deviation

`scale` is that of the data around their means; 1 where nothing is known of them. One whose params
are not trained but follow the data has, beside,

    init_stats(scale)      the params before the first step
    update(stats, p, x)    those after a minibatch x [b, d] and its p(x | z) [k, b, d]

and its distribution, a pytree of parameters [..., d],

    log_prob(x [..., d])   nats [...], summed over d; axes of size 1 are broadcast
    mean()                 E[x] [..., d]
    sample(key)            x [..., d]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + exp(x)) for finite x; on a CPU, with its gradient, twice as fast as jax.nn's."""
    size = jnp.abs(x)
    # (x + |x|) / 2, not max(x, 0): the slope of the sum at 0 is 1 / 2, whatever that of |x|.
    return 0.5 * (x + size) + jnp.log1p(jnp.exp(-size))


def bisect(
    mean_of: Callable[[Array], Array], mean_d: Float[Array, " d"], low: float, high: float
) -> Float[Array, " d"]:
    """Solves mean_of(x) = mean_d for each dimension by bisection; mean_of is increasing."""

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        below = mean_of(middle) < mean_d
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    ends = jnp.full_like(mean_d, low), jnp.full_like(mean_d, high)
    return 0.5 * sum(jax.lax.fori_loop(0, 40, halve, ends))


def inside(mean_d: Float[Array, " d"]) -> Float[Array, " d"]:
    """The data's mean, clipped to 0.001 to 0.999 (Burda et al. 2015, their code)."""
    return jnp.clip(mean_d, 0.001, 0.999)


def logit(p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.log(p) - jnp.log1p(-p)

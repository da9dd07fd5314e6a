"""Splits log p(x) - ELBO into a part by the family of q and a part by the encoder.

log p(x) - ELBO(q(z | x)) = (log p(x) - ELBO(q*)) + (ELBO(q*) - ELBO(q(z | x))), where q* is
the best of the family for this x alone: the approximation gap and the amortisation gap.

References: Cremer, Li and Duvenaud 2018, Inference suboptimality in variational autoencoders,
equation 4; q* by gradient: Hoffman et al. 2013, Stochastic variational inference.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.models.model import (
    Model,
    Variables,
    log_joint,
    log_posterior,
    posterior_means,
    samples_of,
)

LEARNING_RATE = 0.03  # Adam's at first, for q's parameters; it falls to 0 by a cosine
ELBO_SAMPLES, BLOCK = 1_000, 50  # of z for both ELBOs; at a time


class Search(NamedTuple):
    """The static choice: how q* is looked for, and log p(x) by it."""

    steps: int = 500  # of Adam
    samples: int = 10  # of z, a step
    num_importance_samples: int = 5_000  # from q*, of log p(x)


class Gaps(NamedTuple):
    """Bounds on log p(x) of one example [1], and an estimate of it, in nats."""

    elbo: Float[Array, "*b"]  # of the encoder's q(z | x)
    optimized_elbo: Float[Array, "*b"]  # of q*, with the same noise
    log_likelihood: Float[Array, "*b"]  # by importance sampling from q*
    effective_sample_size: Float[Array, "*b"]  # of its weights


def elbo(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    q: Any,
    k: int,
    label_b: Any = None,
) -> Float[Array, " b"]:
    """E_q[log p(x, z) - log q(z)] of any q of the family, by k samples.

    The KL is sampled, even if it has a closed form: the variance of this estimator vanishes as q
    approaches the true posterior.
    """
    trace = model.trace(variables, samples_of(q, key, k), None, label_b)
    return jnp.mean(log_joint(trace, x_bd) - log_posterior(trace), axis=0)


def posterior(model: Model, variables: Variables, x_bd: Float[Array, "b d"], label_b: Any) -> Any:
    """The encoder's q(z | x), of a model with one layer."""
    (layer,) = model.trace(variables, posterior_means, x_bd, label_b).layers
    return layer.q


def optimized_posterior(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    search: Search,
    label_b: Any = None,
) -> Any:
    """Finds q*, which maximises the ELBO of this x alone, starting at the encoder's q(z | x)."""
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, search.steps))

    def loss(q: Any, key: Key[Array, ""]) -> Float[Array, ""]:
        return -jnp.sum(elbo(model, variables, key, x_bd, q, search.samples, label_b))

    def step(i: Int[Array, ""], carry: tuple[Any, Any]) -> tuple[Any, Any]:
        q, state = carry
        updates, state = optimizer.update(jax.grad(loss)(q, jax.random.fold_in(key, i)), state)
        return optax.apply_updates(q, updates), state

    q = posterior(model, variables, x_bd, label_b)
    return jax.lax.fori_loop(0, search.steps, step, (q, optimizer.init(q)))[0]


def gaps(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    search: Search,
    label_b: Any = None,
) -> Gaps:
    """Both ELBOs and log p(x); the gaps are their differences.

    q* is of the family of q(z | x); the maps of a flow are optimised too. If the search ends early,
    part of the amortisation gap is counted in the approximation gap.
    """
    search_key, elbo_key, key = jax.random.split(key, 3)
    best = optimized_posterior(model, variables, search_key, x_bd, search, label_b)

    def measure(q: Any) -> Float[Array, " b"]:
        def block(i: Int[Array, ""]) -> Float[Array, " b"]:
            block_key = jax.random.fold_in(elbo_key, i)
            return elbo(model, variables, block_key, x_bd, q, BLOCK, label_b)

        return jnp.mean(jax.lax.map(block, jnp.arange(ELBO_SAMPLES // BLOCK)), axis=0)

    estimate = importance_sampling(
        model, variables, key, x_bd, search.num_importance_samples, label_b, q=best
    )
    return Gaps(
        elbo=measure(posterior(model, variables, x_bd, label_b)),
        optimized_elbo=measure(best),
        log_likelihood=estimate.log_likelihood,
        effective_sample_size=estimate.effective_sample_size,
    )

"""Estimators of the gradient of a bound of several samples."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.models.model import (
    Model,
    Trace,
    Variables,
    given,
    latents,
    log_posterior,
    posterior_samples,
    sample_prior,
)
from vae_jax.objectives.discrete import LEAVE_ONE_OUT, constant_samples
from vae_jax.objectives.interface import SampleBound
from vae_jax.objectives.log_weights import LogDensities, LogWeights, log_densities
from vae_jax.objectives.objective import Weights


class Minibatch(NamedTuple):
    """The input of a gradient estimator."""

    key: Array
    x_bd: Float[Array, "b d"]
    label_b: Array | None
    weights: Weights


# What it gives: the loss, whose gradient is the estimate; the log densities; the trace.
Estimate = tuple[Float[Array, ""], LogDensities, Trace]

fixed = jax.lax.stop_gradient


def with_gradient_of(value: Float[Array, ""], *others: Float[Array, ""]) -> Float[Array, ""]:
    """`value`, with the sum of all gradients as its gradient."""
    for other in others:
        value = value + (other - fixed(other))
    return value


def slopes(value: Callable, log_w_kb: LogWeights) -> LogWeights:
    """d(sum_b bound) / d log w, as constants."""
    return fixed(jax.grad(lambda log_w: jnp.sum(value(log_w)))(fixed(log_w_kb)))


def reparameterized(
    bound: SampleBound, model: Model, variables: Variables, batch: Minibatch
) -> Estimate:
    """The gradient of the bound through the samples z(q, noise) (Burda et al. 2015, 13)."""
    _, x_bd, label_b, weights = batch
    take = posterior_samples(model, batch.key, weights.num_samples)
    trace = model.trace(variables, take, x_bd, label_b)
    parts = log_densities(trace, x_bd, log_posterior(trace))
    encoder_bound = bound.encoder_bound()
    if encoder_bound is None:
        total = jnp.sum(bound.value(parts.log_weight(weights.beta)))
    else:
        # p(x, z) maximises one bound with q held constant, q the other with p held constant.
        z, log_q_kb = latents(trace), parts.log_q_kb
        of_model = model.trace(variables, given(fixed(z)), None, label_b)
        of_encoder = model.trace(fixed(variables), given(z), None, label_b)
        log_w_kb = log_densities(of_model, x_bd, fixed(log_q_kb)).log_weight(weights.beta)
        encoder_log_w_kb = log_densities(of_encoder, x_bd, log_q_kb).log_weight(weights.beta)
        total = with_gradient_of(
            jnp.sum(bound.value(log_w_kb)), jnp.sum(encoder_bound.value(encoder_log_w_kb))
        )
    return -total / len(x_bd), parts, trace


def doubly_reparameterized(
    bound: SampleBound, model: Model, variables: Variables, batch: Minibatch
) -> Estimate:
    """The encoder's gradient, with its score term reparameterised a second time.

    With a_k and h_k the bound's first and second derivatives in log w_k, the path through z_k has
    the weight a_k - beta h_k (for the IWAE: w_k^2). log q(z | x) has a gradient only through z.

    References: Tucker, Lawson, Gu and Maddison 2018, equation 8.
    """
    _, x_bd, label_b, weights = batch
    take = posterior_samples(model, batch.key, weights.num_samples)
    trace = model.trace(variables, take, x_bd, label_b)
    z = latents(trace)
    # Gradient in z alone: every param is a constant.
    of_z = model.trace(fixed(variables), given(z), x_bd, label_b)
    path = log_densities(of_z, x_bd, log_posterior(of_z)).log_weight(weights.beta)
    # Gradient in the params of p(x, z) alone.
    of_model = model.trace(variables, given(fixed(z)), None, label_b)
    parts = log_densities(of_model, x_bd, fixed(log_posterior(of_z)))
    log_w_kb = parts.log_weight(weights.beta)
    encoder_bound = bound.encoder_bound() or bound
    counts_kb = slopes(encoder_bound.value, log_w_kb) - weights.beta * fixed(
        encoder_bound.curvature(log_w_kb)
    )
    total = with_gradient_of(jnp.sum(bound.value(log_w_kb)), jnp.sum(counts_kb * path))
    return -total / len(x_bd), parts, trace


def wake(
    bound: SampleBound, model: Model, variables: Variables, batch: Minibatch
) -> tuple[Float[Array, ""], LogWeights, LogWeights, LogDensities, Trace]:
    """The bound with z held constant: p(x, z) maximises it, and q(z | x) has no gradient from it.

    (Except with a VampPrior, whose p(z) is the encoder's output for its pseudo-inputs.)
    """
    _, x_bd, label_b, weights = batch
    take = posterior_samples(model, batch.key, weights.num_samples)
    trace = model.trace(variables, take, x_bd, label_b)
    of_params = model.trace(variables, given(fixed(latents(trace))), x_bd, label_b)
    log_q_kb = log_posterior(of_params)
    parts = log_densities(of_params, x_bd, fixed(log_q_kb))
    log_w_kb = parts.log_weight(weights.beta)
    loss = -jnp.sum(bound.value(log_w_kb)) / len(x_bd)
    return loss, log_w_kb, log_q_kb, parts, trace


def wake_wake(bound: SampleBound, model: Model, variables: Variables, batch: Minibatch) -> Estimate:
    """Reweighted wake-sleep, wake phase for q: it maximises sum_k w_k log q(z_k | x).

    References: Bornschein and Bengio 2015, equations 5 and 8.
    """
    loss, log_w_kb, log_q_kb, parts, trace = wake(bound, model, variables, batch)
    weights_kb = jax.nn.softmax(fixed(log_w_kb), axis=0)
    encoder_loss = -jnp.sum(weights_kb * log_q_kb) / len(batch.x_bd)
    return with_gradient_of(loss, encoder_loss), parts, trace


def wake_sleep(
    bound: SampleBound, model: Model, variables: Variables, batch: Minibatch
) -> Estimate:
    """Reweighted wake-sleep, sleep phase for q: it maximises log q(z | x), x and z ~ p(x, z).

    References: Bornschein and Bengio 2015, equations 5 and 9; Hinton et al. 1995.
    """
    wake_key, prior_key, x_key = jax.random.split(batch.key, 3)
    loss, _, _, parts, trace = wake(bound, model, variables, batch._replace(key=wake_key))
    n, label_b = len(batch.x_bd), batch.label_b
    asleep = sample_prior(model, fixed(variables), prior_key, n, label_b)
    generated_bd = fixed(asleep.x.sample(x_key)[0])
    z = fixed(latents(asleep))
    encoder_loss = -jnp.mean(log_posterior(model.trace(variables, given(z), generated_bd, label_b)))
    return with_gradient_of(loss, encoder_loss), parts, trace


def leave_one_out(
    bound: SampleBound, model: Model, variables: Variables, batch: Minibatch
) -> Estimate:
    """The score function; of each sample, the baseline is the bound with its log weight replaced
    by the mean of the others'. Of the IWAE, this is VIMCO, of the mean of log w, RLOO.

    References: Mnih and Rezende 2016, equations 7 and 11; Kool, van Hoof and Welling 2019.
    """
    _, x_bd, label_b, weights = batch
    k = weights.num_samples
    trace = model.trace(variables, constant_samples(model, batch.key, k), x_bd, label_b)
    parts = log_densities(trace, x_bd, log_posterior(trace))
    encoder_bound = bound.encoder_bound() or bound
    log_w_kb = parts.log_weight(weights.beta)
    others_kb = (jnp.sum(log_w_kb, axis=0)[None] - log_w_kb) / (k - 1)
    without_kkb = jnp.where(jnp.eye(k, dtype=bool)[..., None], others_kb[:, None], log_w_kb[None])
    baseline_kb = jax.vmap(encoder_bound.value)(without_kkb)
    signal_kb = fixed(encoder_bound.value(log_w_kb)[None] - baseline_kb)
    of_model = LogDensities(*parts[:2], fixed(parts.log_q_kb))
    of_q = LogDensities(*fixed(parts[:2]), parts.log_q_kb)
    total = with_gradient_of(
        jnp.sum(bound.value(of_model.log_weight(weights.beta))),
        jnp.sum(encoder_bound.value(of_q.log_weight(weights.beta))),
        jnp.sum(signal_kb * parts.log_q_kb),
    )
    return -total / len(x_bd), parts, trace


# Each: (bound, model, variables, minibatch) -> Estimate.
ESTIMATORS: dict[str, Callable[..., Estimate]] = {
    "doubly_reparameterized": doubly_reparameterized,
    LEAVE_ONE_OUT: leave_one_out,
    "reparameterized": reparameterized,
    "wake_sleep": wake_sleep,
    "wake_wake": wake_wake,
}

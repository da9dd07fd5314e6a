"""Bounds with several importance-weighted samples, and estimators of their gradients.

log w_k = log p(x | z_k) + beta (log p(z_k) - log q(z_k | x)), z_k ~ q(z | x); a bound is a function
of (log w_1, ..., log w_k). With beta = 1, its expectation is at most log p(x).

To add one, write its section, with its own keys, and list it in BOUNDS. It has

    value(log_w [k, b])     the bound of each example [b]
    curvature(log_w [k, b]) its second derivative in each log w (doubly reparameterised gradients)
    encoder_bound()         the bound that the encoder's params maximise; None: this one
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.checks import no_effect, number, whole
from vae_jax.keys import choice, section, static, traced
from vae_jax.models.model import (
    Model,
    Trace,
    Variables,
    given,
    latents,
    log_posterior,
    log_prior,
    posterior_samples,
    sample_prior,
)
from vae_jax.objectives.elbo import density_needs
from vae_jax.objectives.objective import TERMS, Loss, Terms, Weights

LogWeights = Float[Array, "k b"]


def log_mean_exp(log_w: Float[Array, "k *shape"]) -> Float[Array, "*shape"]:
    """log (1/k) sum_k exp(log w_k)."""
    return jax.nn.logsumexp(log_w, axis=0) - math.log(len(log_w))


def spread(log_w: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
    """w (1 - w) of the normalised weights: the second derivatives of `log_mean_exp`."""
    weights = jax.nn.softmax(log_w, axis=0)
    return weights * (1 - weights)


class LogDensities(NamedTuple):
    """The parts of the log importance weights of a set of samples."""

    log_likelihood_kb: LogWeights
    log_prior_kb: LogWeights
    log_q_kb: LogWeights

    def log_weight(self, beta) -> LogWeights:
        return self.log_likelihood_kb + beta * (self.log_prior_kb - self.log_q_kb)


def log_densities(trace: Trace, x_bd, log_q_kb: LogWeights) -> LogDensities:
    """The log densities of the trace's z; log q(z | x) is the argument."""
    return LogDensities(trace.x.log_prob(x_bd[None]), log_prior(trace), log_q_kb)


class Minibatch(NamedTuple):
    """The input of a gradient estimator."""

    key: Array
    x_bd: Float[Array, "b d"]
    label_b: Array | None
    weights: Weights


fixed = jax.lax.stop_gradient


def with_gradient_of(value: Float[Array, ""], *others: Float[Array, ""]) -> Float[Array, ""]:
    """`value`, with the sum of all gradients as its gradient."""
    for other in others:
        value = value + (other - fixed(other))
    return value


def slopes(value: Callable, log_w_kb: LogWeights) -> LogWeights:
    """d(sum_b bound) / d log w, as constants."""
    return fixed(jax.grad(lambda log_w: jnp.sum(value(log_w)))(fixed(log_w_kb)))


def reparameterized(bound, model: Model, variables: Variables, batch: Minibatch):
    """The gradient of the bound through the samples z(q, noise) (Burda et al. 2015, 13)."""
    _, x_bd, label_b, weights = batch
    take = posterior_samples(model, batch.key, weights.num_samples)
    trace = model.trace(variables, take, x_bd, label_b)
    parts = log_densities(trace, x_bd, log_posterior(trace))
    own = bound.encoder_bound()
    if own is None:
        total = jnp.sum(bound.value(parts.log_weight(weights.beta)))
    else:
        # p(x, z) maximises one bound with q held constant, q the other with p held constant.
        z, log_q_kb = latents(trace), parts.log_q_kb
        of_model = model.trace(variables, given(fixed(z)), None, label_b)
        of_encoder = model.trace(fixed(variables), given(z), None, label_b)
        log_w_kb = log_densities(of_model, x_bd, fixed(log_q_kb)).log_weight(weights.beta)
        own_log_w_kb = log_densities(of_encoder, x_bd, log_q_kb).log_weight(weights.beta)
        total = with_gradient_of(jnp.sum(bound.value(log_w_kb)), jnp.sum(own.value(own_log_w_kb)))
    return -total / len(x_bd), parts, trace


def doubly_reparameterized(bound, model: Model, variables: Variables, batch: Minibatch):
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
    own = bound.encoder_bound() or bound
    counts_kb = slopes(own.value, log_w_kb) - weights.beta * fixed(own.curvature(log_w_kb))
    total = with_gradient_of(jnp.sum(bound.value(log_w_kb)), jnp.sum(counts_kb * path))
    return -total / len(x_bd), parts, trace


def wake(bound, model: Model, variables: Variables, batch: Minibatch):
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


def wake_wake(bound, model: Model, variables: Variables, batch: Minibatch):
    """Reweighted wake-sleep, wake phase for q: it maximises sum_k w_k log q(z_k | x).

    References: Bornschein and Bengio 2015, equations 5 and 8.
    """
    loss, log_w_kb, log_q_kb, parts, trace = wake(bound, model, variables, batch)
    weights_kb = jax.nn.softmax(fixed(log_w_kb), axis=0)
    own = -jnp.sum(weights_kb * log_q_kb) / len(batch.x_bd)
    return with_gradient_of(loss, own), parts, trace


def wake_sleep(bound, model: Model, variables: Variables, batch: Minibatch):
    """Reweighted wake-sleep, sleep phase for q: it maximises log q(z | x), x and z ~ p(x, z).

    References: Bornschein and Bengio 2015, equations 5 and 9; Hinton et al. 1995.
    """
    wake_key, prior_key, x_key = jax.random.split(batch.key, 3)
    loss, _, _, parts, trace = wake(bound, model, variables, batch._replace(key=wake_key))
    n, label_b = len(batch.x_bd), batch.label_b
    asleep = sample_prior(model, fixed(variables), prior_key, n, label_b)
    generated_bd = fixed(asleep.x.sample(x_key)[0])
    z = fixed(latents(asleep))
    own = -jnp.mean(log_posterior(model.trace(variables, given(z), generated_bd, label_b)))
    return with_gradient_of(loss, own), parts, trace


# (bound, model, variables, minibatch) -> loss, LogDensities, Trace.
ESTIMATORS: dict[str, Callable] = {
    "doubly_reparameterized": doubly_reparameterized,
    "reparameterized": reparameterized,
    "wake_sleep": wake_sleep,
    "wake_wake": wake_wake,
}
OF_ANY_BOUND = {name: ESTIMATORS[name] for name in ("doubly_reparameterized", "reparameterized")}


def gradient_key(estimators=OF_ANY_BOUND):
    return choice(estimators, "reparameterized", "the gradient estimator")


def importance_loss(bound, model: Model, variables, key, x_bd, label_b, weights: Weights) -> Loss:
    """loss = -mean_b bound, with the gradient estimator that the bound names.

    In the Terms, the score is the bound at beta = 1; elbo, reconstruction and kl are means over the
    samples.
    """
    batch = Minibatch(key, x_bd, label_b, weights)
    value, parts, trace = ESTIMATORS[bound.gradient](bound, model, variables, batch)
    for own_b in trace.losses.values():
        value += jnp.mean(own_b)
    log_w_kb = parts.log_weight(1.0)
    named = {
        "elbo": jnp.mean(log_w_kb, axis=0),
        "reconstruction": jnp.mean(parts.log_likelihood_kb, axis=0),
        "kl": jnp.mean(parts.log_q_kb - parts.log_prior_kb, axis=0),
    }
    return Loss(value, Terms(bound.value(log_w_kb), named | trace.losses), trace)


def gradient_needs(bound, config):
    """What is wrong with the gradient estimator."""
    if bound.gradient != "reparameterized":
        yield from density_needs(bound.gradient, config)


def one_sample_idle(key: str, value: float, default: float, config):
    """A number of a bound that is the same for every value of it where there is one sample."""
    counts = config.objective.num_samples, config.evaluation.num_samples or 1
    if value != default and counts == (1, 1):
        yield no_effect(key, value, "objective.num_samples", "1")


def no_other_bound(bound):
    """The encoder_bound of most bounds: None."""
    return None


@section
class IWAE:
    """log (1/k) sum_k w_k (Burda, Grosse and Salakhutdinov 2015, equation 8)."""

    gradient: str = gradient_key(ESTIMATORS)

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, gradient_needs, no_other_bound

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        return log_mean_exp(log_w_kb)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return spread(log_w_kb)


def groups_key():
    return static(1, whole(1), "groups into which the samples are split")


def groups_needs(bound, config):
    """What is wrong with the number of groups."""
    yield from gradient_needs(bound, config)
    for key, samples in (
        ("objective.num_samples", config.objective.num_samples),
        ("evaluation.num_samples", config.evaluation.num_samples or bound.num_groups),
    ):
        if samples % bound.num_groups:
            yield f"objective.num_groups = {bound.num_groups} should divide {key} = {samples}"


@section
class MIWAE:
    """The mean over m groups of log (m/k) sum w_k, the sum over the k/m samples of a group.

    References: Rainforth et al. 2018, equation 9.
    """

    gradient: str = gradient_key()
    num_groups: int = groups_key()

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, groups_needs, no_other_bound

    def grouped(self, log_w_kb: LogWeights) -> Float[Array, "k_m m b"]:
        """The k samples in m groups."""
        return log_w_kb.reshape(-1, self.num_groups, log_w_kb.shape[1])

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        return jnp.mean(log_mean_exp(self.grouped(log_w_kb)), axis=0)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        """w (1 - w) / m, with the weights normalised in each group."""
        return spread(self.grouped(log_w_kb)).reshape(log_w_kb.shape) / self.num_groups


@section
class PIWAE:
    """The IWAE bound for the decoder and prior, the MIWAE bound for the encoder.

    References: Rainforth et al. 2018, section 4.
    """

    gradient: str = gradient_key()
    num_groups: int = groups_key()

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs = importance_loss, groups_needs

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        return log_mean_exp(log_w_kb)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return spread(log_w_kb)

    def encoder_bound(self) -> MIWAE:
        return MIWAE(self.gradient, self.num_groups)


@section
class CIWAE:
    """c mean_k log w_k + (1 - c) log (1/k) sum_k w_k, c = elbo_weight.

    References: Rainforth et al. 2018, equation 10.
    """

    gradient: str = gradient_key()
    elbo_weight: float = traced(
        0.5, number(0, 1), "weight of the ELBO; the IWAE bound has the rest"
    )

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, gradient_needs, no_other_bound

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        c = self.elbo_weight
        return c * jnp.mean(log_w_kb, axis=0) + (1 - c) * log_mean_exp(log_w_kb)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return (1 - self.elbo_weight) * spread(log_w_kb)

    def idle(self, config):
        yield from one_sample_idle("objective.elbo_weight", self.elbo_weight, 0.5, config)


# Where |t (log w - mean log w)| is below this, log mean exp loses precision, and two terms of its
# series are accurate.
SMALL = 5e-3


@section
class Renyi:
    """(1/t) log (1/k) sum_k w_k^t, t = 1 - alpha; the mean of log w at alpha = 1.

    References: Li and Turner 2016, equation 9.
    """

    gradient: str = gradient_key()
    alpha: float = traced(0.5, number(0), "its order; 0: the IWAE bound, 1: the ELBO")

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, gradient_needs, no_other_bound

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        t = 1 - self.alpha
        mean_b = jnp.mean(log_w_kb, axis=0)
        away_kb = log_w_kb - mean_b[None]
        is_small_b = jnp.abs(t) * jnp.max(jnp.abs(away_kb), axis=0) < SMALL
        safe_t_b = jnp.where(is_small_b, 1.0, t)
        series_b = 0.5 * t * jnp.mean(jnp.square(away_kb), axis=0)
        exact_b = log_mean_exp(safe_t_b[None] * away_kb) / safe_t_b
        return mean_b + jnp.where(is_small_b, series_b, exact_b)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return (1 - self.alpha) * spread((1 - self.alpha) * log_w_kb)

    def idle(self, config):
        yield from one_sample_idle("objective.alpha", self.alpha, 0.5, config)


BOUNDS = {"ciwae": CIWAE, "iwae": IWAE, "miwae": MIWAE, "piwae": PIWAE, "renyi": Renyi}

"""Log importance weights: log w_k = log p(x | z_k) + beta (log p(z_k) - log q(z_k | x))."""

import math
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from vae_jax.models.model import Trace, log_prior
from vae_jax.objectives.objective import Scalar

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

    def log_weight(self, beta: Scalar) -> LogWeights:
        return self.log_likelihood_kb + beta * (self.log_prior_kb - self.log_q_kb)


def log_densities(trace: Trace, x_bd: Float[Array, "b d"], log_q_kb: LogWeights) -> LogDensities:
    """The log densities of the trace's z; log q(z | x) is the argument."""
    return LogDensities(trace.x.log_prob(x_bd[None]), log_prior(trace), log_q_kb)

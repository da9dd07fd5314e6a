"""Bounds of several importance-weighted draws, and the estimators of their gradients.

log w_k = log p(x | z_k) + beta (log p(z_k) - log q(z_k | x)), z_k ~ q(z | x); a bound is a function
of (log w_1, ..., log w_k), which lies below log p(x) in expectation where beta is 1.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import VAE, Params
from vae_jax.objectives.objective import Draws, ObjectiveHyper, ObjectiveSpec, Terms

LogWeights = Float[Array, "k b"]


class Bound(NamedTuple):
    """A bound, as functions of (log w [k, b], hyper, num_groups).

    value:     the bound of each example [b].
    curvature: its second derivative by each log w [k, b], for the doubly reparameterised gradient.
    encoder:   the bound that the encoder's own params climb; None: this one.
    """

    value: Callable[[LogWeights, ObjectiveHyper, int], Float[Array, " b"]]
    curvature: Callable[[LogWeights, ObjectiveHyper, int], LogWeights]
    encoder: "Bound | None" = None


def log_mean_exp(log_w: Float[Array, "k *shape"]) -> Float[Array, "*shape"]:
    """log (1/k) sum_k exp(log w_k)."""
    return jax.nn.logsumexp(log_w, axis=0) - math.log(len(log_w))


def spread(log_w: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
    """w (1 - w) of the normalised weights: the second derivatives of `log_mean_exp`."""
    weights = jax.nn.softmax(log_w, axis=0)
    return weights * (1 - weights)


def iwae_value(log_w_kb, hyper, num_groups):
    """log (1/k) sum_k w_k."""
    return log_mean_exp(log_w_kb)


def miwae_value(log_w_kb, hyper, num_groups):
    """The mean over m groups of log (m/k) sum w_k of the group."""
    return jnp.mean(log_mean_exp(in_groups(log_w_kb, num_groups)), axis=0)


def in_groups(log_w_kb: LogWeights, num_groups: int) -> Float[Array, "k_m m b"]:
    """The k draws in m groups."""
    return log_w_kb.reshape(-1, num_groups, log_w_kb.shape[1])


def miwae_curvature(log_w_kb, hyper, num_groups):
    """w (1 - w) / m, the weights normalised in each group."""
    return spread(in_groups(log_w_kb, num_groups)).reshape(log_w_kb.shape) / num_groups


def ciwae_value(log_w_kb, hyper, num_groups):
    """c mean_k log w_k + (1 - c) log (1/k) sum_k w_k, c = elbo_weight."""
    c = hyper.elbo_weight
    return c * jnp.mean(log_w_kb, axis=0) + (1 - c) * log_mean_exp(log_w_kb)


# Where t times log w's way from its mean is below this, log mean exp loses its digits, and two
# terms of its series have them.
SMALL = 5e-3


def renyi_value(log_w_kb, hyper, num_groups):
    """(1/t) log (1/k) sum_k w_k^t, t = 1 - alpha; the mean of log w at alpha = 1."""
    t = 1 - hyper.alpha
    mean_b = jnp.mean(log_w_kb, axis=0)
    away_kb = log_w_kb - mean_b[None]
    is_small_b = jnp.abs(t) * jnp.max(jnp.abs(away_kb), axis=0) < SMALL
    safe_t_b = jnp.where(is_small_b, 1.0, t)
    series_b = 0.5 * t * jnp.mean(jnp.square(away_kb), axis=0)
    exact_b = log_mean_exp(safe_t_b[None] * away_kb) / safe_t_b
    return mean_b + jnp.where(is_small_b, series_b, exact_b)


iwae = Bound(iwae_value, lambda log_w, hyper, m: spread(log_w))
miwae = Bound(miwae_value, miwae_curvature)

BOUNDS = {
    # Burda, Grosse and Salakhutdinov 2015, equation 8.
    "iwae": iwae,
    # Rainforth et al. 2018, equations 9, 10 and section 4.
    "miwae": miwae,
    "ciwae": Bound(ciwae_value, lambda log_w, hyper, m: (1 - hyper.elbo_weight) * spread(log_w)),
    "piwae": Bound(iwae_value, iwae.curvature, encoder=miwae),
    # Li and Turner 2016, equation 9.
    "renyi": Bound(
        renyi_value, lambda log_w, hyper, m: (1 - hyper.alpha) * spread((1 - hyper.alpha) * log_w)
    ),
}


class Sampled(NamedTuple):
    """One set of draws, and what the weights are made of."""

    log_likelihood_kb: LogWeights
    log_prior_kb: LogWeights
    log_q_kb: LogWeights

    def log_weight(self, beta) -> LogWeights:
        return self.log_likelihood_kb + beta * (self.log_prior_kb - self.log_q_kb)


def sampled(model: VAE, params: Params, x_bd, z_kbl, log_q_kb) -> Sampled:
    """Of the draws z."""
    log_likelihood_kb = model.log_likelihood(model.decode(params, z_kbl), x_bd)
    return Sampled(log_likelihood_kb, model.log_prior(params, z_kbl), log_q_kb)


def slopes(bound: Bound, log_w_kb, hyper, num_groups) -> LogWeights:
    """d(sum_b bound) / d log w."""
    return jax.grad(lambda log_w: jnp.sum(bound.value(log_w, hyper, num_groups)))(log_w_kb)


def with_gradient(value: Float[Array, ""], *pairs: tuple[Any, Any]) -> Float[Array, ""]:
    """`value`, whose gradient by each `tree` of (gradient, tree) is that gradient, and no other."""
    surrogate = jnp.float32(0)
    for gradient, tree in pairs:
        for g, leaf in zip(jax.tree.leaves(gradient), jax.tree.leaves(tree), strict=True):
            surrogate += jnp.sum(jax.lax.stop_gradient(g) * leaf)
    return jax.lax.stop_gradient(value) + (surrogate - jax.lax.stop_gradient(surrogate))


def reparameterized(bound, model, params, key, x_bd, hyper, spec):
    """The gradient of the bound through the draws z(q_params, noise) (Burda et al. 2015, 13)."""
    q_params = model.encode(params, x_bd)

    def of(params, q_params):
        z_kbl, log_q_kb = model.reparameterize(key, q_params, spec.num_samples)
        parts = sampled(model, params, x_bd, z_kbl, log_q_kb)
        return parts.log_weight(hyper.beta), (parts, z_kbl)

    if bound.encoder is None:
        log_w_kb, (parts, z_kbl) = of(params, q_params)
        total = jnp.sum(bound.value(log_w_kb, hyper, spec.num_groups))
    else:
        log_w_kb, pull, (parts, z_kbl) = jax.vjp(of, params, q_params, has_aux=True)
        climb_model = pull(slopes(bound, log_w_kb, hyper, spec.num_groups))[0]
        climb_encoder = pull(slopes(bound.encoder, log_w_kb, hyper, spec.num_groups))[1]
        total = with_gradient(
            jnp.sum(bound.value(log_w_kb, hyper, spec.num_groups)),
            (climb_model, params),
            (climb_encoder, q_params),
        )
    return -total / len(x_bd), parts, Draws(q_params, z_kbl[0])


def doubly_reparameterized(bound, model, params, key, x_bd, hyper, spec):
    """The encoder's gradient with its score term reparameterised once more.

    With a_k and h_k the bound's first and second derivatives by log w_k, the path through z_k
    counts a_k - beta h_k (the IWAE's: w_k^2), and log q(z | x) depends on the encoder through z
    alone.

    References: Tucker, Lawson, Gu and Maddison 2018, equation 8.
    """
    q_params = model.encode(params, x_bd)
    z_kbl, _ = model.reparameterize(key, q_params, spec.num_samples)

    def of(params, z_kbl):
        log_q_kb = model.posterior_log_prob(jax.lax.stop_gradient(q_params), z_kbl)
        parts = sampled(model, params, x_bd, z_kbl, log_q_kb)
        return parts.log_weight(hyper.beta), parts

    # The path back to the encoder is the surrogate's own; here z and params are plain values.
    fixed = jax.lax.stop_gradient((params, z_kbl))
    log_w_kb, pull, parts = jax.vjp(of, *fixed, has_aux=True)
    climb_model = pull(slopes(bound, log_w_kb, hyper, spec.num_groups))[0]
    own = bound.encoder or bound
    path_kb = slopes(own, log_w_kb, hyper, spec.num_groups)
    path_kb -= hyper.beta * own.curvature(log_w_kb, hyper, spec.num_groups)
    climb_z = pull(path_kb)[1]
    total = with_gradient(
        jnp.sum(bound.value(log_w_kb, hyper, spec.num_groups)),
        (climb_model, params),
        (climb_z, z_kbl),
    )
    return -total / len(x_bd), parts, Draws(q_params, z_kbl[0])


def wake(bound, model, params, key, x_bd, hyper, spec):
    """The bound with z as plain values: what p(x, z) climbs, q(z | x) left out.

    (The p(z) of a VampPrior is the encoder's, at its pseudo-inputs.)
    """
    q_params = model.encode(params, x_bd)
    z_kbl, _ = model.reparameterize(key, q_params, spec.num_samples)
    plain_kbl = jax.lax.stop_gradient(z_kbl)
    log_q_kb = model.posterior_log_prob(q_params, plain_kbl)
    parts = sampled(model, params, x_bd, plain_kbl, jax.lax.stop_gradient(log_q_kb))
    log_w_kb = parts.log_weight(hyper.beta)
    loss = -jnp.sum(bound.value(log_w_kb, hyper, spec.num_groups)) / len(x_bd)
    return loss, log_w_kb, log_q_kb, parts, Draws(q_params, z_kbl[0])


def wake_wake(bound, model, params, key, x_bd, hyper, spec):
    """Reweighted wake-sleep, q by its wake phase: it climbs sum_k w_k log q(z_k | x).

    References: Bornschein and Bengio 2015, equations 5 and 8.
    """
    loss, log_w_kb, log_q_kb, parts, draws = wake(bound, model, params, key, x_bd, hyper, spec)
    weights_kb = jax.nn.softmax(jax.lax.stop_gradient(log_w_kb), axis=0)
    own = -jnp.sum(weights_kb * log_q_kb) / len(x_bd)
    return loss + (own - jax.lax.stop_gradient(own)), parts, draws


def wake_sleep(bound, model, params, key, x_bd, hyper, spec):
    """Reweighted wake-sleep, q by its sleep phase: it climbs log q(z | x) of x, z ~ p(x, z).

    References: Bornschein and Bengio 2015, equations 5 and 9; Hinton et al. 1995.
    """
    wake_key, prior_key, x_key = jax.random.split(key, 3)
    loss, _, _, parts, draws = wake(bound, model, params, wake_key, x_bd, hyper, spec)
    asleep = jax.lax.stop_gradient(params)
    z_bl = model.prior_sample(prior_key, asleep, len(x_bd))
    generated_bd = jax.lax.stop_gradient(model.sample(x_key, model.decode(asleep, z_bl)))
    log_q_kb = model.posterior_log_prob(model.encode(params, generated_bd), z_bl[None])
    own = -jnp.mean(log_q_kb)
    return loss + (own - jax.lax.stop_gradient(own)), parts, draws


# (bound, model, params, key, x, hyper, spec) -> (loss, Sampled, Draws).
ESTIMATORS: dict[str, Callable] = {
    "doubly_reparameterized": doubly_reparameterized,
    "reparameterized": reparameterized,
    "wake_sleep": wake_sleep,
    "wake_wake": wake_wake,
}


def importance(
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    hyper: ObjectiveHyper,
    spec: ObjectiveSpec,
) -> tuple[Float[Array, ""], Terms, Draws]:
    """loss = -mean_b of the bound that `spec` names, its gradient by the estimator that it names.

    In the Terms, `bound` is that bound at beta = 1, and elbo, reconstruction and kl are means over
    the draws.
    """
    bound = BOUNDS[spec.name]
    loss, parts, draws = ESTIMATORS[spec.gradient](bound, model, params, key, x_bd, hyper, spec)
    terms = Terms(
        bound=bound.value(parts.log_weight(1.0), hyper, spec.num_groups),
        elbo=jnp.mean(parts.log_weight(1.0), axis=0),
        reconstruction=jnp.mean(parts.log_likelihood_kb, axis=0),
        kl=jnp.mean(parts.log_q_kb - parts.log_prior_kb, axis=0),
    )
    return loss, terms, draws

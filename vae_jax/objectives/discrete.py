"""Gradients of a bound by the params of a discrete q(z | x), whose samples have none.

References: Williams 1992 (the score function); Kool, van Hoof and Welling 2019 (leave-one-out
baselines); Dong, Mnih and Tucker 2020 (DisARM); Jang et al. 2017 and Maddison et al. 2017 (relaxed
samples).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import (
    Model,
    Take,
    Trace,
    Variables,
    kl_by_unit,
    log_posterior,
    log_prior,
    posterior_samples,
)
from vae_jax.objectives.objective import Scalar, Terms, ramp
from vae_jax.objectives.terms import terms_of
from vae_jax.probability.categorical import Categorical
from vae_jax.sections.checks import no_effect, number
from vae_jax.sections.declare import in_steps, traced

fixed = jax.lax.stop_gradient

MOST_VALUES = 4096  # of z, to sum over
LEAVE_ONE_OUT = "leave_one_out"
PATHS = ("reparameterized", "sticking_the_landing", "doubly_reparameterized")
RELAXED = ("relaxed", "straight_through")


def temperature_key() -> Any:
    return traced(0.5, number(0, open_low=True), "of relaxed samples, at the end")


def temperature_start_key() -> Any:
    return traced(1.0, number(0, open_low=True), "of relaxed samples, at the first step")


def temperature_steps_key() -> Any:
    doc = "epochs over which it falls exponentially to that at the end; 0: it is that throughout"
    return traced(0.0, number(0), doc, key="temperature_epochs", to=in_steps)


def temperature_at(bound: Any, step: Scalar) -> Float[Array, ""]:
    """start (end / start)^(step / steps), and then the end."""
    part = ramp(step, bound.temperature_steps)
    return bound.temperature_start * (bound.temperature / bound.temperature_start) ** part


def constant_samples(model: Model, key: Key[Array, ""], k: int) -> Take:
    """`posterior_samples` without a gradient, with log q(z | x) of these z."""
    drawn = posterior_samples(model, key, k)

    def choose(own: Any, q: Any, p: Any) -> tuple[Array, Array]:
        z_kbl = fixed(drawn.choose(own, q, p)[0])
        return z_kbl, q.log_prob(z_kbl)

    return drawn._replace(choose=choose)


def with_score(f_kb: Float[Array, "k b"], log_q_kb: Float[Array, "k b"]) -> Float[Array, " b"]:
    """mean_k f, with an unbiased gradient of E_q[f]: (f - the mean of the others) d log q, and df.

    References: Kool, van Hoof and Welling 2019, equation 8.
    """
    k = len(f_kb)
    away_kb = fixed(f_kb - jnp.mean(f_kb, axis=0)[None]) * (k / (k - 1))
    score_b = jnp.mean(away_kb * log_q_kb, axis=0)
    return jnp.mean(f_kb, axis=0) + score_b - fixed(score_b)


def estimated(
    bound: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Any,
    k: int,
    temperature: Scalar,
) -> tuple[Terms, Trace]:
    """The terms of the ELBO, and their trace.

    Their values are those of exact samples, their gradients the estimates that the bound names.
    """

    def traced_with(choose: Callable[[Any, Any], tuple[Array, Any]]) -> Trace:
        take = Take(lambda own, q, p: choose(own, q), (key,))
        return model.trace(variables, take, x_bd, label_b)

    def of(trace: Trace, averaged: Callable[[Array], Array]) -> tuple[Terms, Trace]:
        kl_bu = kl_by_unit(trace) if bound.kl == "analytic" else None
        if kl_bu is None:
            kl_bu = averaged(log_posterior(trace) - log_prior(trace))[:, None]
        return with_kl(averaged(trace.x.log_prob(x_bd[None])), kl_bu, trace)

    if bound.gradient == "exact":
        trace = traced_with(lambda own, q: (z := q.every(), q.log_prob(z)))
        probs_kb = jnp.exp(log_posterior(trace))
        return of(trace, lambda f_kb: jnp.sum(probs_kb * f_kb, axis=0))
    if bound.gradient == LEAVE_ONE_OUT:
        trace = model.trace(variables, constant_samples(model, key, k), x_bd, label_b)
        log_q_kb = log_posterior(trace)
        return of(trace, lambda f_kb: with_score(f_kb, log_q_kb))
    if bound.gradient == "disarm":
        trace = traced_with(lambda own, q: antithetic(q, own, k // 2))
        q = trace.layers[0].q
        return of(trace, lambda f_kb: with_disarm(q, trace.layers[0].z_kbl, f_kb))
    is_hard = bound.gradient == "straight_through"
    soft = traced_with(lambda own, q: (q.relaxed(own, k, temperature, hard=is_hard), None))
    path_b = jnp.mean(soft.x.log_prob(x_bd[None]), axis=0)
    # What is reported is of exact samples, of the same noise.
    trace = (
        soft
        if is_hard
        else model.trace(
            fixed(variables), posterior_samples(model, jax.random.clone(key), k), x_bd, label_b
        )
    )
    value_b = jnp.mean(trace.x.log_prob(x_bd[None]), axis=0)
    kl_bu = kl_by_unit(soft)
    assert kl_bu is not None  # discrete_needs asks for it
    return with_kl(fixed(value_b) + path_b - fixed(path_b), kl_bu, trace)


def with_kl(
    reconstruction_b: Float[Array, " b"], kl_bu: Float[Array, "b u"], trace: Trace
) -> tuple[Terms, Trace]:
    """The terms, with the KL of each unit."""
    terms = terms_of(reconstruction_b, jnp.sum(kl_bu, axis=-1), trace)
    return terms._replace(kl_bu=kl_bu), trace


def antithetic(
    q: Categorical, key: Key[Array, ""], pairs: int
) -> tuple[Float[Array, "k b l"], Float[Array, "k b"]]:
    """Pairs of samples of binary variables, of uniform noise u and 1 - u; the second ones last."""
    # Of two values, the larger of the noisy logits is that of a logistic variable.
    log_probs = fixed(q.log_probs_btc)
    noise = q.noisy(key, pairs) - q.log_probs_btc[None]
    logistic = fixed(noise[..., 1] - noise[..., 0])
    logit = (log_probs[..., 1] - log_probs[..., 0])[None]
    index = jnp.concatenate([logit + logistic > 0, logit - logistic > 0]).astype(jnp.int32)
    z = jax.nn.one_hot(index, 2)
    return z.reshape(*index.shape[:2], -1), q.log_prob_of(index)


def with_disarm(
    q: Categorical, z_kbl: Float[Array, "k b l"], f_kb: Float[Array, "k b"]
) -> Float[Array, " b"]:
    """mean_k f of `antithetic` samples, with the gradient (f1 - f2) / 2 (z1 - z2) sigma(|a|) da.

    a [b, l]: the log odds. References: Dong, Mnih and Tucker 2020, equation 10.
    """
    pairs = len(f_kb) // 2
    ones_kbt = z_kbl.reshape(*z_kbl.shape[:2], -1, 2)[..., 1]
    away_kb = 0.5 * (f_kb[:pairs] - f_kb[pairs:])
    a_bt = q.logits_btc[..., 1] - q.logits_btc[..., 0]
    apart_kbt = (ones_kbt[:pairs] - ones_kbt[pairs:]) * jax.nn.sigmoid(jnp.abs(a_bt))[None]
    slope_bt = fixed(jnp.mean(away_kb[..., None] * apart_kbt, axis=0))
    score_b = jnp.sum(slope_bt * a_bt, axis=-1)
    return jnp.mean(f_kb, axis=0) + score_b - fixed(score_b)


GRADIENTS = {
    "disarm": "pairs of opposite samples, of binary variables (Dong et al. 2020)",
    "exact": "the sum over all z, for a model with few",
    LEAVE_ONE_OUT: "the score function, with the other samples as baseline (Kool et al. 2019)",
    "relaxed": "through relaxed samples (Jang et al. 2017; Maddison et al. 2017): biased",
    "straight_through": "exact samples, the gradient of relaxed ones (Jang et al. 2017): biased",
}


def density_needs(gradient: str, config: Any) -> Iterator[str]:
    """What is wrong with an estimator that needs log q(z | x) of a given z."""
    if not config.model.abilities.has_density:
        yield (
            f"objective.gradient = {gradient!r} needs log q(z | x) of a given z, which "
            f"{config.model.named()} knows of its own samples alone; objective.gradient should be "
            "'reparameterized'"
        )


def gradient_needs(bound: Any, config: Any) -> Iterator[str]:
    """What is wrong with the gradient of a bound for this q(z | x)."""
    gradient, able = bound.gradient, config.model.abilities
    head, k = f"objective.gradient = {gradient!r}", config.objective.num_samples
    if gradient in PATHS:
        if able.has_path and gradient != "reparameterized":
            yield from density_needs(gradient, config)
    elif gradient == LEAVE_ONE_OUT:
        yield from density_needs(gradient, config)
        if able.num_layers > 1 and getattr(bound, "kl", "sampled") == "analytic":
            yield (
                f"{head} of several layers is of the samples above each; objective.kl = 'analytic' "
                "should be 'sampled'"
            )
        if k < 2:
            yield (
                f"{head} compares each sample with the others; objective.num_samples = {k} should "
                "be at least 2"
            )
    elif gradient in GRADIENTS:
        yield from categorical_needs(bound, config)
    else:  # wake_wake, wake_sleep
        yield from density_needs(gradient, config)


def categorical_needs(bound: Any, config: Any) -> Iterator[str]:
    """What is wrong with a gradient that is for categorical z alone."""
    gradient, able = bound.gradient, config.model.abilities
    head, k = f"objective.gradient = {gradient!r}", config.objective.num_samples
    if able.posterior_type is not Categorical or able.num_layers > 1:
        yield (
            f"{head} is for one layer of categorical z, and this is {config.model.named()}; it "
            "should be 'reparameterized'"
        )
        return
    if gradient in RELAXED and bound.kl != "analytic":
        yield f"{head} is of the reconstruction; objective.kl = 'sampled' should be 'analytic'"
    if gradient == "disarm" and (able.unit_size != 2 or k % 2):
        yield (
            f"{head} is of pairs of samples of binary variables; model.categories = "
            f"{able.unit_size} should be 2, and objective.num_samples = {k} even"
        )
    size = config.model.latent_size
    if gradient == "exact" and size * math.log(able.unit_size) > math.log(MOST_VALUES) + 1e-9:
        yield (
            f"{head} is a sum over all z; {size} variables of {able.unit_size} values have more "
            f"than {MOST_VALUES:,}; take {LEAVE_ONE_OUT!r}"
        )
    if gradient == "exact" and k != 1:
        yield f"{head} takes no samples; objective.num_samples = {k} should be 1"


def temperature_idle(bound: Any) -> Iterator[tuple[str, str]]:
    """Temperatures without relaxed samples, or a first one without a schedule."""
    for key, value, usual in (
        ("temperature", bound.temperature, 0.5),
        ("temperature_start", bound.temperature_start, 1.0),
        ("temperature_epochs", bound.temperature_steps, 0.0),
    ):
        if bound.gradient not in RELAXED and value != usual:
            yield no_effect(f"objective.{key}", value, "objective.gradient", repr(bound.gradient))
    if bound.gradient in RELAXED and bound.temperature_start != 1 and not bound.temperature_steps:
        yield no_effect(
            "objective.temperature_start", bound.temperature_start, "objective.temperature_epochs"
        )

"""The terms of the evidence lower bound."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import (
    Model,
    Trace,
    Variables,
    kl_by_layer,
    kl_by_unit,
    log_posterior,
    log_prior,
    posterior_samples,
)
from vae_jax.objectives.objective import KL_OF_LAYER, Terms


def elbo_terms(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    num_samples: int,
    label_b: Any = None,
) -> Terms:
    """log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)), for each example.

    The expectation is estimated by the mean over `num_samples` samples. The KL is exact if it has a
    closed form; if not, it is the mean over the same samples.

    References: Kingma and Welling 2014, equations 2, 3, 7 and 10.
    """
    take = posterior_samples(model, key, num_samples)
    return terms_of_samples(model, model.trace(variables, take, x_bd, label_b), x_bd)


def terms_of_samples(model: Model, trace: Trace, x_bd: Float[Array, "b d"]) -> Terms:
    """The terms of `elbo_terms`, of a trace with samples of the posterior; also by layer."""
    return with_layers(model, elbo_of(trace, x_bd), trace, analytic=kl_by_unit(trace) is not None)


def elbo_of(trace: Trace, x_bd: Float[Array, "b d"]) -> Terms:
    """The terms of `elbo_terms`, of a trace with samples of the posterior."""
    kl_bu = kl_by_unit(trace)
    kl_bu = sampled_kl(trace, log_posterior(trace)) if kl_bu is None else kl_bu
    return terms_of(reconstruction(trace, x_bd), jnp.sum(kl_bu, axis=-1), trace)


def reconstruction(trace: Trace, x_bd: Float[Array, "b d"]) -> Float[Array, " b"]:
    """E_q[log p(x | z)], estimated by the mean over the samples."""
    return jnp.mean(trace.x.log_prob(x_bd[None]), axis=0)


def sampled_kl(trace: Trace, log_q_kb: Float[Array, "k b"]) -> Float[Array, "b 1"]:
    """E_q[log q(z | x) - log p(z)], the mean over the samples; one value for all units."""
    return jnp.mean(log_q_kb - log_prior(trace), axis=0)[:, None]


def terms_of(reconstruction_b: Float[Array, " b"], kl_b: Float[Array, " b"], trace: Trace) -> Terms:
    """The Terms of an ELBO."""
    elbo_b = reconstruction_b - kl_b
    parts = {"elbo": elbo_b, "reconstruction": reconstruction_b, "kl": kl_b}
    return Terms(elbo_b, parts | trace.losses)


def with_own_losses(value: Float[Array, ""], trace: Trace) -> Float[Array, ""]:
    """A loss, and the model's own, which are added to any."""
    for loss_b in trace.losses.values():
        value += jnp.mean(loss_b)
    return value


def with_layers(model: Model, terms: Terms, trace: Trace, *, analytic: bool) -> Terms:
    """The terms, and those of the KL of each layer, where the model has several."""
    kls = kl_by_layer(trace, model.layer_names, analytic=analytic) if model.layer_names else {}
    return terms._replace(
        parts=terms.parts | {f"{KL_OF_LAYER}{name}": kl_b for name, kl_b in kls.items()}
    )

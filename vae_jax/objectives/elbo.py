"""The evidence lower bound."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.checks import no_effect, number, whole
from vae_jax.keys import choice, in_steps, section, static, traced
from vae_jax.models.model import (
    Model,
    Trace,
    Variables,
    given,
    kl_by_unit,
    latents,
    log_posterior,
    log_prior,
    posterior_samples,
)
from vae_jax.objectives.objective import TERMS, Loss, Scalar, Terms, Weights, ramp

KLS = {"analytic": "in closed form", "sampled": "estimated with the samples of the reconstruction"}
GRADIENTS = {
    "reparameterized": "through the samples z(q, noise) (Kingma and Welling 2014)",
    "sticking_the_landing": "log q(z | x) has a gradient only through z (Roeder et al. 2017)",
}


def kl_key():
    return choice(KLS, "analytic", "how the KL is computed")


def kl_needs(kl: str, config):
    """What is wrong with the choice of a KL in closed form."""
    if kl == "analytic" and not config.model.abilities.has_closed_form:
        yield (
            f"objective.kl = 'analytic' has no closed form for {config.model.named()}; it should "
            "be 'sampled'"
        )


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
    return elbo_of(model.trace(variables, take, x_bd, label_b), x_bd)


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


def free(kl_bu: Float[Array, "b u"], free_bits: Scalar, group: int) -> Float[Array, ""]:
    """sum_groups max(free_bits, mean_b KL of the group): no gradient below free_bits.

    References: Kingma et al. 2016, equation 15.
    """
    kl_u = jnp.mean(kl_bu, axis=0)
    kl_g = jnp.sum(kl_u.reshape(-1, group or len(kl_u)), axis=-1)
    return jnp.sum(jnp.maximum(kl_g, free_bits))


@section
class Elbo:
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)) (Kingma and Welling 2014).

    loss = -mean_b reconstruction + beta |KL - capacity|, where KL is the mean over the batch, with
    free bits. The terms are those of the bound without beta, free bits or capacity.

    With the gradient "sticking_the_landing", log q(z | x) has a gradient only through z. The mean
    of the estimator is unchanged; its variance is 0 where q(z | x) is the true posterior.

    References: beta: Higgins et al. 2017, equation 4; capacity: Burgess et al. 2018, equation 8;
    gradient: Roeder, Wu and Duvenaud 2017, algorithm 2.
    """

    kl: str = kl_key()
    gradient: str = choice(GRADIENTS, "reparameterized", "the gradient estimator")
    free_bits: float = traced(0.0, number(0), "nats of each group's KL that cost nothing")
    free_bits_group: int = static(1, whole(0), "latent units in such a group; 0: all of them")
    capacity: float = traced(0.0, number(0), "nats, the target of the KL; 0: the KL is minimised")
    capacity_steps: float = traced(
        0.0,
        number(0),
        "epochs over which it rises linearly from 0",
        key="capacity_epochs",
        to=in_steps,
    )

    infers_labels, terms = False, TERMS

    @property
    def is_unit_by_unit(self) -> bool:
        return self.free_bits == 0 and self.free_bits_group <= 1

    def loss(self, model: Model, variables, key, x_bd, label_b, weights: Weights) -> Loss:
        take = posterior_samples(model, key, weights.num_samples)
        trace = model.trace(variables, take, x_bd, label_b)
        reconstruction_b = reconstruction(trace, x_bd)
        if self.kl == "analytic":
            kl_bu = kl_by_unit(trace)
            assert kl_bu is not None, "this KL has no closed form: take kl='sampled'"
        elif self.gradient == "sticking_the_landing":
            fixed = jax.lax.stop_gradient(variables)
            again = model.trace(fixed, given(latents(trace)), x_bd, label_b)
            kl_bu = sampled_kl(trace, log_posterior(again))
        else:
            kl_bu = sampled_kl(trace, log_posterior(trace))
        terms = terms_of(reconstruction_b, jnp.sum(kl_bu, axis=-1), trace)
        kl = jnp.where(
            self.free_bits > 0,
            free(kl_bu, self.free_bits, self.free_bits_group),
            jnp.mean(terms.parts["kl"]),
        )
        capacity = self.capacity * ramp(weights.step, self.capacity_steps)
        away = jnp.where(capacity > 0, jnp.abs(kl - capacity), kl)
        value = jnp.mean(-reconstruction_b) + weights.beta * away
        for own_b in trace.losses.values():
            value += jnp.mean(own_b)
        return Loss(value, terms._replace(kl_bu=kl_bu), trace)

    def validation_score(self, means: dict[str, float], kl_u: np.ndarray, weights: Weights):
        """-loss of a whole split, whose mean terms these are, nats.

        free_bits and the capacity are of the mean KL of the split, as they are of a batch's.
        """
        kl = means["kl"]
        if self.free_bits > 0:
            kl_g = kl_u.reshape(-1, self.free_bits_group or len(kl_u)).sum(axis=-1)
            kl = np.maximum(kl_g, self.free_bits).sum()
        capacity = float(self.capacity * ramp(weights.step, self.capacity_steps))
        away = abs(kl - capacity) if capacity > 0 else kl
        others = sum(means[name] for name in means if name not in (*TERMS, "loss", "bound"))
        return means["bound"] - (float(weights.beta) * away - means["kl"]) - others

    def needs(self, config):
        yield from kl_needs(self.kl, config)
        if self.gradient == "sticking_the_landing":
            if self.kl != "sampled":
                yield (
                    "objective.gradient = 'sticking_the_landing' is about the sampled "
                    "log q(z | x); objective.kl should be 'sampled'"
                )
            yield from density_needs(self.gradient, config)
        group = self.free_bits_group
        if self.kl == "sampled" and (group > 1 or (group and self.free_bits)):
            yield (
                "objective.free_bits of a sampled KL are for all latent units together; "
                "objective.free_bits_group should be 0"
            )
        if group and config.model.latent_size % group:
            yield (
                f"objective.free_bits_group = {group} should divide model.latent_size = "
                f"{config.model.latent_size}"
            )

    def idle(self, config):
        if self.capacity_steps and not self.capacity:
            yield no_effect("objective.capacity_epochs", self.capacity_steps, "objective.capacity")
        if self.free_bits_group != 1 and not self.free_bits:
            yield no_effect(
                "objective.free_bits_group", self.free_bits_group, "objective.free_bits"
            )
        if not config.objective.beta:
            for name in ("free_bits", "capacity"):
                if getattr(self, name):
                    yield no_effect(f"objective.{name}", getattr(self, name), "objective.beta")


def density_needs(gradient: str, config):
    """What is wrong with an estimator that needs log q(z | x) of a given z."""
    if not config.model.abilities.has_density:
        yield (
            f"objective.gradient = {gradient!r} needs log q(z | x) of a given z, which "
            f"{config.model.named()} knows of its own samples alone; objective.gradient should be "
            "'reparameterized'"
        )

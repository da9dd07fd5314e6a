"""The semi-supervised bound, for examples with and without a label."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.model import (
    Model,
    Trace,
    Variables,
    kl_by_unit,
    log_posterior,
    posterior_samples,
)
from vae_jax.objectives.elbo import kl_key, kl_needs
from vae_jax.objectives.interface import Bound
from vae_jax.objectives.objective import TERMS, Loss, Weights
from vae_jax.objectives.terms import reconstruction, sampled_kl, terms_of
from vae_jax.sections.checks import number
from vae_jax.sections.declare import section, traced


@section
class M2Bound(Bound):
    """The bound on log p(x, y) of a labelled example, and on log p(x) of an unlabelled one.

    L(y) = E_q[log p(x | y, z)] - KL(q(z | x, y) || p(z)) + log p(y), with p(y) uniform, for a
    labelled example; sum_y q(y | x) (L(y) - log q(y | x)) for an unlabelled one. The loss adds
    `classification_weight` times the mean -log q(y | x) of the labelled ones. Label -1: unlabelled.

    References: Kingma, Rezende, Mohamed and Welling 2014, equations 6 to 9.
    """

    kl: str = kl_key()
    classification_weight: float = traced(
        1.0, number(0), "weight of -log q(y | x) of labelled examples"
    )

    infers_labels = is_unit_by_unit = True
    is_mean = False  # -log q(y | x) is a mean over the labelled ones of the minibatch
    terms = TERMS

    def loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        weights: Weights,
    ) -> Loss:
        take = posterior_samples(model, key, weights.num_samples)

        def of_class(y: Int[Array, ""]) -> tuple[Float[Array, " b"], Float[Array, " b"], Trace]:
            trace = model.trace(variables, take, x_bd, jnp.full(len(x_bd), y))
            if self.kl == "analytic":
                kl_bu = kl_by_unit(trace)
                assert kl_bu is not None, "this KL has no closed form: take kl='sampled'"
            else:
                kl_bu = sampled_kl(trace, log_posterior(trace))
            return reconstruction(trace, x_bd), jnp.sum(kl_bu, axis=-1), trace

        num_classes = jax.eval_shape(of_class, 0)[2].y.shape[-1]
        # The same noise for every class: q(y | x) learns from the differences between classes.
        reconstruction_cb, kl_cb, traces = jax.vmap(of_class)(jnp.arange(num_classes))
        trace = jax.tree.map(lambda leaf: leaf[0], traces)
        log_q_bc = jax.nn.log_softmax(trace.y, axis=-1)
        label_b = jnp.full(len(x_bd), -1) if label_b is None else label_b
        is_known_b = label_b >= 0
        known_bc = jax.nn.one_hot(label_b, num_classes)  # zeros for a label of -1
        weight_bc = jnp.where(is_known_b[:, None], known_bc, jnp.exp(log_q_bc))
        reconstruction_b = jnp.sum(weight_bc * reconstruction_cb.T, axis=-1)
        kl_z_b = jnp.sum(weight_bc * kl_cb.T, axis=-1)
        # KL(q(y | x) || p(y)), or -log p(y) if the label is known.
        negative_entropy_b = jnp.where(
            is_known_b, 0.0, jnp.sum(jnp.exp(log_q_bc) * log_q_bc, axis=-1)
        )
        kl_y_b = negative_entropy_b + math.log(num_classes)

        wrong = -jnp.sum(known_bc * log_q_bc) / jnp.maximum(
            jnp.sum(is_known_b, dtype=jnp.float32), 1
        )
        value = jnp.mean(-reconstruction_b + weights.beta * kl_z_b + kl_y_b)
        value += self.classification_weight * wrong
        return Loss(value, terms_of(reconstruction_b, kl_z_b + kl_y_b, trace), trace)

    def needs(self, config: Any) -> Iterator[str]:
        yield from kl_needs(self.kl, config)
        if not config.model.abilities.infers_labels:
            yield (
                f"objective.name = 'm2' needs a model that infers labels, and "
                f"{config.model.named()} does not; model.name should be 'm2'"
            )

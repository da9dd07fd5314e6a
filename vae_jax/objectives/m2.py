"""The semi-supervised bound: examples with a label, and examples without."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import VAE, Params
from vae_jax.objectives.elbo import parts, terms_of
from vae_jax.objectives.objective import Draws, ObjectiveHyper, ObjectiveSpec, Terms


def m2(
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    hyper: ObjectiveHyper,
    spec: ObjectiveSpec,
) -> tuple[Float[Array, ""], Terms, Draws]:
    """The bound on log p(x, y) of an example with a label, on log p(x) of one without.

    With L(y) = E_q[log p(x | y, z)] - KL(q(z | x, y) || p(z)) + log p(y), p(y) uniform, it is L(y),
    or sum_y q(y | x) (L(y) - log q(y | x)); the loss adds -log q(y | x) of the labelled ones, times
    `classification_weight`. A label of -1 is none.

    References: Kingma, Rezende, Mohamed and Welling 2014, equations 6 to 9.
    """
    assert model.classify is not None
    log_q_bc = jax.nn.log_softmax(model.classify(params, x_bd), axis=-1)
    num_classes = log_q_bc.shape[-1]

    def of_class(y):
        label_b = jnp.full(len(x_bd), y)
        reconstruction_b, kl_bu, draws = parts(
            model.given(label_b), params, key, x_bd, spec.num_samples, spec.kl, spec.gradient
        )
        return reconstruction_b, jnp.sum(kl_bu, axis=-1), draws

    # The same noise for every class: their differences are what q(y | x) learns from.
    reconstruction_cb, kl_cb, draws = jax.vmap(of_class)(jnp.arange(num_classes))
    label_b = jnp.full(len(x_bd), -1) if model.label_b is None else model.label_b
    is_known_b = label_b >= 0
    known_bc = jax.nn.one_hot(label_b, num_classes)  # zeros for a label of -1
    weight_bc = jnp.where(is_known_b[:, None], known_bc, jnp.exp(log_q_bc))
    reconstruction_b = jnp.sum(weight_bc * reconstruction_cb.T, axis=-1)
    kl_z_b = jnp.sum(weight_bc * kl_cb.T, axis=-1)
    # KL(q(y | x) || p(y)), or -log p(y) of a label that is known.
    negative_entropy_b = jnp.where(is_known_b, 0.0, jnp.sum(jnp.exp(log_q_bc) * log_q_bc, axis=-1))
    kl_y_b = negative_entropy_b + math.log(num_classes)

    wrong = -jnp.sum(known_bc * log_q_bc) / jnp.maximum(jnp.sum(is_known_b), 1)
    loss = jnp.mean(-reconstruction_b + hyper.beta * kl_z_b + kl_y_b)
    loss += hyper.classification_weight * wrong
    first = jax.tree.map(lambda leaf: leaf[0], draws)
    return loss, terms_of(reconstruction_b, kl_z_b + kl_y_b), first

"""What is optimised. To add a bound, write its function and list it here or in `importance.BOUNDS`.

Each is (model, params, key, x [b, d], hyper, spec) -> (loss, Terms, Draws).
"""

import jax
from jaxtyping import Array, Float, Key

from vae_jax.models.model import VAE, Params
from vae_jax.objectives import elbo, importance, m2
from vae_jax.objectives.corruption import corrupted
from vae_jax.objectives.importance import BOUNDS
from vae_jax.objectives.objective import Objective, ObjectiveHyper, ObjectiveSpec, Terms
from vae_jax.objectives.regularizers import DISCRIMINATOR_LOSSES, REGULARIZERS

OBJECTIVES: dict[str, Objective] = {
    "elbo": elbo.elbo,
    **dict.fromkeys(BOUNDS, importance.importance),
    "m2": m2.m2,
}


def objective(
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    hyper: ObjectiveHyper,
    spec: ObjectiveSpec,
    *,
    regularized: bool = True,
) -> tuple[Float[Array, ""], Terms]:
    """The loss that `spec` names, and the terms of its bound, each example's own.

    Without `regularized`, the loss is the bound's alone, which one example has by itself (with free
    bits or a capacity, whose KL is a batch's mean, it is then that of a batch of one). A
    discriminator's gradient is that of its own loss, whatever the regulariser's weight.
    """
    if spec.corruption != "none":
        key, corruption_key = jax.random.split(key)
        model = corrupted(model, corruption_key, spec.corruption, hyper.corruption)
    regularizer = REGULARIZERS[spec.regularizer] if regularized else None
    if regularizer is None:
        loss, terms, _ = OBJECTIVES[spec.name](model, params, key, x_bd, hyper, spec)
        return loss, terms
    key, regularizer_key = jax.random.split(key)
    loss, terms, draws = OBJECTIVES[spec.name](model, params, key, x_bd, hyper, spec)
    added = regularizer(regularizer_key, model, params, draws, hyper, spec)
    loss += hyper.regularizer_weight * added
    if spec.regularizer in DISCRIMINATOR_LOSSES:
        discriminator_key = jax.random.fold_in(regularizer_key, 0)
        own = DISCRIMINATOR_LOSSES[spec.regularizer](discriminator_key, params, draws, spec)
        loss += own - jax.lax.stop_gradient(own)  # its gradient, not its value
    return loss, terms

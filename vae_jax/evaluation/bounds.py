"""An objective and the terms of its bound."""

from jaxtyping import Array, Float, Key

from vae_jax.models.model import VAE, Params
from vae_jax.objectives import objective
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec

Terms = dict[str, Array]  # "loss" and each of objectives' Terms, in nats


def bound(
    spec: ObjectiveSpec,
    hyper: ObjectiveHyper,
    model: VAE,
    params: Params,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
) -> Terms:
    """The loss and the terms of an example [1].

    The loss is the bound's, without a regulariser, which is of a batch.
    """
    loss, terms = objective(model, params, key, x_bd, hyper, spec, regularized=False)
    return {"loss": loss[None]} | terms._asdict()

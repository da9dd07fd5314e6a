"""An objective and the terms of its bound."""

from typing import Any

from jaxtyping import Array, Float, Key

from vae_jax.models.model import Model, Variables
from vae_jax.objectives import Objective, loss
from vae_jax.probability.distributions import DiagonalGaussian

# "loss", "bound" (the score) and the objective's terms, [..., n]; KL_BY_UNIT [..., n, u]; nats.
Terms = dict[str, Array]
KL_BY_UNIT = "kl_by_unit"
MEAN_BY_UNIT, LOG_SCALE_BY_UNIT = "mean_by_unit", "log_scale_by_unit"  # of a diagonal q(z | x)
BY_UNIT = (KL_BY_UNIT, MEAN_BY_UNIT, LOG_SCALE_BY_UNIT)


def bound(
    settings: tuple[Objective, Any],
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> Terms:
    """The loss and the terms of an example [1]; settings: the objective and the step.

    The loss is without the regulariser, which is defined for a batch only.
    """
    objective, step = settings
    found = loss(objective, model, variables, key, x_bd, label_b, step, regularized=False)
    terms = found.terms
    units = {} if terms.kl_bu is None else {KL_BY_UNIT: terms.kl_bu}
    layers = found.trace.layers
    if len(layers) == 1 and isinstance(layers[0].q, DiagonalGaussian) and found.trace.y is None:
        q = layers[0].q
        units |= {MEAN_BY_UNIT: q.mean_kbl[0], LOG_SCALE_BY_UNIT: q.log_scale_kbl[0]}
    return {"loss": found.value[None], "bound": terms.score, **terms.parts, **units}

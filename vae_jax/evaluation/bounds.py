"""An objective and the terms of its bound."""

from typing import Any

from jaxtyping import Array, Float, Key

from vae_jax.models.model import Model, Variables
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.elbo import MOST_UNITS
from vae_jax.probability.distributions import DiagonalGaussian

# "loss", "bound" (the score) and the objective's terms, [..., n]; KL_BY_UNIT [..., n, u]; nats.
Terms = dict[str, Array]
KL_BY_UNIT = "kl_by_unit"  # of models with at most MOST_UNITS
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
    example_loss = loss(objective, model, variables, key, x_bd, label_b, step, regularized=False)
    terms = example_loss.terms
    kl_bu = terms.kl_bu
    units = {} if kl_bu is None or kl_bu.shape[-1] > MOST_UNITS else {KL_BY_UNIT: kl_bu}
    layers, y = example_loss.trace.layers, example_loss.trace.y
    if len(layers) == 1 and isinstance(layers[0].q, DiagonalGaussian) and y is None:
        q = layers[0].q
        units |= {MEAN_BY_UNIT: q.mean_kbl[0], LOG_SCALE_BY_UNIT: q.log_scale_kbl[0]}
    return {"loss": example_loss.value[None], "bound": terms.bound, **terms.parts, **units}

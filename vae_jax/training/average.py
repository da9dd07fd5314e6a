"""An exponential moving average of the params, which evaluation takes in their place.

References: Polyak and Juditsky 1992; Kingma and Ba 2015, section 7.2 (its bias correction).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from vae_jax.models.model import Params, Variables

AVERAGE = "average"  # among the variables


def init(params: Params) -> Params:
    """The average of nothing: a sum of params, and the sum of their weights."""
    return {"params": jax.tree.map(jnp.zeros_like, params), "weight": jnp.float32(0)}


def update(average: Params, params: Params, decay: float, taken: Bool[Array, ""]) -> Params:
    """The average with the params after a step; a step that was not taken leaves it as it is."""

    def mixed(old: Array, new: Array | float) -> Array:
        return jnp.where(taken, decay * old + (1 - decay) * new, old)

    return {
        "params": jax.tree.map(mixed, average["params"], params),
        "weight": mixed(average["weight"], 1.0),
    }


def evaluated(variables: Variables) -> Variables:
    """The variables that are evaluated: the params are their average, if they are averaged.

    The average is sum_i decay^(t-i) p_i / sum_i decay^(t-i) over the steps i taken so far; before
    the first, the params themselves. Axes of lanes may lead. Arrays of numpy stay so.
    """
    if AVERAGE not in variables:
        return variables
    others = {name: part for name, part in variables.items() if name != AVERAGE}
    total, weight = variables[AVERAGE]["params"], variables[AVERAGE]["weight"]
    xp: Any = np if isinstance(weight, np.ndarray) else jnp

    def mean(total: Any, newest: Any) -> Any:
        divisor = weight.reshape(weight.shape + (1,) * (total.ndim - weight.ndim))
        return xp.where(divisor > 0, total / xp.where(divisor > 0, divisor, xp.float32(1)), newest)

    return others | {"params": jax.tree.map(mean, total, variables["params"])}

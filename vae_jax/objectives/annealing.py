"""Weights that change during training."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from vae_jax.objectives.objective import ObjectiveHyper


def anneal(hyper: ObjectiveHyper, step: Int[Array, ""]) -> ObjectiveHyper:
    """`hyper` with the beta in force at `step`: beta * min(1, step / warmup_steps).

    References: Bowman et al. 2016; Sonderby et al. 2016 (linear KL warm-up).
    """
    # Where there is no warm-up, the ratio at step 0 is 1 / 1.
    fraction = jnp.maximum(step, hyper.warmup_steps == 0) / jnp.maximum(hyper.warmup_steps, 1)
    return hyper._replace(beta=hyper.beta * jnp.minimum(1.0, fraction))

"""Numbers that change during training."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vae_jax.objectives.objective import ObjectiveHyper, Scalar


def ramp(step: Float[Array, ""], over: Scalar) -> Float[Array, ""]:
    """min(1, step / over): how far a number has risen; 1 where it does not take any steps."""
    # Where it takes none, the ratio at step 0 is 1 / 1.
    return jnp.minimum(1.0, jnp.maximum(step, over == 0) / jnp.maximum(over, 1))


def anneal(hyper: ObjectiveHyper, step: Int[Array, ""]) -> ObjectiveHyper:
    """`hyper` with the numbers in force at `step`.

    beta * min(1, (step mod warmup_cycle) / warmup_steps), capacity * min(1, step / capacity_steps).

    References: Bowman et al. 2016; Sonderby et al. 2016 (linear KL warm-up); Fu et al. 2019
    (cyclical); Burgess et al. 2018 (capacity).
    """
    step = jnp.asarray(step, jnp.float32)
    cycles = jnp.floor(step / hyper.warmup_cycle)  # 0 of an infinite one
    in_cycle = step - jnp.where(cycles > 0, cycles * hyper.warmup_cycle, 0.0)
    return hyper._replace(
        beta=hyper.beta * ramp(in_cycle, hyper.warmup_steps),
        capacity=hyper.capacity * ramp(step, hyper.capacity_steps),
    )

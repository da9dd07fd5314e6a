"""What every objective takes and gives."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float


class ObjectiveSpec(NamedTuple):
    """The static choice of an objective; name is a key of OBJECTIVES."""

    name: str
    num_samples: int  # k, draws from q(z | x) for each example


class ObjectiveHyper(NamedTuple):
    """The numbers of an objective, traced: one value a lane."""

    beta: Float[Array, ""]  # weight of the KL
    warmup_steps: Float[Array, ""]  # steps over which beta rises linearly from 0; 0: none


class Terms(NamedTuple):
    """The parts of a bound, each an example's, in nats, without the weights of the loss."""

    elbo: Float[Array, " b"]  # reconstruction - kl: higher is better
    reconstruction: Float[Array, " b"]  # E_q[log p(x | z)]
    kl: Float[Array, " b"]  # KL(q(z | x) || p(z))


# (model, params, key, x [b, d], hyper, num_samples) -> (loss [], Terms)
Objective = Callable[..., tuple[Float[Array, ""], Terms]]

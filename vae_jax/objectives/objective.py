"""What every objective takes and gives."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from vae_jax.networks.network import NetworkSpec

Scalar = Float[Array, ""] | float


class ObjectiveSpec(NamedTuple):
    """The static choice of an objective; names are keys of the families' dicts."""

    name: str  # the bound
    num_samples: int  # k, draws from q(z | x) for each example
    gradient: str = "reparameterized"  # its gradient estimator
    kl: str = "analytic"  # elbo: the KL in closed form, or "sampled"
    num_groups: int = 1  # miwae, piwae: the k draws are in so many groups
    free_bits_group: int = 1  # elbo: latent units that share free bits; 0: all of them
    corruption: str = "none"  # of the input, the target being clean
    regularizer: str = "none"  # what is added to the loss of a minibatch
    dataset_size: int = 0  # total correlation: examples in the training set
    discriminator: NetworkSpec | None = None  # adversarial total correlation


class ObjectiveHyper(NamedTuple):
    """The numbers of an objective, traced: one value a lane. As they stand: the bound itself."""

    beta: Scalar = 1.0  # weight of log p(z) - log q(z | x)
    warmup_steps: Scalar = 0.0  # in which beta rises linearly from 0; 0: none
    warmup_cycle: Scalar = math.inf  # steps after which it does so again
    free_bits: Scalar = 0.0  # nats of each group's KL that cost nothing
    capacity: Scalar = 0.0  # nats that the KL is drawn to; 0: down to nothing
    capacity_steps: Scalar = 0.0  # in which the capacity rises from 0; 0: none
    alpha: Scalar = 0.5  # renyi: its order
    elbo_weight: Scalar = 0.5  # ciwae: that of the ELBO beside the IWAE's bound
    corruption: Scalar = 0.0  # how much of it
    regularizer_weight: Scalar = 0.0
    diagonal_weight: Scalar = 1.0  # dip: of the diagonal over that of the rest
    classification_weight: Scalar = 1.0  # m2: of -log q(y | x), where y is known


class Terms(NamedTuple):
    """The parts of a bound, each an example's, in nats, without the weights of the loss."""

    bound: Float[Array, " b"]  # the lower bound on log p(x) that is optimised: higher is better
    elbo: Float[Array, " b"]  # reconstruction - kl; that bound itself, of the objective elbo
    reconstruction: Float[Array, " b"]  # E_q[log p(x | z)]
    kl: Float[Array, " b"]  # KL(q(z | x) || p(z))


class Draws(NamedTuple):
    """What a regulariser looks at: q(z | x) and the first draw from it."""

    q_params: Any
    z_bl: Float[Array, "b l"]


# (model, params, key, x [b, d], hyper, spec) -> (loss [], Terms, Draws)
Objective = Callable[..., tuple[Float[Array, ""], Terms, Draws]]

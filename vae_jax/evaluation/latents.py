"""The activity and the KL of latent units."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from vae_jax.models.model import Model, Variables, joined, kl_by_unit, posterior_means
from vae_jax.models.model import latents as z_of

ACTIVE = 0.01  # variance over the data of the posterior mean (Burda et al. 2015, section 5.2)
COLLAPSED = 0.01  # nats


class Latents(NamedTuple):
    """Values of each latent unit for examples [b]."""

    mean: Float[Array, "b l"]  # E_q[z]
    kl: Float[Array, "b l"] | None  # KL(q(z | x) || p(z)), nats; None: no closed form


def latents(
    model: Model, variables: Variables, x_bd: Float[Array, "b d"], label_b: Any = None
) -> Latents:
    """The posterior mean of each latent unit, and its KL where there is a closed form."""
    trace = model.trace(variables, posterior_means, x_bd, label_b)
    return Latents(joined(z_of(trace))[0], kl_by_unit(trace))


def activity(mean_nl: Float[np.ndarray, "n l"]) -> Float[np.ndarray, " l"]:
    """The variance over the data of each unit's posterior mean."""
    return np.var(np.asarray(mean_nl, np.float64), axis=0)


def active_units(mean_nl: Float[np.ndarray, "n l"]) -> int:
    """How many units' posterior means have a variance above 0.01 over the data."""
    return int(np.sum(activity(mean_nl) > ACTIVE))


def collapsed_units(kl_nl: Float[np.ndarray, "n l"]) -> int:
    """How many units' KL is below 0.01 nats for at least 99% of the examples: at the prior.

    References: Lucas et al. 2019, Don't blame the ELBO, definition 1, epsilon = delta = 0.01.
    """
    return int(np.sum(np.mean(np.asarray(kl_nl) < COLLAPSED, axis=0) >= 0.99))

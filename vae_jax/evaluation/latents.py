"""The activity and the KL of latent units."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.models.model import (
    Model,
    Variables,
    joined,
    kl_by_unit,
    kl_of_units,
    posterior_means,
    posterior_samples,
)
from vae_jax.models.model import latents as z_of

ACTIVE = 0.01  # variance over the data of the posterior mean (Burda et al. 2015, section 5.2)
COLLAPSED = 0.01  # nats


class Latents(NamedTuple):
    """Values of each latent unit for examples [b]."""

    mean: Float[Array, "b l"]  # E_q[z]
    kl: Float[Array, "b l"] | None  # KL(q(z | x) || p(z)), nats; None: it is not known


def latents(
    model: Model,
    variables: Variables,
    x_bd: Float[Array, "b d"],
    label_b: Any = None,
    key: Key[Array, ""] | None = None,
) -> Latents:
    """The posterior mean of each latent unit, and its KL where that is known.

    Of several layers, it is an estimate from one sample of z (`kl_of_units`); `key`: of that
    sample; None: key 0.
    """
    trace = model.trace(variables, posterior_means, x_bd, label_b)
    mean_bl = joined(z_of(trace))[0]
    if model.num_layers == 1:
        return Latents(mean_bl, kl_by_unit(trace))
    take = posterior_samples(model, jax.random.key(0) if key is None else key, 1)
    return Latents(mean_bl, kl_of_units(model.trace(variables, take, x_bd, label_b)))


def activity(mean_nl: Float[np.ndarray, "n z"], width: int = 1) -> Float[np.ndarray, " l"]:
    """The variance over the data of each unit's posterior mean; of `width` numbers, their sum."""
    return np.var(np.asarray(mean_nl, np.float64), axis=0).reshape(-1, width).sum(axis=1)


def active_units(mean_nl: Float[np.ndarray, "n z"], width: int = 1) -> int:
    """How many units' posterior means have a variance above 0.01 over the data."""
    return int(np.sum(activity(mean_nl, width) > ACTIVE))


def active_by_layer(
    kl_nl: Float[np.ndarray, "n l"], names: Sequence[str], sizes: Sequence[int]
) -> dict[str, int]:
    """How many units of each layer have a mean KL above 0.01 nats (Sønderby et al. 2016).

    `names` and `sizes`: of the layers, the top first; layers of one name are added up.
    """
    is_active_l = np.mean(np.asarray(kl_nl, np.float64), axis=0) > COLLAPSED
    ends = np.cumsum(sizes[::-1])[:-1]  # units of the bottom layer come first
    layers = np.split(is_active_l, ends)[::-1]
    counts = dict.fromkeys(names, 0)
    for name, layer in zip(names, layers, strict=True):
        counts[name] += int(layer.sum())
    return counts


def collapsed_units(kl_nl: Float[np.ndarray, "n l"]) -> int:
    """How many units' KL is below 0.01 nats for at least 99% of the examples: at the prior.

    References: Lucas et al. 2019, Don't blame the ELBO, definition 1, epsilon = delta = 0.01.
    """
    return int(np.sum(np.mean(np.asarray(kl_nl) < COLLAPSED, axis=0) >= 0.99))

"""What a model takes from the data and does not train: how the encoder sees x, and a scale.

It is kept in the variables, under "stats".
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.models.model import Params, Start
from vae_jax.networks.network import refuse_other_images
from vae_jax.probability.interface import Likelihood

INPUTS = {
    "log1p": "log(1 + x), of counts",
    "raw": "x as it is",
    "standardized": "centred at the training set's pixel means, and divided by its scale",
}


def init_stats(spec: Any, start: Start) -> Params:
    """The stats before the first step; {} for most models."""
    stats: Params = {}
    if spec.inputs == "standardized":
        height, width, channels = spec.image_shape
        zeros = jnp.zeros(height * width * channels)
        centre_d = zeros if start.centre_d is None else jnp.asarray(start.centre_d)
        stats["inputs"] = {"mean": centre_d, "scale": jnp.float32(start.scale)}
    if spec.likelihood.learns_size:
        stats["log_total"] = jnp.stack([jnp.float32(own) for own in start.log_total])
    of_likelihood = spec.likelihood.init_stats(start.scale)
    if of_likelihood is not None:
        stats["likelihood"] = of_likelihood
    return stats


def output_bias(likelihood: Likelihood, start: Start) -> Float[Array, "d p"] | None:
    """The decoder's output bias before the first step; None: it starts at 0."""
    return None if start.mean_d is None else likelihood.initial_bias(start.mean_d, start.scale)


def seen(how: str, stats: Params, x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """x [b, d] as the encoder sees it; `how`: a name of INPUTS."""
    if how == "log1p":
        return jnp.log1p(x_bd)
    if "inputs" not in stats:
        return x_bd
    refuse_other_images(x_bd, stats["inputs"]["mean"].size)
    return (x_bd - stats["inputs"]["mean"][None]) / stats["inputs"]["scale"]


def likelihood_params(variables: dict[str, Params]) -> Params:
    """The params of the likelihood: those that are trained, and those that follow the data."""
    return variables["params"]["likelihood"] | variables["stats"].get("likelihood", {})


def updated_stats(spec: Any, stats: Params, p: Any, x_bd: Float[Array, "b d"] | None) -> Params:
    """The stats after a minibatch x [b, d], whose p(x | z) is p; x None: unchanged."""
    if x_bd is None or "likelihood" not in stats:
        return stats
    p = p.given(x_bd[None]) if hasattr(p, "given") else p  # of each value, given those before it
    return stats | {"likelihood": spec.likelihood.update(stats["likelihood"], p, x_bd)}

"""A model with another p(z), which its params were not trained with."""

from collections.abc import Callable
from typing import Any

from vae_jax.errors import UserError
from vae_jax.models.model import Model, Take, Trace, Variables

SAMPLER = "sampler"  # among the variables: what p(z) is made of


def with_prior(model: Model, distribution: Callable[[Any], Any]) -> Model:
    """The model p(x | z), q(z | x) of `model`, with p(z) = distribution(variables["sampler"]).

    All that is computed of a trace is then of this p(z): samples, bounds, log p(x) by importance
    sampling.

    Raises:
      UserError: the model has several layers.
    """
    if model.num_layers > 1:
        raise UserError(
            f"another p(z) is for a model with one layer of latents, and this one has "
            f"{model.num_layers}"
        )

    def trace(variables: Variables, take: Take, x_bd: Any = None, label_b: Any = None) -> Trace:
        p = distribution(variables[SAMPLER])
        of_p = Take(lambda own, q, _: take.choose(own, q, p), take.own)
        found = model.trace(variables, of_p, x_bd, label_b)
        (layer,) = found.layers
        return found._replace(layers=(layer._replace(p=p),))

    return model._replace(trace=trace)

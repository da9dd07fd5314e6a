"""-log p(x) of images, from Python."""

from typing import Any

import numpy as np

from vae_jax.api.arguments import Classes
from vae_jax.api.fitted import Sampler
from vae_jax.errors import UserError
from vae_jax.evaluation.at_once import fitting
from vae_jax.evaluation.importance_sampling import BLOCK
from vae_jax.evaluation.samplers.prior import no_density
from vae_jax.models import ModelSpec
from vae_jax.models.model import Variables
from vae_jax.views.compiled import Compiled

DECODINGS = 1_000_000  # samples times images at a time


def refuse_no_likelihood(model: ModelSpec, sampler: Sampler | None, x: np.ndarray) -> None:
    """Refuses -log p(x) of a model without one, or of other images."""
    if model.abilities.is_point:
        raise UserError("q(z | x) of this model is a point without a density: there is no nll")
    if model.abilities.is_code:
        raise UserError(
            "q(z | x) of this model has probability 1 at one code: importance sampling would give "
            "the negative ELBO, which run.results has"
        )
    if sampler is not None and not sampler.kind.has_density:
        raise UserError(no_density(sampler.kind))
    if model.likelihood.support == "binary" and not np.isin(x, (0, 1)).all():
        raise UserError(
            "the model is one of binary images, and these are grey: log p(x) is of "
            "(images > 0.5), for floats"
        )


def estimated_nll(
    functions: Compiled,
    spec: ModelSpec,
    variables: Variables,
    x: np.ndarray,
    y: Classes,
    num_samples: int,
    seed: int,
) -> np.ndarray:
    """-log p(x) of each image [n], nats, by importance sampling."""
    batch = fitting(spec, max(1, DECODINGS // num_samples), BLOCK)

    def estimate(i: int) -> Any:
        seeds, y_b = (np.uint32(seed), np.uint32(i)), None if y is None else y[i : i + batch]
        of_batch = (*seeds, x[i : i + batch], y_b, num_samples)
        return np.asarray(functions.log_likelihood(variables, *of_batch))

    return -np.concatenate([estimate(i) for i in range(0, len(x), batch)])

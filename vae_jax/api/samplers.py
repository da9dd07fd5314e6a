"""Fits samplers to the codes of a trained model, from Python."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, UInt32

from vae_jax.api.arguments import BATCH
from vae_jax.api.fitted import Sampler
from vae_jax.api.trained import Trained
from vae_jax.data.binarization import scaled
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError
from vae_jax.evaluation.metrics.codes import binarized_once, codes_needs
from vae_jax.evaluation.metrics.samples import Samples, fitted_needs
from vae_jax.evaluation.samplers import DOCS, sampler_of
from vae_jax.evaluation.samplers.lanes import fit_lanes
from vae_jax.models.model import Model, Variables, posterior_sample
from vae_jax.sections.checks import name_in, whole
from vae_jax.sections.checks import seed as seed_of


@partial(jax.jit, static_argnums=0)
def code_samples(
    model: Model, variables: Variables, index: UInt32[Array, ""], x_bd: Any
) -> Float[Array, "b l"]:
    """A sample of q(z | x) for each image; `index`: of the batch."""
    key = jax.random.fold_in(jax.random.key(0), index)
    return posterior_sample(model, variables, key, x_bd, None)


@pinned()
def fit_sampler(
    run: Trained,
    name: str = "mixture",
    components: int = 10,
    *,
    steps: int = 5_000,
    width: int = 128,
    seed: int = 0,
) -> Sampler:
    """A distribution of z fitted to the codes of the run's training images: a sample of q(z | x)
    of each.

    Args:
      name: "gaussian", with their mean and covariance; "mixture", of `components` Gaussians;
        "flow", a masked autoregressive flow; "two_stage", a second VAE, of the codes.
      steps, width: of "flow" and "two_stage": how long they are trained, and how wide they are.
      seed: of the same two.

    Raises:
      UserError: the training images are not where they were; the model has several layers, or
        reads labels; its z is discrete.
    """
    name, seed = name_in(DOCS)("name", name), seed_of("seed", seed)
    given: dict[str, Any] = {"components": components, "steps": steps, "width": width}
    given = {argument: whole(1)(argument, number) for argument, number in given.items()}
    if run.data is None:
        raise UserError(
            "a sampler is fitted to the codes of the training images, which are not where they "
            "were: load(..., data_path=) says where they are"
        )
    config = next(lane for lane in run.run.lanes if lane.number == run.lane).config
    what = f"the sampler {name!r}"
    for problem in (*codes_needs(what, config), *fitted_needs(what, config, run.data)):
        raise UserError(problem)
    images = run.data.train.images
    images = binarized_once(run.data, config.dataset.binarization_seed, images)
    codes = [
        code_samples(run.model, run.variables, np.uint32(i), scaled(images[i : i + BATCH]))
        for i in range(0, len(images), BATCH)
    ]
    kind = sampler_of(name, Samples(**given))
    (fitted,) = fit_lanes(kind, seed, [np.concatenate(codes)])
    return Sampler(kind, fitted)

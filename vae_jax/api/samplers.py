"""Samplers fitted to the codes of a trained model, from Python."""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt32
from numpy.typing import ArrayLike

from vae_jax.api.arguments import codes_of
from vae_jax.api.trained import Trained
from vae_jax.data.binarization import scaled
from vae_jax.devices.setup import pinned
from vae_jax.errors import UserError
from vae_jax.evaluation import samplers
from vae_jax.evaluation.metrics.codes import binarized_once, codes_needs
from vae_jax.evaluation.metrics.samples import fitted_needs
from vae_jax.evaluation.samplers import SAMPLERS, Fitted
from vae_jax.models.model import Model, Variables, posterior_sample
from vae_jax.sections.checks import name_in, whole
from vae_jax.sections.checks import seed as seed_of

BATCH = 1_000


class Sampler(NamedTuple):
    """A distribution of z, fitted to the codes of a run; `run.decode` makes images of its z."""

    fitted: Fitted

    def sample(self, n: int = 16, seed: int = 0) -> np.ndarray:
        """n samples z [n, l]."""
        n, seed = whole(1)("n", n), seed_of("seed", seed)
        return np.asarray(samples_of(self.fitted, np.uint32(seed), n))

    def log_prob(self, codes: ArrayLike) -> np.ndarray:
        """The log density of codes [n, l], nats [n]."""
        z_nl, _ = codes_of(codes, self.fitted.mean_cl.shape[1])
        return np.asarray(jax.jit(samplers.log_prob)(self.fitted, z_nl))


@partial(jax.jit, static_argnums=2)
def samples_of(fitted: Fitted, seed: UInt32[Array, ""], n: int) -> Float[Array, "n l"]:
    """n samples z; the key is made inside."""
    return samplers.sample(fitted, jax.random.key(seed), n)


@partial(jax.jit, static_argnums=0)
def code_samples(
    model: Model, variables: Variables, index: UInt32[Array, ""], x_bd: Any
) -> Float[Array, "b l"]:
    """A sample of q(z | x) for each image; `index`: of the batch."""
    key = jax.random.fold_in(jax.random.key(0), index)
    return posterior_sample(model, variables, key, x_bd, None)


@pinned()
def fit_sampler(run: Trained, name: str = "mixture", components: int = 10) -> Sampler:
    """A distribution of z fitted to the codes of the run's training images: a sample of q(z | x)
    of each.

    Args:
      name: "gaussian", with their mean and covariance; "mixture": of `components` Gaussians.

    Raises:
      UserError: the training images are not where they were; the model has several layers, or
        reads labels; its z is discrete.
    """
    name, components = name_in(SAMPLERS)("name", name), whole(1)("components", components)
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
    return Sampler(samplers.fit(name, np.concatenate(codes), components))

"""A second VAE, of the codes of the first.

References: Dai and Wipf 2019, Diagnosing and Enhancing VAE Models, section 4.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.evaluation.samplers.descent import descend
from vae_jax.evaluation.samplers.interface import Sampler
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import Model, Params, posterior_samples, sample_prior
from vae_jax.networks import MLP
from vae_jax.objectives.terms import elbo_of
from vae_jax.probability.likelihoods import GaussianSharedScale


@functools.cache
def second_stage(size: int, width: int) -> Model:
    """The VAE of codes: as many latent units as the code has, and one scale, which is learned."""
    network = MLP((width, width), "relu")
    return make_model(
        ModelSpec(
            latent_size=size,
            encoder=network,
            decoder=network,
            likelihood=GaussianSharedScale(),
            image_shape=(1, size, 1),
        )
    )


@dataclass(frozen=True)
class TwoStage(Sampler):
    """a second VAE, of the codes"""

    steps: int
    width: int

    has_density: ClassVar = False

    def init(self, key: Key[Array, ""], size: int) -> Params:
        return second_stage(size, self.width).init(key)["params"]

    def loss(
        self, params: Params, key: Key[Array, ""], z_bl: Float[Array, "b l"]
    ) -> Float[Array, ""]:
        """The mean of -ELBO of the codes, nats."""
        model = second_stage(z_bl.shape[1], self.width)
        take = posterior_samples(model, key, 1)
        trace = model.trace({"params": params, "stats": {}}, take, z_bl)
        return -jnp.mean(elbo_of(trace, z_bl).bound)

    def fit(self, keys: Key[Array, " lanes"], codes: Float[np.ndarray, "lanes n l"]) -> Any:
        return descend(self, keys, codes)

    def sample(self, params: Params, key: Key[Array, ""], n: int) -> Float[Array, "n l"]:
        size = params["decoder"]["output"]["bias"].shape[0]
        u_key, z_key = jax.random.split(key)
        model = second_stage(size, self.width)
        trace = sample_prior(model, {"params": params, "stats": {}}, u_key, n)
        return trace.x.sample(z_key)[0]

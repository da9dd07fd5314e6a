"""A masked autoregressive flow, fitted to codes by maximum likelihood.

References: Papamakarios, Pavlakou and Murray 2017, Masked Autoregressive Flow for Density
Estimation.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.evaluation.samplers.descent import descend
from vae_jax.evaluation.samplers.interface import Sampler
from vae_jax.probability import flows
from vae_jax.probability.flows import FlowSpec, Networks
from vae_jax.probability.priors import FlowPrior

LAYERS = 5  # maps, each with a network of two hidden layers


@dataclass(frozen=True)
class Flow(Sampler):
    """a masked autoregressive flow, by maximum likelihood"""

    steps: int
    width: int

    has_density: ClassVar = True

    def of_params(self, params: Networks, size: int) -> FlowPrior:
        """The distribution of one z."""
        return FlowPrior(params, 1, size, flows.autoregressive(FlowSpec(LAYERS, self.width)))

    def init(self, key: Key[Array, ""], size: int) -> Networks:
        return flows.autoregressive(FlowSpec(LAYERS, self.width)).init(key, size, 0)

    def loss(self, params: Networks, key: Any, z_bl: Float[Array, "b l"]) -> Float[Array, ""]:
        """The mean of -log density, nats; the key is not used."""
        return -jnp.mean(self.log_prob(params, z_bl))

    def fit(self, keys: Key[Array, " lanes"], codes: Float[np.ndarray, "lanes n l"]) -> Networks:
        return descend(self, keys, codes)

    def sample(self, params: Networks, key: Key[Array, ""], n: int) -> Float[Array, "n l"]:
        size = params[0]["hidden_0"]["kernel"].shape[0]
        return self.of_params(params, size).sample(key, n)[0][:, 0]

    def log_prob(self, params: Networks, z_nl: Float[Array, "n l"]) -> Float[Array, " n"]:
        return self.of_params(params, z_nl.shape[1]).log_prob(z_nl[:, None])[:, 0]

"""An implicit q(z | x): samples, but no density.

References: Mescheder, Nowozin and Geiger 2017, Adversarial Variational Bayes, section 6.3.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.probability.interface import Heads, Mask, Outputs, Params, Posterior
from vae_jax.sections.checks import whole
from vae_jax.sections.declare import section, static

MOMENT_SAMPLES = 256  # of the noise, always the same ones, for the moments of q
WIDER = 1.2  # the scale of the proposal, of q's: its tails should not be the thinner ones


def bent(params: Params, noise: Float[Array, "*batch m l"]) -> Float[Array, "*batch m l"]:
    """v_i = e_i + V_i tanh(W_i e_i + b_i) of each noise vector e_i."""
    hidden = jnp.einsum("...ml,mlh->...mh", noise, params["in"])
    hidden += jnp.broadcast_to(params["bias"], hidden.shape)
    return noise + jnp.einsum("...mh,mhl->...ml", jnp.tanh(hidden), params["out"])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Implicit:
    """z = z_0(x) + sum_i a_i(x) v_i(noise_i)."""

    origin_bl: Float[Array, "b l"]
    factors_bml: Float[Array, "b m l"]
    params: Params  # of the v_i, shared by all examples

    log_prob = None

    def sample(self, key: Key[Array, ""], k: int) -> tuple[Float[Array, "k b l"], None]:
        noise_kbml = jax.random.normal(key, (k, *self.factors_bml.shape))
        v_kbml = bent(self.params, noise_kbml)
        return self.origin_bl[None] + jnp.sum(self.factors_bml[None] * v_kbml, axis=2), None

    def moments(self) -> tuple[Float[Array, "1 b l"], Float[Array, "1 b l"]]:
        """The mean and the variance of each unit, by MOMENT_SAMPLES samples of the noise."""
        shape = (MOMENT_SAMPLES, *self.factors_bml.shape[1:])
        # A constant of the program, as encoders have no key.
        v_sml = bent(self.params, jax.random.normal(jax.random.key(0), shape))
        mean_ml, variance_ml = jnp.mean(v_sml, axis=0), jnp.var(v_sml, axis=0)
        mean_bl = self.origin_bl + jnp.sum(self.factors_bml * mean_ml[None], axis=1)
        variance_bl = jnp.sum(jnp.square(self.factors_bml) * variance_ml[None], axis=1)
        return mean_bl[None], variance_bl[None]

    def mean(self) -> Float[Array, "1 b l"]:
        return self.moments()[0]

    def scale(self) -> Float[Array, "1 b l"]:
        least = math.exp(-2 * gaussian.MAX_LOG_SCALE)
        return jnp.sqrt(jnp.maximum(self.moments()[1], least))

    def proposal(self) -> DiagonalGaussian:
        """A Gaussian with its moments, a little wider: to importance-sample from."""
        return DiagonalGaussian(self.mean(), jnp.log(WIDER * self.scale()))


@section
class ImplicitPosterior(Posterior):
    """z = z_0(x) + sum_i a_i(x) v_i(noise_i), v_i small networks (Mescheder et al. 2017)."""

    noises: int = static(
        8, whole(1), "noise vectors, each of as many numbers as z", key="posterior_noises"
    )
    width: int = static(
        64, whole(1), "hidden units of each noise vector's network", key="posterior_width"
    )

    distribution_type: ClassVar = Implicit
    is_implicit: ClassVar = True

    def heads(self, latent_size: int) -> Heads:
        return (("mean", latent_size), ("factors", self.noises * latent_size))

    def init(self, key: Key[Array, ""], latent_size: int) -> Params:
        """At first v_i is the noise itself."""
        shape = (self.noises, latent_size, self.width)
        return {
            "in": jax.random.normal(key, shape) / math.sqrt(latent_size),
            "bias": jnp.zeros((self.noises, self.width)),
            "out": jnp.zeros((self.noises, self.width, latent_size)),
        }

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> Implicit:
        factors = outputs["factors"].reshape(len(outputs["factors"]), self.noises, -1)
        return Implicit(outputs["mean"], (1 + factors) / math.sqrt(self.noises), params)

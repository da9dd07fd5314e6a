"""The continuous Bernoulli: a density over [0, 1] of a Bernoulli's form."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability.elementwise import bisect
from vae_jax.probability.interface import Likelihood, Params, Raw, Scale
from vae_jax.sections.declare import section


def log_sinhc(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log (sinh(a) / a), even in a; by its series where the quotient would lose precision."""
    a = jnp.abs(a)
    small = a < 0.1
    safe = jnp.where(small, 1.0, a)
    large = safe + jnp.log1p(-jnp.exp(-2 * safe)) - jnp.log(2 * safe)
    square = jnp.square(jnp.where(small, a, 0.0))
    return jnp.where(small, square / 6 - jnp.square(square) / 180, large)


class ContinuousBernoulli(NamedTuple):
    """A density over [0, 1], independent over dimensions."""

    logits: Float[Array, "*batch d"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d x eta - log((e^eta - 1) / eta), eta = logits: a Bernoulli's form, over [0, 1].

        (e^eta - 1) / eta = e^(eta / 2) sinh(eta / 2) / (eta / 2).

        References: Loaiza-Ganem and Cunningham 2019, equations 7 and 8.
        """
        return jnp.sum((x - 0.5) * self.logits - log_sinhc(self.logits / 2), axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        return mean_of(self.logits)

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        """log(1 + u (e^eta - 1)) / eta, u uniform; for eta > 0, by symmetry, 1 - sample at -eta."""
        u = jax.random.uniform(key, self.logits.shape)
        eta = -jnp.abs(self.logits)
        small = eta > -1e-6  # close to 0, x equals u in float32
        safe = jnp.where(small, -1.0, eta)
        falling = jnp.where(small, u, jnp.log1p(u * jnp.expm1(safe)) / safe)
        return jnp.where(self.logits > 0, 1 - falling, falling)


def mean_of(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 / (1 - e^-eta) - 1 / eta; 1/2 + eta / 12 - eta^3 / 720 near 0."""
    small = jnp.abs(logits) < 0.2
    safe = jnp.where(small, 1.0, logits)
    # 1 / (1 - e^-eta) of a negative eta is -e^eta / (1 - e^eta).
    decay = jnp.exp(-jnp.abs(safe))
    large = jnp.where(safe > 0, 1.0, -decay) / (1 - decay) - 1 / safe
    near = jnp.where(small, logits, 0.0)
    return jnp.where(small, 0.5 + near / 12 - near**3 / 720, large)


@section
class ContinuousBernoulliLikelihood(Likelihood):
    """sum_d x eta - log((e^eta - 1) / eta), eta = logits: a Bernoulli's form, over [0, 1].

    References: Loaiza-Ganem and Cunningham 2019.
    """

    params_per_dim: ClassVar = 1
    support: ClassVar = "unit"

    def distribution(self, params: Params, raw: Raw) -> ContinuousBernoulli:
        return ContinuousBernoulli(raw[..., 0])

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 1"]:
        """The logit of the mean, clipped to 0.01 to 0.99.

        Beyond, the mean's slope in eta, mean^2, is too small to train.
        """
        return bisect(mean_of, jnp.clip(mean_d, 0.01, 0.99), -200.0, 200.0)[:, None]

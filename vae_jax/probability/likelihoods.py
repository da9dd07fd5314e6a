"""Likelihoods p(x | z) of the decoder's output. To add one, write its section and list it below."""

from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.continuous_bernoulli import ContinuousBernoulliLikelihood
from vae_jax.probability.counts import NegativeBinomialLikelihood, PoissonLikelihood
from vae_jax.probability.elementwise import inside, logit, softplus
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.interface import Likelihood, Params, Raw, Scale
from vae_jax.probability.levels import (
    CategoricalLikelihood,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)
from vae_jax.sections.checks import number
from vae_jax.sections.declare import section, traced

# For x in 0 to 1, a learned scale is far from both limits, 1e-3 and 1e3.
MAX_LOG_SCALE = 7.0

P = TypeVar("P", bound=tuple[Array, ...])


def broadcast(p: P, x: Float[Array, "*batch d"]) -> tuple[P, Float[Array, "*batch d"]]:
    """The parameters of p, and x, broadcast to one shape."""
    shape = jnp.broadcast_shapes(p[0].shape, x.shape)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), (p, x))


def scale_key() -> Any:
    """The key of a fixed scale."""
    right = number(0, open_low=True)
    return traced(1.0, right, "the scale, in units of x", key="likelihood_scale")


class Bernoulli(NamedTuple):
    """0 or 1, independent over dimensions."""

    logits: Float[Array, "*batch d"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d x log p + (1 - x) log(1 - p), p = sigmoid(logits): x * logits - softplus(logits).

        For x strictly between 0 and 1 this is no log probability (it does not sum to one over x):
        then call it a pseudo-likelihood.
        """
        return jnp.sum(x * self.logits - softplus(self.logits), axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        return jax.nn.sigmoid(self.logits)

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        return jax.random.bernoulli(key, self.mean()).astype(self.logits.dtype)


@section
class BernoulliLikelihood(Likelihood):
    """sum_d x log p + (1 - x) log(1 - p), p = sigmoid(logits): x * logits - softplus(logits)."""

    params_per_dim: ClassVar = 1
    support: ClassVar = "binary"

    def distribution(self, params: Params, raw: Raw) -> Bernoulli:
        return Bernoulli(raw[..., 0])

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 1"]:
        return logit(inside(mean_d))[:, None]


def mean_as_bias(
    likelihood: Likelihood, mean_d: Float[Array, " d"], scale: Scale = 1.0
) -> Float[Array, "d 1"]:
    """The first output bias, where the decoder's output is the mean."""
    return mean_d[:, None]


class Normal(NamedTuple):
    """N(loc, scale^2), independent over dimensions."""

    loc: Float[Array, "*batch d"]
    log_scale: Float[Array, "*batch d"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d log N(x; loc, scale^2)."""
        p, x = broadcast(self, x)
        return jnp.sum(gaussian.log_prob(Gaussian(*p), x), axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        return self.loc

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        return gaussian.sample(key, Gaussian(*self))


@section
class GaussianLikelihood(Likelihood):
    """sum_d log N(x; mean, scale^2), with the mean by the decoder and a fixed scale."""

    scale: float = scale_key()

    params_per_dim: ClassVar = 1
    support: ClassVar = "real"

    def distribution(self, params: Params, raw: Raw) -> Normal:
        return Normal(raw[..., 0], jnp.broadcast_to(jnp.log(self.scale), raw.shape[:-1]))

    initial_bias = mean_as_bias


@section
class GaussianSharedScale(Likelihood):
    """sum_d log N(x; mean, scale^2), with one learned scale for all pixels.

    Its optimum is the root mean squared error of the means (Rybkin et al. 2021).
    """

    params_per_dim: ClassVar = 1
    support: ClassVar = "real"

    def init(self, scale: Scale = 1.0) -> dict[str, Array]:
        return {"log_scale": jnp.log(jnp.float32(scale))}

    def distribution(self, params: Params, raw: Raw) -> Normal:
        log_scale = jnp.clip(params["log_scale"], -MAX_LOG_SCALE, MAX_LOG_SCALE)
        return Normal(raw[..., 0], jnp.broadcast_to(log_scale, raw.shape[:-1]))

    initial_bias = mean_as_bias


RATE = 0.1  # of the running mean of the squared error


@section
class GaussianOptimalScale(Likelihood):
    """sum_d log N(x; mean, scale^2), with the one scale for all pixels that fits best.

    It is the root mean squared error of the means: a running mean over minibatches, without a
    gradient. The gradient of the means is that of -d/2 log(mean squared error).

    References: Rybkin, Daniilidis and Levine 2021, section 4.1 (optimal sigma-VAE).
    """

    params_per_dim: ClassVar = 1
    support: ClassVar = "real"

    def init_stats(self, scale: Scale = 1.0) -> dict[str, Array]:
        return {"mean_square": jnp.square(jnp.float32(scale))}

    def update(self, stats: Params, p: Normal, x_bd: Float[Array, "b d"]) -> dict[str, Array]:
        mean_square = jax.lax.stop_gradient(jnp.mean(jnp.square(p.loc - x_bd[None])))
        return {"mean_square": (1 - RATE) * stats["mean_square"] + RATE * mean_square}

    def distribution(self, params: Params, raw: Raw) -> Normal:
        log_scale = 0.5 * jnp.log(jnp.maximum(params["mean_square"], jnp.exp(-2 * MAX_LOG_SCALE)))
        return Normal(raw[..., 0], jnp.broadcast_to(log_scale, raw.shape[:-1]))

    initial_bias = mean_as_bias


@section
class GaussianPixelScale(Likelihood):
    """sum_d log N(x; mean, scale^2), with mean and scale by the decoder."""

    params_per_dim: ClassVar = 2
    support: ClassVar = "real"

    def distribution(self, params: Params, raw: Raw) -> Normal:
        return Normal(raw[..., 0], jnp.clip(raw[..., 1], -MAX_LOG_SCALE, MAX_LOG_SCALE))

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 2"]:
        return beside_zero(mean_d) + jnp.array([[0.0, 1.0]]) * jnp.log(scale)


def beside_zero(value_d: Float[Array, " d"]) -> Float[Array, "d 2"]:
    """The values with 0 in a second column: the other parameter starts there."""
    return jnp.stack([value_d, jnp.zeros_like(value_d)], axis=-1)


class Laplace(NamedTuple):
    """exp(-|x - loc| / scale) / (2 scale), independent over dimensions."""

    loc: Float[Array, "*batch d"]
    log_scale: Float[Array, "*batch d"]

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d -|x - loc| / scale - log(2 scale)."""
        p, x = broadcast(self, x)
        return -jnp.sum(
            jnp.abs(x - p.loc) * jnp.exp(-p.log_scale) + p.log_scale + jnp.log(2.0), axis=-1
        )

    def mean(self) -> Float[Array, "*batch d"]:
        return self.loc

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        return self.loc + jnp.exp(self.log_scale) * jax.random.laplace(key, self.loc.shape)


@section
class LaplaceLikelihood(Likelihood):
    """sum_d -|x - mean| / scale - log(2 scale)."""

    scale: float = scale_key()

    params_per_dim: ClassVar = 1
    support: ClassVar = "real"

    def distribution(self, params: Params, raw: Raw) -> Laplace:
        return Laplace(raw[..., 0], jnp.broadcast_to(jnp.log(self.scale), raw.shape[:-1]))

    initial_bias = mean_as_bias


# Means of 5e-5 to 1 - 5e-5 and concentrations of 0.02 to 1,100, for which betaln keeps its digits.
MAX_BETA_LOGIT, MIN_LOG_CONCENTRATION, MAX_LOG_CONCENTRATION = 10.0, -4.0, 7.0
HALF_LEVEL = 1 / 512


class Beta(NamedTuple):
    """Beta(mean c, (1 - mean) c), independent over dimensions."""

    logit: Float[Array, "*batch d"]  # of the mean
    log_concentration: Float[Array, "*batch d"]  # log c

    @property
    def shapes(self) -> tuple[Array, Array]:
        """(a, b)."""
        c = jnp.exp(self.log_concentration)
        return jax.nn.sigmoid(self.logit) * c, jax.nn.sigmoid(-self.logit) * c

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_d (a - 1) log x + (b - 1) log(1 - x) - log B(a, b).

        At 0 and 1 that is infinite or zero: x is clipped to half a grey level within them. The
        integral is then 1 only where little of the mass is that near an end; where a or b < 1 it
        is below 1.
        """
        p, x = broadcast(self, x)
        x = jnp.clip(x, HALF_LEVEL, 1 - HALF_LEVEL)
        a, b = p.shapes
        return jnp.sum((a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x) - betaln(a, b), axis=-1)

    def mean(self) -> Float[Array, "*batch d"]:
        return jax.nn.sigmoid(self.logit)

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        return self.mean()

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        return jax.random.beta(key, *self.shapes)


@section
class BetaLikelihood(Likelihood):
    """sum_d (a - 1) log x + (b - 1) log(1 - x) - log B(a, b)."""

    params_per_dim: ClassVar = 2
    support: ClassVar = "unit"

    def distribution(self, params: Params, raw: Raw) -> Beta:
        """p(x | z) with both parameters clipped, so that the density is finite."""
        return Beta(
            jnp.clip(raw[..., 0], -MAX_BETA_LOGIT, MAX_BETA_LOGIT),
            jnp.clip(raw[..., 1], MIN_LOG_CONCENTRATION, MAX_LOG_CONCENTRATION),
        )

    def initial_bias(self, mean_d: Float[Array, " d"], scale: Scale = 1.0) -> Float[Array, "d 2"]:
        return beside_zero(logit(inside(mean_d))) + jnp.array([[0.0, 1.0]])


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": BernoulliLikelihood,
    "beta": BetaLikelihood,
    "categorical": CategoricalLikelihood,
    "continuous_bernoulli": ContinuousBernoulliLikelihood,
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
    "gaussian": GaussianLikelihood,
    "gaussian_optimal_scale": GaussianOptimalScale,
    "gaussian_pixel_scale": GaussianPixelScale,
    "gaussian_shared_scale": GaussianSharedScale,
    "laplace": LaplaceLikelihood,
    "negative_binomial": NegativeBinomialLikelihood,
    "poisson": PoissonLikelihood,
}

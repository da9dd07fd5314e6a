"""Bounds with several importance-weighted samples, and estimators of their gradients.

log w_k = log p(x | z_k) + beta (log p(z_k) - log q(z_k | x)), z_k ~ q(z | x); a bound is a function
of (log w_1, ..., log w_k). With beta = 1, its expectation is at most log p(x).

To add one, write its section, with its own keys, and list it in BOUNDS; interface.py says what it
has.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import Model, Variables
from vae_jax.objectives.discrete import LEAVE_ONE_OUT, gradient_needs
from vae_jax.objectives.estimators import ESTIMATORS, Minibatch
from vae_jax.objectives.interface import SampleBound
from vae_jax.objectives.log_weights import LogWeights, log_mean_exp, spread
from vae_jax.objectives.objective import TERMS, Loss, Terms, Weights
from vae_jax.objectives.terms import with_own_losses
from vae_jax.sections.checks import no_effect, number, whole
from vae_jax.sections.declare import choice, choices_of, section, static, traced

OF_ANY_BOUND = {
    name: ESTIMATORS[name] for name in ("doubly_reparameterized", LEAVE_ONE_OUT, "reparameterized")
}


def gradient_key(estimators: Mapping[str, Callable] = OF_ANY_BOUND) -> Any:
    """The key of the gradient estimator, one of these."""
    return choice(estimators, "reparameterized", "the gradient estimator")


def importance_loss(
    bound: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Any,
    weights: Weights,
) -> Loss:
    """loss = -mean_b bound, with the gradient estimator that the bound names.

    In the Terms, the score is the bound at beta = 1; elbo, reconstruction and kl are means over the
    samples.
    """
    batch = Minibatch(key, x_bd, label_b, weights)
    value, parts, trace = ESTIMATORS[bound.gradient](bound, model, variables, batch)
    value = with_own_losses(value, trace)
    log_w_kb = parts.log_weight(1.0)
    named = {
        "elbo": jnp.mean(log_w_kb, axis=0),
        "reconstruction": jnp.mean(parts.log_likelihood_kb, axis=0),
        "kl": jnp.mean(parts.log_q_kb - parts.log_prior_kb, axis=0),
    }
    return Loss(value, Terms(bound.value(log_w_kb), named | trace.losses), trace)


def sleep_needs(bound: Any, config: Any, data: Any) -> Iterator[str]:
    """What is wrong with a sleep phase, which samples x in every step."""
    if bound.gradient == "wake_sleep" and config.model.is_autoregressive(data.image_shape):
        yield (
            "objective.gradient = 'wake_sleep' samples an image for each example in every step, "
            f"and model.decoder.name = {choices_of(config.model, 'model')['model.decoder.name']!r} "
            "samples one value after another; take 'wake_wake', or another decoder"
        )


def one_sample_idle(
    key: str, value: float, default: float, config: Any
) -> Iterator[tuple[str, str]]:
    """A number of a bound that is the same for every value of it where there is one sample."""
    counts = config.objective.num_samples, config.evaluation.num_samples or 1
    if value != default and counts == (1, 1):
        yield no_effect(key, value, "objective.num_samples", "1")


def no_other_bound(bound: Any) -> None:
    """The encoder_bound of most bounds: None."""
    return None


@section
class IWAE(SampleBound):
    """log (1/k) sum_k w_k (Burda, Grosse and Salakhutdinov 2015, equation 8)."""

    gradient: str = gradient_key(ESTIMATORS)

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, gradient_needs, no_other_bound
    needs_of_data = sleep_needs

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        return log_mean_exp(log_w_kb)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return spread(log_w_kb)


def groups_key() -> Any:
    """The key of the number of groups of the samples."""
    return static(1, whole(1), "groups into which the samples are split")


def groups_needs(bound: Any, config: Any) -> Iterator[str]:
    """What is wrong with the number of groups."""
    yield from gradient_needs(bound, config)
    for key, samples in (
        ("objective.num_samples", config.objective.num_samples),
        ("evaluation.num_samples", config.evaluation.num_samples or bound.num_groups),
    ):
        if samples % bound.num_groups:
            yield f"objective.num_groups = {bound.num_groups} should divide {key} = {samples}"


@section
class MIWAE(SampleBound):
    """The mean over m groups of log (m/k) sum w_k, the sum over the k/m samples of a group.

    References: Rainforth et al. 2018, equation 9.
    """

    gradient: str = gradient_key()
    num_groups: int = groups_key()

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, groups_needs, no_other_bound

    def grouped(self, log_w_kb: LogWeights) -> Float[Array, "k_m m b"]:
        """The k samples in m groups."""
        return log_w_kb.reshape(-1, self.num_groups, log_w_kb.shape[1])

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        return jnp.mean(log_mean_exp(self.grouped(log_w_kb)), axis=0)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        """w (1 - w) / m, with the weights normalised in each group."""
        return spread(self.grouped(log_w_kb)).reshape(log_w_kb.shape) / self.num_groups


@section
class PIWAE(SampleBound):
    """The IWAE bound for the decoder and prior, the MIWAE bound for the encoder.

    References: Rainforth et al. 2018, section 4.
    """

    gradient: str = gradient_key()
    num_groups: int = groups_key()

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs = importance_loss, groups_needs

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        return log_mean_exp(log_w_kb)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return spread(log_w_kb)

    def encoder_bound(self) -> MIWAE:
        return MIWAE(self.gradient, self.num_groups)


@section
class CIWAE(SampleBound):
    """c mean_k log w_k + (1 - c) log (1/k) sum_k w_k, c = elbo_weight.

    References: Rainforth et al. 2018, equation 10.
    """

    gradient: str = gradient_key()
    elbo_weight: float = traced(
        0.5, number(0, 1), "weight of the ELBO; the IWAE bound has the rest"
    )

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, gradient_needs, no_other_bound

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        c = self.elbo_weight
        return c * jnp.mean(log_w_kb, axis=0) + (1 - c) * log_mean_exp(log_w_kb)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return (1 - self.elbo_weight) * spread(log_w_kb)

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        yield from one_sample_idle("objective.elbo_weight", self.elbo_weight, 0.5, config)


# Where |t (log w - mean log w)| is below this, log mean exp loses precision, and two terms of its
# series are accurate.
SMALL = 5e-3


@section
class Renyi(SampleBound):
    """(1/t) log (1/k) sum_k w_k^t, t = 1 - alpha; the mean of log w at alpha = 1.

    References: Li and Turner 2016, equation 9.
    """

    gradient: str = gradient_key()
    alpha: float = traced(0.5, number(0), "its order; 0: the IWAE bound, 1: the ELBO")

    infers_labels, is_unit_by_unit, terms = False, True, TERMS
    loss, needs, encoder_bound = importance_loss, gradient_needs, no_other_bound

    def value(self, log_w_kb: LogWeights) -> Float[Array, " b"]:
        t = 1 - self.alpha
        mean_b = jnp.mean(log_w_kb, axis=0)
        away_kb = log_w_kb - mean_b[None]
        is_small_b = jnp.abs(t) * jnp.max(jnp.abs(away_kb), axis=0) < SMALL
        safe_t_b = jnp.where(is_small_b, 1.0, t)
        series_b = 0.5 * t * jnp.mean(jnp.square(away_kb), axis=0)
        exact_b = log_mean_exp(safe_t_b[None] * away_kb) / safe_t_b
        return mean_b + jnp.where(is_small_b, series_b, exact_b)

    def curvature(self, log_w_kb: LogWeights) -> LogWeights:
        return (1 - self.alpha) * spread((1 - self.alpha) * log_w_kb)

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        yield from one_sample_idle("objective.alpha", self.alpha, 0.5, config)


BOUNDS: dict[str, type[SampleBound]] = {
    "ciwae": CIWAE,
    "iwae": IWAE,
    "miwae": MIWAE,
    "piwae": PIWAE,
    "renyi": Renyi,
}

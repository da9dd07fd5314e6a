"""A critic: a network that tells samples of two distributions apart, and learns their log ratio.

With the cross entropy of classifying samples of q against samples of p, half of each, the best
critic is T = log q - log p, and its loss is at most log 2: there it can't tell them apart.

References: Goodfellow et al. 2014, proposition 1; Sugiyama, Suzuki and Kanamori 2012.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.models.model import Model, Variables, joined, latents, posterior_samples, sample_prior
from vae_jax.networks import MLP
from vae_jax.networks.network import Decoder
from vae_jax.objectives.interface import Bound
from vae_jax.objectives.objective import Player
from vae_jax.probability.distributions import StandardNormal
from vae_jax.sections.checks import WIDEST, no_effect, number, several, whole
from vae_jax.sections.declare import section, static, traced

CRITIC = "critic"  # the player's name, and that of its network


def cross_entropy(t_of_q: Float[Array, "*n"], t_of_p: Float[Array, "*m"]) -> Float[Array, ""]:
    """The critic's loss: of the classes q and p, by the logits T of their samples; nats."""
    return 0.5 * (jnp.mean(jax.nn.softplus(-t_of_q)) + jnp.mean(jax.nn.softplus(t_of_p)))


def taken_for_p(t: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """-log of the probability that the critic takes a sample for one of p: log 2 where it can't
    tell. What is to look like p minimises it (the non-saturating loss).

    References: Goodfellow et al. 2014, section 3.
    """
    return jax.nn.softplus(t)


@section
class Adversarial(Bound):
    """The keys of a critic, and what the objectives with one have in common."""

    widths: tuple[int, ...] = static(
        (256, 256),
        several(whole(1, WIDEST)),
        "hidden units of the critic, with leaky ReLU",
        key="critic.widths",
    )
    learning_rate: float = traced(
        2e-4, number(0, open_low=True), "of the critic's Adam", key="critic.learning_rate"
    )
    b1: float = traced(
        0.5, number(0, 1, open_high=True), "decay of its first moment", key="critic.b1"
    )
    b2: float = traced(
        0.999, number(0, 1, open_high=True), "decay of its second moment", key="critic.b2"
    )
    times: int = static(1, whole(1), "moves of the critic in a step", key="critic.times")

    is_mean: ClassVar = False  # a critic learns from a whole minibatch

    def player(self, loss: Any, init: Any, **more: Any) -> Player:
        """The critic, by these keys."""
        rates = (self.learning_rate, self.b1, self.b2)
        return Player(loss, init, (), *rates, scheduled=True, **more)

    def network(self, latent_size: int, context_size: int) -> Decoder:
        """(z [n, l], context [n, c]) -> T [n, 1, 1]."""
        return MLP(self.widths, "leaky_relu").decoder((1, 1, 1), 1, latent_size, context_size)

    def named(self, config: Any) -> str:
        """The objective, in the syntax of the config."""
        return f"objective.name = {config.values['objective.name']!r}"

    def needs(self, config: Any) -> Iterator[str]:
        model, named = config.model, self.named(config)
        abilities = model.abilities
        if abilities.num_layers > 1:
            yield (
                f"{named} has a critic of one layer of latents, and {model.named()} has more; "
                "model.name should be 'vae'"
            )
        elif abilities.prior_type not in (StandardNormal, None):
            yield (
                f"{named} does not train p(z), and this is {model.named()}; model.prior should be "
                "'standard_normal'"
            )
        if config.training.batch_size < 2:
            yield (
                f"{named} compares samples of a minibatch; training.batch_size = 1 should be at "
                "least 2"
            )

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        if config.model.has_discrete_z(data):
            yield (
                f"{self.named(config)} needs a gradient through z, and z of "
                f"{config.model.named()} is discrete"
            )


def without_beta(config: Any) -> Iterator[tuple[str, str]]:
    """What an objective without a KL leaves out."""
    objective = config.objective
    if objective.beta != 1:
        name = config.values["objective.name"]
        yield no_effect("objective.beta", objective.beta, "objective.name", repr(name))
    elif objective.warmup_steps:
        name = config.values["objective.name"]
        yield no_effect(
            "objective.warmup_epochs", objective.warmup_steps, "objective.name", repr(name)
        )


def labels_of(spec: Any) -> int:
    """The number of classes that a critic is given: those that the model is given."""
    return spec.num_classes if spec.abilities.reads_labels else 0


def first_of_q(
    model: Model, variables: Variables, key: Any, x_bd: Float[Array, "b d"], label_b: Any
) -> Float[Array, "b l"]:
    """A sample z of q(z | x) for each image."""
    take = posterior_samples(model, key, 1)
    return joined(latents(model.trace(variables, take, x_bd, label_b)))[0]


def first_of_p(
    model: Model, variables: Variables, key: Any, n: int, label_b: Any
) -> Float[Array, "n l"]:
    """n samples z of p(z)."""
    return joined(latents(sample_prior(model, variables, key, n, label_b)))[0]

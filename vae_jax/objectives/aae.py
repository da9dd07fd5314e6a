"""Autoencoders whose codes an adversary makes look like samples of p(z); no bound on log p(x).

References: Makhzani, Shlens, Jaitly, Goodfellow and Frey 2015, Adversarial Autoencoders;
Tolstikhin, Bousquet, Gelly and Schölkopf 2018, Wasserstein Auto-Encoders.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import Model, Trace, Variables, joined, latents, posterior_samples
from vae_jax.objectives.critic import (
    CRITIC,
    Adversarial,
    cross_entropy,
    first_of_p,
    first_of_q,
    labels_of,
    taken_for_p,
    without_beta,
)
from vae_jax.objectives.objective import Loss, Player, Terms, Weights
from vae_jax.objectives.rae import RECONSTRUCTION
from vae_jax.objectives.terms import reconstruction, with_own_losses
from vae_jax.sections.checks import number
from vae_jax.sections.declare import fact, section, traced

GENERATOR = "generator"  # the encoder, as it fools the critic


@section
class AdversarialCode(Adversarial):
    """log p(x | z), and a critic of q(z) = E_x[q(z | x)] and p(z).

    A model that is given labels has a critic that is given them too.
    """

    classes: Any = fact(lambda facts: facts.num_classes)

    compared: ClassVar = RECONSTRUCTION
    kinds_of_q: ClassVar = ("density", "implicit", "point")

    @property
    def terms(self) -> tuple[str, ...]:
        return (RECONSTRUCTION,)

    def loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        weights: Weights,
    ) -> Loss:
        take = posterior_samples(model, key, weights.num_samples)
        trace = model.trace(variables, take, x_bd, label_b)
        return reconstructed(trace, x_bd)

    def validation_score(self, means: Mapping[str, float], kl_u: Any, weights: Weights) -> float:
        return means[RECONSTRUCTION]

    def players(self, spec: Any) -> dict[str, Player]:
        critic = self.network(spec.latent_size, labels_of(spec))
        return {CRITIC: self.player(self.critic_loss, critic.init, times=self.times)}

    def log_ratio(
        self, variables: Variables, z_nl: Float[Array, "n l"], label_n: Any
    ) -> Float[Array, " n"]:
        """The critic's T: its estimate of log q(z) - log p(z), given the labels if there are."""
        one_hot = None if label_n is None else jax.nn.one_hot(label_n, self.classes)
        network = self.network(z_nl.shape[1], 0 if one_hot is None else self.classes)
        return network.apply(variables["players"][CRITIC], z_nl, one_hot)[:, 0, 0]

    def critic_loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        trace: None,
    ) -> Float[Array, ""]:
        """The cross entropy of classifying z of q against as many z of p."""
        q_key, p_key = jax.random.split(key)
        z_of_q = first_of_q(model, variables, q_key, x_bd, label_b)
        z_of_p = first_of_p(model, variables, p_key, len(x_bd), label_b)
        of_q, of_p = (self.log_ratio(variables, z, label_b) for z in (z_of_q, z_of_p))
        return cross_entropy(of_q, of_p)

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        yield from without_beta(config)


@section
class AAE(AdversarialCode):
    """log p(x | z), and an adversary of q(z) and p(z) (Makhzani et al. 2015).

    In a step, in turn: encoder and decoder descend -E_q[log p(x | z)]; the critic learns to tell z
    of q from z of p (by its cross entropy); the encoder descends -log of the probability that the
    critic takes its z for one of p, by an Adam of its own.
    """

    generator_rate: float = traced(
        3e-4,
        number(0, open_low=True),
        "of the encoder's Adam as it fools the critic",
        key="generator.learning_rate",
    )

    def players(self, spec: Any) -> dict[str, Player]:
        owns, rates = ("encoder", "posterior"), (self.generator_rate, self.b1, self.b2)
        generator = Player(self.generator_loss, None, owns, *rates, scheduled=True)
        return {**super().players(spec), GENERATOR: generator}

    def generator_loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        trace: None,
    ) -> Float[Array, ""]:
        """-log of the probability that the critic takes z of q for z of p."""
        z_bl = first_of_q(model, variables, key, x_bd, label_b)
        return jnp.mean(taken_for_p(self.log_ratio(variables, z_bl, label_b)))


@section
class WAEGAN(AdversarialCode):
    """log p(x | z), and lambda times an adversary of q(z) and p(z) (Tolstikhin et al. 2018).

    loss = mean_b (-log p(x | z) + penalty_weight * penalty), where penalty is -log of the
    probability that the critic takes z for one of p; by one optimiser. The critic follows in turn.

    References: algorithm 1.
    """

    weight: float = traced(1.0, number(0), "its weight", key="penalty_weight")

    @property
    def terms(self) -> tuple[str, ...]:
        return (RECONSTRUCTION, "penalty")

    def loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        weights: Weights,
    ) -> Loss:
        found = super().loss(model, variables, key, x_bd, label_b, weights)
        z_kbl = joined(latents(found.trace))
        penalty_kb = jax.vmap(lambda z_bl: taken_for_p(self.log_ratio(variables, z_bl, label_b)))(
            z_kbl
        )
        penalty_b = jnp.mean(penalty_kb, axis=0)
        parts = found.terms.parts | {"penalty": penalty_b}
        value = found.value + self.weight * jnp.mean(penalty_b)
        return Loss(value, found.terms._replace(parts=parts), found.trace)


def reconstructed(trace: Trace, x_bd: Float[Array, "b d"]) -> Loss:
    """The Loss of -E_q[log p(x | z)] and the model's own."""
    reconstruction_b = reconstruction(trace, x_bd)
    value = with_own_losses(jnp.mean(-reconstruction_b), trace)
    return Loss(
        value, Terms(reconstruction_b, {RECONSTRUCTION: reconstruction_b} | trace.losses), trace
    )

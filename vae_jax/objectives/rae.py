"""The objective of an autoencoder: a reconstruction, and what keeps code and decoder in bounds.

References: Ghosh, Sajjadi, Vergari, Black and Schölkopf 2020, From Variational to Deterministic
Autoencoders.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import (
    Model,
    Params,
    Variables,
    given,
    latents,
    posterior_samples,
    sum_up,
)
from vae_jax.objectives.interface import Bound
from vae_jax.objectives.objective import Loss, Terms, Weights
from vae_jax.objectives.terms import reconstruction, with_own_losses
from vae_jax.probability.distributions import StandardNormal
from vae_jax.sections.checks import no_effect, number
from vae_jax.sections.declare import choice, section, traced

PENALTIES = {
    "none": "nothing",
    "gradient": "the squared norm of the Jacobian of E[x | z] at the code",
    "l2": "the sum of squares of the decoder's weights, biases left out",
}
RECONSTRUCTION = "reconstruction"


def weights_norm(params: Params) -> Float[Array, ""]:
    """The sum of squares of the weights: of all params with two axes or more."""
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    return sum(squares, start=jnp.float32(0))


def squared_norm(z: Sequence[Float[Array, "k b l"]]) -> Float[Array, " b"]:
    """The sum of squares of each example, over samples, units and layers."""
    return sum_up([jnp.sum(jnp.square(own), axis=(0, 2)) for own in z])


def jacobian_norm(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    z: Any,
    label_b: Any,
) -> Float[Array, " b"]:
    """|d E[x | z] / d z|^2 of each example, estimated without bias by one random projection.

    For v of mean 0 and covariance 1, the mean of |v^T J|^2 is the sum of squares of J.
    """

    def projected(z: Any) -> Float[Array, ""]:
        mean_kbd = model.trace(variables, given(z), None, label_b).x.mean()
        return jnp.sum(mean_kbd * jax.random.rademacher(key, mean_kbd.shape, mean_kbd.dtype))

    # An image depends on its own code alone, so the sum's gradient has each example's.
    gradients = jax.grad(projected)(z)
    return squared_norm(gradients)


@section
class RAE(Bound):
    """log p(x | z) of a code z without a density: no bound on log p(x) (Ghosh et al. 2020).

    loss = mean_b (-log p(x | z) + beta |z|^2 / 2 + penalty_weight * penalty of the decoder).
    With beta 0 and no penalty, it is an autoencoder.

    New images need a distribution of codes, which is none of the model's.
    """

    penalty: str = choice(PENALTIES, "none", "what is added of the decoder")
    penalty_weight: float = traced(1.0, number(0), "its weight", key="penalty_weight")

    compared: ClassVar = RECONSTRUCTION
    kinds_of_q: ClassVar = ("point",)
    infers_labels, is_unit_by_unit, is_constrained = False, True, True

    @property
    def terms(self) -> tuple[str, ...]:
        return (RECONSTRUCTION, "code_norm", *(["penalty"] if self.penalty != "none" else []))

    def loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        weights: Weights,
    ) -> Loss:
        penalty_key, key = jax.random.split(key)
        trace = model.trace(variables, posterior_samples(model, key, 1), x_bd, label_b)
        reconstruction_b = reconstruction(trace, x_bd)
        z = latents(trace)
        code_norm_b = 0.5 * squared_norm(z)
        parts = {RECONSTRUCTION: reconstruction_b, "code_norm": code_norm_b} | trace.losses
        loss_b = -reconstruction_b + weights.beta * code_norm_b
        if self.penalty == "gradient":
            parts["penalty"] = jacobian_norm(model, variables, penalty_key, z, label_b)
        elif self.penalty == "l2":
            norm = weights_norm(variables["params"]["decoder"])
            parts["penalty"] = jnp.broadcast_to(norm, reconstruction_b.shape)
        if "penalty" in parts:
            loss_b += self.penalty_weight * parts["penalty"]
        value = with_own_losses(jnp.mean(loss_b), trace)
        return Loss(value, Terms(reconstruction_b, parts), trace)

    def validation_score(self, means: Mapping[str, float], kl_u: Any, weights: Weights) -> float:
        return -means["loss"]

    def needs(self, config: Any) -> Iterator[str]:
        model = config.model
        if not model.abilities.is_point:
            yield (
                "objective.name = 'rae' is for a q(z | x) that is a point, and this is "
                f"{model.named()}; model.posterior should be 'deterministic'"
            )
        if model.abilities.prior_type not in (StandardNormal, None):
            yield (
                f"objective.name = 'rae' does not train p(z), and this is {model.named()}; "
                "model.prior should be 'standard_normal'"
            )

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        if self.penalty == "gradient" and config.model.is_autoregressive(data.image_shape):
            yield (
                "objective.penalty = 'gradient' is of E[x | z], which an autoregressive decoder "
                "does not have; it should be 'l2' or 'none'"
            )

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        if self.penalty == "none" and self.penalty_weight != 1:
            yield no_effect(
                "objective.penalty_weight", self.penalty_weight, "objective.penalty", "'none'"
            )
        if self.penalty != "none" and not self.penalty_weight:
            yield no_effect("objective.penalty", self.penalty, "objective.penalty_weight")

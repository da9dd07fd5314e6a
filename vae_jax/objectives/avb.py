"""The ELBO with a KL that a critic estimates, for a q(z | x) without a known density.

References: Mescheder, Nowozin and Geiger 2017, Adversarial Variational Bayes: Unifying Variational
Autoencoders and Generative Adversarial Networks.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import Model, Trace, Variables, posterior_samples
from vae_jax.objectives.critic import CRITIC, Adversarial, cross_entropy, labels_of
from vae_jax.objectives.objective import Loss, Player, Terms, Weights
from vae_jax.objectives.terms import reconstruction, with_own_losses
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.sections.checks import flag
from vae_jax.sections.declare import fact, section, static


@section
class AVB(Adversarial):
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)), the KL as a critic T(x, z) estimates it.

    With the adaptive contrast, T tells z of q(z | x) from z of r(z | x), the Gaussian with q's mean
    and scales, without a gradient through these: KL = E_q[T + log r(z | x) - log p(z)]. T sees
    (z - mean) / scale, and N(0, 1) in r's place; at its best it is log q - log r, which is 0 for a
    diagonal Gaussian. Without, r is p(z).

    The estimate is not a bound on log p(x), as the KL is too small where T has learned too little:
    the columns are `critic_kl` and `critic_bound`.

    References: algorithm 1 and equation 3.9; the critic moves after the model, not beside it.
    """

    adaptive_contrast: bool = static(
        True, flag, "whether the critic compares q(z | x) with a Gaussian of its moments, not p(z)"
    )
    classes: Any = fact(lambda facts: facts.num_classes)

    compared: ClassVar = "critic_bound"
    kinds_of_q: ClassVar = ("density", "implicit")
    terms: ClassVar = ("critic_bound", "reconstruction", "critic_kl")

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
        reconstruction_b = reconstruction(trace, x_bd)
        kl_b = jnp.mean(self.kl_of(variables, trace, x_bd, label_b), axis=0)
        bound_b = reconstruction_b - kl_b
        value = jnp.mean(-reconstruction_b) + weights.beta * jnp.mean(kl_b)
        value = with_own_losses(value, trace)
        parts = {
            "critic_bound": bound_b,
            "reconstruction": reconstruction_b,
            "critic_kl": kl_b,
        } | trace.losses
        return Loss(value, Terms(bound_b, parts), trace)

    def contrast(self, trace: Trace) -> DiagonalGaussian | None:
        """r(z | x), constant; None: p(z)."""
        if not self.adaptive_contrast:
            return None
        q = trace.layers[0].q
        mean_kbl, scale_kbl = jax.lax.stop_gradient((q.mean(), q.scale()))
        return DiagonalGaussian(mean_kbl, jnp.log(scale_kbl))

    def kl_of(
        self, variables: Variables, trace: Trace, x_bd: Float[Array, "b d"], label_b: Any
    ) -> Float[Array, "k b"]:
        """The critic's estimate of log q(z | x) - log p(z), of the samples z of a trace."""
        (layer,) = trace.layers
        r = self.contrast(trace)
        if r is None:
            return self.log_ratio(variables, layer.z_kbl, x_bd, label_b)
        t_kb = self.log_ratio(variables, r.noise_of(layer.z_kbl), x_bd, label_b)
        return t_kb + r.log_prob(layer.z_kbl) - layer.p.log_prob(layer.z_kbl)

    def players(self, spec: Any) -> dict[str, Player]:
        height, width, channels = spec.image_shape
        critic = self.network(spec.latent_size, height * width * channels + labels_of(spec))
        return {CRITIC: self.player(self.critic_loss, critic.init, times=self.times)}

    def log_ratio(
        self,
        variables: Variables,
        z_kbl: Float[Array, "k b l"],
        x_bd: Float[Array, "b d"],
        label_b: Any,
    ) -> Float[Array, "k b"]:
        """T(x, z), given the labels if there are."""
        context_bc = x_bd
        if label_b is not None:
            context_bc = jnp.concatenate([x_bd, jax.nn.one_hot(label_b, self.classes)], axis=-1)
        k, b, units = z_kbl.shape
        size = context_bc.shape[1]
        context = jnp.broadcast_to(context_bc[None], (k, b, size)).reshape(k * b, size)
        network = self.network(units, size)
        t = network.apply(variables["players"][CRITIC], z_kbl.reshape(k * b, units), context)
        return t.reshape(k, b)

    def critic_loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        trace: None,
    ) -> Float[Array, ""]:
        """The cross entropy of classifying z of q(z | x) against z of the contrast."""
        q_key, r_key = jax.random.split(key)
        found = model.trace(variables, posterior_samples(model, q_key, 1), x_bd, label_b)
        z_kbl = found.layers[0].z_kbl
        r = self.contrast(found)
        if r is not None:
            z_kbl = r.noise_of(z_kbl)
        # As p(z) is N(0, 1), it is the contrast's z in both cases.
        other_kbl = jax.random.normal(r_key, z_kbl.shape)
        of_q = self.log_ratio(variables, z_kbl, x_bd, label_b)
        return cross_entropy(of_q, self.log_ratio(variables, other_kbl, x_bd, label_b))

    def needs(self, config: Any) -> Iterator[str]:
        yield from super().needs(config)
        if (
            self.adaptive_contrast
            and getattr(config.model.abilities.posterior_type, "scale", None) is None
        ):
            yield (
                "objective.adaptive_contrast = True needs the scales of q(z | x), and those of "
                f"{config.model.named()} are not known; it should be False"
            )

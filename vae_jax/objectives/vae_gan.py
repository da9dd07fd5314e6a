"""A VAE whose reconstruction error is in the features of a critic of images.

References: Larsen, Sønderby, Larochelle and Winther 2016, Autoencoding beyond pixels using a
learned similarity metric.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.models.model import (
    Model,
    Params,
    Trace,
    Variables,
    given,
    kl_by_unit,
    latents,
    log_posterior,
    posterior_samples,
    sample_prior,
)
from vae_jax.networks import MLP
from vae_jax.networks.network import ACTIVATIONS
from vae_jax.objectives.critic import CRITIC, Adversarial, cross_entropy, taken_for_p
from vae_jax.objectives.objective import Loss, Player, Terms, Weights
from vae_jax.objectives.terms import reconstruction, sampled_kl, with_own_losses
from vae_jax.sections.checks import number
from vae_jax.sections.declare import fact, section, traced

FEATURES = "feature_reconstruction"
ACTIVATION = "leaky_relu"


@section
class VAEGAN(Adversarial):
    """Three losses for three parts, by one forward pass (Larsen et al. 2016, algorithm 1).

    Of the critic's features f, its last hidden layer, error = |f(x) - f(E[x | z])|^2 / 2.
    Encoder: beta KL(q(z | x) || p(z)) + error. Decoder: gamma error, and -log of the probability
    that the critic takes E[x | z] for an image, of z of q and of p. Critic: the cross entropy of
    telling images from these.

    The decoder's adversarial loss is the non-saturating one. The features move, so that errors of
    different epochs can't be compared.
    """

    gamma: float = traced(1.0, number(0), "weight of the features' error in the decoder's loss")
    image_shape: Any = fact(lambda facts: facts.image_shape)

    compared: ClassVar = FEATURES
    owns: ClassVar = ("encoder", "posterior")
    terms: ClassVar = (FEATURES, "reconstruction", "kl")

    def networks(self) -> tuple[Any, Any]:
        """x [n, d] -> {"features": [n, f]}, before the activation; features -> T [n, 1, 1]."""
        *widths, last = self.widths
        body = MLP(tuple(widths), ACTIVATION).encoder(self.image_shape, (("features", last),))
        return body, MLP((), ACTIVATION).decoder((1, 1, 1), 1, last)

    def init(self, key: Key[Array, ""]) -> Params:
        """The critic's params."""
        body, head = self.networks()
        body_key, head_key = jax.random.split(key)
        return {"body": body.init(body_key), "head": head.init(head_key)}

    def judged(
        self, variables: Variables, x_nd: Float[Array, "n d"]
    ) -> tuple[Float[Array, "n f"], Float[Array, " n"]]:
        """The critic's features of images, and its T: log q(x) - log p(x), q the decoder's."""
        body, head = self.networks()
        params = variables["players"][CRITIC]
        features_nf = ACTIVATIONS[ACTIVATION](body.apply(params["body"], x_nd)["features"])
        return features_nf, head.apply(params["head"], features_nf)[:, 0, 0]

    def error(
        self, variables: Variables, trace: Trace, x_bd: Float[Array, "b d"]
    ) -> Float[Array, " b"]:
        """|f(x) - f(E[x | z])|^2 / 2, the mean over the samples."""
        real_bf, _ = self.judged(variables, x_bd)
        mean_kbd = trace.x.mean()
        seen, _ = self.judged(variables, mean_kbd.reshape(-1, x_bd.shape[1]))
        away_kbf = seen.reshape(len(mean_kbd), *real_bf.shape) - real_bf[None]
        return 0.5 * jnp.mean(jnp.sum(jnp.square(away_kbf), axis=-1), axis=0)

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
        error_b = self.error(variables, trace, x_bd)
        kl_bu = kl_by_unit(trace)
        kl_bu = sampled_kl(trace, log_posterior(trace)) if kl_bu is None else kl_bu
        kl_b = jnp.sum(kl_bu, axis=-1)
        value = with_own_losses(jnp.mean(error_b) + weights.beta * jnp.mean(kl_b), trace)
        reported = {FEATURES: -error_b, "reconstruction": reconstruction(trace, x_bd), "kl": kl_b}
        return Loss(value, Terms(-error_b, reported | trace.losses), trace)

    def validation_score(self, means: Mapping[str, float], kl_u: Any, weights: Weights) -> float:
        return means[FEATURES]

    def players(self, spec: Any) -> dict[str, Player]:
        return {
            CRITIC: self.player(self.critic_loss, self.init, at_once=True),
            "generator": Player(self.generator_loss, owns=("decoder",), at_once=True),
        }

    def critic_loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        trace: Trace,
    ) -> Float[Array, ""]:
        """The cross entropy of telling images from E[x | z], z of q and of p, half of each."""
        generated = sample_prior(model, variables, key, len(x_bd), label_b).x.mean()[0]
        made = jnp.concatenate([trace.x.mean()[0], generated])
        return cross_entropy(self.judged(variables, made)[1], self.judged(variables, x_bd)[1])

    def generator_loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        trace: Trace,
    ) -> Float[Array, ""]:
        """gamma error - log of the probability that E[x | z], z of q and of p, pass for images."""
        decoded = model.trace(variables, given(latents(trace)), None, label_b)
        generated = sample_prior(model, variables, key, len(x_bd), label_b).x.mean()[0]
        made = jnp.concatenate([decoded.x.mean()[0], generated])
        fooled = jnp.mean(taken_for_p(self.judged(variables, made)[1]))
        return self.gamma * jnp.mean(self.error(variables, decoded, x_bd)) + fooled

    def needs(self, config: Any) -> Iterator[str]:
        yield from super().needs(config)
        if not self.widths:
            yield "objective.critic.widths = () should be at least one layer: it gives the features"
        if self.times > 1:
            yield (
                f"objective.critic.times = {self.times} is for a critic that moves in turn, and "
                "that of objective.name = 'vae_gan' moves at once with the others; it should be 1"
            )
        if config.training.keep == "best":
            yield (
                "training.keep = 'best' compares epochs by the features of a critic that moves; "
                "with objective.name = 'vae_gan' it should be 'last'"
            )

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from super().needs_of_data(config, data)
        if config.model.is_autoregressive(data.image_shape):
            yield (
                "objective.name = 'vae_gan' has a critic of E[x | z], which an autoregressive "
                "decoder does not have"
            )

"""The variational autoencoder: p(x, z) = p(z) p(x | z), with the approximate posterior q(z | x).

References: Kingma and Welling 2014, Auto-Encoding Variational Bayes; Rezende, Mohamed and
Wierstra 2014, Stochastic Backpropagation and Approximate Inference in Deep Generative Models.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.autoregressive import decoded
from vae_jax.models.inputs import init_stats, output_bias, seen, updated_stats
from vae_jax.models.interface import ModelSection
from vae_jax.models.model import NO_START, Abilities, Layer, Model, Start, Take, Trace, Variables
from vae_jax.probability import gaussian
from vae_jax.probability.categorical import Categorical
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.probability.divergences import KL_DIVERGENCES
from vae_jax.probability.interface import Posterior, Prior
from vae_jax.probability.posteriors import POSTERIORS
from vae_jax.probability.priors import PRIORS, Shape
from vae_jax.sections.checks import flag
from vae_jax.sections.declare import family, replace, section, static


def prior_key() -> Any:
    return family(PRIORS, "standard_normal", "p(z)", interface=Prior)


def posterior_key() -> Any:
    return family(POSTERIORS, "diagonal", "q(z | x)", interface=Posterior)


def one_layer_abilities(
    prior: Prior, posterior: Posterior, *, reads_labels: bool = False, infers_labels: bool = False
) -> Abilities:
    """The abilities of a model with one layer of latents."""
    masked = posterior.distribution_type in (DiagonalGaussian, Categorical) or posterior.is_point
    return Abilities(
        num_layers=1,
        posterior_type=posterior.distribution_type,
        prior_type=prior.distribution_type,
        has_density=posterior.has_density,
        has_closed_form=(posterior.distribution_type, prior.distribution_type) in KL_DIVERGENCES,
        can_be_masked=masked and prior.can_be_masked and not infers_labels,
        reads_labels=reads_labels,
        infers_labels=infers_labels,
        examples=prior.examples,
        losses=posterior.losses,
        is_point=posterior.is_point,
        is_code=posterior.is_code,
        has_path=posterior.has_path,
        unit_size=posterior.unit_size,
        values=posterior.values,
        notes=posterior.notes,
        is_implicit=posterior.is_implicit,
    )


@section
class VAE(ModelSection):
    """p(z) p(x | z) and q(z | x); conditional: p(z | y) p(x | z, y) and q(z | x, y).

    References: Kingma and Welling 2014; conditional: Sohn, Lee and Yan 2015.
    """

    conditional: bool = static(
        False,
        flag,
        "whether encoder, decoder and prior are given the covariates, or else the label",
    )
    prior: Prior = prior_key()
    posterior: Posterior = posterior_key()

    @property
    def abilities(self) -> Abilities:
        return one_layer_abilities(self.prior, self.posterior, reads_labels=self.conditional)

    def model(self, spec: Any) -> Model:
        num_classes = spec.num_classes if self.conditional else 0
        return vae(spec, self.prior, self.posterior, num_classes)


def vae(spec: Any, prior: Prior, posterior: Posterior, num_classes: int) -> Model:
    """The model. Building it is cheap: nothing is computed until a function is called.

    A latent unit whose `spec.latent_mask` is 0 is padding: its q(z | x) is the standard normal, its
    KL is 0, the decoder sees its prior's mean, and its weights and their gradients are 0. What
    remains is the model of the other units.

    With `num_classes` above 0, the encoder and the decoder are given the one-hot label; of
    covariates, of which a label is a combination, that of each.

    Of a likelihood that learns the size, the first unit is the standardised log size, and padding
    for the decoder. It is the first since the last ones are those that a sweep pads.
    """
    mask_l, likelihood, width = spec.latent_mask, spec.likelihood, posterior.unit_size
    mask_z = mask_l if mask_l is None or width == 1 else jnp.repeat(mask_l, width)
    decoder_mask = mask_z
    if likelihood.learns_size:
        others_l = jnp.float32(jnp.arange(spec.latent_size) > 0)
        decoder_mask = others_l if mask_l is None else others_l * mask_l
    if hasattr(prior, "values"):
        prior = replace(prior, values=posterior.values)
    sizes = spec.given_sizes or (num_classes,)  # a spec of one's own may not say
    given = sum(sizes) if num_classes else 0
    encoder = spec.encoder.encoder(spec.image_shape, posterior.heads(spec.latent_size), given)
    decoder = spec.decoder.decoder(
        spec.image_shape, likelihood.params_per_dim, spec.latent_size * width, given
    )

    def context(label_b: Int[Array, " b"] | None, k: int = 1) -> Float[Array, "n c"] | None:
        """The one-hot labels of k samples for each example, [k b, c]; of covariates, those of each
        beside the others. None: nothing is given."""
        if not num_classes:
            return None
        assert label_b is not None, "this model takes labels: say which"
        levels = jnp.unravel_index(label_b, sizes)
        one_hot = [jax.nn.one_hot(own, size) for own, size in zip(levels, sizes, strict=True)]
        given_bc = jnp.concatenate(one_hot, axis=-1)
        return jnp.broadcast_to(given_bc, (k, *given_bc.shape)).reshape(-1, given)

    def init(key: Key[Array, ""], start: Start = NO_START) -> Variables:
        encoder_key, decoder_key, prior_key = jax.random.split(key, 3)
        params = {
            "encoder": encoder.init(encoder_key, mask_z),
            "decoder": decoder.init(decoder_key, output_bias(likelihood, start), decoder_mask),
            "likelihood": likelihood.init(start.scale),
            "prior": prior.init(prior_key, spec.latent_size, num_classes, start.examples_nd),
            "posterior": posterior.init(jax.random.fold_in(prior_key, 0), spec.latent_size),
        }
        stats = init_stats(spec, start)
        own = posterior.init_stats(jax.random.fold_in(prior_key, 1), spec.latent_size)
        return {"params": params, "stats": stats if own is None else stats | {"posterior": own}}

    def posterior_params(variables: Variables) -> Any:
        params, stats = variables["params"]["posterior"], variables["stats"]
        return params | stats["posterior"] if "posterior" in stats else params

    def encode(
        variables: Variables, x_bd: Float[Array, "b d"], label_b: Int[Array, " b"] | None = None
    ) -> Any:
        params, x_bd = variables["params"], seen(spec.inputs, variables["stats"], x_bd)
        outputs = encoder.apply(params["encoder"], x_bd, context(label_b))
        outputs = {head: gaussian.masked(output, mask_z) for head, output in outputs.items()}
        return posterior.distribution(posterior_params(variables), outputs, mask_l)

    def decode(
        variables: Variables, z_kbl: Float[Array, "k b l"], label_b: Int[Array, " b"] | None, p: Any
    ) -> Any:
        # One batch axis: with two, XLA transposes the activations for the gradients of the weights.
        flat = gaussian.masked(z_kbl.reshape(-1, spec.latent_size * width), decoder_mask)
        if mask_l is not None and isinstance(p, DiagonalGaussian):  # 0 is the mean of all others
            mean_kbl = jnp.broadcast_to(jax.lax.stop_gradient(p.mean()), z_kbl.shape)
            flat += gaussian.masked(mean_kbl.reshape(flat.shape), 1 - mask_l)
        of_label = context(label_b, len(z_kbl))
        log_size = None
        if likelihood.learns_size:
            mean, scale = variables["stats"]["log_total"]
            log_size = mean + scale * z_kbl[..., :1]
        return decoded(spec, decoder, variables, flat, of_label, z_kbl.shape[:2], log_size)

    def trace(
        variables: Variables,
        take: Take,
        x_bd: Float[Array, "b d"] | None = None,
        label_b: Int[Array, " b"] | None = None,
    ) -> Trace:
        prior_params, stats = variables["params"]["prior"], variables["stats"]
        q = None if x_bd is None else encode(variables, x_bd, label_b)
        label_b = label_b if num_classes else None
        batch_size = 1 if label_b is None else len(label_b)
        shape = Shape(
            batch_size, spec.latent_size, mask_l, posterior.book_of(posterior_params(variables))
        )
        p = prior.distribution(prior_params, lambda x: encode(variables, x), label_b, shape)
        z_kbl, log_q_kb = take(0, q, p)
        layer = Layer(z_kbl, log_q_kb, q, p)
        x = decode(variables, z_kbl, label_b, p)
        stats = updated_stats(spec, stats, x, x_bd)
        if q is None:
            return Trace((layer,), x, stats=stats)
        if "posterior" in stats:
            stats = stats | {"posterior": posterior.update(stats["posterior"], q)}
        return Trace((layer,), x, None, posterior.losses_of(q), stats, posterior.note(q))

    return Model(init, trace)

"""The variational autoencoder: p(x, z) = p(z) p(x | z), with the approximate posterior q(z | x).

References: Kingma and Welling 2014, Auto-Encoding Variational Bayes; Rezende, Mohamed and
Wierstra 2014, Stochastic Backpropagation and Approximate Inference in Deep Generative Models.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.model import DEFAULT_HYPER, VAE, ModelHyper, ModelSpec, Params
from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.probability.divergences import KL_DIVERGENCES
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.probability.posteriors import POSTERIORS
from vae_jax.probability.priors import PRIORS


def vae(
    spec: ModelSpec, hyper: ModelHyper = DEFAULT_HYPER, label_b: Int[Array, " b"] | None = None
) -> VAE:
    """The model that `spec` names. Cheap: nothing is computed until a function is called.

    Where `hyper.latent_mask` is 0, a latent unit is padding: its q(z | x) is the standard normal,
    its KL 0, and the decoder does not see it; the rest is the model of as many units as are left.
    Its weights are 0 and their gradients too.

    With `spec.num_classes`, it is the conditional VAE p(x, z | y) = p(z | y) p(x | z, y), q(z | x,
    y) of the labels given (Kingma et al. 2014, M2 without its classifier; Sohn, Lee and Yan 2015).
    """
    mask_l = hyper.latent_mask
    likelihood = LIKELIHOODS[spec.likelihood]
    prior = PRIORS[spec.prior.name](spec.prior, spec.latent_size, spec.num_classes)
    posterior = POSTERIORS[spec.posterior.name](spec.posterior, spec.latent_size)
    closed_form = KL_DIVERGENCES.get((spec.posterior.name, spec.prior.name))
    encoder = ENCODERS[spec.encoder.name](
        spec.encoder, spec.image_shape, posterior.heads, spec.num_classes
    )
    decoder = DECODERS[spec.decoder.name](
        spec.decoder,
        spec.image_shape,
        likelihood.params_per_dim,
        spec.latent_size,
        spec.num_classes,
    )

    def masked(units: Float[Array, "*b l"]) -> Float[Array, "*b l"]:
        if mask_l is None:
            return units
        return units * mask_l.reshape((1,) * (units.ndim - 1) + (-1,))

    def context(*batch: int) -> Float[Array, "n c"] | None:
        """The labels of examples [*batch, b], one-hot, flat."""
        if not spec.num_classes:
            return None
        assert label_b is not None, "a conditional model: say which labels by model.given(labels)"
        one_hot = jax.nn.one_hot(label_b, spec.num_classes)
        return jnp.broadcast_to(one_hot, (*batch, *one_hot.shape)).reshape(-1, spec.num_classes)

    def init(
        key: Key[Array, ""],
        mean_d: Float[Array, " d"] | None = None,
        examples: Float[Array, "n d"] | None = None,
    ) -> Params:
        encoder_key, decoder_key, prior_key = jax.random.split(key, 3)
        output_bias = None if mean_d is None else likelihood.initial_bias(mean_d)
        return {
            "encoder": encoder.init(encoder_key, mask_l),
            "decoder": decoder.init(decoder_key, output_bias, mask_l),
            "likelihood": likelihood.init(),
            "prior": prior.init(prior_key, examples),
            "posterior": posterior.init(jax.random.fold_in(prior_key, 0)),
        }

    def encode(params: Params, x_bd: Float[Array, "b d"]):
        heads_bl = encoder.apply(params["encoder"], x_bd, context())
        return posterior.q_params(params["posterior"], jax.tree.map(masked, heads_bl))

    def reparameterize(key: Key[Array, ""], q_params, k: int):
        return posterior.reparameterize(key, q_params, k, mask_l)

    def decode(params: Params, z: Float[Array, "*batch l"]):
        # One batch axis: with two, XLA transposes the activations for the weights' gradients.
        flat = masked(z.reshape(-1, spec.latent_size))
        raw = decoder.apply(params["decoder"], flat, context(*z.shape[:-2]))
        raw = raw.reshape(*z.shape[:-1], *raw.shape[1:])
        return likelihood.x_params(params["likelihood"], raw, hyper.likelihood_scale)

    def p_params(params: Params):
        return prior.p_params(params["prior"], partial(encode, params), label_b)

    def log_prior(params: Params, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        return prior.log_prob(p_params(params), z_kbl, mask_l)

    def prior_sample(key: Key[Array, ""], params: Params, n: int) -> Float[Array, "n l"]:
        return prior.sample(key, p_params(params), n)

    def kl_divergence(params: Params, q_params) -> Float[Array, "b l"]:
        assert closed_form is not None
        return masked(closed_form(q_params, p_params(params)))

    return VAE(
        init=init,
        encode=encode,
        reparameterize=reparameterize,
        posterior_log_prob=posterior.log_prob and partial(posterior.log_prob, mask_l=mask_l),
        kl_divergence=kl_divergence if closed_form else None,
        given=partial(vae, spec, hyper),
        label_b=label_b,
        **joint(likelihood, decode, log_prior, prior_sample, encode, posterior.mean),
    )


def joint(likelihood, decode, log_prior, prior_sample, encode, posterior_mean) -> dict:
    """The functions of a VAE that follow from its parts, whatever the shape of z."""

    def log_likelihood(x_params, x_bd: Float[Array, "b d"]) -> Float[Array, "k b"]:
        return likelihood.log_prob(x_params, x_bd[None])

    def log_joint(
        params: Params, x_bd: Float[Array, "b d"], z_kbl: Float[Array, "k b l"]
    ) -> Float[Array, "k b"]:
        return log_prior(params, z_kbl) + log_likelihood(decode(params, z_kbl), x_bd)

    def generate(key: Key[Array, ""], params: Params, n: int) -> Float[Array, "n d"]:
        return likelihood.mean(decode(params, prior_sample(key, params, n)))

    def reconstruct(params: Params, x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return likelihood.mean(decode(params, posterior_mean(encode(params, x_bd))))

    return {
        "decode": decode,
        "log_prior": log_prior,
        "log_likelihood": log_likelihood,
        "log_joint": log_joint,
        "prior_sample": prior_sample,
        "mean": likelihood.mean,
        "sample": likelihood.sample,
        "generate": generate,
        "reconstruct": reconstruct,
        "posterior_mean": posterior_mean,
    }

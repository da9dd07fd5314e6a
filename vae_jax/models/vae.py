"""The variational autoencoder: p(x, z) = p(z) p(x | z), with the approximate posterior q(z | x).

References: Kingma and Welling 2014, Auto-Encoding Variational Bayes; Rezende, Mohamed and
Wierstra 2014, Stochastic Backpropagation and Approximate Inference in Deep Generative Models.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Key

from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.networks.network import NetworkSpec
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.probability.posteriors import POSTERIORS
from vae_jax.probability.priors import PRIORS

Params = dict[str, Any]


class ModelSpec(NamedTuple):
    """What chooses a model: static and hashable. Names are keys of the families' dicts."""

    image_shape: tuple[int, int, int]  # height, width, channels; d is their product
    latent_size: int
    encoder: NetworkSpec
    decoder: NetworkSpec
    likelihood: str = "bernoulli"
    prior: str = "standard_normal"
    posterior: str = "diagonal"


class VAE(NamedTuple):
    """A VAE as pure functions of `params`. x is [b, d]: flattened images.

    init:           (key, mean_d=None) -> params; with the training data's mean [d], the decoder's
                    output bias starts there.
    encode:         (params, x) -> q_params, deterministic.
    reparameterize: (key, q_params, k) -> z [k, b, l], log q(z | x) [k, b].
    decode:         (params, z [..., l]) -> x_params: the parameters of p(x | z), such as logits.
    generate:       (key, params, n) -> E[x | z] [n, d] for n draws z from the prior.
    reconstruct:    (params, x) -> E[x | z] [b, d] at z = the posterior mean.
    log_joint:      (params, x, z [k, b, l]) -> log p(x, z) [k, b], nats.
    log_likelihood: (x_params [k, b, d], x) -> log p(x | z) [k, b], nats.
    kl_divergence:  (params, q_params) -> KL(q(z | x) || p(z)) by latent unit [b, l], nats, exact.
    mean:           x_params -> E[x | z] [..., d].
    posterior_mean: q_params -> E_q[z] [b, l].
    """

    init: Callable[..., Params]
    encode: Callable
    reparameterize: Callable
    decode: Callable
    generate: Callable
    reconstruct: Callable
    log_joint: Callable
    log_likelihood: Callable
    kl_divergence: Callable
    mean: Callable
    posterior_mean: Callable


def vae(spec: ModelSpec, mask_l: Float[Array, " l"] | None = None) -> VAE:
    """The model that `spec` names. Cheap: nothing is computed until a function is called.

    Where `mask_l` is 0, a latent unit is padding: its q(z | x) is the standard normal, its KL 0,
    and the decoder does not see it; the rest is the model of as many units as are left. Its
    weights are 0 and their gradients too.
    """
    likelihood = LIKELIHOODS[spec.likelihood]
    prior = PRIORS[spec.prior]
    posterior = POSTERIORS[spec.posterior]
    encoder = ENCODERS[spec.encoder.name](
        spec.encoder, spec.image_shape, posterior.heads, spec.latent_size
    )
    decoder = DECODERS[spec.decoder.name](
        spec.decoder, spec.image_shape, likelihood.params_per_dim, spec.latent_size
    )

    def masked(units_bl: Float[Array, "b l"]) -> Float[Array, "b l"]:
        return units_bl if mask_l is None else units_bl * mask_l[None]

    def init(key: Key[Array, ""], mean_d: Float[Array, " d"] | None = None) -> Params:
        encoder_key, decoder_key, prior_key = jax.random.split(key, 3)
        output_bias = None if mean_d is None else likelihood.initial_bias(mean_d)
        return {
            "encoder": encoder.init(encoder_key, mask_l),
            "decoder": decoder.init(decoder_key, output_bias, mask_l),
            "prior": prior.init(prior_key, spec.latent_size),
        }

    def encode(params: Params, x_bd: Float[Array, "b d"]):
        heads_bl = encoder.apply(params["encoder"], x_bd)
        return posterior.q_params(jax.tree.map(masked, heads_bl))

    def reparameterize(key: Key[Array, ""], q_params, k: int):
        return posterior.reparameterize(key, q_params, k, mask_l)

    def decode(params: Params, z: Float[Array, "*batch l"]) -> Float[Array, "*batch d_out"]:
        # One batch axis: with two, XLA transposes the activations for the weights' gradients.
        x_params = decoder.apply(params["decoder"], masked(z.reshape(-1, spec.latent_size)))
        return x_params.reshape(*z.shape[:-1], -1)

    def generate(key: Key[Array, ""], params: Params, n: int) -> Float[Array, "n d"]:
        z_nl = prior.sample(key, params["prior"], n, spec.latent_size)
        return likelihood.mean(decode(params, z_nl))

    def reconstruct(params: Params, x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return likelihood.mean(decode(params, posterior.mean(encode(params, x_bd))))

    def log_likelihood(x_params, x_bd: Float[Array, "b d"]) -> Float[Array, "k b"]:
        return likelihood.log_prob(x_params, x_bd[None])

    def log_joint(
        params: Params, x_bd: Float[Array, "b d"], z_kbl: Float[Array, "k b l"]
    ) -> Float[Array, "k b"]:
        log_pz_kb = prior.log_prob(params["prior"], z_kbl, mask_l)
        return log_pz_kb + log_likelihood(decode(params, z_kbl), x_bd)

    return VAE(
        init=init,
        encode=encode,
        reparameterize=reparameterize,
        decode=decode,
        generate=generate,
        reconstruct=reconstruct,
        log_joint=log_joint,
        log_likelihood=log_likelihood,
        kl_divergence=lambda params, q_params: masked(
            prior.kl_divergence(params["prior"], q_params)
        ),
        mean=likelihood.mean,
        posterior_mean=posterior.mean,
    )

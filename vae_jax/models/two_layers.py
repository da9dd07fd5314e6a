"""Two stochastic layers: p(h2) p(h1 | h2) p(x | h1), with q(h1 | x) q(h2 | h1).

z is both of them, [h1, h2]; only h1 reaches the decoder.

References: Burda, Grosse and Salakhutdinov 2015, section 5.1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.model import DEFAULT_HYPER, VAE, ModelHyper, ModelSpec, Params
from vae_jax.models.vae import joint
from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.probability.posteriors import (
    diagonal_log_prob,
    diagonal_reparameterize,
    gaussian_of,
)


class TwoLayerPosterior(NamedTuple):
    """q(h1 | x), and the params of the network to q(h2 | h1)."""

    bottom: Gaussian
    top_encoder: Any


def two_layers(
    spec: ModelSpec, hyper: ModelHyper = DEFAULT_HYPER, label_b: Int[Array, " b"] | None = None
) -> VAE:
    """The model of `spec.latent_size` units h1 below `spec.top.latent_size` units h2."""
    assert spec.top is not None
    bottom_size, top_size, network = spec.latent_size, spec.top.latent_size, spec.top.network
    likelihood = LIKELIHOODS[spec.likelihood]
    encoder = ENCODERS[spec.encoder.name](
        spec.encoder, spec.image_shape, (("mean", bottom_size), ("log_scale", bottom_size))
    )
    decoder = DECODERS[spec.decoder.name](
        spec.decoder, spec.image_shape, likelihood.params_per_dim, bottom_size
    )
    top_encoder = ENCODERS[network.name](
        network, (1, 1, bottom_size), (("mean", top_size), ("log_scale", top_size))
    )
    top_decoder = DECODERS[network.name](network, (1, 1, bottom_size), 2, top_size)

    def init(
        key: Key[Array, ""],
        mean_d: Float[Array, " d"] | None = None,
        examples: Float[Array, "n d"] | None = None,
    ) -> Params:
        keys = jax.random.split(key, 4)
        output_bias = None if mean_d is None else likelihood.initial_bias(mean_d)
        return {
            "encoder": encoder.init(keys[0]),
            "decoder": decoder.init(keys[1], output_bias),
            "likelihood": likelihood.init(),
            "posterior": top_encoder.init(keys[2]),
            "prior": top_decoder.init(keys[3]),
        }

    def encode(params: Params, x_bd: Float[Array, "b d"]) -> TwoLayerPosterior:
        return TwoLayerPosterior(
            gaussian_of(encoder.apply(params["encoder"], x_bd)), params["posterior"]
        )

    def top_posterior(q: TwoLayerPosterior, h1: Float[Array, "n bottom"]) -> Gaussian:
        return gaussian_of(top_encoder.apply(q.top_encoder, h1))

    def reparameterize(key: Key[Array, ""], q: TwoLayerPosterior, k: int):
        bottom_key, top_key = jax.random.split(key)
        h1_kbl, log_bottom_kb = diagonal_reparameterize(bottom_key, q.bottom, k)
        flat = h1_kbl.reshape(-1, bottom_size)
        h2, log_top = diagonal_reparameterize(top_key, top_posterior(q, flat), 1)
        z_kbl = jnp.concatenate([h1_kbl, h2.reshape(*h1_kbl.shape[:2], top_size)], axis=-1)
        return z_kbl, log_bottom_kb + log_top.reshape(log_bottom_kb.shape)

    def posterior_log_prob(q: TwoLayerPosterior, z_kbl: Float[Array, "k b l"]):
        h1, h2 = z_kbl[..., :bottom_size], z_kbl[..., bottom_size:]
        top = top_posterior(q, h1.reshape(-1, bottom_size))
        log_top = diagonal_log_prob(top, h2.reshape(-1, top_size))
        return diagonal_log_prob(q.bottom, h1) + log_top.reshape(h1.shape[:2])

    def bottom_prior(params: Params, h2: Float[Array, "n top"]) -> Gaussian:
        raw = top_decoder.apply(params["prior"], h2)
        return Gaussian(raw[..., 0], gaussian.clipped(raw[..., 1]))

    def log_prior(params: Params, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        h1, h2 = z_kbl[..., :bottom_size], z_kbl[..., bottom_size:]
        p = bottom_prior(params, h2.reshape(-1, top_size))
        log_bottom = diagonal_log_prob(p, h1.reshape(-1, bottom_size)).reshape(h1.shape[:2])
        return log_bottom - 0.5 * jnp.sum(jnp.square(h2) + gaussian.LOG_2PI, axis=-1)

    def prior_sample(key: Key[Array, ""], params: Params, n: int) -> Float[Array, "n l"]:
        top_key, bottom_key = jax.random.split(key)
        h2 = gaussian.unit_normal(top_key, (n,), top_size)
        h1 = gaussian.sample(bottom_key, bottom_prior(params, h2))
        return jnp.concatenate([h1, h2], axis=-1)

    def decode(params: Params, z: Float[Array, "*batch l"]):
        raw = decoder.apply(params["decoder"], z[..., :bottom_size].reshape(-1, bottom_size))
        raw = raw.reshape(*z.shape[:-1], *raw.shape[1:])
        return likelihood.x_params(params["likelihood"], raw, hyper.likelihood_scale)

    def posterior_mean(q: TwoLayerPosterior) -> Float[Array, "b l"]:
        return jnp.concatenate([q.bottom.mean, top_posterior(q, q.bottom.mean).mean], axis=-1)

    return VAE(
        init=init,
        encode=encode,
        reparameterize=reparameterize,
        posterior_log_prob=posterior_log_prob,
        kl_divergence=None,
        given=lambda label_b: two_layers(spec, hyper, label_b),
        label_b=label_b,
        **joint(likelihood, decode, log_prior, prior_sample, encode, posterior_mean),
    )

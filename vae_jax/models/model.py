"""What a model is: pure functions of its params, and the two kinds of choice that make it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from vae_jax.networks.network import NetworkSpec
from vae_jax.probability.posteriors import PosteriorSpec
from vae_jax.probability.priors import PriorSpec

Params = dict[str, Any]


class TopSpec(NamedTuple):
    """The upper stochastic layer of `two_layers`: its size, and the networks to it and from it."""

    latent_size: int
    network: NetworkSpec


class ModelSpec(NamedTuple):
    """What chooses a model: static and hashable. Names are keys of the families' dicts."""

    image_shape: tuple[int, int, int]  # height, width, channels; d is their product
    latent_size: int
    encoder: NetworkSpec
    decoder: NetworkSpec
    likelihood: str = "bernoulli"
    prior: PriorSpec = PriorSpec()
    posterior: PosteriorSpec = PosteriorSpec()
    name: str = "vae"
    num_classes: int = 0  # of the labels that the networks are given; 0: none are
    top: TopSpec | None = None  # two_layers


class ModelHyper(NamedTuple):
    """What is traced: the numbers of a model that are not trained."""

    latent_mask: Float[Array, " l"] | None = None  # 1 for a unit in use, 0 for padding; None: all
    likelihood_scale: Float[Array, ""] | float = 1.0  # of a likelihood whose scale is fixed


DEFAULT_HYPER = ModelHyper()  # all units, a scale of 1


class VAE(NamedTuple):
    """A VAE as pure functions of `params`. x is [b, d]: flattened images.

    init:           (key, mean_d=None, examples=None) -> params; with the training data's mean [d],
                    the decoder's output bias starts there; examples [n, d] for a VampPrior.
    encode:         (params, x) -> q_params, deterministic.
    reparameterize: (key, q_params, k) -> z [k, b, l], log q(z | x) [k, b].
    posterior_log_prob: (q_params, z [k, b, l]) -> log q(z | x) [k, b]; None where that is known
                    of the posterior's own draws alone.
    decode:         (params, z [..., b, l]) -> x_params: the parameters of p(x | z), such as logits.
    log_prior:      (params, z [k, b, l]) -> log p(z) [k, b], nats.
    log_likelihood: (x_params of z [k, b, l], x) -> log p(x | z) [k, b], nats.
    log_joint:      (params, x, z [k, b, l]) -> log p(x, z) [k, b], nats.
    kl_divergence:  (params, q_params) -> KL(q(z | x) || p(z)) by latent unit [b, l], nats, exact;
                    None where there is no closed form.
    prior_sample:   (key, params, n) -> z [n, l].
    mean:           x_params -> E[x | z] [..., d].
    sample:         (key, x_params) -> x [..., d].
    generate:       (key, params, n) -> E[x | z] [n, d] for n draws z from the prior.
    reconstruct:    (params, x) -> E[x | z] [b, d] at z = the posterior mean.
    posterior_mean: q_params -> E_q[z] [b, l].
    given:          labels [b] -> the VAE of p(x, z | y): of everything above, for those examples.
    label_b:        the labels that it was given, or None.
    classify:       (params, x) -> logits of q(y | x) [b, c]; None: the model has no classifier.
    """

    init: Callable[..., Params]
    encode: Callable
    reparameterize: Callable
    posterior_log_prob: Callable | None
    decode: Callable
    log_prior: Callable
    log_likelihood: Callable
    log_joint: Callable
    kl_divergence: Callable | None
    prior_sample: Callable
    mean: Callable
    sample: Callable
    generate: Callable
    reconstruct: Callable
    posterior_mean: Callable
    given: Callable
    label_b: Array | None = None
    classify: Callable | None = None

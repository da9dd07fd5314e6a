"""Priors p(z). To add one, write it and list it below."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vae_jax.probability import flows, gaussian, mixture
from vae_jax.probability.flows import Flow, FlowSpec
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.mixture import Mixture


class PriorSpec(NamedTuple):
    """The static choice: a key of PRIORS and its sizes; a size that it has not is ignored."""

    name: str = "standard_normal"
    components: int = 1  # mixture; vampprior: pseudo-inputs
    flow: FlowSpec = FlowSpec()  # realnvp, autoregressive


class Prior(NamedTuple):
    """p(z) as pure functions of `p`, its params made ready. mask_l: 0 for a unit that is padding.

    init:     (key, examples [n, d] or None) -> params, trained with the model.
    p_params: (params, encode, label_b or None) -> p. encode: x -> q_params of q(z | x).
    log_prob: (p, z [..., b, l], mask_l=None) -> nats [..., b].
    sample:   (key, p, n) -> z [n, l].
    """

    init: Callable
    p_params: Callable
    log_prob: Callable
    sample: Callable


def own_params(params: Any, encode: Callable, label_b: Array | None) -> Any:
    """The p_params of a prior that needs neither the encoder nor labels."""
    return params


def standard_normal(spec: PriorSpec, latent_size: int, num_classes: int) -> Prior:
    """N(0, 1), independent by latent unit (Kingma and Welling 2014)."""

    def log_prob(p, z: Float[Array, "*batch l"], mask_l=None) -> Float[Array, "*batch"]:
        return gaussian.sum_units(-0.5 * (jnp.square(z) + gaussian.LOG_2PI), mask_l)

    return Prior(
        init=lambda key, examples=None: {},
        p_params=own_params,
        log_prob=log_prob,
        sample=lambda key, p, n: gaussian.unit_normal(key, (n,), latent_size),
    )


def learned_gaussian(spec: PriorSpec, latent_size: int, num_classes: int) -> Prior:
    """N(mean, scale^2), learned; of a conditional model, one for each class: p(z | y).

    References: Sohn, Lee and Yan 2015 (a prior that depends on the condition).
    """
    rows = max(1, num_classes)

    def p_params(params, encode, label_b):
        rows_b = jnp.zeros(1, int) if label_b is None or not num_classes else label_b
        return Gaussian(params["mean"][rows_b], gaussian.clipped(params["log_scale"][rows_b]))

    def log_prob(p, z, mask_l=None):
        p = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, z.shape), p)
        return gaussian.sum_units(gaussian.log_prob(p, z), mask_l)

    def sample(key, p, n):
        noise_nl = gaussian.unit_normal(key, (n,), latent_size)
        return p.mean + jnp.exp(p.log_scale) * noise_nl

    zeros = jnp.zeros((rows, latent_size))
    return Prior(
        init=lambda key, examples=None: {"mean": zeros, "log_scale": zeros},
        p_params=p_params,
        log_prob=log_prob,
        sample=sample,
    )


def mixture_log_prob(p: Mixture, z: Float[Array, "*batch l"], mask_l=None):
    """log p(z) of one mixture, whatever the batch axes of z."""
    batch = (1,) * (z.ndim - 1)
    return mixture.log_prob(jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape), p), z)


def mixture_of_gaussians(spec: PriorSpec, latent_size: int, num_classes: int) -> Prior:
    """sum_c w_c N(mean_c, scale_c^2), all learned."""

    def init(key, examples=None):
        shape = (spec.components, latent_size)
        # Apart from one another, or they would stay the same for ever.
        return Mixture(
            jnp.zeros(spec.components), Gaussian(jax.random.normal(key, shape), jnp.zeros(shape))
        )

    def p_params(params, encode, label_b):
        mean, log_scale = params.components
        return Mixture(params.log_weights, Gaussian(mean, gaussian.clipped(log_scale)))

    return Prior(
        init=init,
        p_params=p_params,
        log_prob=mixture_log_prob,
        sample=lambda key, p, n: mixture.sample(key, p, n),
    )


def vampprior(spec: PriorSpec, latent_size: int, num_classes: int) -> Prior:
    """p(z) = (1/c) sum_c q(z | u_c) of learned pseudo-inputs u_c [c, d] within 0 to 1.

    They start as examples of the training set. Needs a diagonal Gaussian posterior.

    References: Tomczak and Welling 2018, equation 9.
    """

    def init(key, examples):
        # Off the ends of 0 to 1, where clipping would leave them without a gradient.
        noise = 0.01 * jax.random.normal(key, examples.shape)
        return {"pseudo_inputs": jnp.clip(examples + noise, 0.01, 0.99)}

    def p_params(params, encode, label_b):
        components = encode(jnp.clip(params["pseudo_inputs"], 0.0, 1.0))
        return Mixture(jnp.zeros(len(components.mean)), components)

    return Prior(
        init=init,
        p_params=p_params,
        log_prob=mixture_log_prob,
        sample=lambda key, p, n: mixture.sample(key, p, n),
    )


def flow_prior(flow: Flow, latent_size: int) -> Prior:
    """p(z) = N(u; 0, 1) |det du/dz|, u = inverse(z)."""

    def log_prob(p, z, mask_l=None):
        u, log_det = flow.inverse(p, z, None)
        return jnp.sum(-0.5 * (jnp.square(u) + gaussian.LOG_2PI), axis=-1) + log_det

    return Prior(
        init=lambda key, examples=None: flow.init(key, latent_size, 0),
        p_params=own_params,
        log_prob=log_prob,
        sample=lambda key, p, n: flow.forward(
            p, gaussian.unit_normal(key, (n,), latent_size), None
        )[0],
    )


def realnvp(spec: PriorSpec, latent_size: int, num_classes: int) -> Prior:
    """A flow of affine couplings (Dinh, Sohl-Dickstein and Bengio 2017)."""
    return flow_prior(flows.coupling(spec.flow), latent_size)


def autoregressive(spec: PriorSpec, latent_size: int, num_classes: int) -> Prior:
    """A masked autoregressive flow (Papamakarios, Pavlakou and Murray 2017)."""
    return flow_prior(flows.autoregressive(spec.flow), latent_size)


# (spec, latent_size, num_classes: 0 for a model without labels) -> Prior.
PRIORS: dict[str, Callable[[PriorSpec, int, int], Prior]] = {
    "autoregressive": autoregressive,
    "learned_gaussian": learned_gaussian,
    "mixture": mixture_of_gaussians,
    "realnvp": realnvp,
    "standard_normal": standard_normal,
    "vampprior": vampprior,
}

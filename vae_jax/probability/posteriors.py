"""Approximate posteriors q(z | x). To add one, write it and list it below."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import flows, gaussian, mixture
from vae_jax.probability.flows import FlowSpec
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.mixture import Mixture

Heads = tuple[tuple[str, int], ...]


class PosteriorSpec(NamedTuple):
    """The static choice: a key of POSTERIORS and its sizes; a size that it has not is ignored."""

    name: str = "diagonal"
    components: int = 1  # mixture
    flow: FlowSpec = FlowSpec()  # inverse_autoregressive, planar


class Posterior(NamedTuple):
    """q(z | x) as pure functions of q_params. mask_l: 0 for a latent unit that is padding.

    heads:    names and sizes of the encoder's outputs, each [b, size].
    init:     key -> params of its own, trained with the model; {} for most.
    q_params: (params, {head: raw output}) -> q_params; of outputs that are all 0, nearly N(0, 1).
    reparameterize: (key, q_params, k, mask_l=None) -> z [k, b, l], log q(z | x) [k, b].
    log_prob: (q_params, z [k, b, l], mask_l=None) -> nats [k, b]; None: of its own draws alone.
    mean:     q_params -> E_q[z] [b, l]; of a flow, where it takes the mean of its noise.
    """

    heads: Heads
    init: Callable
    q_params: Callable
    reparameterize: Callable
    log_prob: Callable | None
    mean: Callable


def gaussian_of(outputs: dict[str, Array]) -> Gaussian:
    """A Gaussian of the encoder's (mean, log scale)."""
    return Gaussian(outputs["mean"], gaussian.clipped(outputs["log_scale"]))


def diagonal_reparameterize(
    key: Key[Array, ""], q: Gaussian, k: int, mask_l: Float[Array, " l"] | None = None
) -> tuple[Float[Array, "k b l"], Float[Array, "k b"]]:
    """k draws z = mean + scale * noise, and log q(z | x) in nats.

    Latent unit j's noise depends on (key, j) alone. References: Kingma and Welling 2014,
    section 2.4.
    """
    batch_size, latent_size = q.mean.shape
    noise_kbl = gaussian.unit_normal(key, (k, batch_size), latent_size)
    z_kbl = q.mean[None] + jnp.exp(q.log_scale)[None] * noise_kbl
    # In terms of the noise, log q needs no division by the scale.
    log_qz_kbl = -0.5 * (jnp.square(noise_kbl) + gaussian.LOG_2PI) - q.log_scale[None]
    return z_kbl, gaussian.sum_units(log_qz_kbl, mask_l)


def diagonal_log_prob(
    q: Gaussian, z: Float[Array, "*k b l"], mask_l: Float[Array, " l"] | None = None
) -> Float[Array, "*k b"]:
    """sum_l log N(z_l; mean_l, scale_l^2)."""
    q = Gaussian(jnp.broadcast_to(q.mean, z.shape), jnp.broadcast_to(q.log_scale, z.shape))
    return gaussian.sum_units(gaussian.log_prob(q, z), mask_l)


def diagonal(spec: PosteriorSpec, latent_size: int) -> Posterior:
    """N(mean, scale^2), independent by latent unit (Kingma and Welling 2014)."""
    return Posterior(
        heads=(("mean", latent_size), ("log_scale", latent_size)),
        init=lambda key: {},
        q_params=lambda params, outputs: gaussian_of(outputs),
        reparameterize=diagonal_reparameterize,
        log_prob=diagonal_log_prob,
        mean=lambda q: q.mean,
    )


class FullGaussian(NamedTuple):
    """N(mean, L L^T), L lower triangular with a positive diagonal."""

    mean: Float[Array, "b l"]
    log_scale: Float[Array, "b l"]  # of L's diagonal
    lower: Float[Array, "b l l"]  # L below the diagonal, 0 elsewhere

    @property
    def factor(self) -> Float[Array, "b l l"]:
        """L. What a gradient puts above the diagonal of `lower` is no part of it."""
        diagonal = jnp.eye(self.mean.shape[-1])[None] * jnp.exp(self.log_scale)[..., None]
        return jnp.tril(self.lower, -1) + diagonal


def full(spec: PosteriorSpec, latent_size: int) -> Posterior:
    """N(mean, L L^T): z = mean + L noise, log q = log N(noise; 0, 1) - sum_l log L_ll.

    `log_prob` solves for the noise of a given z: it has the fewer digits, the larger L's entries
    are beside its diagonal.

    References: Rezende, Mohamed and Wierstra 2014, section 4.3; Kingma and Welling 2019, section
    2.5.1.
    """
    rows, columns = jnp.tril_indices(latent_size, -1)

    def q_params(params, outputs):
        mean, log_scale = gaussian_of(outputs)
        # Divided by the size, so that a new encoder's L is close to its diagonal; in units of the
        # row's diagonal, so that L is as easily inverted at any scale.
        entries = outputs["lower"] / latent_size * jnp.exp(log_scale)[:, rows]
        lower = jnp.zeros((len(entries), latent_size, latent_size))
        return FullGaussian(mean, log_scale, lower.at[:, rows, columns].set(entries))

    def reparameterize(key, q, k, mask_l=None):
        noise_kbl = gaussian.unit_normal(key, (k, len(q.mean)), latent_size)
        z_kbl = q.mean[None] + jnp.einsum("bij,kbj->kbi", q.factor, noise_kbl)
        log_noise_kbl = -0.5 * (jnp.square(noise_kbl) + gaussian.LOG_2PI)
        return z_kbl, jnp.sum(log_noise_kbl - q.log_scale[None], axis=-1)

    def log_prob(q, z_kbl, mask_l=None):
        shift_blk = jnp.moveaxis(z_kbl - q.mean[None], 0, -1)
        noise_blk = jax.scipy.linalg.solve_triangular(q.factor, shift_blk, lower=True)
        log_noise_kb = jnp.sum(-0.5 * (jnp.square(noise_blk) + gaussian.LOG_2PI), axis=1).T
        return log_noise_kb - jnp.sum(q.log_scale, axis=-1)[None]

    return Posterior(
        heads=(
            ("mean", latent_size),
            ("log_scale", latent_size),
            ("lower", latent_size * (latent_size - 1) // 2),
        ),
        init=lambda key: {},
        q_params=q_params,
        reparameterize=reparameterize,
        log_prob=log_prob,
        mean=lambda q: q.mean,
    )


class FlowPosterior(NamedTuple):
    """A Gaussian and what takes its draws on: the parameters of a flow."""

    base: Gaussian
    context: Float[Array, "b c"]
    flow: Any  # shared by all examples


def inverse_autoregressive(spec: PosteriorSpec, latent_size: int) -> Posterior:
    """z = flow(mean + scale * noise; context), log q = log N(...) - log |det dz/du|.

    References: Kingma et al. 2016, section 4.
    """
    flow = flows.inverse_autoregressive(spec.flow)

    def reparameterize(key, q, k, mask_l=None):
        u_kbl, log_qu_kb = diagonal_reparameterize(key, q.base, k)
        context = jnp.broadcast_to(q.context[None], (k, *q.context.shape))
        z_kbl, log_det_kb = flow.forward(q.flow, u_kbl, context)
        return z_kbl, log_qu_kb - log_det_kb

    return Posterior(
        heads=(("mean", latent_size), ("log_scale", latent_size), ("context", spec.flow.width)),
        init=lambda key: flow.init(key, latent_size, spec.flow.width),
        q_params=lambda params, outputs: FlowPosterior(
            gaussian_of(outputs), outputs["context"], params
        ),
        reparameterize=reparameterize,
        log_prob=None,
        mean=lambda q: flow.forward(q.flow, q.base.mean, q.context)[0],
    )


def planar(spec: PosteriorSpec, latent_size: int) -> Posterior:
    """z = f_n(...f_1(mean + scale * noise)), each f an example's own u + v tanh(w . u + b).

    References: Rezende and Mohamed 2015, section 4.1.
    """

    def reparameterize(key, q, k, mask_l=None):
        u_kbl, log_qu_kb = diagonal_reparameterize(key, q.base, k)
        z_kbl, log_det_kb = flows.planar_forward(u_kbl, q.flow, spec.flow.layers)
        return z_kbl, log_qu_kb - log_det_kb

    return Posterior(
        heads=(
            ("mean", latent_size),
            ("log_scale", latent_size),
            ("flow", spec.flow.layers * (2 * latent_size + 1)),
        ),
        init=lambda key: {},
        q_params=lambda params, outputs: PlanarPosterior(gaussian_of(outputs), outputs["flow"]),
        reparameterize=reparameterize,
        log_prob=None,
        mean=lambda q: flows.planar_forward(q.base.mean[None], q.flow, spec.flow.layers)[0][0],
    )


class PlanarPosterior(NamedTuple):
    """A Gaussian and each example's own parameters of the maps that take its draws on."""

    base: Gaussian
    flow: Float[Array, "b raw"]


def mixture_of_gaussians(spec: PosteriorSpec, latent_size: int) -> Posterior:
    """sum_c w_c N(mean_c, scale_c^2), draws reparameterised implicitly (Figurnov et al. 2018)."""

    def q_params(params, outputs):
        shape = (-1, spec.components, latent_size)
        raw = {head: outputs[head].reshape(shape) for head in ("mean", "log_scale")}
        return Mixture(jax.nn.log_softmax(outputs["logits"], axis=-1), gaussian_of(raw))

    def log_prob(q, z_kbl, mask_l=None):
        return mixture.log_prob(jax.tree.map(lambda leaf: leaf[None], q), z_kbl)

    def reparameterize(key, q, k, mask_l=None):
        z_kbl = mixture.reparameterize(key, q, k)
        return z_kbl, log_prob(q, z_kbl)

    return Posterior(
        heads=(
            ("mean", spec.components * latent_size),
            ("log_scale", spec.components * latent_size),
            ("logits", spec.components),
        ),
        init=lambda key: {},
        q_params=q_params,
        reparameterize=reparameterize,
        log_prob=log_prob,
        mean=lambda q: jnp.einsum("bc,bcl->bl", jnp.exp(q.log_weights), q.components.mean),
    )


# (spec, latent_size) -> Posterior.
POSTERIORS: dict[str, Callable[[PosteriorSpec, int], Posterior]] = {
    "diagonal": diagonal,
    "full": full,
    "inverse_autoregressive": inverse_autoregressive,
    "mixture": mixture_of_gaussians,
    "planar": planar,
}

"""Mixtures of diagonal Gaussians: densities, samples, and differentiable samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import gaussian
from vae_jax.probability.gaussian import Gaussian


class Mixture(NamedTuple):
    """sum_c w_c N(mean_c, exp(log_scale_c)^2). The weights need not sum to one."""

    log_weights: Float[Array, "*batch c"]  # up to a constant
    components: Gaussian  # [*batch, c, l]


def log_prob(p: Mixture, z: Float[Array, "*batch l"]) -> Float[Array, "*batch"]:
    """log sum_c w_c N(z; mean_c, scale_c^2). Batch axes of size 1 are broadcast."""
    components = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, batch_shape(p, z)), p.components)
    z = jnp.broadcast_to(z[..., None, :], components.mean.shape)
    log_weights = jax.nn.log_softmax(p.log_weights, axis=-1)
    log_components = jnp.sum(gaussian.log_prob(components, z), axis=-1)
    return jax.nn.logsumexp(
        jnp.broadcast_to(log_weights, log_components.shape) + log_components, -1
    )


def batch_shape(p: Mixture, z: Float[Array, "*batch l"]) -> tuple[int, ...]:
    """The shape [*batch, c, l] of the components broadcast against z."""
    shape = p.components.mean.shape
    return (*jnp.broadcast_shapes(shape[:-2], z.shape[:-1]), *shape[-2:])


def sample(key: Key[Array, ""], p: Mixture, n: int) -> Float[Array, "n *batch l"]:
    """n samples, not differentiable."""
    choice_key, noise_key = jax.random.split(key)
    batch = p.log_weights.shape[:-1]
    choice = jax.random.categorical(choice_key, p.log_weights, shape=(n, *batch))

    def choose(leaf: Float[Array, "*batch c l"]) -> Float[Array, "n *batch l"]:
        leaf = jnp.broadcast_to(leaf, (n, *leaf.shape))
        return jnp.take_along_axis(leaf, choice[..., None, None], axis=-2)[..., 0, :]

    return gaussian.sample(noise_key, jax.tree.map(choose, p.components))


def reparameterize(key: Key[Array, ""], p: Mixture, n: int) -> Float[Array, "n *batch l"]:
    """n samples, differentiable in p by implicit reparameterisation.

    With F(z_i | z_<i) the conditional distribution function of unit i, which is uniform whatever
    p is, dz_i = -dF(z_i | z_<i) / p(z_i | z_<i), from the first unit to the last.

    References: Figurnov, Mohamed and Mnih 2018, equations 5 and 8.
    """
    fixed = jax.lax.stop_gradient(p)
    samples = jax.lax.stop_gradient(sample(key, fixed, n))
    log_weights = jnp.broadcast_to(
        jax.nn.log_softmax(p.log_weights, axis=-1), (n, *p.log_weights.shape)
    )

    def unit(
        log_weights: Float[Array, "n *batch c"], inputs: tuple[Float[Array, "n *batch"], Gaussian]
    ) -> tuple[Float[Array, "n *batch c"], Float[Array, "n *batch"]]:
        """One unit of all samples [n, *batch]; log_weights of the components given those before."""
        sampled, component = inputs  # [n, *batch]; [*batch, c]
        component = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf[None], log_weights.shape), component
        )

        def distribution(z: Float[Array, "n *batch"]) -> Float[Array, "n *batch"]:
            standardised = (z[..., None] - component.mean) * jnp.exp(-component.log_scale)
            weights = jax.nn.softmax(log_weights, axis=-1)
            return jnp.sum(weights * jax.scipy.stats.norm.cdf(standardised), axis=-1)

        at_sample = jnp.broadcast_to(sampled[..., None], log_weights.shape)
        conditional = jax.nn.log_softmax(log_weights, axis=-1)
        log_density = jax.nn.logsumexp(
            conditional + gaussian.log_prob(component, at_sample), axis=-1
        )
        # Far in a tail both the density and F underflow: the quotient is kept finite.
        density = jnp.exp(jnp.clip(jax.lax.stop_gradient(log_density), -60.0, 60.0))
        quantile = distribution(sampled)
        z = sampled - (quantile - jax.lax.stop_gradient(quantile)) / density
        at_z = jnp.broadcast_to(z[..., None], log_weights.shape)
        return log_weights + gaussian.log_prob(component, at_z), z

    components = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), p.components)
    _, z = jax.lax.scan(unit, log_weights, (jnp.moveaxis(samples, -1, 0), components))
    return jnp.moveaxis(z, 0, -1)

"""Approximate posteriors q(z | x). To add one, write its section and list it below.

interface.py says what it has.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import flows, gaussian, mixture
from vae_jax.probability.codebooks import FiniteScalar, VectorQuantized
from vae_jax.probability.discrete import CategoricalPosterior
from vae_jax.probability.distributions import (
    DiagonalGaussian,
    FullGaussian,
    Samples,
    diagonal_of,
)
from vae_jax.probability.flows import FlowSpec, flow_layers, flow_width
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.implicit import ImplicitPosterior
from vae_jax.probability.interface import Heads, Mask, Outputs, Params, Posterior
from vae_jax.probability.mixture import Mixture
from vae_jax.sections.checks import whole
from vae_jax.sections.declare import section, static


@section
class Diagonal(Posterior):
    """N(mean, scale^2), independent by latent unit (Kingma and Welling 2014)."""

    distribution_type: ClassVar = DiagonalGaussian
    has_density: ClassVar = True

    def heads(self, latent_size: int) -> Heads:
        return (("mean", latent_size), ("log_scale", latent_size))

    def distribution(
        self, params: Params, outputs: Outputs, mask_l: Mask = None
    ) -> DiagonalGaussian:
        return diagonal_of(outputs, mask_l)


@section
class Full(Posterior):
    """N(mean, L L^T), L lower triangular with a positive diagonal (Rezende et al. 2014)."""

    distribution_type: ClassVar = FullGaussian
    has_density: ClassVar = True

    def heads(self, latent_size: int) -> Heads:
        below = latent_size * (latent_size - 1) // 2
        return (("mean", latent_size), ("log_scale", latent_size), ("lower", below))

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> FullGaussian:
        mean_bl, log_scale_bl = outputs["mean"], gaussian.clipped(outputs["log_scale"])
        size = mean_bl.shape[-1]
        rows, columns = jnp.tril_indices(size, -1)
        # Divided by the size, so that a new encoder's L is close to its diagonal; in units of the
        # row's diagonal, so that L is as easily inverted at any scale.
        entries = outputs["lower"] / size * jnp.exp(log_scale_bl)[:, rows]
        lower_bll = jnp.zeros((len(entries), size, size)).at[:, rows, columns].set(entries)
        return FullGaussian(mean_bl, log_scale_bl, lower_bll)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Transformed:
    """A Gaussian whose samples an inverse autoregressive flow transforms."""

    base: DiagonalGaussian
    context_bc: Float[Array, "b c"]
    params: flows.Networks  # shared by all examples
    layers: int = field(metadata={"static": True})

    log_prob = None
    scale = None

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        u_kbl, log_qu_kb = self.base.sample(key, k)
        context = jnp.broadcast_to(self.context_bc[None], (k, *self.context_bc.shape))
        flow = flows.inverse_autoregressive(FlowSpec(self.layers, self.context_bc.shape[-1]))
        z_kbl, log_det_kb = flow.forward(self.params, u_kbl, context)
        return z_kbl, log_qu_kb - log_det_kb

    def mean(self) -> Float[Array, "1 b l"]:
        """The flow's output for the mean of its noise; not exactly E[z]."""
        flow = flows.inverse_autoregressive(FlowSpec(self.layers, self.context_bc.shape[-1]))
        return flow.forward(self.params, self.base.mean_kbl[0], self.context_bc)[0][None]


@section
class InverseAutoregressive(Posterior):
    """z = flow(mean + scale * noise; context), log q = log N(...) - log |det dz/du|.

    References: Kingma et al. 2016, section 4.
    """

    layers: int = flow_layers()
    width: int = flow_width()

    distribution_type: ClassVar = Transformed

    def heads(self, latent_size: int) -> Heads:
        return (("mean", latent_size), ("log_scale", latent_size), ("context", self.width))

    def init(self, key: Key[Array, ""], latent_size: int) -> flows.Networks:
        flow = flows.inverse_autoregressive(FlowSpec(self.layers, self.width))
        return flow.init(key, latent_size, self.width)

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> Transformed:
        return Transformed(diagonal_of(outputs), outputs["context"], params, self.layers)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bent:
    """A Gaussian whose samples are transformed by planar maps, different for each example."""

    base: DiagonalGaussian
    maps: Float[Array, "b raw"]
    layers: int = field(metadata={"static": True})

    log_prob = None
    scale = None

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        u_kbl, log_qu_kb = self.base.sample(key, k)
        z_kbl, log_det_kb = flows.planar_forward(u_kbl, self.maps, self.layers)
        return z_kbl, log_qu_kb - log_det_kb

    def mean(self) -> Float[Array, "1 b l"]:
        """The output of the maps for the mean of the noise; not exactly E[z]."""
        return flows.planar_forward(self.base.mean_kbl, self.maps, self.layers)[0]


@section
class Planar(Posterior):
    """z = f_n(...f_1(mean + scale * noise)), f(u) = u + v tanh(w . u + b) with v, w, b by example.

    References: Rezende and Mohamed 2015, section 4.1.
    """

    layers: int = flow_layers()

    distribution_type: ClassVar = Bent

    def heads(self, latent_size: int) -> Heads:
        maps = self.layers * (2 * latent_size + 1)
        return (("mean", latent_size), ("log_scale", latent_size), ("flow", maps))

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> Bent:
        return Bent(diagonal_of(outputs), outputs["flow"], self.layers)


class MixtureOfGaussians(NamedTuple):
    """sum_c w_c N(mean_c, scale_c^2), one for each example."""

    log_weights_bc: Float[Array, "b c"]
    components: Gaussian  # [b, c, l]

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        """Reparameterised implicitly (Figurnov, Mohamed and Mnih 2018)."""
        z_kbl = mixture.reparameterize(key, Mixture(*self), k)
        return z_kbl, self.log_prob(z_kbl)

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        return mixture.log_prob(jax.tree.map(lambda leaf: leaf[None], Mixture(*self)), z_kbl)

    def mean(self) -> Float[Array, "1 b l"]:
        mean_bcl = self.components.mean
        return jnp.einsum("bc,bcl->bl", jnp.exp(self.log_weights_bc), mean_bcl)[None]

    def scale(self) -> Float[Array, "1 b l"]:
        weights_bc, mean_bcl = jnp.exp(self.log_weights_bc), self.components.mean
        away_bcl = mean_bcl - self.mean()[0][:, None]
        variance_bcl = jnp.exp(2 * self.components.log_scale) + jnp.square(away_bcl)
        return jnp.sqrt(jnp.einsum("bc,bcl->bl", weights_bc, variance_bcl))[None]


@section
class MixturePosterior(Posterior):
    """sum_c w_c N(mean_c, scale_c^2), samples reparameterised implicitly (Figurnov et al. 2018)."""

    components: int = static(4, whole(1), "components", key="posterior_components")

    distribution_type: ClassVar = MixtureOfGaussians
    has_density: ClassVar = True

    def heads(self, latent_size: int) -> Heads:
        size = self.components * latent_size
        return (("mean", size), ("log_scale", size), ("logits", self.components))

    def distribution(
        self, params: Params, outputs: Outputs, mask_l: Mask = None
    ) -> MixtureOfGaussians:
        shape = (len(outputs["logits"]), self.components, -1)
        mean, log_scale = (outputs[head].reshape(shape) for head in ("mean", "log_scale"))
        log_weights_bc = jax.nn.log_softmax(outputs["logits"], axis=-1)
        return MixtureOfGaussians(log_weights_bc, Gaussian(mean, gaussian.clipped(log_scale)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Point:
    """One z for each example, without a density."""

    mean_kbl: Float[Array, "1 b l"]

    log_prob = None
    scale = None

    def sample(self, key: Key[Array, ""], k: int) -> tuple[Float[Array, "k b l"], None]:
        return jnp.broadcast_to(self.mean_kbl, (k, *self.mean_kbl.shape[1:])), None

    def mean(self) -> Float[Array, "1 b l"]:
        return self.mean_kbl


@section
class Deterministic(Posterior):
    """A point: the code of an autoencoder. p(z) is not what codes follow."""

    distribution_type: ClassVar = Point
    has_density: ClassVar = False
    is_point: ClassVar = True

    def heads(self, latent_size: int) -> Heads:
        return (("mean", latent_size),)

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> Point:
        return Point(outputs["mean"][None])


POSTERIORS: dict[str, type[Posterior]] = {
    "categorical": CategoricalPosterior,
    "deterministic": Deterministic,
    "diagonal": Diagonal,
    "fsq": FiniteScalar,
    "full": Full,
    "implicit": ImplicitPosterior,
    "inverse_autoregressive": InverseAutoregressive,
    "mixture": MixturePosterior,
    "planar": Planar,
    "vq": VectorQuantized,
}

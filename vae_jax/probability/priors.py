"""Priors p(z). To add one, write its section and list it below.

interface.py says what it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability import flows, gaussian, mixture
from vae_jax.probability.discrete import CausalPrior, LearnedCategorical, Uniform
from vae_jax.probability.distributions import DiagonalGaussian, Samples, StandardNormal
from vae_jax.probability.flows import FlowSpec, flow_layers, flow_width
from vae_jax.probability.gaussian import Gaussian
from vae_jax.probability.interface import Encode, Examples, Labels, Params, Prior, Shape
from vae_jax.probability.mixture import Mixture
from vae_jax.sections.checks import whole
from vae_jax.sections.declare import section, static


@section
class StandardNormalPrior(Prior):
    """N(0, 1), independent by latent unit (Kingma and Welling 2014)."""

    distribution_type: ClassVar = StandardNormal
    can_be_masked: ClassVar = True

    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape
    ) -> StandardNormal:
        return StandardNormal(shape.mask_l, shape.batch_size, shape.latent_size)


@section
class LearnedGaussian(Prior):
    """N(mean, scale^2), learned; in a conditional model, one for each class: p(z | y).

    References: Sohn, Lee and Yan 2015 (a prior that depends on the condition).
    """

    distribution_type: ClassVar = DiagonalGaussian
    can_be_masked: ClassVar = True

    def init(
        self, key: Key[Array, ""], latent_size: int, num_classes: int, examples_nd: Examples = None
    ) -> dict[str, Array]:
        zeros = jnp.zeros((max(1, num_classes), latent_size))
        return {"mean": zeros, "log_scale": zeros}

    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape
    ) -> DiagonalGaussian:
        rows = jnp.zeros(1, int) if label_b is None else label_b
        mean, log_scale = (params[name][rows][None] for name in ("mean", "log_scale"))
        return DiagonalGaussian(mean, gaussian.clipped(log_scale), shape.mask_l)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SharedMixture:
    """sum_c w_c N(mean_c, scale_c^2), one for all examples."""

    mixture: Mixture  # weights [c], components [c, l]
    batch_size: int = field(metadata={"static": True})

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        z = mixture.sample(key, self.mixture, k * self.batch_size)
        z_kbl = z.reshape(k, self.batch_size, z.shape[-1])
        return z_kbl, self.log_prob(z_kbl)

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        return mixture.log_prob(jax.tree.map(lambda leaf: leaf[None, None], self.mixture), z_kbl)

    def mean(self) -> Float[Array, "1 b l"]:
        weights_c = jax.nn.softmax(self.mixture.log_weights)
        mean_l = weights_c @ self.mixture.components.mean
        return jnp.broadcast_to(mean_l[None, None], (1, self.batch_size, len(mean_l)))


@section
class MixturePrior(Prior):
    """sum_c w_c N(mean_c, scale_c^2), all learned."""

    components: int = static(10, whole(1), "components", key="prior_components")

    distribution_type: ClassVar = SharedMixture

    def init(
        self, key: Key[Array, ""], latent_size: int, num_classes: int, examples_nd: Examples = None
    ) -> Mixture:
        shape = (self.components, latent_size)
        # Apart from one another, or they would stay the same for ever.
        return Mixture(
            jnp.zeros(self.components), Gaussian(jax.random.normal(key, shape), jnp.zeros(shape))
        )

    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape
    ) -> SharedMixture:
        mean, log_scale = params.components
        components = Gaussian(mean, gaussian.clipped(log_scale))
        return SharedMixture(Mixture(params.log_weights, components), shape.batch_size)


@section
class VampPrior(Prior):
    """p(z) = (1/c) sum_c q(z | u_c) of learned pseudo-inputs u_c [c, d] within 0 to 1.

    They are initialised with examples of the training set. Needs a diagonal Gaussian posterior.

    References: Tomczak and Welling 2018, equation 9.
    """

    components: int = static(10, whole(1), "pseudo-inputs", key="prior_components")

    distribution_type: ClassVar = SharedMixture

    @property
    def examples(self) -> int:
        return self.components

    def init(
        self, key: Key[Array, ""], latent_size: int, num_classes: int, examples_nd: Examples = None
    ) -> dict[str, Array]:
        assert examples_nd is not None  # `examples` asks for them
        # Off the ends of 0 to 1, where clipping would leave them without a gradient.
        noise = 0.01 * jax.random.normal(key, examples_nd.shape)
        return {"pseudo_inputs": jnp.clip(examples_nd + noise, 0.01, 0.99)}

    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape
    ) -> SharedMixture:
        q = encode(jnp.clip(params["pseudo_inputs"], 0.0, 1.0))
        components = Gaussian(q.mean_kbl[0], q.log_scale_kbl[0])
        return SharedMixture(Mixture(jnp.zeros(len(components.mean)), components), shape.batch_size)

    def needs(self, config: Any) -> Iterator[str]:
        model = config.model
        if model.abilities.posterior_type is not DiagonalGaussian:
            yield (
                f"model.prior = 'vampprior' is a mixture of diagonal posteriors, and q(z | x) of "
                f"{model.named()} is another; model.posterior should be 'diagonal'"
            )
        if model.abilities.reads_labels:
            yield "model.prior = 'vampprior' has pseudo-inputs without labels; take another prior"

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        if self.components > len(data.train.images):
            yield (
                f"model.prior_components = {self.components} pseudo-inputs start as training "
                f"images; it should be at most the {len(data.train.images)} there are"
            )
        if not data.in_unit:
            yield "model.prior = 'vampprior' is for data in 0 to 1, and these go beyond"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FlowPrior:
    """p(z) = N(u; 0, 1) |det du/dz|, u = inverse(z)."""

    params: flows.Networks
    batch_size: int = field(metadata={"static": True})
    latent_size: int = field(metadata={"static": True})
    flow: flows.Flow = field(metadata={"static": True})

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        u_kbl = gaussian.unit_normal(key, (k, self.batch_size), self.latent_size)
        z_kbl, log_det_kb = self.flow.forward(self.params, u_kbl, None)
        return z_kbl, self._log_base(u_kbl) - log_det_kb

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        u_kbl, log_det_kb = self.flow.inverse(self.params, z_kbl, None)
        return self._log_base(u_kbl) + log_det_kb

    def _log_base(self, u_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        return jnp.sum(-0.5 * (jnp.square(u_kbl) + gaussian.LOG_2PI), axis=-1)

    def mean(self) -> Float[Array, "1 b l"]:
        """The flow's output for the mean of its noise; not exactly E[z]."""
        u_kbl = jnp.zeros((1, self.batch_size, self.latent_size))
        return self.flow.forward(self.params, u_kbl, None)[0]


@section
class Autoregressive(Prior):
    """A masked autoregressive flow (Papamakarios, Pavlakou and Murray 2017)."""

    layers: int = flow_layers()
    width: int = flow_width()

    distribution_type: ClassVar = FlowPrior
    family: ClassVar = staticmethod(flows.autoregressive)

    def flow(self) -> flows.Flow:
        return self.family(FlowSpec(self.layers, self.width))

    def init(
        self, key: Key[Array, ""], latent_size: int, num_classes: int, examples_nd: Examples = None
    ) -> flows.Networks:
        """The params of the flow; no classes are given to it."""
        return self.flow().init(key, latent_size, 0)

    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape
    ) -> FlowPrior:
        """p(z), the same for each example."""
        return FlowPrior(params, shape.batch_size, shape.latent_size, self.flow())


@section
class RealNVP(Autoregressive):
    """A flow of affine couplings (Dinh, Sohl-Dickstein and Bengio 2017)."""

    family: ClassVar = staticmethod(flows.coupling)

    def needs(self, config: Any) -> Iterator[str]:
        if config.model.latent_size < 2:
            yield (
                "model.prior = 'realnvp' couples two halves of z; model.latent_size = 1 can't be "
                "split, it should be at least 2"
            )


PRIORS: dict[str, type[Prior]] = {
    "autoregressive": Autoregressive,
    "categorical": LearnedCategorical,
    "causal": CausalPrior,
    "learned_gaussian": LearnedGaussian,
    "mixture": MixturePrior,
    "realnvp": RealNVP,
    "standard_normal": StandardNormalPrior,
    "uniform": Uniform,
    "vampprior": VampPrior,
}

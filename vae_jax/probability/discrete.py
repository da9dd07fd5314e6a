"""Posteriors and priors of discrete latents that are sampled."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.probability.categorical import Categorical
from vae_jax.probability.causal import Causal, CausalSize
from vae_jax.probability.interface import (
    Encode,
    Examples,
    Heads,
    Labels,
    Mask,
    Outputs,
    Params,
    Posterior,
    Prior,
    Shape,
)
from vae_jax.sections.checks import whole
from vae_jax.sections.declare import fact, section, static


@section
class CategoricalPosterior(Posterior):
    """Each unit is a variable of c values, one-hot in z (Jang et al. 2017; Maddison et al. 2017).

    z is discrete, so its samples have no gradient: objective.gradient says how it is estimated.
    """

    categories: int = static(10, whole(2), "values of each unit")

    distribution_type: ClassVar = Categorical
    has_density: ClassVar = True
    has_path: ClassVar = False
    support: ClassVar = "discrete"

    @property
    def unit_size(self) -> int:
        return self.categories

    @property
    def values(self) -> tuple[int, int]:
        return 1, self.categories

    def heads(self, latent_size: int) -> Heads:
        return (("logits", latent_size * self.categories),)

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> Categorical:
        logits = outputs["logits"]
        return Categorical(logits.reshape(len(logits), -1, self.categories), mask_l)


@section
class Uniform(Prior):
    """All values of each unit alike."""

    values: Any = fact()  # (stages, entries), of the posterior

    distribution_type: ClassVar = Categorical
    can_be_masked: ClassVar = True
    support: ClassVar = "discrete"

    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape
    ) -> Categorical:
        stages, entries = self.values
        logits_btc = jnp.zeros((1, shape.latent_size * stages, entries))
        return Categorical(logits_btc, shape.mask_l, shape.book, shape.batch_size)


@section
class LearnedCategorical(Prior):
    """The probabilities of each unit's values, learned; in a conditional model, of each class."""

    values: Any = fact()  # (stages, entries), of the posterior

    distribution_type: ClassVar = Categorical
    can_be_masked: ClassVar = True
    support: ClassVar = "discrete"

    def init(
        self, key: Key[Array, ""], latent_size: int, num_classes: int, examples_nd: Examples = None
    ) -> dict[str, Float[Array, "y t c"]]:
        stages, entries = self.values
        return {"logits": jnp.zeros((max(1, num_classes), latent_size * stages, entries))}

    def distribution(
        self, params: Params, encode: Encode, label_b: Labels, shape: Shape
    ) -> Categorical:
        rows = jnp.zeros(1, int) if label_b is None else label_b
        return Categorical(params["logits"][rows], shape.mask_l, shape.book, shape.batch_size)


@section
class CausalPrior(Prior):
    """Each unit given those before it, by a small network with causal attention.

    As a second stage over the codes of a trained model: van den Oord et al. 2017, section 3.3.
    """

    layers: int = static(2, whole(1), "blocks of the network", key="causal.layers")
    width: int = static(64, whole(1), "of its features", key="causal.width")
    values: Any = fact()  # (stages, entries), of the posterior

    distribution_type: ClassVar = Causal
    support: ClassVar = "discrete"

    def size(self, latent_size: int) -> CausalSize:
        stages, entries = self.values
        return CausalSize(self.layers, self.width, entries, latent_size * stages)

    def init(
        self, key: Key[Array, ""], latent_size: int, num_classes: int, examples_nd: Examples = None
    ) -> Any:
        """The params of the network; no classes are given to it."""
        return self.size(latent_size).init(key)

    def distribution(self, params: Params, encode: Encode, label_b: Labels, shape: Shape) -> Causal:
        """p(z), the same for each example."""
        size = self.size(shape.latent_size)
        return Causal(params, shape.book, jnp.float32(1), size, shape.batch_size)

"""What an encoder's and a decoder's network are; both make pairs of pure functions."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float

from vae_jax.sections.interface import Part

ImageShape = tuple[int, int, int]  # height, width, channels
Heads = tuple[tuple[str, int], ...]  # the names of an encoder's outputs, and their sizes
Params = dict[str, Any]  # a pytree of arrays
Context = Float[Array, "n c"] | None  # further inputs; None: there are none
Mask = Float[Array, " l"] | None  # 0 for padded latent units; None: none is padded
Outputs = dict[str, Float[Array, "b size"]]  # of an encoder, by their names


class Encoder(NamedTuple):
    """Maps flattened images to the parameters of q(z | x).

    init:  (key, mask_l=None) -> params.
    apply: (params, x [b, d], context [b, c] = None) -> {head: [b, size]}.

    `mask_l` is 0 for padded latent units, whose weights are set to 0; None: no padding. With it,
    every head has len(mask_l) outputs.
    """

    init: Callable[..., Params]
    apply: Callable[..., Outputs]


class Decoder(NamedTuple):
    """Maps latent units to the `params_per_dim` = p parameters of each p(x_d | z).

    init:  (key, output_bias [d, p] = None: zeros, mask_l=None) -> params; mask_l as in Encoder.
    apply: (params, z [n, l], context [n, c] = None) -> [n, d, p].

    An autoregressive one has `given` too, for p(x_i | x_<i, z). Its `apply` gives features of z
    instead, [n, ...], and
    given: (params, features [n, ...], x [n, d]) -> [n, d, p]; entry i depends on x_<i alone.
    """

    init: Callable[..., Params]
    apply: Callable[..., Float[Array, "n d p"]]
    given: Callable[..., Float[Array, "n d p"]] | None = None


class EncoderNetwork(Part, Protocol):
    """The network from x to the parameters of q(z | x)."""

    @abstractmethod
    def encoder(self, image_shape: ImageShape, heads: Heads, context_size: int = 0, /) -> Encoder:
        """An Encoder: init(key, mask_l=None) -> params, apply(params, x [b, d], context [b, c] or
        None) -> {head: [b, size]}. The context is a further input, such as one-hot labels; mask_l
        [l]: 0 for padded latent units, whose weights should be 0, or None."""


class DecoderNetwork(Part, Protocol):
    """The network from z to the parameters of p(x | z)."""

    @abstractmethod
    def decoder(
        self,
        image_shape: ImageShape,
        params_per_dim: int,
        latent_size: int,
        context_size: int = 0,
        /,
    ) -> Decoder:
        """A Decoder: init(key, output_bias [d, p] or None, mask_l=None) -> params, apply(params,
        z [n, l], context [n, c] or None) -> [n, d, p], p = params_per_dim. Of an autoregressive
        one, apply gives features of z [n, ...], and given(params, features, x [n, d]) -> [n, d, p],
        where value i depends on x_<i alone."""


class Network(EncoderNetwork, DecoderNetwork, Protocol):
    """A network that can be both."""

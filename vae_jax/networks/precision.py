"""The precision in which networks are computed in training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.networks.interface import Decoder, Encoder

AS_DEVICE = "device"
BFLOAT16 = "bfloat16"
PRECISIONS = {
    AS_DEVICE: "float32; matrices as the device does: in TF32 on recent NVIDIA GPUs",
    "float32": "float32, matrices too",
    "tensorfloat32": "float32; matrices with 10 bits of mantissa, where the device can",
    BFLOAT16: "networks with 8 bits of mantissa; params, densities and losses in float32",
}


def computed_in(precision: str | None, apply: Callable) -> Callable:
    """`apply` of a network, computed in this precision; None: in that of the device.

    Its params, inputs and outputs are arrays of float32, or None, in every precision.
    """

    def in_products(*arguments: Any) -> Any:
        with jax.default_matmul_precision(str(precision)):
            return apply(*arguments)

    def in_bfloat16(*arguments: Any) -> Any:
        return with_type(jnp.float32, apply(*with_type(jnp.bfloat16, arguments)))

    if precision in (None, AS_DEVICE):
        return apply
    return in_bfloat16 if precision == BFLOAT16 else in_products


def with_type(dtype: Any, tree: Any) -> Any:
    """The real numbers of a tree of arrays, in this type."""

    def cast(leaf: Any) -> Any:
        is_real = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return jnp.asarray(leaf, dtype) if is_real else leaf

    return jax.tree.map(cast, tree)


class InPrecision:
    """A network whose encoder and decoder are computed in a precision."""

    def __init__(self, network: Any, precision: str):
        self.network, self.precision = network, precision

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def encoder(self, *arguments: Any) -> Encoder:
        """The network's Encoder."""
        made = self.network.encoder(*arguments)
        return Encoder(made.init, computed_in(self.precision, made.apply))

    def decoder(self, *arguments: Any) -> Decoder:
        """The network's Decoder."""
        made = self.network.decoder(*arguments)
        given = getattr(made, "given", None)
        given = given if given is None else computed_in(self.precision, given)
        return Decoder(made.init, computed_in(self.precision, made.apply), given)

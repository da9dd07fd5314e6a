"""Networks whose weights have spectral norm 1.

References: Miyato, Kataoka, Koyama and Yoshida 2018, Spectral Normalization for Generative
Adversarial Networks, section 2.1 and appendix A; of a decoder: Ghosh et al. 2020, section 3.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vae_jax.networks.interface import Context, Decoder, Encoder, Heads, ImageShape, Params
from vae_jax.networks.mlp import MLP
from vae_jax.sections.declare import section

ITERATIONS = 20
LEAST = 1e-6  # a spectral norm is divided by; weights of 0 stay 0


def spectral_norm(kernel_io: Float[Array, "i o"]) -> Float[Array, ""]:
    """The largest singular value, by power iteration from one fixed start: never above it.

    Nothing is carried from step to step, so the params alone say what the network is.
    """

    def unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
        # Without overflow: the weights may be large.
        vector = vector / jnp.maximum(jnp.max(jnp.abs(vector)), LEAST)
        return vector / jnp.maximum(jnp.linalg.norm(vector), LEAST)

    # The start is on the side of the outputs, which padded latent units do not change.
    start_o = jnp.asarray(np.random.default_rng(0).normal(size=kernel_io.shape[1]), jnp.float32)
    fixed_io = jax.lax.stop_gradient(kernel_io)
    right_o = jax.lax.fori_loop(
        0, ITERATIONS, lambda _, v: unit(unit(fixed_io @ v) @ fixed_io), unit(start_o)
    )
    left_i = unit(fixed_io @ right_o)
    return left_i @ kernel_io @ right_o  # its gradient by the weights is left right^T, as it should


def normalized(params: Params) -> Params:
    """The params with every dense layer's weights divided by their spectral norm."""

    def layer(leaf: Any) -> Any:
        return leaf / jnp.maximum(spectral_norm(leaf), LEAST) if leaf.ndim == 2 else leaf

    return jax.tree.map(layer, params)


@section
class SpectralMLP(MLP):
    """As mlp, with each layer's weights divided by their largest singular value.

    With an activation of slope at most 1 no distance grows from z to the outputs.
    """

    def encoder(self, image_shape: ImageShape, heads: Heads, context_size: int = 0) -> Encoder:
        plain = MLP.encoder(self, image_shape, heads, context_size)

        def apply(params: Params, x_bd: Float[Array, "b d"], context: Context = None) -> Any:
            return plain.apply(normalized(params), x_bd, context)

        return Encoder(plain.init, apply)

    def decoder(
        self,
        image_shape: ImageShape,
        params_per_dim: int,
        latent_size: int,
        context_size: int = 0,
    ) -> Decoder:
        plain = MLP.decoder(self, image_shape, params_per_dim, latent_size, context_size)

        def apply(params: Params, z_nl: Float[Array, "n l"], context: Context = None) -> Any:
            return plain.apply(normalized(params), z_nl, context)

        return Decoder(plain.init, apply)

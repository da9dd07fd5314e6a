"""What models with several layers of latents share: distributions of one layer given another.

Layers are counted from the top, as in vae_jax.models.model; their z are [k, b, l].
"""

from typing import Any

from jaxtyping import Array, Float

from vae_jax.models.autoregressive import decoded
from vae_jax.models.model import Abilities, Params, Variables
from vae_jax.networks.interface import Decoder, Encoder, Heads
from vae_jax.probability import gaussian
from vae_jax.probability.distributions import DiagonalGaussian


class BottomUp(DiagonalGaussian):
    """q of a layer that is not conditioned on the layers above.

    Under q, the layer and those above depend on each other. So the mean of the KL between this q
    and p(z | the layers above) is not a part of the model's KL, which has no closed form.
    """


def abilities_of_layers(
    num_layers: int, *, has_closed_form: bool, num_groups: int = 0
) -> Abilities:
    """The abilities of a model with several layers of real latents, which reads no labels."""
    return Abilities(
        num_layers=num_layers,
        posterior_type=None,
        prior_type=None,
        has_density=True,
        has_closed_form=has_closed_form,
        can_be_masked=False,
        reads_labels=False,
        infers_labels=False,
        examples=0,
        num_groups=num_groups,
    )


def gaussian_heads(size: int) -> Heads:
    return (("mean", size), ("log_scale", size))


def q_above(encoder: Encoder, params: Params, z_kbl: Float[Array, "k b l"]) -> DiagonalGaussian:
    """q(z of a layer | z of the layer below)."""
    outputs = encoder.apply(params, z_kbl.reshape(-1, z_kbl.shape[-1]))
    shape = (*z_kbl.shape[:2], -1)
    return DiagonalGaussian(
        outputs["mean"].reshape(shape), gaussian.clipped(outputs["log_scale"]).reshape(shape)
    )


def p_below(decoder: Decoder, params: Params, z_kbl: Float[Array, "k b l"]) -> DiagonalGaussian:
    """p(z of a layer | z of the layer above)."""
    raw = decoder.apply(params, z_kbl.reshape(-1, z_kbl.shape[-1]))
    shape = (*z_kbl.shape[:2], -1)
    return DiagonalGaussian(
        raw[..., 0].reshape(shape), gaussian.clipped(raw[..., 1]).reshape(shape)
    )


def p_of_x(spec: Any, decoder: Decoder, variables: Variables, z_kbl: Float[Array, "k b l"]) -> Any:
    """p(x | z of the bottom layer)."""
    flat = z_kbl.reshape(-1, z_kbl.shape[-1])
    return decoded(spec, decoder, variables, flat, None, z_kbl.shape[:2])

"""Two stochastic layers: p(h2) p(h1 | h2) p(x | h1), with q(h1 | x) q(h2 | h1).

References: Burda, Grosse and Salakhutdinov 2015, section 5.1.
"""

from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.inputs import init_stats, output_bias, seen, updated_stats
from vae_jax.models.interface import ModelSection
from vae_jax.models.layers import (
    BottomUp,
    abilities_of_layers,
    gaussian_heads,
    p_below,
    p_of_x,
    q_above,
)
from vae_jax.models.model import NO_START, Abilities, Layer, Model, Start, Take, Trace, Variables
from vae_jax.networks import MLP
from vae_jax.networks.network import ACTIVATIONS
from vae_jax.probability.distributions import StandardNormal, diagonal_of
from vae_jax.sections.checks import WIDEST, several, whole
from vae_jax.sections.declare import choice, section, static


@section
class TwoLayers(ModelSection):
    """p(h2) p(h1 | h2) p(x | h1), q(h1 | x) q(h2 | h1); h1 has latent_size units (Burda 2015)."""

    top_size: int = static(10, whole(1), "dimensions of the upper layer", key="top.latent_size")
    top_widths: tuple[int, ...] = static(
        (100,),
        several(whole(1, WIDEST)),
        "hidden units between the two layers",
        key="top.widths",
    )
    # Bounded, because h1 is not: with relu, an extreme sample of h1 gives scales of e^15.
    top_activation: str = choice(ACTIVATIONS, "tanh", "their nonlinearity", key="top.activation")

    support: ClassVar = "real"

    @property
    def abilities(self) -> Abilities:
        return abilities_of_layers(2, has_closed_form=False)

    def model(self, spec: Any) -> Model:
        bottom_size, top_size, likelihood = spec.latent_size, self.top_size, spec.likelihood
        network = MLP(self.top_widths, self.top_activation)
        encoder = spec.encoder.encoder(spec.image_shape, gaussian_heads(bottom_size))
        decoder = spec.decoder.decoder(spec.image_shape, likelihood.params_per_dim, bottom_size)
        top_encoder = network.encoder((1, 1, bottom_size), gaussian_heads(top_size))
        top_decoder = network.decoder((1, 1, bottom_size), 2, top_size)

        def init(key: Key[Array, ""], start: Start = NO_START) -> Variables:
            keys = jax.random.split(key, 4)
            params = {
                "encoder": encoder.init(keys[0]),
                "decoder": decoder.init(keys[1], output_bias(likelihood, start)),
                "likelihood": likelihood.init(start.scale),
                "posterior": top_encoder.init(keys[2]),
                "prior": top_decoder.init(keys[3]),
            }
            return {"params": params, "stats": init_stats(spec, start)}

        def trace(
            variables: Variables,
            take: Take,
            x_bd: Float[Array, "b d"] | None = None,
            label_b: Int[Array, " b"] | None = None,
        ) -> Trace:
            params, stats = variables["params"], variables["stats"]
            p2 = StandardNormal(None, 1, top_size)
            if x_bd is None:
                h2_kbl, log_h2_kb = take(0, None, p2)
                p1 = p_below(top_decoder, params["prior"], h2_kbl)
                h1_kbl, log_h1_kb = take(1, None, p1)
                q1 = q2 = None
            else:
                q1 = BottomUp(
                    *diagonal_of(encoder.apply(params["encoder"], seen(spec.inputs, stats, x_bd)))
                )
                h1_kbl, log_h1_kb = take(1, q1, None)
                q2 = q_above(top_encoder, params["posterior"], h1_kbl)
                h2_kbl, log_h2_kb = take(0, q2, p2)
                p1 = p_below(top_decoder, params["prior"], h2_kbl)
            x = p_of_x(spec, decoder, variables, h1_kbl)
            layers = (Layer(h2_kbl, log_h2_kb, q2, p2), Layer(h1_kbl, log_h1_kb, q1, p1))
            return Trace(layers, x, stats=updated_stats(spec, stats, x, x_bd))

        return Model(init, trace, num_layers=2, layer_names=("0", "1"))

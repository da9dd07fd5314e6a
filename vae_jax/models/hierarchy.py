"""Any number of stochastic layers: p(z_L) p(z_L-1 | z_L) ... p(z_1 | z_2) p(x | z_1).

References: Sønderby, Raiko, Maaløe, Sønderby and Winther 2016, Ladder Variational Autoencoders;
Burda, Grosse and Salakhutdinov 2015, section 5.1.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
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
from vae_jax.models.model import (
    NO_START,
    Abilities,
    Layer,
    Model,
    Params,
    Start,
    Take,
    Trace,
    Variables,
)
from vae_jax.networks import MLP
from vae_jax.networks.interface import Decoder, Encoder
from vae_jax.networks.network import ACTIVATIONS
from vae_jax.probability.distributions import DiagonalGaussian, StandardNormal, diagonal_of
from vae_jax.sections.checks import WIDEST, flag, several, whole
from vae_jax.sections.declare import choice, section, static


@section
class Hierarchy(ModelSection):
    """p(z_L) ... p(z_1 | z_2) p(x | z_1), q(z_1 | x) q(z_2 | z_1) ... q(z_L | z_L-1).

    z_1 has latent_size units. Its q is not given the layers above: compare `ladder`.
    """

    upper_sizes: tuple[int, ...] = static(
        (10,),
        several(whole(1)),
        "dimensions of each layer above the first, from the bottom up",
        key="upper.latent_sizes",
    )
    upper_widths: tuple[int, ...] = static(
        (100,),
        several(whole(1, WIDEST)),
        "hidden units of the networks between two layers, for each layer above the first",
        key="upper.widths",
    )
    upper_depth: int = static(1, whole(0), "hidden layers of these networks", key="upper.depth")
    upper_activation: str = choice(
        ACTIVATIONS, "tanh", "their nonlinearity", key="upper.activation"
    )

    support: ClassVar = "real"
    has_closed_form: ClassVar = False

    @property
    def abilities(self) -> Abilities:
        return abilities_of_layers(1 + len(self.upper_sizes), has_closed_form=self.has_closed_form)

    def model(self, spec: Any) -> Model:
        return hierarchy(spec, self)

    def needs(self, config: Any) -> Iterator[str]:
        sizes, widths = self.upper_sizes, self.upper_widths
        if not sizes:
            yield (
                "model.upper.latent_sizes is empty; it should have the size of one layer or more "
                "above the first (one layer alone is model.name = 'vae')"
            )
        if len(sizes) != len(widths):
            yield (
                f"model.upper.widths = {widths} should have a width for each of the "
                f"{len(sizes)} layers of model.upper.latent_sizes = {sizes}"
            )


@section
class Ladder(Hierarchy):
    """p as of `hierarchy`; q(z_L | x) ... q(z_1 | x, z_2) by an upward and a downward pass.

    The upward pass of x is deterministic and gives a Gaussian message to each layer. On the way
    down, q of a layer is the product of its message and of a Gaussian given the layer above, which
    is p itself if they share it.

    References: Sønderby et al. 2016, equations 13 to 19. There, layers have batch normalisation.
    Here they have none: an example's posterior does not depend on the other examples of its batch.
    """

    shared: bool = static(
        True,
        flag,
        "whether q's downward pass has the networks of p, or its own",
        key="upper.shared",
    )

    has_closed_form: ClassVar = True

    def model(self, spec: Any) -> Model:
        return ladder(spec, self)


class Networks(NamedTuple):
    """The networks of p, and what inference has too. The lowest come first."""

    encoder: Encoder  # of x
    decoder: Decoder  # to x
    up: tuple[Encoder, ...]  # to the layers 2, ..., L
    down: tuple[Decoder, ...]  # to the layers 1, ..., L - 1, from those above
    activation: Any  # of what an encoder hands up


def networks_of(spec: Any, kind: Hierarchy, *, hands_up: bool) -> Networks:
    """With `hands_up`, encoders have a head of features, which the encoder above takes; else it
    takes z."""
    sizes, widths = (spec.latent_size, *kind.upper_sizes), kind.upper_widths
    between = [MLP((width,) * kind.upper_depth, kind.upper_activation) for width in widths]
    inputs = widths if hands_up else sizes
    heads = [
        (*gaussian_heads(size), ("features", width)) if hands_up and width else gaussian_heads(size)
        for size, width in zip(sizes, (*widths, 0), strict=True)
    ]
    return Networks(
        spec.encoder.encoder(spec.image_shape, heads[0]),
        spec.decoder.decoder(spec.image_shape, spec.likelihood.params_per_dim, sizes[0]),
        tuple(
            network.encoder((1, 1, inputs[i]), heads[i + 1]) for i, network in enumerate(between)
        ),
        tuple(
            network.decoder((1, 1, sizes[i]), 2, sizes[i + 1]) for i, network in enumerate(between)
        ),
        ACTIVATIONS[kind.upper_activation] if kind.upper_depth else lambda features: features,
    )


def init_params(
    spec: Any, networks: Networks, key: Key[Array, ""], start: Start
) -> dict[str, Params]:
    """The params of p and of the encoders."""
    likelihood = spec.likelihood
    keys = jax.random.split(key, 4)
    return {
        "encoder": networks.encoder.init(keys[0]),
        "decoder": networks.decoder.init(keys[1], output_bias(likelihood, start)),
        "likelihood": likelihood.init(start.scale),
        "posterior": init_each(networks.up, keys[2]),
        "prior": init_each(networks.down, keys[3]),
    }


def init_each(networks: Sequence[Encoder | Decoder], key: Key[Array, ""]) -> Params:
    """The params of several networks; those of the lowest are "0"."""
    keys = jax.random.split(key, len(networks))
    return {str(i): network.init(keys[i]) for i, network in enumerate(networks)}


def names_of(num_layers: int) -> tuple[str, ...]:
    """The names of the layers, the top first: in the order of the alphabet too."""
    digits = len(str(num_layers - 1))
    return tuple(f"{layer:0{digits}}" for layer in range(num_layers))


def hierarchy(spec: Any, kind: Hierarchy) -> Model:
    """The model whose q goes from the bottom to the top."""
    networks = networks_of(spec, kind, hands_up=False)
    top_size, top = kind.upper_sizes[-1], len(kind.upper_sizes)

    def init(key: Key[Array, ""], start: Start = NO_START) -> Variables:
        return {
            "params": init_params(spec, networks, key, start),
            "stats": init_stats(spec, start),
        }

    def trace(
        variables: Variables,
        take: Take,
        x_bd: Float[Array, "b d"] | None = None,
        label_b: Int[Array, " b"] | None = None,
    ) -> Trace:
        params, stats = variables["params"], variables["stats"]
        p_top = StandardNormal(None, 1, top_size)
        taken: dict[int, tuple[Any, Any]] = {}  # by level, 0 at the bottom: q, (z, log density)
        if x_bd is not None:
            q: Any = diagonal_of(
                networks.encoder.apply(params["encoder"], seen(spec.inputs, stats, x_bd))
            )
            for level in range(top + 1):
                if level:
                    z_kbl = taken[level - 1][1][0]
                    encoder = networks.up[level - 1]
                    q = q_above(encoder, params["posterior"][str(level - 1)], z_kbl)
                q = q if level == top else BottomUp(*q)
                taken[level] = q, take(top - level, q, p_top if level == top else None)
        layers: list[Layer] = []
        p: Any = p_top
        for level in reversed(range(top + 1)):
            if level < top:
                above_kbl = layers[-1].z_kbl
                p = p_below(networks.down[level], params["prior"][str(level)], above_kbl)
            q, (z_kbl, log_q_kb) = taken.get(level) or (None, take(top - level, None, p))
            layers.append(Layer(z_kbl, log_q_kb, q, p))
        x = p_of_x(spec, networks.decoder, variables, layers[-1].z_kbl)
        return Trace(tuple(layers), x, stats=updated_stats(spec, stats, x, x_bd))

    return Model(init, trace, num_layers=top + 1, layer_names=names_of(top + 1))


def merged(message: DiagonalGaussian, p: DiagonalGaussian) -> DiagonalGaussian:
    """The normalised product of two Gaussians: their precisions add (Sønderby 2016, 17 to 19).

    In logarithms, so that nothing is divided by a variance.
    """
    share = jax.nn.sigmoid(2 * (p.log_scale_kbl - message.log_scale_kbl))  # of the message
    mean_kbl = p.mean_kbl + share * (message.mean_kbl - p.mean_kbl)
    log_scale_kbl = -0.5 * jnp.logaddexp(-2 * message.log_scale_kbl, -2 * p.log_scale_kbl)
    return DiagonalGaussian(mean_kbl, log_scale_kbl)


def ladder(spec: Any, kind: Ladder) -> Model:
    """The model whose q goes up once, without samples, and then down beside p."""
    networks = networks_of(spec, kind, hands_up=True)
    top_size, top = kind.upper_sizes[-1], len(kind.upper_sizes)

    def init(key: Key[Array, ""], start: Start = NO_START) -> Variables:
        params = init_params(spec, networks, key, start)
        if not kind.shared:
            params["downward"] = init_each(networks.down, jax.random.fold_in(key, 4))
        return {"params": params, "stats": init_stats(spec, start)}

    def messages_of(params: Params, x_bd: Float[Array, "b d"]) -> list[DiagonalGaussian]:
        """The message to each layer, the bottom one first: N(mean, scale^2) [1, b, l]."""
        outputs = networks.encoder.apply(params["encoder"], x_bd)
        messages = [diagonal_of(outputs)]
        for i, encoder in enumerate(networks.up):
            features = networks.activation(outputs["features"])
            outputs = encoder.apply(params["posterior"][str(i)], features)
            messages.append(diagonal_of(outputs))
        return messages

    def trace(
        variables: Variables,
        take: Take,
        x_bd: Float[Array, "b d"] | None = None,
        label_b: Int[Array, " b"] | None = None,
    ) -> Trace:
        params, stats = variables["params"], variables["stats"]
        messages = None if x_bd is None else messages_of(params, seen(spec.inputs, stats, x_bd))
        p: Any = StandardNormal(None, 1, top_size)
        q: Any = None if messages is None else messages[top]
        layers: list[Layer] = []
        for level in reversed(range(top + 1)):
            z_kbl, log_q_kb = take(top - level, q, p)
            layers.append(Layer(z_kbl, log_q_kb, q, p))
            if not level:
                break
            decoder, name = networks.down[level - 1], str(level - 1)
            p = p_below(decoder, params["prior"][name], z_kbl)
            if messages is not None:
                above = p if kind.shared else p_below(decoder, params["downward"][name], z_kbl)
                q = merged(messages[level - 1], above)
        x = p_of_x(spec, networks.decoder, variables, layers[-1].z_kbl)
        return Trace(tuple(layers), x, stats=updated_stats(spec, stats, x, x_bd))

    return Model(init, trace, num_layers=top + 1, layer_names=names_of(top + 1))

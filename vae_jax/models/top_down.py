"""A convolutional hierarchy: blocks by resolution, q and p sharing the way down.

References: Child 2021, Very Deep VAEs Generalize Autoregressive Models; Vahdat and Kautz 2020,
NVAE; Maaløe, Fraccaro, Liévin and Winther 2019, BIVA; Kingma et al. 2016 (the shared way down).
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.models.inputs import init_stats, likelihood_params, output_bias, seen, updated_stats
from vae_jax.models.interface import ModelSection
from vae_jax.models.layers import abilities_of_layers
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
from vae_jax.networks.conv import map_sizes
from vae_jax.networks.convolution import convolve
from vae_jax.networks.precision import computed_in
from vae_jax.probability import gaussian
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.sections.checks import WIDEST, several, whole
from vae_jax.sections.declare import section, static

SCANNED = 3  # blocks of one map, from which on they are one compiled body
MAP_MINIMUM = 3  # pixels a side, from which on kernels are 3 x 3 (Child 2021)


@section
class TopDown(ModelSection):
    """p(z_1) p(z_2 | z_1) ... p(x | z_1, ..., z_n), q(z_1 | x) q(z_2 | z_1, x) ...

    Each block has a map of latents. The state of the way down is shared by p and q; x reaches q by
    a way up of residual blocks, one stage for each size of map.
    """

    num_blocks: tuple[int, ...] = static(
        (1, 2, 2),
        several(whole(1)),
        "blocks with latents on each map, the smallest map first; each map halves the next",
        key="blocks.numbers",
    )
    latents: int = static(4, whole(1), "channels of latents in each", key="blocks.latents")
    width: int = static(32, whole(1, WIDEST), "channels of the state", key="blocks.width")
    bottleneck: int = static(
        16, whole(1, WIDEST), "channels between a block's first and last", key="blocks.bottleneck"
    )
    encoder_blocks: int = static(
        1, whole(1), "residual blocks on each map, on the way up", key="blocks.encoder"
    )

    stride: int = static(
        2, whole(1, 2), "2: the largest map is half the image; 1: all of it", key="blocks.stride"
    )

    support: ClassVar = "real"
    reads_networks: ClassVar = False

    @property
    def abilities(self) -> Abilities:
        return abilities_of_layers(
            sum(self.num_blocks), has_closed_form=True, num_groups=len(self.num_blocks)
        )

    def model(self, spec: Any) -> Model:
        return top_down(spec, self)

    def needs(self, config: Any) -> Iterator[str]:
        if not self.num_blocks:
            yield "model.blocks.numbers is empty; it should have a number of blocks for each map"

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        height, width, _ = data.image_shape
        halvings = math.ceil(math.log2(max(height, width)))
        most = max(0, halvings + 2 - self.stride)
        if len(self.num_blocks) > most:
            yield (
                f"model.blocks.numbers = {self.num_blocks} has {len(self.num_blocks)} maps, and "
                f"images of {height} x {width} can be halved {halvings} times; with "
                f"model.blocks.stride = {self.stride} it should have at most {most} numbers"
            )


class Weight(NamedTuple):
    """A kernel [*shape] of normal noise with this standard deviation."""

    shape: tuple[int, ...]
    scale: float


def weight(k: int, inputs: int, outputs: int, scale: float = 1.0) -> Weight:
    """A k x k kernel; each output has the variance scale^2 for inputs of variance 1."""
    return Weight((k, k, inputs, outputs), scale / math.sqrt(k * k * inputs))


def repeat(params: Any, n: int) -> Any:
    """Repeats the weights n times: leaves [n, ...]."""
    return jax.tree.map(lambda one: Weight((n, *one.shape), one.scale), params, is_leaf=is_weight)


def is_weight(node: Any) -> bool:
    return isinstance(node, Weight)


def draw(key: Key[Array, ""], weights: Any) -> Params:
    """Draws params of a tree of Weights: all at once, since a draw for each compiles slowly."""
    leaves, structure = jax.tree.flatten(weights, is_leaf=is_weight)
    sizes = [math.prod(one.shape) for one in leaves]
    noise = jax.random.normal(key, (sum(sizes),))
    arrays, start = [], 0
    for one, size in zip(leaves, sizes, strict=True):
        arrays.append(one.scale * noise[start : start + size].reshape(one.shape))
        start += size
    return jax.tree.unflatten(structure, arrays)


def conv(kernel: Float[Array, "k k c o"], x: Float[Array, "n h w c"]) -> Float[Array, "n h w o"]:
    """A convolution of stride 1; one by one, a matrix product of each pixel."""
    return x @ kernel[0, 0] if kernel.shape[0] == 1 else convolve(x, kernel, 1)


def bottleneck_weights(
    inputs: int, middle: int, outputs: int, k: int, scale: float
) -> dict[str, Any]:
    """A 1 x 1, two k x k and a 1 x 1 convolution, and a bias of each (Child 2021, figure 3)."""
    return {
        "kernels": [
            weight(1, inputs, middle),
            weight(k, middle, middle),
            weight(k, middle, middle),
            weight(1, middle, outputs, scale),
        ],
        "biases": [Weight((size,), 0.0) for size in (middle, middle, middle, outputs)],
    }


def bottleneck(params: Params, x: Float[Array, "n h w c"]) -> Float[Array, "n h w o"]:
    """Applies the four convolutions, each after a GELU."""
    for kernel, bias in zip(params["kernels"], params["biases"], strict=True):
        x = conv(kernel, jax.nn.gelu(x)) + bias[None, None, None]
    return x


def pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """Averages 2 x 2 pixels; an odd edge is repeated."""
    n, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return x.reshape(n, -(-height // 2), 2, -(-width // 2), 2, channels).mean(axis=(2, 4))


def enlarge(x: Float[Array, "n h w c"], height: int, width: int) -> Float[Array, "n h2 w2 c"]:
    """Makes each pixel 2 x 2, and crops to the size."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)[:, :height, :width]


def top_down(spec: Any, kind: TopDown) -> Model:
    """The model. z of a block is [k, b, height * width * latents]."""
    likelihood, width, latents = spec.likelihood, kind.width, kind.latents
    # Branches and products in the precision of the networks; the state they add to stays float32.
    branch, product = (computed_in(spec.precision, own) for own in (bottleneck, conv))
    image_product = computed_in(spec.precision, partial(convolve, stride=kind.stride))
    channels = spec.image_shape[-1]
    stride, num_maps = kind.stride, len(kind.num_blocks)
    sizes = map_sizes(spec.image_shape, num_maps - 2 + stride)[:num_maps]  # the smallest first
    num_blocks = sum(kind.num_blocks)
    outputs = channels * likelihood.params_per_dim

    def kernel_size(size: tuple[int, int]) -> int:
        return 3 if min(size) >= MAP_MINIMUM else 1

    def weights() -> dict[str, Any]:
        """The model's weights, by stage; blocks of one map are stacked."""
        # Residual branches start small, so that the variance of the state does not grow with the
        # number of blocks (Child 2021, section 4).
        small = 1 / math.sqrt(num_blocks)
        num_up = kind.encoder_blocks * len(sizes)
        up, down = [], []
        for size, n in zip(sizes, kind.num_blocks, strict=True):
            k = kernel_size(size)
            of_up = bottleneck_weights(width, kind.bottleneck, width, k, 1 / math.sqrt(num_up))
            up.append(repeat(of_up, kind.encoder_blocks))
            block = {
                "posterior": bottleneck_weights(2 * width, kind.bottleneck, 2 * latents, k, 1.0),
                # q and p start at N(0, 1) given anything, and p adds nothing to the state.
                "prior": bottleneck_weights(width, kind.bottleneck, 2 * latents + width, k, 0.0),
                "latents": weight(1, latents, width, small),
                "branch": bottleneck_weights(width, kind.bottleneck, width, k, small),
            }
            stage = {"blocks": repeat(block, n), "bias": Weight((*size, width), 0.0)}
            down.append(stage)
        return {
            "image": weight(3, channels, width),
            "up": up,
            "down": down,
            # Of a halved map, a pixel makes 2 x 2 of the image.
            "output": {
                "kernel": weight(1, width, stride**2 * outputs),
                "bias": Weight((outputs,), 0.0),
            },
        }

    def init(key: Key[Array, ""], start: Start = NO_START) -> Variables:
        params = draw(key, weights())
        bias_dp = output_bias(likelihood, start)
        if bias_dp is not None:
            params["output"]["bias"] = jnp.mean(bias_dp.reshape(-1, outputs), axis=0)
        params["likelihood"] = likelihood.init(start.scale)
        return {"params": params, "stats": init_stats(spec, start)}

    def encode(params: Params, x_bd: Float[Array, "b d"]) -> list[Array]:
        """The maps of x [b, h, w, c], the smallest first."""
        h = image_product(x_bd.reshape(len(x_bd), *spec.image_shape), params["image"])
        maps = []
        for stage in reversed(range(len(sizes))):
            for i in range(kind.encoder_blocks):
                h += branch(jax.tree.map(lambda leaf, i=i: leaf[i], params["up"][stage]), h)
            maps.append(h)
            h = pool(h) if stage else h
        return maps[::-1]

    def block(
        params: Params, state: Array, map_bhwc: Array | None, source: Any, take: Take
    ) -> tuple[Array, Layer]:
        """The state after a block, and its Layer. state: [k, b, h, w, c], or k = b = 1.

        source: what `take` chooses z by.
        """
        k, b, height, map_width, _ = state.shape
        flat = state.reshape(-1, *state.shape[2:])
        raw = branch(params["prior"], flat)
        p = gaussian_of(raw[..., : 2 * latents], k, b)
        q = None
        if map_bhwc is not None:
            known, state_too = beside(map_bhwc, flat, k)
            raw_q = branch(params["posterior"], jnp.concatenate([state_too, known], axis=-1))
            q = gaussian_of(raw_q, len(raw_q) // len(map_bhwc), len(map_bhwc))
        z_kbl, log_q_kb = take.choose(source, q, p)
        k, b = z_kbl.shape[:2]
        z = z_kbl.reshape(k * b, height, map_width, latents)
        added = (raw[..., 2 * latents :] + flat).reshape(state.shape)
        state = jnp.broadcast_to(added, (k, b, *state.shape[2:])).reshape(k * b, *flat.shape[1:])
        state += product(params["latents"], z)
        state += branch(params["branch"], state)
        return state.reshape(k, b, *flat.shape[1:]), Layer(z_kbl, log_q_kb, q, p)

    def beside(map_bhwc: Array, flat: Array, k: int) -> tuple[Array, Array]:
        """The map of x and the state, both for k samples of each example."""
        b = len(map_bhwc)
        n = max(k * b, len(flat))
        known = jnp.broadcast_to(map_bhwc[None], (n // b, *map_bhwc.shape))
        known = known.reshape(n, *map_bhwc.shape[1:])
        return known, jnp.broadcast_to(flat, (n, *flat.shape[1:]))

    def gaussian_of(raw: Array, k: int, b: int) -> DiagonalGaussian:
        mean, log_scale = jnp.split(raw, 2, axis=-1)
        return DiagonalGaussian(
            mean.reshape(k, b, -1), gaussian.clipped(log_scale).reshape(k, b, -1)
        )

    def trace(
        variables: Variables,
        take: Take,
        x_bd: Float[Array, "b d"] | None = None,
        label_b: Int[Array, " b"] | None = None,
    ) -> Trace:
        params, stats = variables["params"], variables["stats"]
        maps: list[Any] = [None] * len(sizes)
        if x_bd is not None:
            maps = encode(params, seen(spec.inputs, stats, x_bd))
        state = jnp.zeros((1, 1, *sizes[0], width))
        layers: list[Layer] = []
        for stage, size, map_bhwc in zip(params["down"], sizes, maps, strict=True):
            if layers:
                k, b = state.shape[:2]
                state = enlarge(state.reshape(k * b, *state.shape[2:]), *size)
                state = state.reshape(k, b, *state.shape[1:])
            state += stage["bias"][None, None]
            state, more = blocks(stage["blocks"], state, map_bhwc, take, len(layers))
            layers += more
        x = likelihood.distribution(likelihood_params(variables), raw_of(params["output"], state))
        return Trace(tuple(layers), x, stats=updated_stats(spec, stats, x, x_bd))

    def raw_of(params: Params, state: Array) -> Array:
        """The likelihood's params [k, b, d, p]."""
        k, b, rows, columns, _ = state.shape
        height, image_width, _ = spec.image_shape
        raw = product(params["kernel"], jax.nn.gelu(state.reshape(k * b, *state.shape[2:])))
        raw = raw.reshape(k * b, rows, columns, stride, stride, outputs)
        raw = raw.transpose(0, 1, 3, 2, 4, 5).reshape(k * b, rows * stride, -1, outputs)
        raw = raw[:, :height, :image_width] + params["bias"][None, None, None]
        return raw.reshape(k, b, -1, likelihood.params_per_dim)

    def blocks(
        params: Params, state: Array, map_bhwc: Array | None, take: Take, first: int
    ) -> tuple[Array, list[Layer]]:
        """The blocks of one map; `first`: the number of the first of them."""
        n = len(params["latents"])
        layers = []
        # The first block of all is not scanned: only its z says how many samples there are.
        alone = n if n < SCANNED else int(first == 0)
        for i in range(alone):
            source = None if take.own is None else take.own[first + i]
            one = jax.tree.map(lambda leaf, i=i: leaf[i], params)
            state, layer = block(one, state, map_bhwc, source, take)
            layers.append(layer)
        if alone < n:
            # Without the checkpoint, the residuals of all blocks are kept for the gradient.
            @jax.checkpoint
            def body(state: Array, inputs: Any) -> tuple[Array, Layer]:
                one, source = inputs
                return block(one, state, map_bhwc, source, take)

            rest = jax.tree.map(lambda leaf: leaf[alone:], params)
            state, many = jax.lax.scan(body, state, (rest, take.stacked(first + alone, first + n)))
            layers += [jax.tree.map(lambda leaf, i=i: leaf[i], many) for i in range(n - alone)]
        return state, layers

    names = [
        f"{stage}_{height}x{map_width}"
        for stage, ((height, map_width), n) in enumerate(zip(sizes, kind.num_blocks, strict=True))
        for _ in range(n)
    ]
    several = tuple(names) if num_blocks > 1 else ()
    return Model(init, trace, num_layers=num_blocks, layer_names=several)

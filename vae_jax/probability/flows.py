"""Invertible maps between noise u and latent z, with the log determinant of the Jacobian.

Each is initialised near the identity, so that a model with a flow starts like one without.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax.sections.checks import whole
from vae_jax.sections.declare import static

# A smooth bound on the log scales of each layer: a flow of a few layers can't overflow.
MAX_LOG_SCALE = 2.0


def flow_layers() -> Any:
    """The key of the number of a flow's maps."""
    return static(4, whole(1), "maps, one after another", key="flow.layers")


def flow_width() -> Any:
    """The key of the width of the networks in a flow."""
    return static(64, whole(1), "hidden units of each map's network", key="flow.width")


Layer = dict[str, Array]  # {"kernel": [inputs, outputs], "bias": [outputs]}
Network = dict[str, Layer]
Networks = Sequence[Network]  # one for each map
Context = Float[Array, "*batch c"] | None
LogDet = Float[Array, "*batch"]
Masks = Sequence[Any]  # of the kernels of three layers: arrays, or 1.0


class FlowSpec(NamedTuple):
    """A flow's size."""

    layers: int = 4
    width: int = 64  # hidden units in each of two hidden layers of a layer's network


class Flow(NamedTuple):
    """Both directions of a map. context [..., c]: an extra input of its networks, or None.

    init:    (key, size, context_size) -> params.
    forward: (params, u [..., l], context) -> z [..., l], log |det dz/du| [...].
    inverse: (params, z [..., l], context) -> u [..., l], log |det du/dz| [...].
    """

    init: Callable[[Key[Array, ""], int, int], Networks]
    forward: Callable[[Networks, Array, Context], tuple[Array, LogDet]]
    inverse: Callable[[Networks, Array, Context], tuple[Array, LogDet]]


def bounded(raw: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A log scale from a network's output: bounded, and equal to the output near 0."""
    return MAX_LOG_SCALE * jnp.tanh(raw / MAX_LOG_SCALE)


def network_init(key: Key[Array, ""], size: int, context_size: int, width: int) -> Network:
    """A network with two hidden layers; per input, a shift and a log scale, both nearly 0."""
    keys = jax.random.split(key, 4)

    def dense(key: Key[Array, ""], inputs: int, outputs: int, scale: float) -> Layer:
        kernel = scale * jax.random.normal(key, (inputs, outputs)) / np.sqrt(max(inputs, 1))
        return {"kernel": kernel, "bias": jnp.zeros(outputs)}

    return {
        "hidden_0": dense(keys[0], size, width, 1.0),
        "hidden_1": dense(keys[1], width, width, 1.0),
        "output": dense(keys[2], width, 2 * size, 0.01),
        **({"context": dense(keys[3], context_size, width, 1.0)} if context_size else {}),
    }


def network_apply(
    params: Network, x: Float[Array, "*batch l"], context: Context, masks: Masks
) -> tuple[Float[Array, "*batch l"], Float[Array, "*batch l"]]:
    """(shift, bounded log scale), [..., l] each; `masks` are those of the three layers' kernels."""
    first, second, last = masks

    def affine(layer: Layer, h: Array, mask: Any) -> Array:
        return h @ (layer["kernel"] * mask) + layer["bias"].reshape((1,) * (h.ndim - 1) + (-1,))

    h = affine(params["hidden_0"], x, first)
    if context is not None:
        h = h + affine(params["context"], context, 1.0)
    h = jnp.tanh(h)
    h = jnp.tanh(affine(params["hidden_1"], h, second))
    shift, log_scale = jnp.split(affine(params["output"], h, last), 2, axis=-1)
    return shift, bounded(log_scale)


def layers_init(spec: FlowSpec) -> Callable[[Key[Array, ""], int, int], Networks]:
    """The `init` of a flow with one network in each layer."""

    def init(key: Key[Array, ""], size: int, context_size: int) -> Networks:
        keys = jax.random.split(key, spec.layers)
        return [network_init(k, size, context_size, spec.width) for k in keys]

    return init


UNMASKED = (1.0, 1.0, 1.0)  # the masks of a network that sees every input


@functools.cache
def coupling(spec: FlowSpec) -> Flow:
    """Affine couplings: a network of one half of the units scales and shifts the other half.

    z_a = u_a, z_b = u_b exp(s(u_a)) + t(u_a); the halves, even and odd units, swap roles in
    each layer. Both directions take one pass.

    References: Dinh, Sohl-Dickstein and Bengio 2017, equations 4, 5 and 7.
    """
    plain_init = layers_init(spec)

    def init(key: Key[Array, ""], size: int, context_size: int) -> Networks:
        if size < 2:
            raise ValueError("a coupling needs two halves: at least 2 latent units")
        return plain_init(key, size, context_size)

    def shift_and_log_scale(
        params: Network, x: Float[Array, "*batch l"], context: Context, layer: int
    ) -> tuple[Float[Array, "*batch l"], Float[Array, "*batch l"]]:
        """The shift and log scale of the half that a layer moves; 0 for the other half."""
        kept = (np.arange(x.shape[-1]) % 2 == layer % 2).astype(np.float32)
        kept = kept.reshape((1,) * (x.ndim - 1) + (-1,))
        shift, log_scale = network_apply(params, x * kept, context, UNMASKED)
        return shift * (1 - kept), log_scale * (1 - kept)

    def forward(
        params: Networks, u: Float[Array, "*batch l"], context: Context
    ) -> tuple[Float[Array, "*batch l"], LogDet]:
        log_det = jnp.zeros(u.shape[:-1])
        for layer, network in enumerate(params):
            shift, log_scale = shift_and_log_scale(network, u, context, layer)
            u = u * jnp.exp(log_scale) + shift
            log_det += jnp.sum(log_scale, axis=-1)
        return u, log_det

    def inverse(
        params: Networks, z: Float[Array, "*batch l"], context: Context
    ) -> tuple[Float[Array, "*batch l"], LogDet]:
        log_det = jnp.zeros(z.shape[:-1])
        for layer, network in reversed(list(enumerate(params))):
            shift, log_scale = shift_and_log_scale(network, z, context, layer)
            z = (z - shift) * jnp.exp(-log_scale)
            log_det -= jnp.sum(log_scale, axis=-1)
        return z, log_det

    return Flow(init, forward, inverse)


def autoregressive_masks(size: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks with which output i depends only on inputs before i (Germain et al. 2015, MADE)."""
    degrees = np.arange(width) % max(size - 1, 1)  # a hidden unit sees inputs 0 to its degree
    inputs = np.arange(size)
    first = inputs[:, None] <= degrees[None]
    second = degrees[:, None] <= degrees[None]
    last = np.tile(degrees[:, None] < inputs[None], (1, 2))
    if size == 1:  # nothing comes before the only unit
        first, last = np.zeros_like(first), np.zeros_like(last)
    return tuple(mask.astype(np.float32) for mask in (first, second, last))  # type: ignore[return-value]


def parallel(
    spec: FlowSpec, params: Networks, x: Float[Array, "*batch l"], context: Context
) -> tuple[Float[Array, "*batch l"], LogDet]:
    """x_i exp(s_i(x_<i)) + t_i(x_<i) in each layer; each layer reverses the order of units."""
    masks = autoregressive_masks(x.shape[-1], spec.width)
    log_det = jnp.zeros(x.shape[:-1])
    for network in params:
        shift, log_scale = network_apply(network, x, context, masks)
        x = (x * jnp.exp(log_scale) + shift)[..., ::-1]
        log_det += jnp.sum(log_scale, axis=-1)
    return x, log_det


def sequential(
    spec: FlowSpec, params: Networks, y: Float[Array, "*batch l"], context: Context
) -> tuple[Float[Array, "*batch l"], LogDet]:
    """The inverse of `parallel`, unit by unit: l passes through each layer's network."""
    size = y.shape[-1]
    masks = autoregressive_masks(size, spec.width)
    log_det = jnp.zeros(y.shape[:-1])
    for network in reversed(params):
        y = y[..., ::-1]

        def solve(
            x: Float[Array, "*batch l"],
            i: Int[Array, ""],
            network: Network = network,
            y: Float[Array, "*batch l"] = y,
        ) -> tuple[Float[Array, "*batch l"], None]:
            shift, log_scale = network_apply(network, x, context, masks)
            solution = (y - shift) * jnp.exp(-log_scale)
            is_unit = jnp.arange(size).reshape((1,) * (y.ndim - 1) + (-1,)) == i
            return jnp.where(is_unit, solution, x), None

        x, _ = jax.lax.scan(solve, jnp.zeros_like(y), jnp.arange(size))
        _, log_scale = network_apply(network, x, context, masks)
        y = x
        log_det -= jnp.sum(log_scale, axis=-1)
    return y, log_det


@functools.cache
def autoregressive(spec: FlowSpec) -> Flow:
    """The density takes one pass, a sample one pass per unit: suited to a prior.

    References: Papamakarios, Pavlakou and Murray 2017, equations 3 to 6.
    """
    return Flow(
        layers_init(spec),
        forward=functools.partial(sequential, spec),
        inverse=functools.partial(parallel, spec),
    )


@functools.cache
def inverse_autoregressive(spec: FlowSpec) -> Flow:
    """A sample takes one pass, the density one pass per unit: suited to a posterior.

    References: Kingma et al. 2016, equations 9 and 10, with affine, not gated steps.
    """
    init, forward, inverse = autoregressive(spec)
    return Flow(init, forward=inverse, inverse=forward)


def planar_forward(
    u_kbl: Float[Array, "k b l"], raw: Float[Array, "b raw"], layers: int
) -> tuple[Float[Array, "k b l"], Float[Array, "k b"]]:
    """z = u + v tanh(w . u + c) in each layer; each example has its own v, w, c (2 l + 1 numbers).

    v is moved along w until w . v > -1, so that a layer is invertible (except where |w| < 1e-3
    and |v| > 1e3); w is bounded, so that no product of large numbers overflows. Returns z and
    log |det dz/du|.

    References: Rezende and Mohamed 2015, equations 10 to 12 and appendix A.1.
    """
    b, size = u_kbl.shape[1:]
    log_det_kb = jnp.zeros(u_kbl.shape[:2])
    for layer in jnp.split(raw.reshape(b, layers, 2 * size + 1), layers, axis=1):
        v_bl, w_bl, c_b = layer[:, 0, :size], layer[:, 0, size : 2 * size], layer[:, 0, -1]
        w_bl = 10.0 * jnp.tanh(w_bl / 10.0)
        along_b = jnp.sum(w_bl * v_bl, axis=-1)
        wanted_b = -1 + jax.nn.softplus(along_b + INVERSE_SOFTPLUS_1)
        squared_b = jnp.sum(jnp.square(w_bl), axis=-1)
        # If w is 0, the layer is a shift and v is unchanged.
        step_b = jnp.where(squared_b > 0, wanted_b - along_b, 0.0) / jnp.maximum(squared_b, 1e-6)
        v_bl = v_bl + step_b[:, None] * w_bl
        bend_kb = jnp.tanh(jnp.sum(u_kbl * w_bl[None], axis=-1) + c_b[None])
        u_kbl = u_kbl + v_bl[None] * bend_kb[..., None]
        # 1 + (w . v) tanh', positive because w . v > -1.
        slope_kb = (1 - jnp.square(bend_kb)) * jnp.sum(w_bl * v_bl, axis=-1)[None]
        log_det_kb += jnp.log1p(jnp.maximum(slope_kb, -1 + 1e-6))
    return u_kbl, log_det_kb


INVERSE_SOFTPLUS_1 = float(np.log(np.expm1(1.0)))  # so that w . v = 0 stays 0

"""An autoregressive p(z) of discrete latents: each unit given those before it, by a small network
with causal attention (Vaswani et al. 2017)."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.errors import UserError
from vae_jax.probability.categorical import Book, fixed, index_of, vectors
from vae_jax.probability.distributions import Samples

HEADS = 4  # of the attention, where they divide the width
SMALL = 0.02  # the scale of the first embeddings
Weights = dict[str, Any]


def dense(key: Key[Array, ""], inputs: int, outputs: int) -> Weights:
    kernel = jax.random.normal(key, (inputs, outputs)) / math.sqrt(inputs)
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def linear(layer: Weights, h_ntw: Float[Array, "n t w"]) -> Float[Array, "n t v"]:
    return h_ntw @ layer["kernel"] + layer["bias"][None, None]


def normalised(h_ntw: Float[Array, "n t w"]) -> Float[Array, "n t w"]:
    """Of mean 0 and variance 1 at each position; the next layer has the scales."""
    away = h_ntw - jnp.mean(h_ntw, axis=-1, keepdims=True)
    return away * jax.lax.rsqrt(jnp.mean(jnp.square(away), axis=-1, keepdims=True) + 1e-6)


def attended(block: Weights, h_ntw: Float[Array, "n t w"]) -> Float[Array, "n t w"]:
    """Attention of each position to itself and those before."""
    n, length, width = h_ntw.shape
    heads = math.gcd(width, HEADS)
    parts = linear(block["attention"], h_ntw).reshape(n, length, 3, heads, -1)
    query, key, value = (parts[:, :, i] for i in range(3))
    scores = jnp.einsum("nthw,nshw->nhts", query, key) / math.sqrt(width // heads)
    is_before = jnp.tril(jnp.ones((length, length), bool))[None, None]
    weights = jax.nn.softmax(jnp.where(is_before, scores, -jnp.inf))
    mixed = jnp.einsum("nhts,nshw->nthw", weights, value).reshape(n, length, width)
    return linear(block["mixed"], mixed)


class CausalSize(NamedTuple):
    """A network from index [n, t] to logits [n, t, c], where those of a position depend on the
    indices before it."""

    layers: int
    width: int
    values: int
    length: int

    def init(self, key: Key[Array, ""]) -> Weights:
        """Its params: at first, all entries are equally probable."""
        keys, width = iter(jax.random.split(key, 3 + 4 * self.layers)), self.width
        start, entry, position = (
            SMALL * jax.random.normal(next(keys), shape)
            for shape in ((1, 1, width), (self.values, width), (1, self.length, width))
        )
        blocks = [
            {
                "attention": dense(next(keys), width, 3 * width),
                "mixed": dense(next(keys), width, width),
                "inner": dense(next(keys), width, 4 * width),
                "outer": dense(next(keys), 4 * width, width),
            }
            for _ in range(self.layers)
        ]
        output = {"kernel": jnp.zeros((width, self.values)), "bias": jnp.zeros(self.values)}
        ends = {"start": start, "entry": entry, "position": position, "output": output}
        return ends | {"blocks": blocks}

    def logits(self, params: Weights, index_nt: Int[Array, "n t"]) -> Float[Array, "n t c"]:
        start = jnp.broadcast_to(params["start"], (len(index_nt), 1, self.width))
        h_ntw = jnp.concatenate([start, params["entry"][index_nt[:, :-1]]], axis=1)
        h_ntw += params["position"]
        for block in params["blocks"]:
            h_ntw += attended(block, normalised(h_ntw))
            inner = jax.nn.gelu(linear(block["inner"], normalised(h_ntw)))
            h_ntw += linear(block["outer"], inner)
        return linear(params["output"], normalised(h_ntw))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Causal:
    """p(z) = prod_t p(entry t | entries before it)."""

    params: Any
    book: Book
    temperature: Any  # the logits are divided by it
    size: CausalSize = field(metadata={"static": True})
    batch_size: int = field(metadata={"static": True})

    def log_probs(self, index: Int[Array, "*batch t"]) -> Float[Array, "*batch t c"]:
        """Of each entry, given those before it in `index`."""
        flat = index.reshape(-1, self.size.length)
        logits = self.size.logits(self.params, flat)
        log_probs = jax.nn.log_softmax(logits / self.temperature)
        return log_probs.reshape(*index.shape, self.size.values)

    def log_prob_by_unit(self, index: Int[Array, "*batch t"]) -> Float[Array, "*batch t"]:
        return jnp.take_along_axis(self.log_probs(index), index[..., None], axis=-1)[..., 0]

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        """Samples, one entry after another."""

        def add(t: Any, index_nt: Int[Array, "n t"]) -> Int[Array, "n t"]:
            log_probs_nc = self.log_probs(index_nt)[:, t]
            own = jax.random.fold_in(jax.random.clone(key), t)
            return index_nt.at[:, t].set(jax.random.categorical(own, log_probs_nc))

        empty = jnp.zeros((k * self.batch_size, self.size.length), int)
        index_kbt = jax.lax.fori_loop(0, self.size.length, add, empty)
        index_kbt = index_kbt.reshape(k, self.batch_size, -1)
        z_kbl = fixed(vectors(self.book, index_kbt, self.size.values))
        return z_kbl, jnp.sum(self.log_prob_by_unit(index_kbt), axis=-1)

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        index_kbt = index_of(self.book, z_kbl, self.size.values)
        return jnp.sum(self.log_prob_by_unit(index_kbt), axis=-1)

    def cooled(self, temperature: Any) -> "Causal":
        return replace(self, temperature=self.temperature * temperature)

    def mean(self) -> Float[Array, "1 b l"]:
        """Raises UserError: it is a sum over all z."""
        raise UserError(
            "an autoregressive p(z) of entries has no mean that can be computed; take samples"
        )

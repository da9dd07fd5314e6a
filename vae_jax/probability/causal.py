"""An autoregressive p(z) of discrete latents: each unit given those before it, by a small network
with causal attention (Vaswani et al. 2017)."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vae_jax.errors import UserError
from vae_jax.probability.categorical import Book, fixed, index_of, vectors
from vae_jax.probability.distributions import Samples

HEADS = 4  # of the attention, where they divide the width
INIT = nn.initializers.normal(0.02)


class Block(nn.Module):
    """Attention to the positions before, and an MLP."""

    width: int

    @nn.compact
    def __call__(self, h_ntw: Float[Array, "n t w"]) -> Float[Array, "n t w"]:
        mask = nn.make_causal_mask(jnp.ones(h_ntw.shape[:2]))
        heads = math.gcd(self.width, HEADS)
        h_ntw += nn.MultiHeadDotProductAttention(heads)(nn.LayerNorm()(h_ntw), mask=mask)
        inner = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(h_ntw)))
        return h_ntw + nn.Dense(self.width)(inner)


class CausalNetwork(nn.Module):
    """index [n, t] -> logits [n, t, c]: those of a position depend on the indices before it.

    Before training, all entries are equally probable.
    """

    layers: int
    width: int
    values: int

    @nn.compact
    def __call__(self, index_nt: Int[Array, "n t"]) -> Float[Array, "n t c"]:
        n, length = index_nt.shape
        start = self.param("start", INIT, (1, 1, self.width))
        h_ntw = nn.Embed(self.values, self.width, embedding_init=INIT)(index_nt[:, :-1])
        h_ntw = jnp.concatenate([jnp.broadcast_to(start, (n, 1, self.width)), h_ntw], axis=1)
        h_ntw += self.param("position", INIT, (1, length, self.width))
        for _ in range(self.layers):
            h_ntw = Block(self.width)(h_ntw)
        return nn.Dense(self.values, kernel_init=nn.initializers.zeros)(nn.LayerNorm()(h_ntw))


class CausalSize(NamedTuple):
    """The size of a network, and the number of its positions."""

    layers: int
    width: int
    values: int
    length: int

    def init(self, key: Key[Array, ""]) -> Any:
        return self.network().init(key, jnp.zeros((1, self.length), int))["params"]

    def network(self) -> CausalNetwork:
        return CausalNetwork(self.layers, self.width, self.values)


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
        logits: Any = self.size.network().apply({"params": self.params}, flat)
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

"""Distributions of discrete latents.

A unit of z is one of c entries: a vector [w] of a book of entries [s, c, w], or, without a book,
one-hot [c]. Of a book of several stages, a unit is the sum of an entry of each. `index` [..., t]
are the numbers of the entries, t = l * s: those of a unit's stages beside one another.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax import threefry
from vae_jax.probability import gaussian
from vae_jax.probability.distributions import Samples

Book = Float[Array, "s c w"] | None
Index = Int[Array, "*batch t"]
fixed = jax.lax.stop_gradient


def unit_gumbel(
    key: Key[Array, ""], shape: tuple[int, ...], size: int, values: int
) -> Float[Array, "*shape size values"]:
    """Gumbel noise whose unit j depends on (key, j) alone, not on `size`."""
    keys_l = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(size))
    bits = jax.vmap(lambda k: threefry.bits(k, (*shape, values)))(keys_l)
    one_to_two = jax.lax.bitcast_convert_type(bits >> np.uint32(9) | np.uint32(0x3F800000), float)
    uniform = jnp.maximum(one_to_two.astype(jnp.float32) - 1.0, np.finfo(np.float32).tiny)
    return jnp.moveaxis(-jnp.log(-jnp.log(uniform)), 0, -2)


def vectors(book: Book, index: Index, values: int) -> Float[Array, "*batch z"]:
    """z of these entries, the units concatenated."""
    if book is None:
        z = jax.nn.one_hot(index, values)
    else:
        index = index.reshape(*index.shape[:-1], -1, len(book))
        z = sum(entries_cw[index[..., s]] for s, entries_cw in enumerate(book))
    return z.reshape(*z.shape[:-2], -1)


def nearest(entries_cw: Float[Array, "c w"], h: Float[Array, "*batch w"]) -> Int[Array, "*batch"]:
    """The number of the entry at the smallest distance."""
    # |h|^2 is the same for all entries.
    products = h.reshape(-1, h.shape[-1]) @ entries_cw.T
    distances = jnp.sum(jnp.square(entries_cw), axis=-1)[None] - 2 * products
    return jnp.argmin(distances, axis=-1).reshape(h.shape[:-1])


def index_of(book: Book, z: Float[Array, "*batch z"], values: int) -> Index:
    """The entries of z, the inverse of `vectors`; of several stages, it is not known."""
    if book is None:
        return jnp.argmax(z.reshape(*z.shape[:-1], -1, values), axis=-1)
    assert len(book) == 1, "the entries of a sum are not known"
    return nearest(fixed(book[0]), z.reshape(*z.shape[:-1], -1, book.shape[-1]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Categorical:
    """Each unit one of c entries, independently of the others."""

    logits_btc: Float[Array, "b t c"]  # b: 1, or the batch
    mask_l: Float[Array, " l"] | None = None
    book: Book = None
    batch_size: int = field(default=0, metadata={"static": True})  # 0: that of the logits

    scale = None

    @property
    def log_probs_btc(self) -> Float[Array, "b t c"]:
        log_probs = jax.nn.log_softmax(self.logits_btc)
        return jnp.broadcast_to(
            log_probs, (self.batch_size or len(log_probs), *log_probs.shape[1:])
        )

    def noisy(self, key: Key[Array, ""], k: int) -> Float[Array, "k b t c"]:
        """log probabilities + Gumbel noise; the largest is a sample (Maddison et al. 2014)."""
        log_probs = self.log_probs_btc
        batch_size, size, values = log_probs.shape
        return log_probs[None] + unit_gumbel(key, (k, batch_size), size, values)

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        """Exact samples, which have no gradient."""
        index_kbt = jnp.argmax(fixed(self.noisy(key, k)), axis=-1)
        z_kbl = fixed(vectors(self.book, index_kbt, self.logits_btc.shape[-1]))
        return z_kbl, self.log_prob_of(index_kbt)

    def relaxed(
        self, key: Key[Array, ""], k: int, temperature: Any, *, hard: bool
    ) -> Float[Array, "k b l"]:
        """softmax((log probabilities + Gumbel noise) / temperature); of one-hot units.

        hard: the values are those of `sample` with this key, the gradient that of the relaxed ones.

        References: Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017.
        """
        noisy = self.noisy(key, k)
        soft = jax.nn.softmax(noisy / temperature)
        if hard:
            one_hot = jax.nn.one_hot(jnp.argmax(noisy, axis=-1), noisy.shape[-1])
            soft = fixed(one_hot) + (soft - fixed(soft))
        return soft.reshape(*soft.shape[:2], -1)

    def every(self) -> Float[Array, "k b l"]:
        """All values of z, c^t of them; of one-hot units."""
        batch_size, size, values = self.log_probs_btc.shape
        index_kt = np.stack(np.unravel_index(np.arange(values**size), (values,) * size), axis=-1)
        z_kl = vectors(None, jnp.asarray(index_kt), values)
        return jnp.broadcast_to(z_kl[:, None], (len(z_kl), batch_size, z_kl.shape[-1]))

    def log_prob_of(self, index: Int[Array, "k b t"]) -> Float[Array, "k b"]:
        """log probability of the entries, nats."""
        return gaussian.sum_units(self.log_prob_by_unit(index), self.mask_l)

    def log_prob_by_unit(self, index: Int[Array, "k b t"]) -> Float[Array, "k b t"]:
        log_probs = jnp.broadcast_to(
            self.log_probs_btc[None], (*index.shape, self.logits_btc.shape[-1])
        )
        return jnp.take_along_axis(log_probs, index[..., None], axis=-1)[..., 0]

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        """log probability of z, which should be entries: of anything else it means nothing."""
        return self.log_prob_of(index_of(self.book, z_kbl, self.logits_btc.shape[-1]))

    def cooled(self, temperature: Any) -> "Categorical":
        return replace(self, logits_btc=self.logits_btc / temperature)

    def mean(self) -> Float[Array, "1 b l"]:
        """Of one-hot units, the probabilities."""
        probs_btc = jnp.exp(self.log_probs_btc)
        if self.book is None:
            return probs_btc.reshape(1, len(probs_btc), -1)
        probs = probs_btc.reshape(len(probs_btc), -1, *self.book.shape[:2])
        return jnp.einsum("blsc,scw->blw", probs, self.book).reshape(1, len(probs_btc), -1)

    def centre(self) -> Float[Array, "1 b l"]:
        """The most probable entries."""
        index = jnp.argmax(self.log_probs_btc, axis=-1)
        return fixed(vectors(self.book, index, self.logits_btc.shape[-1]))[None]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quantized:
    """The code of each encoding: q(z | x) has probability 1 at it."""

    h_bl: Float[Array, "b l"]  # the encodings; their gradient is that of z (straight-through)
    index_bt: Int[Array, "b t"]
    book: Float[Array, "s c w"]

    log_prob = None
    scale = None

    def mean(self) -> Float[Array, "1 b l"]:
        """z, with the gradient of the identity (van den Oord et al. 2017, section 3.2)."""
        z_bl = vectors(self.book, self.index_bt, self.book.shape[1])
        return (self.h_bl + fixed(z_bl - self.h_bl))[None]

    def sample(self, key: Key[Array, ""], k: int) -> Samples:
        z_kbl = jnp.broadcast_to(self.mean(), (k, *self.h_bl.shape))
        return z_kbl, jnp.zeros(z_kbl.shape[:2])


def kl_of_categoricals(q: Categorical, p: Categorical) -> Float[Array, "1 b l"]:
    """sum_c q_c (log q_c - log p_c) of each unit."""
    log_q, log_p = q.log_probs_btc, p.log_probs_btc
    kl_bt = jnp.sum(jnp.exp(log_q) * (log_q - log_p), axis=-1)
    return gaussian.masked(kl_bt, q.mask_l)[None]


def kl_of_code(q: Quantized, p: Any) -> Float[Array, "1 b l"]:
    """-log p(z) of each unit, given those before it; log q(z | x) is 0."""
    log_p_bt = p.log_prob_by_unit(q.index_bt[None])[0]
    return -jnp.sum(log_p_bt.reshape(len(log_p_bt), -1, len(q.book)), axis=-1)[None]

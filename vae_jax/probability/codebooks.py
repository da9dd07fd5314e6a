"""Posteriors that are one code of a book: learned (vq), or a fixed grid (fsq)."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax.probability.categorical import Quantized, fixed, nearest
from vae_jax.probability.interface import Heads, Mask, Outputs, Params, Posterior
from vae_jax.sections.checks import no_effect, number, several, whole
from vae_jax.sections.declare import choice, section, static, traced

RULES = {
    "average": "moving averages of the encodings that are nearest to each entry",
    "gradient": "the gradient of the squared distance from them",
}
LEAST = 1e-20  # of a count: below, an entry stays where it is


def use_of(index_bt: Int[Array, "b t"], stages: int, values: int) -> Float[Array, "s c"]:
    """The share of each entry in the codes, by stage."""
    index_ns = index_bt.reshape(-1, stages)
    counts = [jnp.zeros(values).at[index_ns[:, s]].add(1.0) for s in range(stages)]
    return jnp.stack(counts) / len(index_ns)


def perplexity(use_sc: Float[Array, "s c"]) -> Float[Array, ""]:
    """exp of the entropy of the use: the number of entries in use, if all were used alike.

    Of several stages, the mean over them.
    """
    entropy_s = -jnp.sum(jax.scipy.special.xlogy(use_sc, use_sc), axis=-1)
    return jnp.mean(jnp.exp(entropy_s))


class Codebook(Posterior):
    """What both have."""

    distribution_type: ClassVar = Quantized
    has_density: ClassVar = False
    is_code: ClassVar = True
    support: ClassVar = "discrete"
    notes: ClassVar = ("perplexity", "codes_used")

    def note(self, q: Quantized) -> dict[str, Float[Array, ""]]:
        """Of the codes of a minibatch: the perplexity of their use, and the share of the entries
        that are used."""
        use_sc = use_of(q.index_bt, *q.book.shape[:2])
        return {"perplexity": perplexity(use_sc), "codes_used": jnp.mean(use_sc > 0)}


@section
class VectorQuantized(Codebook):
    """Each unit is the nearest of the learned entries of a book (van den Oord et al. 2017).

    The gradient goes straight through to the encoder, which is drawn to the entries by
    commitment * |h - entry|^2. With several stages, each codes what those before it leave
    (residual quantisation: Lee et al. 2022).
    """

    entries: int = static(64, whole(2), "entries of the book", key="codebook.entries")
    unit_size: int = static(16, whole(1), "numbers of each entry", key="codebook.width")
    stages: int = static(1, whole(1), "books, each for what is left", key="codebook.stages")
    commitment: float = traced(
        0.25,
        number(0),
        "weight of the squared distance of encodings from entries",
        key="codebook.commitment",
    )
    rule: str = choice(RULES, "average", "how the book is learned", key="codebook.rule")
    decay: float = traced(
        0.99,
        number(0, 1, open_high=True),
        "decay of the moving averages",
        key="codebook.decay",
    )
    restart_below: float = traced(
        0.03,
        number(0, 1),
        "an entry used less than this part of an even share starts anew at an encoding; 0: never",
        key="codebook.restart_below",
    )

    @property
    def values(self) -> tuple[int, int]:
        return self.stages, self.entries

    def heads(self, latent_size: int) -> Heads:
        return (("mean", latent_size * self.unit_size),)

    def init(self, key: Key[Array, ""], latent_size: int) -> Params:
        return {} if self.rule == "average" else {"book": self.first_book(key)}

    def init_stats(self, key: Key[Array, ""], latent_size: int) -> Params | None:
        if self.rule != "average":
            return None
        book = self.first_book(key)
        count = jnp.ones((*book.shape[:2], 1))
        return {"book": book, "count": count, "total": book}

    def first_book(self, key: Key[Array, ""]) -> Float[Array, "s c w"]:
        return jax.random.normal(key, (self.stages, self.entries, self.unit_size))

    def book_of(self, params: Params) -> Float[Array, "s c w"]:
        return params["book"]

    def by_stage(
        self, book: Float[Array, "s c w"], h_nw: Float[Array, "n w"]
    ) -> Iterator[tuple[Float[Array, "n w"], Int[Array, " n"]]]:
        """What each stage codes, and the entries that it takes."""
        for entries_cw in fixed(book):
            index_n = nearest(entries_cw, fixed(h_nw))
            yield h_nw, index_n
            h_nw = h_nw - entries_cw[index_n]

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> Quantized:
        h_bl, book = outputs["mean"], params["book"]
        found = self.by_stage(book, h_bl.reshape(-1, self.unit_size))
        index_ns = jnp.stack([index_n for _, index_n in found], axis=-1)
        return Quantized(h_bl, index_ns.reshape(len(h_bl), -1), book)

    def losses_of(self, q: Quantized) -> dict[str, Float[Array, " b"]]:
        """commitment * |h - fixed entry|^2, summed over units and stages; with "gradient", also
        |fixed h - entry|^2 (van den Oord et al. 2017, equation 3)."""
        h_nw, total_n = q.h_bl.reshape(-1, self.unit_size), jnp.float32(0)
        for entries_cw, (left_nw, index_n) in zip(q.book, self.by_stage(q.book, h_nw), strict=True):
            away_n = jnp.sum(jnp.square(left_nw - fixed(entries_cw[index_n])), axis=-1)
            total_n += self.commitment * away_n
            if self.rule == "gradient":
                total_n += jnp.sum(jnp.square(fixed(left_nw) - entries_cw[index_n]), axis=-1)
        return {"commitment": jnp.sum(total_n.reshape(len(q.h_bl), -1), axis=-1)}

    def update(self, stats: Params, q: Quantized) -> Params:
        """The averages after a minibatch, then restarts, which the averages would undo.

        The entries that are used too little start anew at encodings: rows of the minibatch, whose
        order is random.
        """
        h_nw, stages = fixed(q.h_bl).reshape(-1, self.unit_size), []
        for s, (left_nw, index_n) in enumerate(self.by_stage(q.book, h_nw)):
            own = {name: stats[name][s] for name in ("book", "count", "total")}
            stages.append(self.averaged(own, left_nw, index_n))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *stages)

    def averaged(self, own: Params, h_nw: Float[Array, "n w"], index_n: Int[Array, " n"]) -> Params:
        """The averages of one stage."""
        n, size, keep = len(h_nw), self.entries, self.decay
        used_c1 = jnp.zeros((size, 1)).at[index_n].add(1.0)
        summed_cw = jnp.zeros((size, self.unit_size)).at[index_n].add(h_nw)
        count_c1 = keep * own["count"] + (1 - keep) * used_c1
        total_cw = keep * own["total"] + (1 - keep) * summed_cw
        is_unused_c1 = count_c1 < self.restart_below * n / size
        rows_c = (jnp.cumsum(is_unused_c1[:, 0]) * max(1, n // size)) % n
        count_c1 = jnp.where(is_unused_c1, n / size, count_c1)
        total_cw = jnp.where(is_unused_c1, h_nw[rows_c] * count_c1, total_cw)
        is_known_c1 = count_c1 > LEAST
        book = jnp.where(is_known_c1, total_cw / jnp.where(is_known_c1, count_c1, 1), own["book"])
        return {"book": book, "count": count_c1, "total": total_cw}

    @property
    def losses(self) -> tuple[str, ...]:
        return ("commitment",)

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        if self.rule == "gradient":
            for key, value, usual in (
                ("decay", self.decay, 0.99),
                ("restart_below", self.restart_below, 0.03),
            ):
                if value != usual:
                    yield no_effect(
                        f"model.codebook.{key}", value, "model.codebook.rule", "'gradient'"
                    )


def as_row(numbers: np.ndarray) -> Float[np.ndarray, "1 1 w"]:
    return np.asarray(numbers, np.float32)[None, None]


def level(key: str, value: Any) -> int:
    """A number of levels: with two, the gradient of an even number of levels is nearly 0."""
    return whole(3)(key, value)


@section
class FiniteScalar(Codebook):
    """Each number of a unit is rounded to one of a few levels: the entries are all combinations.

    There is nothing to learn in the book (finite scalar quantisation: Mentzer et al. 2023).
    """

    levels: tuple[int, ...] = static(
        (8, 5, 5, 5), several(level), "of each number of a unit", key="levels"
    )

    @property
    def unit_size(self) -> int:
        return len(self.levels)

    @property
    def values(self) -> tuple[int, int]:
        return 1, math.prod(self.levels)

    def heads(self, latent_size: int) -> Heads:
        return (("mean", latent_size * self.unit_size),)

    def book_of(self, params: Params) -> Float[Array, "1 c w"]:
        """All entries, each number within -1 to 1; the last number changes fastest."""
        index = np.stack(np.unravel_index(np.arange(self.values[1]), self.levels), axis=-1)
        half = np.array(self.levels) // 2
        return jnp.asarray((index - half) / half, jnp.float32)[None]

    def distribution(self, params: Params, outputs: Outputs, mask_l: Mask = None) -> Quantized:
        """Bounds the encodings, and rounds them (Mentzer et al. 2023, section 3.1)."""
        levels = np.array(self.levels)
        half = levels // 2
        # A little beyond the last level, so that its gradient is not 0 there.
        reach = (levels - 1) * (1 + 1e-3) / 2
        offset = np.where(levels % 2 == 0, 0.5, 0.0)  # an even number has one level more below 0
        h_bl = outputs["mean"]
        h_blw = h_bl.reshape(len(h_bl), -1, self.unit_size)
        shift = np.arctanh(offset / reach)
        h_blw = jnp.tanh(h_blw + as_row(shift)) * as_row(reach) - as_row(offset)
        whole_blw = fixed(jnp.round(h_blw) + as_row(half)).astype(jnp.int32)
        steps = np.append(np.cumprod(levels[::-1])[::-1][1:], 1).astype(np.int32)
        index_bl = jnp.sum(whole_blw * steps[None, None], axis=-1)
        h_bl = (h_blw / as_row(half)).reshape(h_bl.shape)
        return Quantized(h_bl, index_bl, self.book_of(params))

    def needs(self, config: Any) -> Iterator[str]:
        if not self.levels or self.values[1] > 2**16:
            yield (
                f"model.levels = {self.levels} gives {self.values[1]:,} entries; it should give 3 "
                f"to {2**16:,}"
            )

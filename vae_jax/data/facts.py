"""Facts of stored images that take a pass over all of them: found once, in blocks, and kept."""

import json
import math
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from vae_jax import files

IN_CACHE = 65_536  # numbers that are converted at a time


class Facts(NamedTuple):
    """Of images [n, d], as a file holds them."""

    low: float
    high: float
    darkest: float  # the least maximum of an image that is not all 0; inf: all are
    bits: bool  # whether every value is 0 or 1
    ends: bool  # whether every value is 0 or 255
    whole: bool  # whether every value is a whole number
    finite: bool
    sums: Float[np.ndarray, " d"]  # of the deviations from `origin`
    squares: float  # the sum of all squared deviations


def origin(first_d: Shaped[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """What deviations are measured from: 0 of whole numbers, whose sums are exact in float64.

    Of floats the first image: the sum of squares of numbers far from 0 would leave no digits.
    """
    return first_d.astype(float) if first_d.dtype.kind == "f" else np.zeros(first_d.shape)


def moments(
    blocks: Iterable[Shaped[np.ndarray, "b d"]], origin_d: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, " d"], float]:
    """The sums [d] of the deviations from the origin, and the sum of all their squares."""
    sums, squares = np.zeros(origin_d.shape), 0.0
    rows = max(1, IN_CACHE // len(origin_d))
    for block in blocks:
        for start in range(0, len(block), rows):
            deviations = block[start : start + rows].astype(float)
            deviations -= origin_d
            sums += deviations.sum(axis=0)
            # Not a dot product: the threads of a busy machine make it a hundred times slower.
            squares += float(np.einsum("ij,ij->", deviations, deviations))
    return sums, squares


def found(blocks: Iterable[Shaped[np.ndarray, "b d"]], origin_d: Float[np.ndarray, " d"]) -> Facts:
    """The facts of images that come in blocks: booleans, uint8 or float32."""
    low, high, darkest = math.inf, -math.inf, math.inf
    bits = ends = whole = finite = True
    sums, squares = np.zeros(origin_d.shape), 0.0
    with np.errstate(all="ignore"):  # of values that are not finite, which are refused
        for block in blocks:
            highest = block.max(axis=1).astype(float)
            low, high = min(low, float(block.min())), max(high, float(highest.max()))
            darkest = min(darkest, float(np.min(highest, where=highest > 0, initial=math.inf)))
            bits = bits and bool(((block == 0) | (block == 1)).all())
            ends = ends and bool(((block == 0) | (block == 255)).all())
            if block.dtype.kind == "f":
                finite = finite and bool(np.isfinite(block).all())
                whole = whole and finite and not (block % 1).any()
            more = moments([block], origin_d)
            sums, squares = sums + more[0], squares + more[1]
    return Facts(low, high, darkest, bits, ends, whole, finite, sums, squares)


def facts_file(key: str) -> Path | None:
    """Where the facts are kept of what has this key; None: there is no cache folder."""
    folder = files.user_cache()
    return None if folder is None else folder / "facts" / f"{sha256(key.encode()).hexdigest()}.json"


def kept_facts(path: Path, size: int) -> Facts | None:
    """Facts that were kept, of images [n, size]; None: there are none, or they are damaged."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
        entries: dict[str, Any] = {
            **{name: float(kept[name]) for name in ("low", "high", "darkest", "squares")},
            **{name: bool(kept[name]) for name in ("bits", "ends", "whole", "finite")},
            "sums": np.array(kept["sums"], float),
        }
        facts = Facts(**entries)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return facts if facts.sums.shape == (size,) else None


def keep_facts(path: Path, facts: Facts) -> None:
    """Keeps the facts. What is not finite is refused, and not kept."""
    if facts.finite and math.isfinite(facts.darkest):
        path.parent.mkdir(exist_ok=True)
        files.write_text(path, json.dumps(facts._asdict() | {"sums": facts.sums.tolist()}))

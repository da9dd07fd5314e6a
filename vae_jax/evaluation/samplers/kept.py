"""Fitted samplers in a run folder: one file of all lanes for each sampler."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax import files
from vae_jax.evaluation.samplers import SAMPLERS
from vae_jax.evaluation.samplers.interface import Fitted, Sampler, like

ABOUT = "about"  # the name of the entry that says what it is


class Kept(NamedTuple):
    """A sampler, and what was fitted in each lane."""

    sampler: Sampler
    fitted: list[Fitted]


def checksum(codes: np.ndarray) -> str:
    """Of the codes of all lanes, which a sampler is fitted to."""
    digest = hashlib.sha256(f"{codes.dtype.str}{codes.shape}".encode())
    digest.update(np.ascontiguousarray(codes).data)
    return digest.hexdigest()[:16]


def path_of(folder: Path, name: str) -> Path:
    return folder / f"sampler_{name}.npz"


def names(folder: Path) -> tuple[str, ...]:
    """The samplers that are there."""
    return tuple(name for name in SAMPLERS if path_of(folder, name).exists())


def about(sampler: Sampler, codes: np.ndarray, sizes: Sequence[int]) -> dict[str, Any]:
    """What has to be equal for a sampler to be read again."""
    numbers = dataclasses.asdict(sampler)  # type: ignore[call-overload]
    return {"numbers": numbers, "codes": checksum(codes), "sizes": list(sizes)}


def write(
    folder: Path, name: str, sampler: Sampler, codes: np.ndarray, fitted: Sequence[Fitted]
) -> None:
    """Writes what was fitted to the codes [lanes, n, l]: completely, or not at all."""
    sizes = [len(lane.centre_l) for lane in fitted]
    arrays = {ABOUT: np.array(json.dumps(about(sampler, codes, sizes)))}
    for i, lane in enumerate(fitted):
        arrays |= {f"{i}{path}": leaf for path, leaf in named(lane)}
    folder.mkdir(exist_ok=True)
    files.write_npz(path_of(folder, name), arrays)


def named(tree: Any) -> list[tuple[str, Any]]:
    """Each leaf with its place in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def read(folder: Path, name: str, codes: np.ndarray, sampler: Sampler | None = None) -> Kept | None:
    """What was fitted to these codes; None: nothing, or by other numbers.

    sampler: with these numbers; None: with any.
    """
    path = path_of(folder, name)
    if not zipfile.is_zipfile(path):
        return None
    with np.load(path) as file:
        found = json.loads(str(file[ABOUT]))
        own = SAMPLERS[name](**found["numbers"])
        if found["codes"] != checksum(codes) or (sampler is not None and sampler != own):
            return None
        lanes = [
            jax.tree.map(lambda leaf: file[leaf], labelled(own, i, size))
            for i, size in enumerate(found["sizes"])
        ]
    return Kept(own, lanes)


def labelled(sampler: Sampler, lane: int, size: int) -> Fitted:
    """The names of a lane's leaves in the file, in the tree that they are from."""
    shapes = like(sampler, size)
    paths = [f"{lane}{path}" for path, _ in named(shapes)]
    return jax.tree.unflatten(jax.tree.structure(shapes), paths)

"""Image files that stay on disk: decoded once, into .npy files in the user's cache folder."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax import files
from vae_jax.data.cached import made_once, refuse_full_disk, write_header
from vae_jax.data.own.npy_folder import TEST, TRAIN, read_npy
from vae_jax.data.own.pixels import (
    ImageFile,
    Scale,
    Survey,
    far_too_large_is_an_error,
    look_at,
    look_of,
    open_in_a_thread,
    pixels,
    pixels_of,
    refuse_other_depth,
    refuse_other_size,
    said_of_files,
    survey_of,
)
from vae_jax.data.stored import open_stored
from vae_jax.errors import UserError
from vae_jax.words import count

VERSION = 1  # of how files become pixels: others are decoded anew
BLOCK_BYTES = 32_000_000  # of images that are decoded and then written
PIECE = 32  # files that a thread decodes at a time
ABOUT = "about.json"


class Decoded(NamedTuple):
    """The images of a folder."""

    train_images: Any  # an array, or a Stored
    test_images: np.ndarray
    transparent: int  # how many have transparent pixels
    survey: Survey


class Seen(NamedTuple):
    """What was seen of some files while they were decoded."""

    transparent: int = 0
    many: tuple[ImageFile, ...] = ()  # of several pages
    cut: tuple[ImageFile, ...] = ()  # with colours of 16 bits
    high: int = 0
    is_grey: bool = True

    def and_of(self, other: "Seen") -> "Seen":
        return Seen(
            self.transparent + other.transparent,
            self.many + other.many,
            self.cut + other.cut,
            max(self.high, other.high),
            self.is_grey and other.is_grey,
        )


def key_of(folder: Path, paths: Sequence[Path], num_train: int, size: Sequence[Any]) -> str:
    """A name for what the files become: by their names, sizes and times, and what is made of them.

    Their contents are not read.
    """
    digest = sha256(json.dumps([VERSION, num_train, list(size)]).encode())
    for path in paths:
        stat = path.stat()
        name = str(path).removeprefix(str(folder)).replace(os.sep, "/")
        digest.update(f"{name}\n{stat.st_size} {stat.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()


def read_decoded(
    key: str, paths: Sequence[ImageFile], num_train: int, size: Sequence[int], how: str
) -> Decoded:
    """The images of the files: the first `num_train` stay on disk, and the others are read.

    They are decoded unless the cache has them.

    Args:
      key: of the files and what is made of them.
      size: (height, width) that all are cut to; (): they are taken as they are.
      how: what the user can give so that all have one size.

    Raises:
      UserError: a file can't be read, or differs in size or depth; there is no cache folder, or its
        disk is too full.
    """
    return made_once(
        key,
        f"decoding {count(len(paths), 'image')}",
        lambda into: opened(into, key, num_train, len(paths)),
        lambda into: decode(paths, num_train, size, how, into),
    )


def opened(into: Path, key: str, num_train: int, total: int) -> Decoded | None:
    """What a folder of the cache holds; None: there is none, or it is damaged."""
    try:
        about = json.loads((into / ABOUT).read_text())
        stored = open_stored(into / f"{TRAIN}.npy", "images", key)
        test_images = read_npy(into, TEST)
        if (len(stored), len(test_images)) != (num_train, total - num_train):
            return None
        survey = Survey([], Scale(about["depth"]), about["notes"], about["left_out"])
        return Decoded(stored, test_images, about["transparent"], survey)
    except (OSError, UserError, ValueError, TypeError, KeyError):
        return None


def decode(
    paths: Sequence[ImageFile], num_train: int, size: Sequence[int], how: str, into: Path
) -> None:
    """Decodes the files into the .npy files of a folder, with what was seen beside them."""
    survey = None
    if look_at(paths[0]).depth != "8 bits":  # the values of all files decide the scale
        survey = survey_of(list(paths))
    scale = survey.scale if survey else Scale("8 bits")
    first, _ = pixels(paths[0], size, scale)
    what = f"{count(len(paths), 'image')} of {first.shape[0]} x {first.shape[1]} pixels"
    refuse_full_disk(into, len(paths) * first.nbytes, what)
    seen = Seen()
    sets = {TRAIN: paths[:num_train], TEST: paths[num_train:]}
    with contextlib.ExitStack() as stack:
        stack.enter_context(far_too_large_is_an_error())
        pool = ThreadPoolExecutor()
        stack.callback(pool.shutdown, cancel_futures=True)
        for name, own in sets.items():
            file = stack.enter_context(open(into / f"{name}.npy", "wb"))
            write_header(file, (len(own), *first.shape), first.dtype)
            for block, of_block in blocks_of(pool, own, first, size, scale, paths[0], how):
                file.write(block.data)
                seen = seen.and_of(of_block)
    notes, left_out = said_of_files(seen.many, seen.cut)
    if survey is None:
        Scale("8 bits", cut=seen.cut[0] if seen.cut else None).refuse_dark(np.array(seen.high))
    else:
        notes, left_out = survey.notes, survey.left_out
    if seen.is_grey and first.shape[-1] > 1:
        for name in (TRAIN, TEST):
            make_grey(into / f"{name}.npy")
    about = {
        "depth": scale.depth,
        "notes": notes,
        "left_out": left_out,
        "transparent": seen.transparent,
    }
    files.write_json(into / ABOUT, about)


def blocks_of(
    pool: ThreadPoolExecutor,
    paths: Sequence[ImageFile],
    first: np.ndarray,
    size: Sequence[int],
    scale: Scale,
    first_path: ImageFile,
    how: str,
) -> Iterator[tuple[np.ndarray, Seen]]:
    """The images of the files in turn, many at a time, with what was seen of them."""

    def piece(block: np.ndarray, own: Sequence[ImageFile]) -> Seen:
        transparent, many, cut = 0, [], []
        for row, path in zip(block, own, strict=True):
            with open_in_a_thread(path) as image:
                look = look_of(image)
                refuse_other_depth(first_path, scale.depth, path, look.depth)
                image_hwc, is_transparent = pixels_of(image, size, scale)
            refuse_other_size(first_path, first.shape, path, image_hwc.shape, how)
            row[:] = image_hwc
            transparent += is_transparent
            many += [path] * (look.pages > 1)
            cut += [path] * look.cut
        high = int(block.max()) if block.dtype == np.uint8 else 0
        return Seen(transparent, tuple(many), tuple(cut), high, is_grey(block))

    rows = max(PIECE, BLOCK_BYTES // first.nbytes)
    for start in range(0, len(paths), rows):
        own = paths[start : start + rows]
        block, seen = np.empty((len(own), *first.shape), first.dtype), Seen()
        starts = range(0, len(own), PIECE)
        parts = [(block[i : i + PIECE], own[i : i + PIECE]) for i in starts]
        for of_piece in pool.map(piece, *zip(*parts, strict=True)):
            seen = seen.and_of(of_piece)
        yield block, seen


def is_grey(images: np.ndarray) -> bool:
    """Whether red, green and blue are equal in every pixel; most that are not say so at once."""
    return all((part == part[..., :1]).all() for part in (images[:1], images))


def make_grey(path: Path) -> None:
    """Writes the images of a file anew, with one channel."""
    stored = open_stored(path, "images")
    with files.replacing(path) as file:
        write_header(file, (*stored.shape[:3], 1), stored.dtype)
        for block in stored.blocks():
            file.write(np.ascontiguousarray(block[..., :1]).data)

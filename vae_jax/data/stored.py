"""Images in an .npy file, read by row: they are never all in memory."""

import contextlib
import functools
import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from vae_jax.data.counts import MOST_COUNT, log_totals, stored_type
from vae_jax.data.facts import Facts, facts_file, found, keep_facts, kept_facts, moments, origin
from vae_jax.data.shapes import image_shape_of, refuse_shape
from vae_jax.errors import Unreadable, UserError
from vae_jax.words import reason

BLOCK_BYTES = 8_000_000  # of images that are read at a time, in a pass over all
READERS = 4  # threads that read the rows of one request: a disk answers several at a time
GROUP = 128  # rows of a request that follow one another in the file
DENSE = 12  # a group that spans fewer times its rows is one read: quicker than one for each row
LEAST_ROWS = 256  # of a request that is worth several threads
VERSIONS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, eq=False)
class Stored:
    """Images [n, height, width, channels], or [n, d], that stay in their file.

    They have what arrays have that needs no pass: shape, dtype, nbytes, len. `stored[rows]` reads
    the rows of a slice or of an integer array: a copy in memory. Floats are read as float32.

    Rows are read by their place in the file. A memory map would need no copy, but where a disk or
    a network fails, or the file is cut, it ends the process without a word; and what it touched
    counts as memory of the process.
    """

    path: Path
    offset: int  # bytes before the first row of the file
    on_disk: np.dtype
    image_shape: tuple[int, int, int]
    file_rows: int
    stamp: tuple[int, int]  # bytes and time of change of the file, as it was opened
    identity: str  # equal only for equal contents, as far as can be told without reading them
    start: int
    stop: int
    flat: bool = False
    from_bits: bool = False  # whether 0 and 1 are read as 0 and 255

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *((math.prod(self.image_shape),) if self.flat else self.image_shape))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        if self.on_disk.kind == "f":
            return np.dtype(np.float32)
        if self.from_bits:
            return np.dtype(np.uint8)
        is_whole = self.on_disk.kind in "iu" and self.on_disk != np.uint8
        return stored_type(self.on_disk) if is_whole else self.on_disk

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of an image in the file."""
        return math.prod(self.image_shape) * self.on_disk.itemsize

    def part(self, start: int, stop: int) -> "Stored":
        """The rows from start to stop, which are not read yet."""
        start, stop, _ = slice(start, stop).indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + max(start, stop))

    def flattened(self) -> "Stored":
        """The same images as [n, d]."""
        return replace(self, flat=True)

    def of_bits(self) -> "Stored":
        """The same images, 0 and 1 of which are read as 0 and 255."""
        return replace(self, from_bits=True)

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._as_read(self._run(self.start + start, max(stop - start, 0)))
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise TypeError("stored images are read by a slice, or by an array of whole numbers")
        rows = np.where(rows < 0, rows + len(self), rows).astype(np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"a row beyond the {len(self)} there are")
        return self._as_read(self._scattered(rows + self.start))

    def __iter__(self) -> NoReturn:
        raise TypeError("stored images are read in blocks: .blocks(), or by [start:stop]")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"the images of {self.path} stay on disk (dataset.in_memory): read some of them, by "
            "[start:stop] or by an array of row numbers"
        )

    def blocks(self) -> Iterator[np.ndarray]:
        """All images in turn, some at a time."""
        rows = max(1, BLOCK_BYTES // self.row_bytes)
        return (self[i : i + rows] for i in range(0, len(self), rows))

    def min(self) -> Any:
        """The least value in the file."""
        return self.dtype.type(self.facts.low)

    def max(self) -> Any:
        """The greatest value in the file."""
        return self.dtype.type(self.facts.high)

    @property
    def facts(self) -> Facts:
        """Facts of all images in the file: from the first pass over it, or as they were kept."""
        facts = self._facts_of_file()
        if not self.from_bits:
            return facts
        return facts._replace(
            **{name: 255 * getattr(facts, name) for name in ("low", "high", "darkest", "sums")},
            squares=255**2 * facts.squares,
            bits=facts.high == 0,
            ends=facts.bits,
        )

    def _facts_of_file(self) -> Facts:
        whole = self._whole()
        key = f"{os.path.abspath(self.path)} {self.stamp} {self.identity}"
        if key in FOUND:
            return FOUND[key]
        file = facts_file(key)
        kept = None if file is None else kept_facts(file, whole.shape[1])
        if kept is None:
            kept = found(whole.blocks(), origin(whole[:1][0]))
            if file is not None:
                with contextlib.suppress(OSError):  # a full disk, or another process: not kept
                    keep_facts(file, kept)
        FOUND[key] = kept
        return kept

    def _whole(self) -> "Stored":
        """All rows of the file, as they are in it."""
        return replace(self, start=0, stop=self.file_rows, flat=True, from_bits=False)

    def moments(self) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"], float]:
        """An origin [d], the sums [d] of the deviations from it, and the sum of all their squares.

        Of these rows: only those of the file that are not among them are read.
        """
        whole = self._whole()
        start = origin(whole[:1][0])
        others = [whole.part(0, self.start), whole.part(self.stop, self.file_rows)]
        sums, squares = moments((b for part in others for b in part.blocks()), start)
        of_file = self._facts_of_file()
        one = 255 if self.from_bits else 1
        return one * start, one * (of_file.sums - sums), one**2 * (of_file.squares - squares)

    @functools.cached_property
    def log_totals(self) -> Float[np.ndarray, " n"]:
        """The log of the total of each row of counts, by one pass over them."""
        return np.concatenate([log_totals(block) for block in self.flattened().blocks()])

    def _as_read(self, block: np.ndarray) -> np.ndarray:
        """Rows of the file as those of this."""
        if self.from_bits:
            block = np.where(block, np.uint8(255), np.uint8(0))
        elif self.on_disk.kind == "f":
            with np.errstate(over="ignore"):  # the facts say that it is not finite
                block = block.astype(np.float32, copy=False)
        elif self.on_disk != self.dtype:
            # What is too large for the type is refused by its extremes.
            block = np.clip(block, -1, MOST_COUNT + 1).astype(self.dtype)
        return block.reshape(len(block), *self.shape[1:])

    def _run(self, first: int, count: int) -> np.ndarray:
        """Rows that follow one another in the file."""
        out = np.empty((count, math.prod(self.image_shape)), self.on_disk)
        with self._opened() as file:
            file.seek(self.offset + first * self.row_bytes)
            self._fill(file, bytes_of(out))
        return out

    def _scattered(self, rows: np.ndarray) -> np.ndarray:
        """Rows in any order, read in that of the file, by several threads."""
        out = np.empty((len(rows), math.prod(self.image_shape)), self.on_disk)
        if not len(rows):
            return out
        view, size = bytes_of(out), self.row_bytes

        def read(places: np.ndarray) -> None:
            with self._opened() as file:
                for start in range(0, len(places), GROUP):
                    read_group(file, places[start : start + GROUP])

        def read_group(file: Any, places: np.ndarray) -> None:
            of_file = rows[places]
            first, last = of_file[[0, -1]].tolist()
            if last - first < DENSE * len(places):  # one read, with what lies between
                between = np.empty((last - first + 1, out.shape[1]), self.on_disk)
                file.seek(self.offset + first * size)
                self._fill(file, bytes_of(between))
                out[places] = between[of_file - first]
                return
            for place, row in zip(places.tolist(), of_file.tolist(), strict=True):
                file.seek(self.offset + row * size)
                self._fill(file, view[place * size : (place + 1) * size])

        places = np.argsort(rows, kind="stable")
        if len(rows) < LEAST_ROWS:
            read(places)
        else:
            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(read, np.array_split(places, READERS)))
        return out

    def _fill(self, file: Any, view: memoryview) -> None:
        """Reads on, until the view is full."""
        while view:
            count = file.readinto(view)
            if not count:
                raise self._gone("ends too early")
            view = view[count:]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file, as it was when this was made.

        Raises:
          Unreadable: it is another, or can't be read.
        """
        try:
            with open(self.path, "rb", buffering=0) as file:
                if stamp_of(os.fstat(file.fileno())) != self.stamp:
                    raise self._gone("was changed while it was in use")
                yield file
        except OSError as error:
            raise self._gone(f"can't be read ({reason(error)})") from error

    def _gone(self, what: str) -> Unreadable:
        return Unreadable(f"{self.path} {what}; restore it, and give the same command again")


FOUND: dict[str, Facts] = {}  # by key: those that this process has found


def bytes_of(array: np.ndarray) -> memoryview:
    """The memory of an array, to read into."""
    own: Any = array.reshape(-1).view(np.uint8)
    return memoryview(own)


def stamp_of(stat: os.stat_result) -> tuple[int, int]:
    """What tells a file from one that was changed: bytes, and nanoseconds of its last change."""
    return stat.st_size, stat.st_mtime_ns


def open_stored(path: Path, name: str, identity: str = "") -> Stored:
    """The images of an .npy file, of which only the header is read.

    Args:
      name: of the images, in errors.
      identity: in place of what is made of the file's name, size and time.

    Raises:
      Unreadable: it is no .npy, or is cut.
      UserError: it holds something else than images [n, height, width] or
        [n, height, width, channels] of booleans, uint8 or floats, or vectors [n, d], of counts
        too.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            if version not in VERSIONS:
                raise ValueError(f"its version is {version}")
            shape, by_columns, dtype = VERSIONS[version](file)
            offset, stat = file.tell(), os.fstat(file.fileno())
    except Exception as error:  # numpy raises many kinds for a damaged header
        raise Unreadable(f"{path} can't be read as an .npy ({reason(error)})") from error
    if dtype.hasobject:
        raise UserError(f"{path} holds Python objects; {name} should be uint8, 0 to 255, or floats")
    if by_columns:
        raise UserError(
            f"{path} is in the order of Fortran, in which a row is scattered; save "
            "numpy.ascontiguousarray(images)"
        )
    needed = offset + math.prod(shape) * dtype.itemsize
    if stat.st_size != needed:
        raise Unreadable(
            f"{path} has {stat.st_size:,} bytes, and its header says {needed:,}: it is cut, or "
            "damaged; copy it again"
        )
    refuse_shape(shape, f"{path}: {name}")
    if dtype.kind not in "bfiu":
        raise UserError(f"{path} holds {dtype}; {name} should be uint8, 0 to 255, floats or counts")
    about = f"{shape} {dtype.str} {stamp_of(stat)} {path.name}"
    digest = identity or hashlib.sha256(about.encode()).hexdigest()
    return Stored(
        path, offset, dtype, image_shape_of(shape), shape[0], stamp_of(stat), digest, 0, shape[0]
    )


Images = np.ndarray | Stored


def all_in_memory(images: Images) -> np.ndarray:
    """The images, which are in memory.

    Raises:
      UserError: they stay on disk.
    """
    if isinstance(images, Stored):
        raise UserError(
            "the training images stay on disk (dataset.in_memory = 'no'); "
            "run.data.train.images[rows] reads some of them, [n, d]"
        )
    return images

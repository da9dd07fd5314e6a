"""Training examples that are read as they are trained on: a chunk of steps ahead of the devices."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int

from vae_jax.devices.lanes import Layout, replicate, shard_lanes
from vae_jax.training.spec import Spec
from vae_jax.training.step import Examples
from vae_jax.training.streams import run_keys

SEED = 0  # of the order, which all lanes share: so they share what is read
BUFFERS = 3  # chunks whose examples the devices hold: the one that runs, the next, the one read


class Feed(NamedTuple):
    """A training set that stays where it is."""

    images: Any  # [n, d]; it has len, shape and dtype, and images[rows] reads rows, in any order
    labels: Int[np.ndarray, " n"] | None = None

    def read(self, rows: Int[np.ndarray, " rows"], size: int, first: int) -> Examples:
        """The examples of these rows, in their order, and zeros up to `size`.

        `first`: the step of its epoch that takes the first of them.
        """
        images = self.images[rows]
        labels = None if self.labels is None else self.labels[rows]
        missing = size - len(rows)
        if missing:
            images = np.pad(images, ((0, missing), (0, 0)))
            labels = None if labels is None else np.pad(labels, (0, missing))
        return Examples(images, labels, first=np.array(first, np.int32))

    def blank(self, spec: Spec) -> Examples:
        """Examples of the shapes that a chunk has; they take no memory."""
        size = chunk_size(spec)
        images = np.broadcast_to(np.zeros((), self.images.dtype), (size, *self.images.shape[1:]))
        labels = None if self.labels is None else np.broadcast_to(self.labels[:1], (size,))
        return Examples(images, labels, first=np.array(0, np.int32))


def chunk_size(spec: Spec) -> int:
    """The examples of a whole chunk."""
    return spec.chunk_steps * spec.training.batch_size


def steps_at(spec: Spec, step: int, total_steps: int) -> int:
    """The steps of the chunk that begins at a step; it never spans two epochs."""
    left = spec.steps_per_epoch - step % spec.steps_per_epoch
    return min(spec.chunk_steps, left, total_steps - step)


@partial(jax.jit, static_argnums=1)
def shared_order(epoch: Int[Array, ""], train_size: int) -> Int[Array, " n"]:
    """The order of the training set in one epoch of all lanes: that in memory of the seed SEED."""
    key = jax.random.fold_in(run_keys(SEED).order, epoch)
    return jax.random.permutation(key, train_size)


def in_turn(spec: Spec, layout: Layout) -> Int[Array, "lane rows"]:
    """The order of a chunk's examples, which are read in the order they are trained on."""
    rows = np.arange(chunk_size(spec), dtype=np.int32)
    return shard_lanes(layout, np.broadcast_to(rows, (layout.lanes, len(rows))))


@contextlib.contextmanager
def reading(
    spec: Spec, layout: Layout, examples: Examples | Feed, total_steps: int
) -> Iterator[Callable[[int], Examples]]:
    """Gives the examples, on the devices, of the chunk that begins at a step.

    Those of a feed are read by a thread, which begins with the next chunk as one is asked for: it
    reads, and copies to the devices, while they compute. What it raises is raised where the chunk
    is asked for. Nothing is remembered: the rows of a chunk depend on its step alone.
    """
    if isinstance(examples, Examples):
        yield lambda step: examples
        return
    feed, batch, per_epoch = examples, spec.training.batch_size, spec.steps_per_epoch
    orders: dict[int, Any] = {}
    pending: dict[int, Future] = {}

    def read(step: int, order: Any) -> Examples:
        start = step % per_epoch * batch
        rows = np.asarray(order)[start : start + steps_at(spec, step, total_steps) * batch]
        return replicate(layout, feed.read(rows, chunk_size(spec), step % per_epoch))

    def begin(step: int) -> Future:
        # Made by the caller's thread, whose settings of jax decide the numbers; and an epoch early,
        # as a device makes it after the chunks that it was given before.
        epoch = step // per_epoch
        for wanted in (epoch, epoch + 1):
            if wanted not in orders and wanted * per_epoch < total_steps:
                orders[wanted] = shared_order(np.int32(wanted), spec.train_size)
        for old in [made for made in orders if made < epoch - 1]:
            del orders[old]
        return pool.submit(read, step, orders[epoch])

    def at(step: int) -> Examples:
        # Another than the next is asked for where a lane diverged: a chunk is computed twice.
        now = pending.pop(step, None) or begin(step)
        pending.clear()
        if (after := step + steps_at(spec, step, total_steps)) < total_steps:
            pending[after] = begin(after)
        return now.result()

    pool = ThreadPoolExecutor(1, thread_name_prefix="vae_jax_feed")
    try:
        yield at
    finally:
        for ahead in pending.values():
            ahead.cancel()
        pool.shutdown()

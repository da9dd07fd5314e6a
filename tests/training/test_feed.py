"""Examples that are read as they are trained on: the same program, the same bits."""

import threading
from functools import partial

import jax
import numpy as np
import pytest

from tests.small.steps import IMAGES, SPEC, with_rate
from vae_jax.data.augmentation import Flip, Shift
from vae_jax.devices.lanes import layout, replicate, shard_lanes, to_host
from vae_jax.models.model import NO_START
from vae_jax.sections.declare import replace, stack
from vae_jax.training import feed as feeds
from vae_jax.training import loop
from vae_jax.training.feed import Feed, shared_order
from vae_jax.training.loop import init_lanes, train_chunks, train_lanes
from vae_jax.training.step import Examples
from vae_jax.training.streams import lane_keys

CHUNKED = replace(SPEC, chunk_steps=3)  # chunks of 3 and 2 steps, in epochs of 5
TOTAL = 13  # steps: two epochs, and a part of a third


class Rows:
    """An array of which only rows are read; it remembers which."""

    def __init__(self, images=IMAGES):
        self.images, self.shape, self.dtype = images, images.shape, images.dtype
        self.asked = []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.asked.append(rows)
        return self.images[rows]


def chunks_of(examples, seeds=(0, 1), rates=(1e-3, 3e-3), spec=CHUNKED, **given):
    """The chunks of lanes, from a feed or from examples in memory."""
    on = layout(len(seeds))
    stacked = stack([with_rate(spec, rate) for rate in rates])
    stacked, keys = shard_lanes(on, (stacked, lane_keys(seeds)))
    examples = examples if isinstance(examples, Feed) else replicate(on, examples)
    state = given.pop("state", None)
    state = init_lanes(stacked, on, keys, NO_START) if state is None else shard_lanes(on, state)
    given = {"total_steps": TOTAL} | given
    for chunk in train_chunks(stacked, on, keys, examples, state, **given):
        yield chunk._replace(state=to_host(on, chunk.state), metrics=to_host(on, chunk.metrics))


def fed(**given):
    return list(chunks_of(Feed(Rows()), **given))


@pytest.fixture
def in_one_order(monkeypatch):
    """In memory, all lanes have the order of a feed."""

    def order_lanes(spec, layout, keys, epoch):
        order = np.asarray(shared_order(epoch, spec.train_size))
        return shard_lanes(layout, np.broadcast_to(order, (layout.lanes, len(order))))

    monkeypatch.setattr(loop, "order_lanes", order_lanes)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_it_is_the_program_in_memory_bit_for_bit(in_one_order):
    same(fed(), list(chunks_of(Examples(IMAGES))))


@pytest.mark.slow
def test_augmentations_are_the_same_too(in_one_order):
    spec = replace(CHUNKED, augmentations=(Flip(), Shift(1)))
    same(fed(spec=spec), list(chunks_of(Examples(IMAGES), spec=spec)))


@pytest.mark.slow
def test_the_order_is_that_in_memory_of_seed_0():
    same(fed(seeds=(0,), rates=(1e-3,)), list(chunks_of(Examples(IMAGES), (0,), (1e-3,))))


def test_labels_stay_with_their_images(in_one_order):
    rows, labels = Rows(np.arange(43 * 6).reshape(43, 6)), np.arange(43)
    read = Feed(rows, labels).read(np.array([7, 3, 41]), size=5, first=2)
    assert read.labels.tolist() == [7, 3, 41, 0, 0]
    assert read.images[:, 0].tolist() == [42, 18, 246, 0, 0]
    blank = Feed(rows, labels).blank(CHUNKED)
    assert jax.tree.map(np.shape, blank) == Examples((24, 6), (24,), None, ())


def test_a_lane_is_the_run_alone():
    together = fed()
    for lane, (seed, rate) in enumerate([(0, 1e-3), (1, 3e-3)]):
        for chunk, own in zip(together, fed(seeds=(seed,), rates=(rate,)), strict=True):
            jax.tree.map(
                partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4),
                jax.tree.map(lambda leaf, lane=lane: leaf[lane], (chunk.state, chunk.metrics)),
                jax.tree.map(lambda leaf: leaf[0], (own.state, own.metrics)),
            )


def test_it_goes_on_in_mid_epoch_without_reading_what_came_before():
    whole, rows = fed(), Rows()
    cut = next(i for i, chunk in enumerate(whole) if chunk.step == 8)
    state = whole[cut].state
    rest = chunks_of(Feed(rows), state=state, first_step=8)
    same(list(rest), whole[cut + 1 :])
    orders = [np.asarray(shared_order(np.int32(epoch), 43)) for epoch in (1, 2)]
    np.testing.assert_array_equal(
        np.concatenate(rows.asked), np.concatenate([orders[0][3 * 8 : 40], orders[1][: 3 * 8]])
    )


def test_an_epoch_reads_each_row_at_most_once_and_lanes_share_it():
    rows = Rows()
    list(chunks_of(Feed(rows)))
    assert [len(asked) for asked in rows.asked] == [24, 16, 24, 16, 24]
    epochs = [np.concatenate(rows.asked[:2]), np.concatenate(rows.asked[2:4])]
    assert all(len(np.unique(epoch)) == 40 for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()


@pytest.mark.slow
def test_one_trace_for_a_whole_run(monkeypatch):
    traces, original = [], loop.train_step
    monkeypatch.setattr(loop, "train_step", lambda *a, **k: traces.append(1) or original(*a, **k))
    spec = replace(CHUNKED, model=replace(SPEC.model, latent_size=5))
    before = train_lanes._cache_size()
    fed(spec=spec)
    fed(spec=spec, rates=(1e-2, 1e-2))
    assert train_lanes._cache_size() == before + 1
    assert len(traces) == 1


def test_a_lane_that_diverges_does_as_in_memory(in_one_order):
    rates = (1e-3, 1e38)
    fed_chunks = fed(rates=rates)
    assert fed_chunks[-1].state.diverged_step[1] >= 0
    same(fed_chunks, list(chunks_of(Examples(IMAGES), rates=rates)))


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("vae_jax_feed")]


def test_what_the_reader_raises_reaches_the_caller_and_its_thread_ends():
    class Failing(Rows):
        def __getitem__(self, rows):
            if len(self.asked) == 2:
                raise OSError("the disk is gone")
            return super().__getitem__(rows)

    chunks = chunks_of(Feed(Failing()))
    assert next(chunks).step == 3
    with pytest.raises(OSError, match="the disk is gone"):
        next(chunks)
    assert not readers()


def test_its_thread_ends_with_the_generator():
    chunks = chunks_of(Feed(Rows()))
    next(chunks)
    assert len(readers()) == 1
    chunks.close()
    assert not readers()


def test_the_next_chunk_is_read_before_it_is_asked_for():
    asked = threading.Event()

    class Watched(Rows):
        def __getitem__(self, wanted):
            if len(self.asked) == 2:
                asked.set()
            return super().__getitem__(wanted)

    chunks = chunks_of(Feed(Watched()))
    next(chunks)  # the first is done, the second was dispatched
    assert asked.wait(60)  # the third is read by itself
    chunks.close()


def test_a_chunk_never_spans_two_epochs():
    starts = [0]
    while starts[-1] < TOTAL:
        starts.append(starts[-1] + feeds.steps_at(CHUNKED, starts[-1], TOTAL))
    assert starts == [0, 3, 5, 8, 10, 13]

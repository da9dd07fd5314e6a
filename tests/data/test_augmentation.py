"""Random changes of training images: what they are, and that they are drawn apart."""

import jax
import numpy as np
import pytest

from tests.small.runs import values_of, write_tiny_npz
from vae_jax.config.build import make_config
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.augmentation import Crop, Flip, Shift, augmented
from vae_jax.errors import UserError
from vae_jax.runs.run import make_run
from vae_jax.training.streams import Streams, run_keys, step_keys

SHAPES = [(5, 7, 3), (4, 4, 1), (3, 2, 4)]


def images_of(shape, n=200, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, *shape)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_flip_mirrors_half_of_the_images(shape):
    images = images_of(shape)
    changed = np.asarray(Flip().changed(jax.random.key(0), images))
    assert changed.dtype == images.dtype
    same = (changed == images).all(axis=(1, 2, 3))
    mirrored = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 70 < mirrored.sum() < 130


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pixels", [1, 2])
def test_a_shift_moves_by_every_distance_and_repeats_the_edge(shape, pixels):
    if pixels >= min(shape[:2]):
        return
    images = images_of(shape, n=400, dtype=np.float32)
    changed = np.asarray(Shift(pixels).changed(jax.random.key(1), images))
    height, width, _ = shape
    distances = range(-pixels, pixels + 1)
    found = {}
    for y in distances:
        for x in distances:
            rows = np.clip(np.arange(height) + y, 0, height - 1)
            columns = np.clip(np.arange(width) + x, 0, width - 1)
            moved = images[:, rows][:, :, columns]
            found[y, x] = (changed == moved).all(axis=(1, 2, 3))
    assert (sum(found.values()) == 1).all()
    expected = 400 / len(found)
    assert all(0.3 * expected < own.sum() < 2 * expected for own in found.values())


@pytest.mark.parametrize("shape", [(40, 60, 1), (30, 30, 3)])
def test_a_crop_is_a_part_of_the_image_enlarged(shape):
    """Of an image that rises evenly, a part does too, by the share that its side is."""
    height, width, _ = shape
    rows, columns = np.arange(height) / height, np.arange(width) / width
    images = np.broadcast_to(rows[:, None, None] + 3 * columns[:, None], (300, *shape))
    changed = np.asarray(Crop(0.6).changed(jax.random.key(2), images.astype(np.float32)))
    inner = changed[:, 2:-2, 2:-2]  # beyond the outer pixels' middles, the edge is repeated
    down, right = np.diff(inner, axis=1) * height, np.diff(inner, axis=2) * width / 3
    side = down.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(down, np.broadcast_to(side, down.shape), atol=5e-4)
    np.testing.assert_allclose(right, np.broadcast_to(side, right.shape), atol=5e-4)
    assert 0.599 < side.min() < 0.61
    assert 0.99 < side.max() < 1.001
    assert 0.77 < side.mean() < 0.83  # uniform on 0.6 to 1
    # No corner is beyond the image, and each is anywhere that it can be.
    corners = changed[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    low, high = corners.min(axis=(0, 2)), corners.max(axis=(0, 2))
    least, most = np.array([0, 1.8, 0.6, 2.4]), np.array([1.6, 3.4, 2.2, 4])
    assert (low > least - 0.1).all()
    assert (high < most + 0.1).all()
    assert (high - low > 0.6 * (most - least)).all()


@pytest.mark.slow
def test_a_crop_of_the_whole_changes_nothing():
    images = images_of((5, 7, 3))
    changed = np.asarray(Crop(1.0).changed(jax.random.key(0), images))
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, images)


def test_one_follows_the_other_and_each_has_its_own_stream():
    images = images_of((5, 7, 3))

    def keys(number):  # made anew for each use
        return step_keys(run_keys(0), 3, number).augmentations

    both = augmented((Flip(), Shift()), keys(2), images.reshape(200, -1), (5, 7, 3))
    one, other = keys(2)
    flipped = Flip().changed(one, images)
    np.testing.assert_array_equal(both, Shift().changed(other, flipped).reshape(200, -1))
    alone = augmented((Flip(),), keys(1), images.reshape(200, -1), (5, 7, 3))
    np.testing.assert_array_equal(alone, flipped.reshape(200, -1))


def test_no_other_stream_is_another_with_augmentations():
    keys = run_keys(5)
    old = jax.random.split(jax.random.fold_in(keys.step, 7), 3)
    words = []
    for number in (0, 2):
        own = step_keys(keys, 7, number)
        np.testing.assert_array_equal(
            jax.random.key_data(old), [jax.random.key_data(key) for key in own[:3]]
        )
        together = Streams.of(keys, np.arange(6, 9), number).at(1)
        assert len(together.augmentations) == number
        words += [jax.random.key_data(key).tolist() for key in (*own[:3], *own.augmentations)]
        assert words[-number - 3 :] == [
            jax.random.key_data(key).tolist() for key in (*together[:3], *together.augmentations)
        ]
    assert len({tuple(word) for word in words}) == 5


def test_the_data_are_the_same_and_what_is_larger_than_an_image_is_refused(tmp_path):
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz"))
    plain = make_run(make_config(values), tmp_path).data
    height, width, _ = plain.image_shape
    own = values | {"dataset.augmentation": ("flip", "shift"), "dataset.shift": 1}
    run = make_run(make_config(own), tmp_path)
    assert run.spec.augmentations == (Flip(), Shift(1))
    assert run.data.identity == plain.identity
    for one, other in zip(run.data[:3], plain[:3], strict=True):
        np.testing.assert_array_equal(one.images, other.images)
    own["dataset.shift"] = smaller = min(height, width)
    with pytest.raises(UserError, match=f"shift = {smaller} should be below {smaller}, the"):
        make_run(make_config(own), tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("dataset.augmentation", ("flop",), "'flop'.*did you mean 'flip'"),
        ("dataset.shift", 0, "dataset.shift = 0 should be a whole number, at least 1"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path, key, value, line):
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz"))
    with pytest.raises(UserError, match=line):
        check(nest(values | {"dataset.augmentation": ("shift",), key: value}))


def test_a_shift_without_shift_has_no_effect(tmp_path):
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz"))
    with pytest.raises(UserError, match=r"dataset\.shift = 3 has no effect: it is for"):
        check(nest(values | {"dataset.shift": 3}))

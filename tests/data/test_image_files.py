"""A folder of image files."""

import numpy as np
import pytest
from PIL import Image

from vae_jax.data import image_files
from vae_jax.data.source import Unreadable
from vae_jax.errors import UserError


def written(folder, names, shape=(6, 4), mode="L", seed=0):
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, shape if mode == "L" else (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return str(folder)


def test_subfolders_are_classes_and_a_tenth_is_the_test_set(tmp_path):
    names = [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(10)]
    source = image_files.load(written(tmp_path / "pets", names))
    assert source.name == "pets"
    assert source.train_images.shape == (18, 6, 4, 1)
    assert source.test_images.shape == (2, 6, 4, 1)
    assert source.train_labels is not None
    assert source.test_labels is not None
    assert np.bincount(np.concatenate([source.train_labels, source.test_labels])).tolist() == [
        10,
        10,
    ]
    again = image_files.load(str(tmp_path / "pets"))
    np.testing.assert_array_equal(source.test_images, again.test_images)
    file = np.asarray(Image.open(tmp_path / "pets" / "cat" / "3.png"))
    every = np.concatenate([source.train_images, source.test_images])[..., 0]
    assert (every == file).all(axis=(1, 2)).sum() == 1


def test_colour_or_grey_is_what_the_pixels_are(tmp_path):
    written(tmp_path, ["a.png", "b.png", "c.png"], mode="RGB")
    assert image_files.load(str(tmp_path)).train_images.shape == (2, 6, 4, 3)
    for file in tmp_path.iterdir():
        Image.open(file).convert("L").convert("RGB").save(file)
    assert image_files.load(str(tmp_path)).train_images.shape == (2, 6, 4, 1)


def test_the_user_s_own_two_sets(tmp_path):
    written(tmp_path, [f"train/{i}.png" for i in range(3)])
    written(tmp_path, ["test/x.png"], seed=1)
    source = image_files.load(str(tmp_path))
    assert (len(source.train_images), len(source.test_images)) == (3, 1)
    assert source.train_labels is None


def test_images_of_several_sizes_are_cut_to_one(tmp_path):
    written(tmp_path, ["a.png", "b.png"])
    written(tmp_path, ["c.png"], shape=(8, 20))
    with pytest.raises(UserError, match=r"pixels and .*--config.dataset.image_size=HEIGHT,WIDTH"):
        image_files.load(str(tmp_path))
    source = image_files.load(str(tmp_path), (3, 2))
    assert source.train_images.shape == (2, 3, 2, 1)


def test_what_is_no_image_is_told(tmp_path):
    with pytest.raises(UserError, match="has no image files"):
        image_files.load(str(tmp_path))
    written(tmp_path, ["a.png"])
    with pytest.raises(UserError, match="has 1 image files; it should have at least 2"):
        image_files.load(str(tmp_path))
    (tmp_path / "b.jpg").write_text("no image")
    with pytest.raises(Unreadable, match=r"b.jpg can't be read as an image .*; mend or remove it"):
        image_files.load(str(tmp_path))


def test_sixteen_bits_keep_their_scale(tmp_path):
    wide = np.array([[0, 32_768], [65_535, 256]], np.uint16)
    for name in "ab":
        Image.fromarray(wide).save(tmp_path / f"{name}.png")
    source = image_files.load(str(tmp_path))
    np.testing.assert_array_equal(source.train_images[0, :, :, 0], [[0, 128], [255, 1]])

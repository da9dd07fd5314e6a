"""A folder of image files."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import vae_jax
from tests.small.runs import config_of
from vae_jax.data.own import image_files, pixels
from vae_jax.errors import Unreadable, UserError
from vae_jax.runs.run import make_run
from vae_jax.runs.terminal import introduce


def written(folder, names, shape=(6, 4), mode="L", seed=0):
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, shape if mode == "L" else (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return str(folder)


def saved(path, *images, **how):
    """An image file of arrays: the first, and further pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = map(Image.fromarray, images)
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(path, **more, **how)


def loaded(folder, size=()):
    """All its images as one array, and the notes."""
    source = image_files.load(str(folder), size)
    return np.concatenate([source.train_images, source.test_images]), "\n".join(source.notes)


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


def test_a_folder_as_arrays(tmp_path):
    """In the order of paths, each with its class, as training reads them."""
    names = [f"{kind}/{i}.png" for kind in ("dog", "cat") for i in range(2)]
    written(tmp_path / "pets", names)
    found = vae_jax.read_images(tmp_path / "pets")
    assert found.images.shape == (4, 6, 4)
    assert found.labels.tolist() == ["cat", "cat", "dog", "dog"]
    assert [file.name for file in found.files] == ["0.png", "1.png"] * 2
    for image, file in zip(found.images, found.files, strict=True):
        np.testing.assert_array_equal(image, Image.open(file))
    source = image_files.load(str(tmp_path / "pets"))
    every = np.concatenate([source.train_images, source.test_images])[..., 0]
    assert sorted(map(bytes, every)) == sorted(map(bytes, found.images))


def test_one_colour_image_cut_to_a_size(tmp_path):
    written(tmp_path, ["a.png"], mode="RGB")
    images, labels, files = vae_jax.read_images(str(tmp_path), np.array([3, 2]))
    assert images.shape == (1, 3, 2, 3)
    assert labels is None
    assert files == [tmp_path / "a.png"]


def test_the_sets_of_a_folder_are_no_classes(tmp_path):
    for i, part in enumerate(("test", "train")):
        written(tmp_path, [f"{part}/{kind}/0.png" for kind in ("cat", "dog")], seed=i)
    found = vae_jax.read_images(tmp_path)
    assert [file.parts[-3] for file in found.files] == ["train", "train", "test", "test"]
    assert found.labels.tolist() == ["cat", "dog"] * 2


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (32, r"size = 32 should be \(height, width\), or None"),
        ((1, 2, 3), "should be .height, width"),
        ("32", "size = '32' should be"),
        ((0, 5), "size = 0 should be a whole number, at least 1"),
        (None, r"give one size, to which all are cut: size=\(height, width\)"),
    ],
)
def test_a_wrong_size_is_one_line(tmp_path, size, message):
    written(tmp_path, ["a.png"])
    written(tmp_path, ["b.png"], shape=(8, 20))
    with pytest.raises(UserError, match=message):
        vae_jax.read_images(tmp_path, size)


def test_what_is_no_folder_is_told(tmp_path):
    written(tmp_path, ["a.png"])
    for path in (tmp_path / "a.png", tmp_path / "nothing", "~nosuchuser/x"):
        with pytest.raises(UserError, match="is no folder; give the path"):
            vae_jax.read_images(path)
    with pytest.raises(UserError, match="folder = 5 should be the path"):
        vae_jax.read_images(5)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="has no image files"):
        vae_jax.read_images(tmp_path / "none")


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


def test_twelve_bits_are_scaled_by_the_range_of_all_files(tmp_path):
    """They became 0 to 15."""
    for i, high in enumerate((900, 4_095, 40)):
        saved(tmp_path / f"{i}.png", np.linspace(0, high, 24).reshape(6, 4).astype(np.uint16))
    images, notes = loaded(tmp_path)
    assert images.dtype == np.uint8
    assert sorted(images.max(axis=(1, 2, 3)).tolist()) == [40 >> 4, 900 >> 4, 255]
    assert "whole numbers up to 4,095, taken as 12 bits (0 to 4,095) and scaled to 0 to" in notes
    smaller, _ = loaded(tmp_path, (3, 2))
    assert smaller.shape == (3, 3, 2, 1)
    assert smaller.max() > 200


def test_whole_numbers_of_32_bits_that_fit_in_8_stay(tmp_path):
    """They became 0."""
    values = np.arange(24, dtype=np.int32).reshape(6, 4) * 8
    for i in range(2):
        saved(tmp_path / f"{i}.tif", values)
    images, notes = loaded(tmp_path)
    np.testing.assert_array_equal(images[..., 0], [values, values])
    assert "whole numbers up to 184, taken as 8 bits" in notes
    saved(tmp_path / "0.tif", values - 9)
    with pytest.raises(UserError, match=r"0.tif holds whole numbers from -9 to 175; .* at least 0"):
        loaded(tmp_path)


def test_floats_stay_floats(tmp_path):
    """They became 0."""
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 4)
    for i in range(2):
        saved(tmp_path / f"{i}.tif", values)
    images, notes = loaded(tmp_path)
    np.testing.assert_array_equal(images[..., 0], [values, values])
    assert "floats" in notes
    assert loaded(tmp_path, (3, 2))[0].mean() == pytest.approx(0.5)


def test_files_of_several_depths_are_refused(tmp_path):
    written(tmp_path, ["a.png"])
    saved(tmp_path / "b.png", np.full((6, 4), 4_000, np.uint16))
    with pytest.raises(UserError, match=r"a.png holds 8 bits a pixel and .*b.png whole numbers of"):
        loaded(tmp_path)


def wide_png(path, values):
    """A PNG of colours with 16 bits, [height, width, 3]."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_colours_of_16_bits_are_said_or_refused(tmp_path):
    """Pillow reads the upper 8 bits: of 12, nothing is left but 0 to 15."""
    values = np.arange(72).reshape(6, 4, 3) * 900
    for name in "ab":
        wide_png(tmp_path / f"{name}.png", values)
    images, notes = loaded(tmp_path)
    np.testing.assert_array_equal(images[0], values >> 8)
    assert "of 2 files with 16 bits a colour, 8 are read" in notes
    for name in "ab":
        wide_png(tmp_path / f"{name}.png", values // 16)
    with pytest.raises(UserError, match=r"a.png has colours of 16 bits, .* at most 15; save"):
        loaded(tmp_path)


def test_transparent_pixels_are_white(tmp_path):
    """They had the colour that is hidden under them."""
    image = np.zeros((6, 4, 4), np.uint8)
    image[..., 0] = 200
    image[3:, :, 3], image[:1, :, 3] = 255, 51
    for name in "ab":
        saved(tmp_path / f"{name}.png", image)
    images, notes = loaded(tmp_path)
    np.testing.assert_array_equal(images[0, 3:], np.broadcast_to([200, 0, 0], (3, 4, 3)))
    np.testing.assert_array_equal(images[0, 1:3], np.full((2, 4, 3), 255))
    np.testing.assert_array_equal(images[0, 0, 0], [244, 204, 204])  # a fifth of the colour
    assert "the transparent pixels of 2 files are white" in notes
    palette = Image.new("P", (4, 6))
    palette.putpalette([255, 0, 0] * 256)
    for name in "ab":
        (tmp_path / f"{name}.png").unlink()
        palette.save(tmp_path / f"{name}.gif", transparency=0)
    assert loaded(tmp_path)[0].min() == 255


def test_hidden_files_are_no_images_and_no_classes(tmp_path):
    written(tmp_path / ".own", ["cat/a.png", "cat/b.png", "dog/a.png"])
    for hidden in (".ipynb_checkpoints/a.png", ".Trashes/a.png", "__MACOSX/cat/a.png"):
        written(tmp_path / ".own", [hidden])
    (tmp_path / ".own" / "cat" / "._a.png").write_text("of a Mac")
    source = image_files.load(str(tmp_path / ".own"))
    assert len(source.train_images) + len(source.test_images) == 3
    assert source.class_names == ("cat", "dog")
    assert "left out" not in "".join(source.notes)


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("train", "test"), (4, 0, 2)),
        (("Training", "TESTING"), (4, 0, 2)),
        (("train", "val"), (4, 0, 2)),
        (("train", "Validation"), (4, 0, 2)),
        (("train", "test", "valid"), (4, 3, 2)),
        (("Train", "Test", "VAL"), (4, 3, 2)),
    ],
)
def test_the_sets_of_a_folder_by_their_usual_names(tmp_path, names, sizes):
    """Training, validation and test images; of train, val and test, val was lost."""
    for seed, (name, n) in enumerate(zip(names, (4, 2, 3), strict=False)):
        files = [f"{name}/{'ab'[i % 2]}/{i}.png" for i in range(n)]
        written(tmp_path, files, seed=seed)
    source = image_files.load(str(tmp_path))
    train = len(source.train_images) - source.validation_size
    assert (train, source.validation_size, len(source.test_images)) == sizes
    assert source.class_names == ("a", "b")
    for name in names:
        assert f"{name} (" in source.notes[0]
    assert ("validation set" in source.notes[0]) == (len(names) == 3)
    if len(names) == 3:
        last = np.asarray(Image.open(tmp_path / names[2] / "b" / "1.png"))
        assert (source.train_images[train:, ..., 0] == last).all(axis=(1, 2)).sum() == 1
        data = make_run(own_config(tmp_path), tmp_path).data
        assert len(data.validation.images) == 3
        with pytest.raises(UserError, match=r"validation_size = 2 should be 0: .* of 3 images"):
            make_run(own_config(tmp_path, dataset__validation_size=2), tmp_path)


def own_config(folder, **changes):
    own = {"dataset__validation_size": 0, "dataset__binarization": "none"}
    return config_of(folder, training__batch_size=2, **(own | changes))


def test_names_of_sets_that_are_classes_or_doubtful(tmp_path):
    written(tmp_path / "classes", ["control/a.png", "control/b.png", "test/a.png"])
    assert image_files.load(str(tmp_path / "classes")).class_names == ("control", "test")
    written(tmp_path / "alone", ["train/a/a.png", "train/a/b.png", "train/b/a.png"])
    assert image_files.load(str(tmp_path / "alone")).class_names == ("a", "b")
    written(tmp_path / "twice", ["train/a.png", "val/a.png", "valid/a.png"])
    with pytest.raises(UserError, match="has val and valid, which name one set"):
        image_files.load(str(tmp_path / "twice"))


def test_what_is_left_out_is_said(tmp_path):
    written(tmp_path, ["cat/a.png", "cat/b.png", "dog/a.png"])
    for i in range(20):
        (tmp_path / "cat" / f"{i}.heic").write_text("of a telephone")
    (tmp_path / "readme.txt").write_text("cats and dogs")
    grey = np.zeros((6, 4), np.uint8)
    saved(tmp_path / "dog" / "pages.tif", grey, grey, grey)
    saved(tmp_path / "dog" / "moving.gif", grey, grey + 9)
    source = image_files.load(str(tmp_path))
    first, second = source.notes
    assert first == "read: 3 .png, 1 .gif, 1 .tif; test set: 1 of these"
    assert "left out: 20 .heic, 1 .txt, such as " in second
    assert "only the first page is read of 2 files, such as " in second
    assert source.train_labels is not None
    written(tmp_path, ["beside.png"])
    source = image_files.load(str(tmp_path))
    assert source.train_labels is None
    assert "no labels, because 1 file beside the class folders" in source.notes[-1]
    assert source.notes[-1].endswith("beside.png")
    for file in tmp_path.rglob("*.*g"):
        file.unlink()
    for file in tmp_path.rglob("*.[gt]if"):
        file.unlink()
    with pytest.raises(UserError, match=r"has no image files, .*; it has 20 .heic, 1 .txt"):
        image_files.load(str(tmp_path))


def test_the_endings_that_pillow_opens(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    endings = [".jfif", ".JPG", ".tga", ".png"]
    endings += [own for own in (".avif", ".jp2") if own in pixels.endings()]
    for ending in endings:
        saved(tmp_path / f"a{ending}", colours)
    assert len(loaded(tmp_path)[0]) == len(endings)
    assert not {".pdf", ".h5", ".mpg", ".txt"} & pixels.endings()


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    written(tmp_path, [f"{name}/{i}.png" for name in (0, 1, 2, 10) for i in range(3)])
    assert image_files.load(str(tmp_path)).class_names == ("0", "1", "2", "10")


def test_sizes_that_memory_can_t_hold_are_refused_before(tmp_path, monkeypatch):
    written(tmp_path, ["a.png", "b.png"])
    monkeypatch.setattr(image_files, "read", None)  # which would allocate
    for size in ((100_000, 100_000), (30_000, 100_000)):
        with pytest.raises(UserError, match=r"2 images of \d+ x \d+ pixels take \d+ GB, and"):
            image_files.load(str(tmp_path), size)


def test_a_file_of_too_many_pixels_is_one_line(tmp_path, monkeypatch):
    """Pillow warns, and then reads it."""
    written(tmp_path, ["a.png", "b.png"])
    for most in (20, 5):  # a warning, and an error
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(Unreadable, match=f"a.png has more than {most} pixels"):
            loaded(tmp_path)


def test_the_first_lines_of_a_run_say_what_was_read(tmp_path, capsys):
    written(tmp_path / "pets", [f"{'cat' if i % 3 else 'dog'}/{i}.png" for i in range(12)])
    (tmp_path / "pets" / "a\nb.txt").write_text("")
    run = make_run(own_config(tmp_path / "pets"), tmp_path / "run")
    capsys.readouterr()
    introduce(run, 0, None)
    first, images, read, left_out = capsys.readouterr().out.splitlines()[:4]
    assert first.startswith("pets: 2 lanes in 1 program")
    assert images == (
        "11 grey images, 6 x 4; 1 kept for validation; pixels 1 to 255, levels of grey, under "
        "bernoulli; 2 classes: cat, dog"
    )
    assert read == "read: 12 .png; test set: 1 of these"
    assert left_out.startswith("left out: 1 .txt")
    assert left_out.endswith(r"a\nb.txt")

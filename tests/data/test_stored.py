"""Images that stay on disk are those that an array has, and nothing else is taken for them."""

import io
import os
import shutil
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from vae_jax import files
from vae_jax.data import DATASETS, cached, in_memory, stored
from vae_jax.data.dataset import Split, dataset, described, in_range, mean_image, spread
from vae_jax.data.own import decoded, image_files, npy_folder
from vae_jax.data.source import is_binary, kind
from vae_jax.data.stored import Stored, open_stored
from vae_jax.data.units import are_whole
from vae_jax.errors import Unreadable, UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (60, 4, 5), dtype=np.uint8)
KINDS = {
    "grey": GREY,
    "colour": RNG.integers(3, 200, (60, 4, 5, 3), dtype=np.uint8),
    "bits": (GREY > 99).astype(np.uint8),
    "booleans": GREY > 99,
    "black and white": np.where(GREY > 99, 255, 0).astype(np.uint8),
    "black images": GREY * (np.arange(60) % 3 > 0).astype(np.uint8)[:, None, None],
    "unit": RNG.random((60, 4, 5)),
    "real": RNG.normal(size=(60, 4, 5)).astype(np.float32),
    "big-endian": RNG.normal(size=(60, 4, 5)).astype(">f8"),
    "far from 0": 1e4 + RNG.normal(size=(60, 4, 5)),
    "whole floats": GREY.astype(np.float64),
    "halves": RNG.random((60, 4, 5)).astype(np.float16),
    "vectors": RNG.normal(size=(60, 7)),
    "levels in vectors": GREY.reshape(60, 20),
    "counts": RNG.poisson(RNG.gamma(0.3, 1e5, (60, 7))),
    "small counts": RNG.poisson(3.0, (60, 7)).astype(np.uint16),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What other tests have kept is not taken."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "FOUND", {})


def folder_of(tmp_path, images, test=10):
    """A folder of .npy files."""
    at = tmp_path / "images"
    at.mkdir(exist_ok=True)
    np.save(at / "train_images.npy", images[:-test])
    np.save(at / "test_images.npy", images[-test:])
    return at


def both(tmp_path, images):
    """The source of the images in memory, and that of those on disk."""
    at = folder_of(tmp_path, images)
    return npy_folder.load(at, "yes"), npy_folder.load(at, "no")


@pytest.mark.parametrize("images", KINDS.values(), ids=KINDS)
def test_the_rows_are_those_of_the_array(tmp_path, images, monkeypatch):
    monkeypatch.setattr(stored, "BLOCK_BYTES", 500)
    inside, outside = both(tmp_path, images)
    array, its = inside.train_images, outside.train_images
    assert isinstance(its, Stored)
    assert (its.shape, its.dtype, its.nbytes, its.size, its.ndim, len(its)) == (
        array.shape, array.dtype, array.nbytes, array.size, array.ndim, len(array),
    )  # fmt: skip
    rows, few = RNG.integers(-50, 50, 300), RNG.integers(-20, 20, 300)
    for taken in (slice(None), slice(3, 17), slice(40, 99), slice(20, 3, -2), slice(5, 5), rows):
        np.testing.assert_array_equal(its[taken], array[taken])
    part, of_array = its.part(10, 30).flattened(), array[10:30].reshape(20, -1)
    for taken in (slice(None), slice(3, 17), slice(-4, None), few):
        np.testing.assert_array_equal(part[taken], of_array[taken])
    assert its[rows[:0]].shape == (0, *array.shape[1:])
    np.testing.assert_array_equal(np.concatenate(list(its.blocks())), array)
    assert len(list(its.blocks())) > 1
    its[:3][:] = 0  # a copy
    np.testing.assert_array_equal(its[:3], array[:3])


@pytest.mark.parametrize(("readers", "group", "dense"), [(1, 128, 12), (3, 4, 2), (2, 3, 0)])
def test_how_rows_are_read_changes_none(tmp_path, monkeypatch, readers, group, dense):
    """By how many threads; and those near to one another with what lies between, or each alone."""
    monkeypatch.setattr(stored, "READERS", readers)
    monkeypatch.setattr(stored, "GROUP", group)
    monkeypatch.setattr(stored, "DENSE", dense)
    monkeypatch.setattr(stored, "LEAST_ROWS", 2)
    its, rows = both(tmp_path, GREY)[1].train_images, RNG.permutation(50)
    np.testing.assert_array_equal(its[rows][..., 0], GREY[rows])


def test_it_does_not_become_an_array_unseen(tmp_path):
    its = both(tmp_path, GREY)[1].train_images
    uses = (np.asarray, np.mean, list, lambda x: x + np.ones(1), lambda x: x[3], lambda x: x[:, 0])
    for use in uses:
        with pytest.raises(TypeError):
            use(its)
    with pytest.raises(TypeError, match=r"stay on disk .*read some of them"):
        np.array(its)
    with pytest.raises(IndexError):
        its[np.array([50])]


@pytest.mark.parametrize("images", KINDS.values(), ids=KINDS)
def test_the_facts_are_those_of_the_array(tmp_path, images, monkeypatch):
    monkeypatch.setattr(stored, "BLOCK_BYTES", 500)
    inside, outside = both(tmp_path, images)
    array, its = inside.train_images, outside.train_images
    assert inside.units == outside.units
    assert kind(inside) == kind(outside)
    assert (is_binary(array), in_range(array)) == (is_binary(its), in_range(its))
    assert (array.min(), array.max()) == (its.min(), its.max())
    if array.dtype.kind == "f":
        assert are_whole(array) == are_whole(its)
    for start, stop in ((0, 50), (0, 33), (9, 33)):
        split = Split(array[start:stop].reshape(stop - start, -1), None)
        own = Split(its.part(start, stop).flattened(), None)
        mean, deviation = mean_image(split), spread(split, mean_image(split))
        exact = array.dtype == np.uint8
        np.testing.assert_allclose(mean_image(own), mean, rtol=0 if exact else 1e-6, atol=1e-7)
        np.testing.assert_allclose(spread(own, mean), deviation, rtol=1e-6)


@pytest.mark.parametrize("images", KINDS.values(), ids=KINDS)
def test_the_dataset_is_the_same(tmp_path, images):
    inside, outside = (
        dataset(source, validation_size=7, binarization="none", binarization_seed=0)
        for source in both(tmp_path, images)
    )
    assert outside.is_streamed
    assert not inside.is_streamed
    np.testing.assert_array_equal(inside.validation.images, outside.validation.images)
    np.testing.assert_array_equal(inside.test.images, outside.test.images)
    np.testing.assert_array_equal(inside.train.images, outside.train.images[:])
    assert (inside.binary, inside.in_unit) == (outside.binary, outside.in_unit)
    of_memory, of_disk = dict(inside.identity), dict(outside.identity)
    assert of_disk.pop("checksum").startswith("stored:")
    of_memory.pop("checksum")
    assert of_memory == of_disk
    assert described(inside).split("pixels")[0] == described(outside).split("pixels")[0]


def test_the_identity_is_of_name_size_and_time_not_of_the_path(tmp_path):
    at = folder_of(tmp_path, GREY)

    def checksum(at):
        source = npy_folder.load(at, "no")
        return dataset(
            source, validation_size=7, binarization="none", binarization_seed=0
        ).identity["checksum"]

    first = checksum(at)
    shutil.copytree(at, tmp_path / "moved")  # keeps the times
    assert checksum(tmp_path / "moved") == first
    np.save(at / "test_labels.npy", np.arange(10))
    np.save(at / "train_labels.npy", np.arange(50) % 10)
    labelled = checksum(at)
    assert labelled != first
    os.utime(at / "train_images.npy", (1, 1))
    assert checksum(at) not in (first, labelled)


def test_facts_are_found_once_and_of_these_very_images(tmp_path, monkeypatch):
    at = folder_of(tmp_path, GREY)
    passes, found = [], stored.found
    monkeypatch.setattr(stored, "found", lambda *a: passes.append(1) or found(*a))

    def its():
        monkeypatch.setattr(stored, "FOUND", {})  # another process
        return open_stored(at / "train_images.npy", "images").facts

    def same(one, other):
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    first = its()
    assert same(its(), first)
    assert len(passes) == 1
    (kept,) = (tmp_path / "cache" / "vae_jax" / "facts").iterdir()
    for damage in ("", "{", "[]", "null", '{"low": 3}', kept.read_text().replace("[", "[0.0,")):
        kept.write_text(damage)
        assert same(its(), first), damage
    assert len(passes) == 7
    np.save(at / "train_images.npy", GREY[:50] // 2)
    assert its().high == 127
    assert len(passes) == 8
    monkeypatch.setattr(files, "user_cache", lambda: None)
    assert its().high == 127
    assert len(passes) == 9


def npz_bytes():
    with io.BytesIO() as file:
        np.savez(file, train_images=GREY)
        return file.getvalue()


def npy_bytes(array, **more):
    with io.BytesIO() as file:
        np.save(file, array, **more)
        return file.getvalue()


WRONG = {
    "cut": (npy_bytes(GREY)[:-1], "its header says"),
    "longer": (npy_bytes(GREY) + b"x", "its header says"),
    "empty": (b"", "can't be read as an .npy"),
    "no npy": (b"hello, this is a text\n" * 9, "can't be read as an .npy"),
    "half a header": (npy_bytes(GREY)[:40], "can't be read as an .npy"),
    "an npz": (npz_bytes(), "can't be read as an .npy"),
    "objects": (npy_bytes(np.array([{}, 1], object), allow_pickle=True), "holds Python objects"),
    "columns first": (npy_bytes(np.asfortranarray(GREY)), "the order of Fortran"),
    "whole numbers": (
        npy_bytes(GREY.astype(int)),
        "0 to 255; it should hold uint8, 0 to 255 (images.astype",
    ),
    "complex": (npy_bytes(GREY.astype(complex)), "holds complex128"),
    "rows": (npy_bytes(GREY[:, 0]), "train_images are (1, 5, 1) and test_images (4, 5, 1)"),
    "no images": (npy_bytes(GREY[:0]), "none of them zero"),
    "channels first": (npy_bytes(np.zeros((9, 3, 8, 8), np.uint8)), "images.transpose(0, 2, 3, 1)"),
    "not finite": (npy_bytes(np.full((9, 4, 5), np.nan)), "NaN or infinite"),
    "too large": (npy_bytes(np.full((9, 4, 5), 1e300)), "NaN or infinite"),
    "another size": (npy_bytes(GREY[:, :3]), "both should have one (height, width, channels)"),
    "another type": (npy_bytes(GREY / 255), "both should have one type"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_another_file_is_refused(tmp_path, content, message):
    at = folder_of(tmp_path, GREY)
    (at / "train_images.npy").write_bytes(content)
    with pytest.raises(UserError) as error:
        npy_folder.load(at, "no")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(tmp_path):
    at = folder_of(tmp_path, GREY)
    (at / "test_images.npy").unlink()
    with pytest.raises(UserError, match=r"has no test_images.npy; a folder of .npy"):
        DATASETS["arrays"](path=str(at)).load()
    with pytest.raises(UserError, match=r"image_size = .* one of .npy files"):
        DATASETS["arrays"](path=str(at), image_size=(3, 3)).load()
    np.savez(tmp_path / "data.npz", train_images=GREY, test_images=GREY)
    with pytest.raises(UserError, match=r"in_memory = 'no' is for a folder, .* train_images.npy"):
        DATASETS["arrays"](path=str(tmp_path / "data.npz"), in_memory="no").load()


def test_a_file_that_changes_while_it_is_used_is_refused(tmp_path):
    at = folder_of(tmp_path, GREY)
    its = npy_folder.load(at, "no").train_images
    path = at / "train_images.npy"
    content = path.read_bytes()
    for change in (
        lambda: path.write_bytes(content[:-9]),
        lambda: os.utime(path, (1, 1)),
        lambda: path.unlink(),
    ):
        change()
        for rows in (slice(2, 9), np.arange(9)):
            with pytest.raises(Unreadable, match=r"train_images.npy .*restore it"):
                its[rows]


def test_auto_is_by_the_memory_there_is(tmp_path, monkeypatch):
    at = folder_of(tmp_path, GREY)
    section = DATASETS["arrays"](path=str(at))
    for memory, streamed in ((2 * 50 * 20, False), (2 * 50 * 20 - 1, True)):
        monkeypatch.setattr(in_memory, "host_memory", lambda memory=memory: memory)
        source = section.load()
        assert isinstance(source.train_images, Stored) == streamed
        assert source.notes[0].startswith("streamed: the" if streamed else "in memory: the")


def write_images(at, images, suffix="png"):
    for i, image in enumerate(images):
        own = at / ("cat" if i % 2 else "dog")
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(own / f"{i:03d}.{suffix}")
    return at


FILES = {
    "grey": (GREY, "png"),
    "colour": (KINDS["colour"], "png"),
    "photographs": (KINDS["colour"], "jpg"),
    "16 bits": (GREY.astype(np.uint16) * 257, "png"),
    "floats": (KINDS["real"], "tiff"),
}


@pytest.mark.parametrize(("images", "suffix"), FILES.values(), ids=FILES)
def test_decoded_files_are_those_in_memory(tmp_path, images, suffix, monkeypatch):
    monkeypatch.setattr(decoded, "PIECE", 7)
    monkeypatch.setattr(decoded, "BLOCK_BYTES", 9 * 60)
    at = write_images(tmp_path / "pets", images, suffix)
    inside, outside = (image_files.load(str(at), (), choice) for choice in ("yes", "no"))
    np.testing.assert_array_equal(inside.train_images, outside.train_images[:])
    for name in ("test_images", "train_labels", "test_labels", "class_names", "units", "name"):
        np.testing.assert_array_equal(getattr(inside, name), getattr(outside, name))
    (said,) = [note for note in outside.notes if note not in inside.notes]
    assert said.startswith("streamed: the ")
    cut = [image_files.load(str(at), (2, 3), choice).train_images for choice in ("yes", "no")]
    np.testing.assert_array_equal(cut[0], cut[1][:])


def test_files_are_decoded_once_and_anew_where_one_changed(tmp_path, monkeypatch):
    at = write_images(tmp_path / "pets", GREY)
    times, decode = [], decoded.decode
    monkeypatch.setattr(decoded, "decode", lambda *a: times.append(1) or decode(*a))

    def load():
        return image_files.load(str(at), (), "no").train_images

    first = load()
    assert load().identity == first.identity
    assert len(times) == 1
    assert not list(first.path.parents[1].glob(".*"))
    shutil.copytree(at, tmp_path / "elsewhere" / "pets")
    moved = image_files.load(str(tmp_path / "elsewhere" / "pets"), (), "no").train_images
    assert (moved.identity, len(times)) == (first.identity, 1)
    cut = first.path.read_bytes()[:-5]
    first.path.write_bytes(cut)
    np.testing.assert_array_equal(load()[:], image_files.load(str(at)).train_images)
    assert len(times) == 2
    shutil.rmtree(first.path.parent)  # the identity is of the files, not of what they became
    assert load().identity == first.identity
    (at / "cat" / "001.png").rename(at / "cat" / "999.png")
    assert load().identity != first.identity
    os.utime(at / "cat" / "999.png", (1, 1))
    load()
    assert len(times) == 5


def test_a_decoding_that_fails_leaves_nothing(tmp_path, monkeypatch):
    at = write_images(tmp_path / "pets", GREY)
    (at / "cat" / "500.png").write_text("no image")
    images = tmp_path / "cache" / "vae_jax" / "images"
    stale = images / ".older.9.tmp"
    stale.mkdir(parents=True)
    os.utime(stale, (time.time() - 2 * cached.STALE_SECONDS,) * 2)
    with pytest.raises(Unreadable, match=r"500.png can't be read as an image"):
        image_files.load(str(at), (), "no")
    assert not list(images.iterdir())
    Image.fromarray(GREY[0, :3]).save(at / "cat" / "500.png")
    with pytest.raises(UserError, match=r"pixels and .* has .*dataset.image_size=HEIGHT,WIDTH"):
        image_files.load(str(at), (), "no")
    Image.fromarray(GREY[0].astype(np.float32)).save(at / "cat" / "500.tiff")
    with pytest.raises(UserError, match=r"give all files one depth|give one size"):
        image_files.load(str(at), (), "no")
    assert not list(images.iterdir())
    monkeypatch.setattr(files, "user_cache", lambda: None)
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"):
        image_files.load(str(at), (), "no")


def test_a_full_disk_is_said_before_anything_is_decoded(tmp_path, monkeypatch):
    at = write_images(tmp_path / "pets", GREY)
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(cached.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"its disk has 0.0 GB; set XDG_CACHE_HOME"):
        image_files.load(str(at), (), "no")


def test_a_pickle_is_no_labels(tmp_path):
    at = folder_of(tmp_path, GREY)
    np.save(at / "train_labels.npy", np.array([{}] * 50, object), allow_pickle=True)
    with pytest.raises(Unreadable, match=r"train_labels.npy can't be read"):
        npy_folder.load(at, "no")
    with zipfile.ZipFile(at / "train_labels.npy", "w") as file:
        file.writestr("a", "b")
    with pytest.raises(Unreadable, match=r"train_labels.npy can't be read"):
        npy_folder.load(at, "yes")

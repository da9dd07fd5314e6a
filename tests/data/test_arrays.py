import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_jax.data.own import arrays
from vae_jax.data.source import kind
from vae_jax.errors import Unreadable, UserError


def saved(tmp_path, **content):
    path = tmp_path / "data.npz"
    np.savez(path, **content)
    return str(path)


def grey(n=4, shape=(3, 5)):
    return np.linspace(0, 1, n * int(np.prod(shape))).reshape(n, *shape)


def test_floats_and_bytes_with_and_without_channels_and_labels(tmp_path):
    source = arrays.load(saved(tmp_path, train_images=grey(), test_images=grey(2)))
    assert source.train_images.shape == (4, 3, 5, 1)
    assert source.train_images.dtype == np.float32
    assert source.train_labels is None
    content = (255 * grey(shape=(3, 5, 2))).astype(np.uint8)
    source = arrays.load(
        saved(
            tmp_path,
            train_images=content,
            test_images=content[:2],
            train_labels=np.arange(4),
            test_labels=np.arange(2),
        )
    )
    np.testing.assert_array_equal(source.train_images, content)
    np.testing.assert_array_equal(source.test_labels, [0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": grey(shape=())}, r"shape \(4,\); it should be \(n, height, width\)"),
        ({"train_images": grey(shape=(3,))}, r"\(1, 3, 1\) and test_images \(3, 5, 1\)"),
        ({"train_images": np.zeros((0, 3, 5))}, "none of them zero"),
        ({"train_images": np.full((4, 3, 5), np.nan)}, "NaN or infinite"),
        (
            {"train_images": grey().astype(np.int32)},
            "holds int32, 0 to 1; it should hold uint8, 0 to 255",
        ),
        ({"test_images": grey(shape=(5, 3))}, r"\(3, 5, 1\) and test_images \(5, 3, 1\)"),
        ({"test_images": np.zeros((2, 3, 5), np.uint8)}, "both should have one type"),
        ({"train_labels": np.arange(3)}, r"integers or names of shape \(4,\)"),
        ({"train_labels": np.linspace(0, 1, 4)}, "float64 that are not all whole numbers"),
    ],
)
def test_wrong_arrays_are_told_by_name(tmp_path, change, message):
    path = saved(tmp_path, **({"train_images": grey(), "test_images": grey(2)} | change))
    with pytest.raises(UserError, match=message) as error:
        arrays.load(path)
    assert next(iter(change)) in str(error.value)
    assert path in str(error.value)


def test_missing_arrays_files_and_damage_are_told(tmp_path):
    with pytest.raises(UserError, match=r"no array 'test_images' \(it has: train_images\)"):
        arrays.load(saved(tmp_path, train_images=grey()))
    with pytest.raises(UserError, match=r"dataset.path is empty"):
        arrays.load("")
    with pytest.raises(
        UserError, match=r"nowhere.npz does not exist; --config.dataset.path should be"
    ):
        arrays.load(str(tmp_path / "nowhere.npz"))
    path = saved(tmp_path, train_images=grey(), test_images=grey(2))
    content = (tmp_path / "data.npz").read_bytes()
    for damaged in (content[: len(content) // 2], b"not an archive", b""):
        (tmp_path / "data.npz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"can't be read as an .npz"):
            arrays.load(path)
    for other in (b"some text", b"\xff\xd8\xff\xe0 a JPEG", b""):
        (tmp_path / "data.npz").write_bytes(other)
        with pytest.raises(UserError, match=r"an .npz: it is none; image files are read by"):
            arrays.load(path)
    np.save(tmp_path / "one.npy", grey())
    with pytest.raises(UserError, match=r"one.npy holds one array.* numpy.savez"):
        arrays.load(str(tmp_path / "one.npy"))


def levels(high, shape=(4, 3, 5)):
    return (np.arange(np.prod(shape)) % (high + 1)).reshape(shape).astype(np.uint8)


def test_images_that_are_binary_already_are_binary(tmp_path):
    """uint8 of 0 and 1 is not nearly black, and booleans are images too."""
    for pixels in (levels(1), levels(1).astype(bool), levels(1).astype(float)):
        source = arrays.load(saved(tmp_path, train_images=pixels, test_images=pixels))
        assert kind(source) == "binary"
        scaled = source.train_images / (255 if source.train_images.dtype == np.uint8 else 1)
        np.testing.assert_array_equal(scaled[..., 0], levels(1))
    one = arrays.load(saved(tmp_path, train_images=levels(1), test_images=0 * levels(1)))
    assert (one.train_images.max(), one.test_images.max()) == (255, 0)
    assert kind(arrays.load(saved(tmp_path, train_images=levels(9), test_images=levels(9)))) == (
        "levels"
    )


def test_channels_come_last(tmp_path):
    images = levels(255, (4, 3, 8, 8))
    with pytest.raises(UserError, match=r"\(4, 3, 8, 8\).*images.transpose\(0, 2, 3, 1\)"):
        arrays.load(saved(tmp_path, train_images=images, test_images=images))
    images = images.transpose(0, 2, 3, 1)
    source = arrays.load(saved(tmp_path, train_images=images, test_images=images))
    assert source.train_images.shape == (4, 8, 8, 3)


def test_the_arrays_in_a_run_folder_are_called_by_the_run(tmp_path, monkeypatch):
    (tmp_path / "faces").mkdir()
    assert arrays.name_of(tmp_path / "faces" / "data.npz") == "faces"
    assert arrays.name_of(tmp_path / "faces" / "mine.npz") == "mine.npz"
    monkeypatch.chdir(tmp_path / "faces")
    assert arrays.name_of(Path("data.npz")) == "faces"


def test_labels_that_are_names_or_whole_floats(tmp_path):
    images = {"train_images": grey(), "test_images": grey(2)}
    names = {"train_labels": np.array(list("bcab")), "test_labels": np.array(["c", "d"])}
    source = arrays.load(saved(tmp_path, **images, **names))
    np.testing.assert_array_equal(source.train_labels, [1, 2, 0, 1])
    np.testing.assert_array_equal(source.test_labels, [2, 3])
    floats = {"train_labels": np.array([1.0, 0, 2, 0]), "test_labels": np.array([True, False])}
    source = arrays.load(saved(tmp_path, **images, **floats))
    np.testing.assert_array_equal(source.train_labels, [1, 0, 2, 0])
    assert source.test_labels is not None
    assert source.test_labels.dtype == np.int64


def test_a_float_that_float32_does_not_have(tmp_path):
    with pytest.raises(UserError, match="finite in float32"):
        arrays.load(saved(tmp_path, train_images=1e300 * grey(), test_images=grey(2)))


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def npy_header(shape):
    """The start of an .npy that claims this shape, without its data."""
    described = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text = described.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "members",
    [
        {"train_images": b"x", "test_images": b"x"},
        {"train_images.npy": b"", "test_images.npy": b""},
        {"train_images.npy": npy_header((1 << 40, 28, 28)), "test_images.npy": b""},
        {"train_images.npy": npy_header("(2,\0 2)"), "test_images.npy": b""},
        {"train_images.npy": npy_header("(((2"), "test_images.npy": b""},
    ],
)
def test_what_only_looks_like_an_npz_is_told(tmp_path, members):
    path = zipped(tmp_path / "data.npz", members)
    with pytest.raises(Unreadable, match=r"data.npz can't be read as an .npz \("):
        arrays.load(path)


def test_an_encrypted_archive_and_a_pipe_are_told(tmp_path):
    path = zipped(tmp_path / "data.npz", {"train_images.npy": b"", "test_images.npy": b""})
    content = bytearray((tmp_path / "data.npz").read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption
        start = content.find(mark)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(mark, start + 1)
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(Unreadable, match="encrypted"):
        arrays.load(path)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(Unreadable, match=r"is no file; --config.dataset.path should be"):
        arrays.load(str(tmp_path / "pipe.npz"))


def test_a_misspelt_array_is_told_and_others_are_said(tmp_path):
    """A `train_label` was ignored."""
    images = {"train_images": grey(), "test_images": grey(2)}
    path = saved(tmp_path, **images, train_label=np.arange(4))
    with pytest.raises(UserError, match=r"no array 'train_labels' .*; 'train_label' is nearly"):
        arrays.load(path)
    source = arrays.load(saved(tmp_path, **images, masks=grey(), train_labels=np.arange(4)))
    assert source.notes == ("left out: the arrays masks",)
    assert source.train_labels is not None


def test_labels_that_are_bytes(tmp_path):
    images = {"train_images": grey(), "test_images": grey(2)}
    named = np.array([name.encode() for name in "aéaé"])
    source = arrays.load(saved(tmp_path, **images, train_labels=named, test_labels=named[:2]))
    assert source.class_names == ("a", "é")
    path = saved(tmp_path, **images, train_labels=np.array([b"\xff"] * 4))
    with pytest.raises(UserError, match="train_labels are bytes that are no UTF-8"):
        arrays.load(path)


def test_arrays_as_people_have_them():
    split = arrays.checked_split(grey(10).tolist(), pd.Series(list("abababababa")[:10]))
    assert split["train_labels"].tolist() == list("ababababa")
    assert split["train_labels"].dtype.kind == "U"  # which an .npz can hold
    assert split["test_images"].shape == (1, 3, 5)
    whole = levels(9, (10, 3, 5)).astype(int)
    for images, labels, message in (
        ([[1], [1, 2]], None, "images can't be made an array"),
        (grey(10), [1], r"labels have shape \(1,\), and there are 10 images"),
        (grey(10), 3, r"labels have shape \(\), and there are 10 images"),
        (whole.tolist(), None, r"int64, 0 to 9; .*\(images.astype\(numpy.uint8"),
        (400 * whole, None, "int64, 0 to 3600; it should hold uint8, 0 to 255, or floats"),
    ):
        with pytest.raises(UserError, match=message):
            arrays.checked_split(images, labels)

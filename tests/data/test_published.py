"""Data sets of papers: the embedded one, and small files of the formats of the others."""

import gzip
import hashlib
import io
import shutil
import struct
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.small.runs import values_of
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data import DATASETS
from vae_jax.data.dataset import dataset
from vae_jax.data.sets import binarized_mnist, shapes3d
from vae_jax.data.sets.published import DSPRITES, PUBLISHED, load
from vae_jax.data.source import is_binary
from vae_jax.errors import UserError

RNG = np.random.default_rng(0)
# What the authors' text files of the binarised MNIST have as sha256.
AMAT = {
    "train": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
    "valid": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
    "test": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
}


@pytest.mark.parametrize("name", ["valid", "test", pytest.param("train", marks=pytest.mark.slow)])
def test_the_binarized_mnist_is_the_authors(name):
    digest = hashlib.sha256()
    for image in binarized_mnist.read(name).reshape(-1, 784) // 255:
        digest.update(" ".join(map(str, image)).encode() + b"\n")
    assert digest.hexdigest() == AMAT[name]


def test_it_has_a_validation_set_of_its_own_and_no_labels():
    source = binarized_mnist.load()
    assert source.train_images.shape == (60_000, 28, 28, 1)
    assert source.test_images.shape == (10_000, 28, 28, 1)
    assert source.train_labels is None
    # The authors' test set begins with the zeros, here it is mixed: the ink of a zero's middle.
    middle = (source.test_images[:, 12:16, 12:16] > 0).mean(axis=(1, 2, 3))
    assert abs(middle[:1_000].mean() - middle.mean()) < 0.03
    in_order = binarized_mnist.read("test")
    assert abs((in_order[:900, 12:16, 12:16] > 0).mean() - middle.mean()) > 0.2
    assert sorted(map(bytes, source.test_images)) == sorted(map(bytes, in_order))
    data = dataset(source, validation_size=10_000, binarization="none", binarization_seed=0)
    assert data.binary
    assert not data.dynamic
    with pytest.raises(UserError, match="has a validation set of its own, of 10,000"):
        dataset(source, validation_size=5_000, binarization="none", binarization_seed=0)


def test_a_damaged_file_of_it_is_named(tmp_path):
    shutil.copytree(binarized_mnist.FOLDER, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "test.bits.xz"
    content = bytearray(path.read_bytes())
    content[1_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"test\.bits\.xz (is damaged|can't be read)"):
        binarized_mnist.load(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"test\.bits\.xz can't be read"):
        binarized_mnist.load(tmp_path)


def grey(n, *shape):
    return RNG.integers(0, 256, (n, *shape), dtype=np.uint8)


def write_fashion(folder):
    images = {"train": grey(6, 28, 28), "t10k": grey(3, 28, 28)}
    for name, own in images.items():
        head = struct.pack(">BBBBIII", 0, 0, 8, 3, *own.shape)
        packed = gzip.compress(head + own.tobytes())
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(packed)
        labels = struct.pack(">BBBBI", 0, 0, 8, 1, len(own)) + bytes(range(len(own)))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return images["train"][..., None], images["t10k"][..., None], [0, 1, 2, 3, 4, 5]


def columns(images):
    """[n, h, w] as MATLAB stores them: [n, w * h]."""
    return images.transpose(0, 2, 1).reshape(len(images), -1)


def write_omniglot(folder):
    train, test = grey(6, 28, 28), grey(3, 28, 28)
    labels = [4, 1, 0, 3, 2, 2]
    stored = {
        "data": columns(train).T / 255.0, "testdata": columns(test).T / 255.0,
        "target": np.eye(5)[labels].T, "testtarget": np.eye(5)[:3].T,
    }  # fmt: skip
    savemat(folder / "chardata.mat", stored)
    return train[..., None], test[..., None], labels


def write_caltech(folder):
    sets = {
        name: RNG.integers(0, 2, (n, 28, 28)) for name, n in (("train", 4), ("val", 2), ("test", 3))
    }
    stored = {f"{name}_data": columns(own).astype(np.uint8) for name, own in sets.items()}
    stored |= {f"{name}_labels": np.arange(1, len(own) + 1)[:, None] for name, own in sets.items()}
    savemat(folder / "caltech101_silhouettes_28_split1.mat", stored)
    train = 255 * np.concatenate([sets["train"], sets["val"]])[..., None]
    return train, 255 * sets["test"][..., None], [0, 1, 2, 3, 0, 1]


def write_frey(folder):
    images = grey(600, 28, 20)
    savemat(folder / "frey_rawface.mat", {"ff": images.reshape(600, -1).T})
    order = np.random.default_rng(0).permutation(600)
    return images[order[:400]][..., None], images[order[400:]][..., None], None


def write_cifar(folder):
    train, test = grey(10, 32, 32, 3), grey(2, 32, 32, 3)
    labels = [i % 10 for i in range(10)]

    def rows(images, labels):
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        return np.column_stack([np.array(labels, np.uint8), planes]).tobytes()

    files = {
        f"data_batch_{i + 1}": rows(train[2 * i : 2 * i + 2], labels[2 * i : 2 * i + 2])
        for i in range(5)
    }
    files["test_batch"] = rows(test, [7, 8])
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return train, test, labels


def write_svhn(folder):
    train, test = grey(5, 32, 32, 3), grey(2, 32, 32, 3)
    for name, own, y in (("train", train, [10, 1, 9, 3, 10]), ("test", test, [2, 10])):
        savemat(
            folder / f"{name}_32x32.mat",
            {"X": own.transpose(1, 2, 3, 0), "y": np.array(y)[:, None]},
        )
    return train, test, [0, 1, 9, 3, 0]


def write_celeba(folder):
    """Faces of one colour within their middle, and of another one around it."""
    sets, faces = [0, 2, 1, 0, 2], []
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for i, _ in enumerate(sets):
            image = np.full((218, 178, 3), 255, np.uint8)
            image[39:179, 19:159] = 40 * i
            packed = io.BytesIO()
            Image.fromarray(image).save(packed, "PNG")
            archive.writestr(f"img_align_celeba/{i:06d}.jpg", packed.getvalue())
            faces.append(np.full((64, 64, 3), 40 * i))
    lines = "\n".join(f"{i:06d}.jpg {own}" for i, own in enumerate(sets))
    (folder / "list_eval_partition.txt").write_text(lines)
    faces = np.stack(faces)
    return faces[[0, 3, 2]], faces[[1, 4]], None


def write_dsprites(folder):
    images, classes = RNG.integers(0, 2, (50, 64, 64), dtype=np.uint8), RNG.integers(0, 3, (50, 6))
    metadata = np.array([{"a": object}], dtype=object)  # pickled, in theirs: it is never read
    np.savez(folder / DSPRITES, imgs=images, latents_classes=classes, metadata=metadata)
    order = np.random.default_rng(0).permutation(50)
    train, test = np.sort(order[5:]), np.sort(order[:5])
    return 255 * images[train][..., None], 255 * images[test][..., None], classes[train, 1]


def write_shapes3d(folder):
    """50 images of six factors, in chunks that end within a block."""
    h5py = pytest.importorskip("h5py")
    images = grey(50, 64, 64, 3)
    ends = np.array([(0, 1), (0, 1), (0, 1), (0.75, 1.25), (0, 3), (-30, 30)])
    share = FACTORS / (NUM_VALUES - 1)
    with h5py.File(folder / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(7, 64, 64, 3), compression="gzip")
        file["labels"] = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
    order = np.random.default_rng(0).permutation(50)
    train, test = np.sort(order[5:]), np.sort(order[:5])
    return images[train], images[test], FACTORS[train, 4]


NUM_VALUES = np.array([10, 10, 10, 8, 4, 15])
FACTORS = np.arange(50)[:, None] * [1, 3, 7, 1, 1, 1] % NUM_VALUES  # each has all its values
WRITERS = {
    "caltech101_silhouettes": write_caltech, "celeba": write_celeba, "cifar10": write_cifar,
    "dsprites": write_dsprites, "fashion_mnist": write_fashion, "frey_faces": write_frey,
    "omniglot": write_omniglot, "shapes3d": write_shapes3d, "svhn": write_svhn,
}  # fmt: skip


def without_sums(name):
    return PUBLISHED[name]._replace(files=dict.fromkeys(PUBLISHED[name].files, ""), gigabytes=0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_of_the_format_is_read(tmp_path, name):
    train, test, labels = WRITERS[name](tmp_path)
    source = load(name, without_sums(name), str(tmp_path))
    np.testing.assert_array_equal(source.train_images, train)
    np.testing.assert_array_equal(source.test_images, test)
    assert source.train_images.dtype == np.uint8
    if labels is None:
        assert source.train_labels is None
    else:
        np.testing.assert_array_equal(source.train_labels, labels)
    usual = DATASETS[name]().usual
    size = source.validation_size or 1
    binarization = usual[0] if usual else "none"
    data = dataset(source, validation_size=size, binarization=binarization, binarization_seed=0)
    assert data.image_shape == train.shape[1:]
    assert is_binary(source.train_images) == (usual == ("none", "bernoulli"))


@pytest.mark.parametrize("rows", [1, 8, 2_000])
def test_shapes3d_is_read_in_blocks(tmp_path, monkeypatch, rows):
    """Each image and its factors once, in the order of the file."""
    monkeypatch.setattr(shapes3d, "BLOCK", rows)
    train, test, _ = write_shapes3d(tmp_path)
    source = load("shapes3d", without_sums("shapes3d"), str(tmp_path))
    np.testing.assert_array_equal(source.train_images, train)
    np.testing.assert_array_equal(source.test_images, test)
    order = np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(source.train_factors, FACTORS[np.sort(order[5:])])
    np.testing.assert_array_equal(source.test_factors, FACTORS[np.sort(order[:5])])


def test_shapes3d_says_what_reads_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "3dshapes.h5").write_bytes(b"")
    with pytest.raises(UserError, match="is read by h5py: pip install h5py"):
        load("shapes3d", without_sums("shapes3d"), str(tmp_path))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_that_is_missing_or_another_is_named(tmp_path, name):
    published = PUBLISHED[name]._replace(gigabytes=0)
    with pytest.raises(UserError, match=f"dataset.path is empty; dataset.name = '{name}' needs"):
        load(name, published, "")
    first = next(iter(published.files))
    with pytest.raises(UserError, match=f"{first} can't be read .*; put {first} there, from "):
        load(name, published, str(tmp_path))
    for file in published.files:
        (tmp_path / file).write_bytes(b"no such thing")
    expected = (
        "is not the file that its authors give" if published.files[first] else "can't be read"
    )
    with pytest.raises(UserError, match=expected):
        load(name, published, str(tmp_path))
    with pytest.raises(UserError, match=r"can't be read .*; get its files again from"):
        load(name, without_sums(name), str(tmp_path))


def test_more_than_the_memory_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"dsprites needs 9e.* GB of memory"):
        load("dsprites", PUBLISHED["dsprites"]._replace(gigabytes=9e9), str(tmp_path))


def test_what_is_binary_is_not_binarised(tiny_npz):
    values = values_of(tiny_npz) | {"dataset.name": "binarized_mnist", "dataset.path": ""}
    with pytest.raises(UserError, match="'binarized_mnist' holds 0 and 1"):
        check(nest(values), idle_allowed=True)

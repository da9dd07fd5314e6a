"""Data sets that papers report numbers on, from the files of their authors.

None is fetched: a file that is missing is named, with where it is from. A file whose checksum is
known is compared with it.
"""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.sets.mnist import idx
from vae_jax.data.sets.shapes3d import FILE, shapes3d
from vae_jax.data.source import Source
from vae_jax.errors import Unreadable, UserError
from vae_jax.memory import host_memory
from vae_jax.words import reason

Read = Callable[[Mapping[str, Path]], Source]
SEED = 0  # of a split that the authors do not give


class Published(NamedTuple):
    """Where a data set is from, and how it is read."""

    files: dict[str, str]  # name: sha256; "": its authors register none
    read: Read  # (the path of each file) -> its Source
    source: str  # where the files are
    licence: str
    paper: str
    gigabytes: float = 0.1  # of memory, for its images


def load(name: str, published: Published, folder: str) -> Source:
    """Reads a data set from the folder in which its files are.

    Raises:
      UserError: the folder is not said; a file is missing, is not the authors', or can't be read;
        there is not enough memory.
    """
    if not folder:
        raise UserError(
            f"dataset.path is empty; dataset.name = {name!r} needs the folder of "
            f"{', '.join(published.files)}, from {published.source}"
        )
    if published.gigabytes * 1e9 > host_memory():
        raise UserError(
            f"{name} needs {published.gigabytes:g} GB of memory for its images, and this process "
            f"may use {host_memory() / 1e9:.1f} GB"
        )
    paths = {file: Path(folder, file) for file in published.files}
    for file, path in paths.items():
        found = sha256_of(path, published)
        expected = published.files[file]
        if expected and found != expected:
            raise Unreadable(
                f"{path} is not the file that its authors give: its sha256 is {found}, and theirs "
                f"is {expected}; get it again from {published.source}"
            )
    try:
        return published.read(paths)._replace(name=name)
    except UserError:
        raise
    except Exception as error:  # scipy, gzip, tarfile and zipfile raise many kinds
        raise Unreadable(
            f"{folder}: {name} can't be read ({reason(error)}); get its files again from "
            f"{published.source}"
        ) from error


def sha256_of(path: Path, published: Published) -> str:
    """The sha256 of a file; raises Unreadable if there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        known = published.files[path.name]
        raise Unreadable(
            f"{path} can't be read ({error.strerror}); put {path.name} there, from "
            f"{published.source}" + (f" (sha256 {known})" if known else "")
        ) from error


def upright(columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """Images [n, height, width, 1] of rows [n, d] that MATLAB stored, column by column."""
    return columns.reshape(-1, width, height).transpose(0, 2, 1)[..., None]


def matrices(path: Path) -> dict[str, Any]:
    """The matrices of a MATLAB file, of version 5: it holds no code."""
    from scipy.io import loadmat

    return loadmat(path)


def fashion_mnist(paths: Mapping[str, Path]) -> Source:
    """60,000 training and 10,000 test images, 28 x 28, uint8, of ten kinds of clothes."""
    packed = {name.split("-idx")[0]: path.read_bytes() for name, path in paths.items()}
    arrays = {name: idx(gzip.decompress(content)) for name, content in packed.items()}
    return Source(
        "fashion_mnist",
        arrays["train-images"][..., None],
        arrays["train-labels"].astype(np.int64),
        arrays["t10k-images"][..., None],
        arrays["t10k-labels"].astype(np.int64),
        class_names=(
            "T-shirt", "trouser", "pullover", "dress", "coat",
            "sandal", "shirt", "sneaker", "bag", "ankle boot",
        ),
    )  # fmt: skip


def omniglot(paths: Mapping[str, Path]) -> Source:
    """24,345 training and 8,070 test characters, 28 x 28, grey; the label is the alphabet."""
    stored = matrices(paths["chardata.mat"])
    train, test = (
        np.round(255 * upright(stored[key].T, 28, 28)).astype(np.uint8)
        for key in ("data", "testdata")
    )
    labels = [stored[key].argmax(axis=0).astype(np.int64) for key in ("target", "testtarget")]
    return Source("omniglot", train, labels[0], test, labels[1])


def caltech101_silhouettes(paths: Mapping[str, Path]) -> Source:
    """4,100 training, 2,264 validation and 2,307 test shapes, 28 x 28, 0 or 1, of 101 kinds."""
    stored = matrices(paths["caltech101_silhouettes_28_split1.mat"])
    images = [255 * upright(stored[f"{key}_data"], 28, 28).astype(np.uint8) for key in SPLITS]
    labels = [stored[f"{key}_labels"].reshape(-1).astype(np.int64) - 1 for key in SPLITS]
    return Source(
        "caltech101_silhouettes",
        np.concatenate(images[:2]),
        np.concatenate(labels[:2]),
        images[2],
        labels[2],
        validation_size=len(images[1]),
    )


SPLITS = ("train", "val", "test")


def frey_faces(paths: Mapping[str, Path]) -> Source:
    """1,965 faces, 28 x 20, grey: 1,565 for training, 200 for validation, 200 for the test.

    The authors give no split; this one is random, of the sizes of Tomczak and Welling 2018.
    """
    images = matrices(paths["frey_rawface.mat"])["ff"].T.reshape(-1, 28, 20, 1)
    order = np.random.default_rng(SEED).permutation(len(images))
    return Source(
        "frey_faces",
        images[order[:-200]],
        None,
        images[order[-200:]],
        None,
        validation_size=200,
        notes=("its authors give no split: the test set and the validation set are random",),
    )


def cifar10(paths: Mapping[str, Path]) -> Source:
    """50,000 training and 10,000 test photographs, 32 x 32 x 3, uint8, of ten kinds."""
    parts: dict[str, np.ndarray] = {}
    with tarfile.open(paths["cifar-10-binary.tar.gz"]) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".bin") else None
            if file is not None:  # nothing is unpacked onto the disk
                name = Path(member.name).stem
                parts[name] = np.frombuffer(file.read(), np.uint8).reshape(-1, 3_073)
    rows = [np.concatenate([parts[f"data_batch_{i}"] for i in range(1, 6)]), parts["test_batch"]]
    images = [part[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for part in rows]
    labels = [part[:, 0].astype(np.int64) for part in rows]
    return Source(
        "cifar10", images[0], labels[0], images[1], labels[1],
        class_names=(
            "airplane", "automobile", "bird", "cat", "deer",
            "dog", "frog", "horse", "ship", "truck",
        ),
    )  # fmt: skip


def svhn(paths: Mapping[str, Path]) -> Source:
    """73,257 training and 26,032 test digits of house numbers, 32 x 32 x 3, uint8."""
    stored = [matrices(paths[f"{name}_32x32.mat"]) for name in ("train", "test")]
    images = [np.ascontiguousarray(one["X"].transpose(3, 0, 1, 2)) for one in stored]
    labels = [one["y"].reshape(-1).astype(np.int64) % 10 for one in stored]  # 10 is the digit 0
    return Source("svhn", images[0], labels[0], images[1], labels[1])


def celeba(paths: Mapping[str, Path]) -> Source:
    """162,770 training, 19,867 validation and 19,962 test faces, 64 x 64 x 3, uint8.

    The aligned images, of which the central 140 x 140 pixels are scaled (Tolstikhin et al. 2018).
    """
    from PIL import Image

    lines = paths["list_eval_partition.txt"].read_text().split()
    names, sets = lines[::2], np.array(lines[1::2], int)
    with zipfile.ZipFile(paths["img_align_celeba.zip"]) as archive:

        def image(name: str) -> np.ndarray:
            packed = archive.read(f"img_align_celeba/{name}")
            with Image.open(io.BytesIO(packed)) as full:
                left, top = (full.width - 140) // 2, (full.height - 140) // 2
                face = full.convert("RGB").crop((left, top, left + 140, top + 140))
                return np.asarray(face.resize((64, 64), Image.Resampling.BILINEAR))

        images = np.empty((len(names), 64, 64, 3), np.uint8)
        with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
            for row, own in zip(images, pool.map(image, names), strict=True):
                row[:] = own
    order = np.argsort(sets, kind="stable")
    num_test = int((sets == 2).sum())
    images = images if (order == np.arange(len(order))).all() else images[order]
    train, test = images[:-num_test], images[-num_test:]
    return Source("celeba", train, None, test, None, validation_size=int((sets == 1).sum()))


def dsprites(paths: Mapping[str, Path]) -> Source:
    """727,280 training and 10,000 test shapes, 64 x 64, 0 or 1, with their five factors.

    The authors give no split; the test set is random.
    """
    with np.load(paths[DSPRITES], allow_pickle=False) as stored:
        images, classes = stored["imgs"], stored["latents_classes"][:, 1:]  # of one colour
    images *= 255
    order = np.random.default_rng(SEED).permutation(len(images))
    num_test = min(10_000, len(images) // 10)
    train, test = np.sort(order[num_test:]), np.sort(order[:num_test])
    factors = classes.astype(np.int64)
    return Source(
        "dsprites",
        images[train][..., None],
        factors[train, 0],
        images[test][..., None],
        factors[test, 0],
        train_factors=factors[train],
        test_factors=factors[test],
        class_names=("square", "ellipse", "heart"),
        notes=("its authors give no split: the test set is random",),
    )


DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
PUBLISHED: dict[str, Published] = {
    "caltech101_silhouettes": Published(
        {"caltech101_silhouettes_28_split1.mat": ""},
        caltech101_silhouettes,
        "people.cs.umass.edu/~marlin/data.shtml",
        "none is stated",
        "Marlin, Swersky, Chen and de Freitas 2010",
    ),
    "celeba": Published(
        {
            "img_align_celeba.zip": (
                "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74"
            ),
            "list_eval_partition.txt": (
                "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7"
            ),
        },
        celeba,
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "for research that is not commercial",
        "Liu, Luo, Wang and Tang 2015",
        gigabytes=3.0,
    ),
    "cifar10": Published(
        {
            "cifar-10-binary.tar.gz": (
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
            )
        },
        cifar10,
        "www.cs.toronto.edu/~kriz/cifar.html",
        "none is stated",
        "Krizhevsky 2009",
        gigabytes=0.6,
    ),
    "dsprites": Published(
        {DSPRITES: ""},
        dsprites,
        "github.com/google-deepmind/dsprites-dataset",
        "see its repository",
        "Matthey, Higgins, Hassabis and Lerchner 2017",
        gigabytes=7.0,
    ),
    "fashion_mnist": Published(
        {
            "train-images-idx3-ubyte.gz": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
            ),
            "train-labels-idx1-ubyte.gz": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
            ),
        },
        fashion_mnist,
        "github.com/zalandoresearch/fashion-mnist",
        "MIT",
        "Xiao, Rasul and Vollgraf 2017",
    ),
    "frey_faces": Published(
        {"frey_rawface.mat": ""},
        frey_faces,
        "cs.nyu.edu/~roweis/data.html",
        "none is stated",
        "Roweis, Saul and Hinton 2001",
    ),
    "omniglot": Published(
        {"chardata.mat": ""},
        omniglot,
        "github.com/yburda/iwae, datasets/OMNIGLOT",
        "MIT",
        "Lake, Salakhutdinov and Tenenbaum 2015; the split of Burda et al. 2015",
    ),
    "shapes3d": Published(
        {FILE: "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"},
        shapes3d,
        "github.com/google-deepmind/3d-shapes",
        "none is stated",
        "Burgess and Kim 2018",
        gigabytes=6.2,
    ),
    "svhn": Published(
        {
            "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        },
        svhn,
        "ufldl.stanford.edu/housenumbers",
        "for research that is not commercial",
        "Netzer et al. 2011",
        gigabytes=1.0,
    ),
}

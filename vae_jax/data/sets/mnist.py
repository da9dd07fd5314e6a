"""MNIST, embedded in the package (LeCun, Bottou, Bengio and Haffner 1998)."""

import gzip
import hashlib
from pathlib import Path

import numpy as np

from vae_jax.data.source import Source
from vae_jax.errors import UserError

FOLDER = Path(__file__).parent / "mnist_files"

# The checksums of the original files.
SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def read_idx(path: Path) -> np.ndarray:
    """The unsigned bytes of one gzipped IDX file in its own shape; verifies its checksum.

    Raises:
      UserError: the file is missing, or is not the original.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); reinstall vae_jax") from error
    if hashlib.sha256(packed).hexdigest() != SHA256[path.stem]:
        raise UserError(
            f"{path} is damaged: its sha256 is not the original's; restore it "
            "(git checkout, or reinstall vae_jax)"
        )
    return idx(gzip.decompress(packed))


def idx(content: bytes) -> np.ndarray:
    """The unsigned bytes of an IDX file, in its own shape."""
    # IDX: two zero bytes, the type (8: unsigned byte), the rank, then each size as 4 bytes.
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape.tolist())


def load(folder: Path = FOLDER) -> Source:
    """60,000 training and 10,000 test digits, 28 x 28 x 1, uint8, with labels 0 to 9."""
    return Source(
        name="mnist",
        train_images=read_idx(folder / "train-images-idx3-ubyte.gz")[..., None],
        train_labels=read_idx(folder / "train-labels-idx1-ubyte.gz").astype(np.int64),
        test_images=read_idx(folder / "t10k-images-idx3-ubyte.gz")[..., None],
        test_labels=read_idx(folder / "t10k-labels-idx1-ubyte.gz").astype(np.int64),
    )

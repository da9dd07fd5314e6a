"""The one fixed binarisation of MNIST that papers use, embedded in the package.

References: Larochelle and Murray 2011, The Neural Autoregressive Distribution Estimator.
"""

import hashlib
import lzma
from pathlib import Path

import numpy as np

from vae_jax.data.source import Source
from vae_jax.errors import UserError

FOLDER = Path(__file__).parent / "binarized_mnist_files"

# Of the pixels, eight a byte. Written as text, 784 digits a line, they are the authors' files.
SHA256 = {
    "train": "727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906",
    "valid": "a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d",
    "test": "9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2",
}
SIZES = {"train": 50_000, "valid": 10_000, "test": 10_000}
PIXELS = 28 * 28


def read(name: str, folder: Path = FOLDER) -> np.ndarray:
    """The images of a set [n, 28, 28, 1], uint8, 0 or 255; verifies their checksum.

    Raises:
      UserError: the file is missing, or is damaged.
    """
    path = folder / f"{name}.bits.xz"
    size = SIZES[name] * PIXELS // 8
    try:
        with lzma.open(path) as file:
            packed = file.read(size + 1)  # a damaged file takes no more memory than a whole one
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{path} can't be read; reinstall vae_jax") from error
    if hashlib.sha256(packed).hexdigest() != SHA256[name]:
        raise UserError(
            f"{path} is damaged: its sha256 is not the original's; restore it "
            "(git checkout, or reinstall vae_jax)"
        )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    return 255 * bits.reshape(-1, 28, 28, 1)


def load(folder: Path = FOLDER) -> Source:
    """50,000 training, 10,000 validation and 10,000 test digits, without labels.

    The authors' test set is sorted by digit: here it has another order, always the same, so that
    its first images are like the others.
    """
    train, valid, test = (read(name, folder) for name in SIZES)
    test = test[np.random.default_rng(0).permutation(len(test))]
    return Source(
        "binarized_mnist",
        np.concatenate([train, valid]),
        None,
        test,
        None,
        validation_size=len(valid),
    )

import shutil

import numpy as np
import pytest

from vae_jax.data.sets import mnist
from vae_jax.data.source import checksum
from vae_jax.errors import UserError


def test_it_is_mnist():
    source = mnist.load()
    assert source.train_images.shape == (60_000, 28, 28, 1)
    assert source.test_images.shape == (10_000, 28, 28, 1)
    assert source.train_images.dtype == np.uint8
    assert source.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert source.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(source.train_labels).tolist() == counts
    # The mean and standard deviation that everyone normalises with.
    assert abs(source.train_images.mean() / 255 - 0.1307) < 1e-4
    assert abs(source.train_images.std() / 255 - 0.3081) < 1e-4
    assert checksum(source) == checksum(mnist.load())


def test_a_damaged_file_is_named(tmp_path):
    shutil.copytree(mnist.FOLDER, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[1_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        mnist.load(tmp_path)
    path.write_bytes(content[:5_000])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        mnist.load(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz can't be read"):
        mnist.load(tmp_path)

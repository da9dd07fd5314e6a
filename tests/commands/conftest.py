"""A sweep that tests share."""

import numpy as np
import pytest

from tests.small.sweeps import run_sweep


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    """(workdir, npz) of a finished sweep of eight lanes in one program."""
    at = tmp_path_factory.mktemp("sweep")
    images = np.random.default_rng(0).integers(0, 256, (350, 6, 6), dtype=np.uint8)
    images[:, :3] //= 4
    labels = np.arange(350) % 3
    np.savez(
        at / "data.npz",
        train_images=images[:300],
        train_labels=labels[:300],
        test_images=images[300:],
        test_labels=labels[300:],
    )
    run_sweep(at / "data.npz", at / "sweep")
    return at / "sweep", at / "data.npz"

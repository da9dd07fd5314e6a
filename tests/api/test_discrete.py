"""A run with a discrete z, from Python."""

import numpy as np
import pytest

from tests.small.runs import run as train_run
from tests.small.runs import write_tiny_npz
from vae_jax import load
from vae_jax.errors import UserError
from vae_jax.pages.server import serve

CATEGORICAL = {"model__posterior": "categorical", "model__prior": "uniform"}
FEW = {"model__latent_size": 2, "model__categories": 3, "objective__gradient": "exact"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    at = tmp_path_factory.mktemp("discrete")
    train_run(write_tiny_npz(at / "tiny.npz"), at / "run", **CATEGORICAL, **FEW)
    return load(at / "run")


def test_codes_are_probabilities_of_each_variable(run):
    x = run.images("test")
    np.testing.assert_allclose(run.encode(x).reshape(len(x), 2, 3).sum(-1), 1, rtol=1e-5)
    assert run.reconstruct(x).shape == run.generate(len(x)).shape == x.shape


def test_the_nll_is_the_sum_over_all_z(run):
    x = (run.images("test")[:5] > 127).astype(np.float32)
    values = np.eye(3, dtype=np.float32)
    every = np.stack([np.concatenate([a, b]) for a in values for b in values])
    means = run.decode(every).reshape(9, -1).clip(1e-6, 1 - 1e-6)
    rows = x.reshape(5, 1, -1)
    log_px = (rows * np.log(means) + (1 - rows) * np.log1p(-means)).sum(-1)
    exact = -np.log(np.exp(log_px).mean(axis=1))
    np.testing.assert_allclose(run.nll(x, num_samples=5_000), exact, atol=0.1)


@pytest.mark.parametrize("what", ["interpolate", "the explorer"])
def test_lines_in_z_are_refused(run, what):
    x = run.images("test")
    with pytest.raises(UserError, match=f"{what} moves z along lines, and z of .* is discrete"):
        run.interpolate(x[0], x[1]) if what == "interpolate" else serve(run.workdir, 0)

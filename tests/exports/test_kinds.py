"""Exports of trained models of every kind that differs, and of a sweep's padded lane."""

import numpy as np
import pytest

import vae_jax
from tests.small.exports import KINDS
from tests.small.runs import run as train_run
from tests.small.runs import write_tiny_npz
from tests.small.sweeps import run_sweep
from vae_jax.errors import UserError
from vae_jax.exports.rebuild import functions_of

TRAINED = (
    "conv", "realnvp", "categorical", "vq", "rae", "hierarchy", "m2", "pixelcnn",
)  # fmt: skip
SHORT = {"training__num_epochs": 1, "log__every_steps": 100}


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_tiny_npz(tmp_path_factory.mktemp("kinds") / "tiny.npz")


def assert_same(run, folder):
    """The export of a run gives what the run gives."""
    model = vae_jax.load_exported(vae_jax.export(run, folder))

    def close(found, expected):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

    x = run.images()[:3]
    y = np.array([0, 1, 2]) if run.reads_labels else None
    z = run.encode(x, y)
    close(model.encode(x, y), z)
    close(model.decode(z, y), run.decode(z, y))
    made = model.generate(3, labels=y)
    for i in range(3):
        own = None if y is None else y[i : i + 1]
        close(made[i : i + 1], run.generate(1, seed=i, labels=own))
    anew = functions_of(model.description)["encode"]  # as where jax can't read the programs
    of_x = x.reshape(3, -1).astype(np.float32) / np.float32(255 if x.dtype == np.uint8 else 1)
    close(anew(model.params, of_x, *([] if y is None else [y.astype(np.int32)]))["mean"], z)
    if "elbo" in model.functions:
        own = None if y is None else y[:1]
        close(model.elbo(x, y)[0], run.posterior(x[0], own)["elbo"])
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAINED)
def test_a_trained_model(npz, tmp_path, kind):
    changes, without = KINDS[kind]
    changes = {key.replace(".", "__"): value for key, value in changes.items()}
    train_run(npz, tmp_path / "run", **SHORT, **changes)
    run = vae_jax.load(tmp_path / "run")
    model = assert_same(run, tmp_path / "to")
    assert tuple(model.description["left_out"]) == without
    for name in without:
        with pytest.raises(UserError, match=f"this export has no {name}: q.z . x. has no density"):
            model.elbo(run.images()[:1])


@pytest.mark.slow
def test_lanes_of_a_sweep_over_latent_sizes(npz, tmp_path):
    """That of 2 units was trained with 3, of which one was masked."""
    run_sweep(npz, tmp_path / "sweep", **SHORT)
    for lane in range(4):
        run = vae_jax.load(tmp_path / "sweep", lane)
        model = assert_same(run, tmp_path / f"to_{lane}")
        assert model.latent_size == run.latent_size == model.config["model.latent_size"]
        card = (model.folder / "README.md").read_text()
        assert "mean of 2 seeds" in card


@pytest.mark.slow
@pytest.mark.parametrize(("name", "has_elbo"), [("gaussian", True), ("two_stage", False)])
def test_a_sampler_goes_along(npz, tmp_path, name, has_elbo):
    train_run(npz, tmp_path / "run", **SHORT)
    run = vae_jax.load(tmp_path / "run")
    run = run.with_sampler(vae_jax.fit_sampler(run, name, steps=10, width=8))
    model = vae_jax.load_exported(vae_jax.export(run, tmp_path / "to"))
    assert any(name.startswith("sampler/") for name in model.params)
    np.testing.assert_allclose(model.generate(2)[1], run.generate(1, seed=1)[0], atol=1e-4)
    assert ("elbo" in model.functions) == has_elbo
    assert "by the model's own prior" in (model.folder / "README.md").read_text()

"""A run from Python: trained from arrays, used on images, loaded again, gone on with."""

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import vae_jax
from tests.conftest import values_of, write_tiny_npz
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.models.model import decode, posterior_mean, reconstruct
from vae_jax.runs.run import first_state, lane_model, make_run

SMALL = {
    "model.encoder.widths": (8,),
    "model.decoder.widths": (8,),
    "dataset.validation_size": 50,
    "log.every_steps": 5,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    with np.load(write_tiny_npz(tmp_path_factory.mktemp("api") / "tiny.npz")) as npz:
        return dict(npz)


def trained(images, workdir, epochs):
    """Two lanes of a small model of the images."""
    return vae_jax.train(
        images["train_images"],
        workdir,
        labels=images["train_labels"],
        latent_size=2,
        seeds=2,
        epochs=epochs,
        batch_size=20,
        keys=SMALL | {"model.likelihood": "bernoulli"},
    )


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    return trained(images, tmp_path_factory.mktemp("api") / "run", epochs=2)


def test_it_gives_back_the_run(run):
    assert repr(run).startswith("<lane ")
    assert run.image_shape == (6, 6, 1)
    assert run.latent_size == 2
    assert run.config["training.seeds"] == (0, 1)
    assert len(run.results) == 2
    assert run.results["lane"].tolist() == [0, 1]
    best = run.results.set_index("lane")["validation_bound"].idxmax()
    assert run.lane == best
    history = run.history
    assert set(history["split"]) == {"train", "validation"}
    assert history[history.split == "validation"].groupby("lane").size().tolist() == [2, 2]


def test_images_go_in_and_come_out_in_one_shape(run, images):
    x = images["test_images"]
    codes = run.encode(x)
    assert codes.shape == (50, 2)
    for given in (x, x[..., None], x.reshape(50, -1), x.astype(np.float32) / 255):
        np.testing.assert_allclose(run.encode(given), codes, rtol=1e-5, atol=1e-6)
    assert run.reconstruct(x).shape == (50, 6, 6)
    assert run.reconstruct(x[..., None]).shape == (50, 6, 6, 1)
    assert run.reconstruct(x[0]).shape == (6, 6)
    assert run.encode(x[0]).shape == (1, 2)
    assert run.generate(3).shape == (3, 6, 6)
    np.testing.assert_array_equal(run.generate(3, seed=5), run.generate(3, seed=5))
    assert (run.generate(3, seed=5) != run.generate(3, seed=6)).any()
    np.testing.assert_allclose(run.generate(3, temperature=1), run.generate(3), atol=1e-6)
    cold = run.generate(3, temperature=0)
    np.testing.assert_allclose(
        cold, np.stack([run.decode(np.zeros(run.latent_size))] * 3), atol=1e-6
    )
    with pytest.raises(UserError, match="temperature should be a number, or 1 number"):
        run.generate(3, temperature=(1, 2))
    assert run.decode(codes).shape == (50, 6, 6)
    assert run.decode(codes[0]).shape == (6, 6)
    assert run.interpolate(x[0], x[1], steps=4).shape == (4, 6, 6)
    assert run.interpolate(x[:3], x[3:6], steps=4).shape == (3, 4, 6, 6)


def test_it_is_what_the_pure_functions_give(run, images):
    x = images["test_images"].reshape(50, -1) / np.float32(255)
    model, variables = run.model, run.variables
    np.testing.assert_allclose(run.encode(x), posterior_mean(model, variables, x), atol=1e-6)
    expected = np.asarray(reconstruct(model, variables, x)).reshape(50, 6, 6)
    np.testing.assert_allclose(run.reconstruct(x), expected, atol=1e-6)
    ends = run.interpolate(images["test_images"][0], images["test_images"][1], steps=2)
    np.testing.assert_allclose(ends, expected[:2], atol=1e-6)
    z = run.encode(x)[:1]
    np.testing.assert_allclose(
        run.decode(z)[0].ravel(), np.asarray(decode(model, variables, z, (2,)))[0], atol=1e-6
    )


def test_nll_is_of_binary_images_and_falls_with_samples(run, images):
    with pytest.raises(UserError, match="these are grey"):
        run.nll(images["test_images"])
    x = (images["test_images"] > 127).astype(np.float32)
    one, many = run.nll(x, num_samples=1).mean(), run.nll(x, num_samples=500).mean()
    assert run.nll(x).shape == (50,)
    assert many < one
    np.testing.assert_array_equal(run.nll(x, 20, seed=3), run.nll(x, 20, seed=3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.encode(np.zeros((3, 5, 6))), r"shape \(3, 5, 6\); they should be \(n, 6"),
        (lambda run: run.encode(np.zeros((0, 6, 6))), "shape"),
        (lambda run: run.encode(np.full((1, 6, 6), np.nan)), "NaN"),
        (lambda run: run.encode(np.zeros((1, 6, 6), np.int64)), "should hold uint8"),
        (lambda run: run.encode(np.zeros((1, 6, 6)), labels=[1]), "reads no labels"),
        (lambda run: run.decode(np.zeros((1, 3))), r"should be \(n, 2\)"),
        (lambda run: run.interpolate(np.zeros((2, 6, 6)), np.zeros((3, 6, 6))), "can't be paired"),
    ],
)
def test_a_wrong_argument_is_one_line_with_shapes(run, call, message):
    with pytest.raises(UserError, match=message):
        call(run)


def test_figures_are_matplotlib_s(run, with_pixels):
    before = sorted(run.workdir.rglob("*.png"))
    found = run.figures()
    assert {"reconstructions", "samples", "latent_space", "traversals"} <= found.keys()
    assert all(isinstance(figure, Figure) for figure in found.values())
    assert found["samples"]._repr_png_().startswith(b"\x89PNG")  # as a notebook shows it
    assert sorted(run.workdir.rglob("*.png")) == before


def test_it_is_loaded_again_and_gone_on_with(run, images):
    again = vae_jax.load(run.workdir)
    x = images["test_images"]
    np.testing.assert_array_equal(again.encode(x), run.encode(x))
    other = vae_jax.load(run.workdir, lane=1 - run.lane)
    assert other.lane != run.lane
    assert (other.encode(x) != run.encode(x)).any()
    with pytest.raises(UserError, match="has no lane 7"):
        vae_jax.load(run.workdir, lane=7)
    longer = trained(images, run.workdir, epochs=3)
    assert longer.history["epoch"].max() == 3
    # Its whole config, which names the images in its folder, is a config like any other.
    same = vae_jax.train(nest(longer.config), run.workdir)
    np.testing.assert_array_equal(same.encode(x), longer.encode(x))


def test_a_folder_of_other_images_is_refused(run, images):
    with pytest.raises(UserError, match="holds a run of other images"):
        vae_jax.train(
            images["train_images"][::-1], run.workdir, labels=images["train_labels"], epochs=9
        )


def test_a_config_is_trained_too_and_a_callback_can_stop_it(tiny_npz, tmp_path):
    config, seen = nest(values_of(tiny_npz, training__num_epochs=3)), []

    def callback(epoch, rows):
        seen.append(epoch)
        assert {row["split"] for row in rows} <= {"train", "validation"}
        return epoch >= 1

    stopped = vae_jax.train(config, tmp_path / "run", callback=callback)
    assert seen[0] == pytest.approx(5 / 12, abs=1e-5)
    assert 1 <= max(seen) < 3
    assert stopped.lane == 0
    whole = vae_jax.train(config, str(tmp_path / "run"))
    assert whole.history["epoch"].max() == 3
    assert len(whole.results) == 2
    with pytest.raises(UserError, match="labels and test images are for arrays"):
        vae_jax.train(config, tmp_path / "run", labels=[1])


def test_params_of_one_s_own_loop_are_saved_and_loaded(tiny_npz, tmp_path):
    config = nest(values_of(tiny_npz, training__seeds=(0,)))
    source = make_run(values_of(tiny_npz, training__seeds=(0,)), tmp_path)
    model, variables = lane_model(source, first_state(source).variables, 0)
    saved = vae_jax.save(tmp_path / "own", config, variables, step=7)
    x = source.data.test.images
    np.testing.assert_allclose(
        saved.encode(x), posterior_mean(model, variables, x / np.float32(255)), atol=1e-6
    )
    with pytest.raises(UserError, match="holds a run"):
        vae_jax.save(tmp_path / "own", config, variables)
    other = nest(values_of(tiny_npz, training__seeds=(0,), model__latent_size=4))
    with pytest.raises(UserError, match="not of the model"):
        vae_jax.save(tmp_path / "other", other, variables)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_conditional_model_takes_labels(tiny_npz, tmp_path):
    config = nest(values_of(tiny_npz, model__conditional=True, training__num_epochs=1))
    run = vae_jax.train(config, tmp_path / "run")
    x, y = run.data.test.images, run.data.test.labels
    assert run.encode(x, y).shape == (50, 3)
    assert run.generate(3, labels=[0, 1, 2]).shape == (3, 6, 6)
    with pytest.raises(UserError, match="reads labels: give labels="):
        run.encode(x)
    with pytest.raises(UserError, match=r"labels are int64 of shape \(1,\)"):
        run.generate(3, labels=[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latents": 2}, "no argument 'latents'"),
        ({"latent_size": 0}, "model.latent_size = 0 should be"),
        ({"keys": {"dataset.validation_size": 5_000}}, "dataset.validation_size = 5000"),
        ({"test_labels": [1]}, "no test_images"),
        ({"keys": {"model.latentsize": 3}}, "did you mean 'model.latent_size'"),
    ],
)
def test_a_mistake_touches_nothing(images, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        vae_jax.train(images["train_images"], tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_user_s_jax_is_left_as_it_was(images, tmp_path):
    jax.config.update("jax_enable_x64", True)
    try:
        vae_jax.train(images["train_images"], tmp_path / "run", epochs=1, batch_size=20, keys=SMALL)
        assert jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", False)

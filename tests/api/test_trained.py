"""A run from Python: trained from arrays, used on images, loaded again, gone on with."""

import dataclasses
import io
import json
from typing import Any

import jax
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from matplotlib.figure import Figure

import vae_jax
from tests.small.runs import config_of, values_of, write_tiny_npz
from vae_jax.api.trained import Trained
from vae_jax.config.build import lane_spec
from vae_jax.config.schema import nest
from vae_jax.data.dataset import without_images
from vae_jax.data.labels import classes_of
from vae_jax.errors import UserError
from vae_jax.figures import style
from vae_jax.figures.images import samples
from vae_jax.functions import decode
from vae_jax.models import make_model
from vae_jax.models.model import posterior_mean, reconstruct
from vae_jax.reports import run_figures
from vae_jax.reports.drawing import files_of
from vae_jax.runs.run import make_program, make_run

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


def test_the_images_of_each_set_go_in_again(run, images):
    test = run.images("test")
    assert test.shape == (30, 6, 6)  # a tenth of them
    assert set(np.unique(test)) == {0, 255}  # binarised
    np.testing.assert_array_equal(run.images(), test)
    np.testing.assert_array_equal(run.images("train"), images["train_images"][:220])
    assert run.images("validation").shape == (50, 6, 6)
    assert run.encode(test).shape == (30, 2)
    assert run.reconstruct(test).shape == test.shape
    with pytest.raises(UserError, match="split = 'tets' should be one of train, validation, test"):
        run.images("tets")
    with pytest.raises(UserError, match="images are not where they were"):
        dataclasses.replace(run, data=None).images("test")


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
        run.decode(z)[0].ravel(), np.asarray(decode(model, variables, z).mean())[0], atol=1e-6
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
        (lambda run: run.encode([[1, 2], [3]]), "images can't be made an array"),
        (lambda run: run.encode("photo.png"), r"shape \(\)"),
        (lambda run: run.posterior(np.zeros((2, 6, 6))), "of one image, and these are 2"),
        (lambda run: run.pictures(np.zeros((2, 5))), r"shape \(2, 5\)"),
        (lambda run: run.decode("z"), "codes should be numbers"),
        (lambda run: run.decode([1j, 0]), "codes should be numbers"),
        (lambda run: run.decode([np.nan, 0]), "codes should be finite"),
        (lambda run: run.decode([[0], [1, 2]]), "codes can't be made an array"),
        (lambda run: run.descend([[0, 0, 0]]), r"should be \(n, 2\)"),
        (lambda run: run.descend([[0, 0]], layer=1), "layer = 1 should be at most 0"),
        (lambda run: run.generate(0), "n = 0 should be a whole number, at least 1"),
        (lambda run: run.generate(1.5), "n = 1.5 should be a whole number"),
        (lambda run: run.generate(1, seed=-1), "seed = -1 should be a whole number"),
        (lambda run: run.generate(1, seed=2**32), r"below 2\*\*32"),
        (lambda run: run.generate(1, temperature="hot"), "temperature should be numbers"),
        (lambda run: run.generate(1, temperature=-1), "temperature = -1.0 should be"),
        (lambda run: run.nll(np.zeros((1, 6, 6)), num_samples=0), "num_samples = 0 should be"),
        (lambda run: run.nll(np.zeros((1, 6, 6)), seed="a"), "seed = 'a' should be"),
        (lambda run: run.interpolate(np.zeros((6, 6)), np.zeros((6, 6)), 0), "steps = 0 should"),
    ],
)
def test_a_wrong_argument_is_one_line_with_shapes(run, call, message):
    with pytest.raises(UserError, match=message):
        call(run)


@pytest.mark.parametrize(
    "method", ["encode", "reconstruct", "codes", "posterior", "nll", "pictures"]
)
def test_images_in_other_units_are_refused(run, images, method):
    """`encode` gave codes of 80, and `nll` 1e12."""
    given = images["test_images"][:1].astype(np.float32)
    with pytest.raises(
        UserError, match=r"images are floats, 0 to 229, and .* trained on uint8, 0 "
    ):
        getattr(run, method)(given)
    with pytest.raises(UserError, match="images are floats"):
        run.interpolate(given, given)


def test_numbers_as_people_have_them(run, images):
    x = images["test_images"][:2]
    np.testing.assert_array_equal(
        run.generate(np.int64(2), seed=np.int32(5), temperature=np.float64(1)),
        run.generate(2, seed=5, temperature=1.0),
    )
    codes = run.encode(x)
    for given in (codes.tolist(), pd.DataFrame(codes), codes.astype(np.float64)):
        np.testing.assert_array_equal(run.decode(given), run.decode(codes))
    frame = pd.DataFrame(x.reshape(2, -1))
    np.testing.assert_array_equal(run.encode(frame), codes)
    lists = (x / np.float32(255)).tolist()
    np.testing.assert_allclose(run.encode(lists), codes, atol=1e-6)
    assert run.interpolate(x[0], x[1], steps=np.int16(3)).shape == (3, 6, 6)


def test_without_its_images_it_knows_their_units(run, images):
    identity = run.run.data.identity
    gone = dataclasses.replace(
        run, data=None, run=run.run._replace(data=without_images(json.loads(json.dumps(identity))))
    )
    x = images["test_images"]
    np.testing.assert_array_equal(gone.encode(x), run.encode(x))
    with pytest.raises(UserError, match="trained on uint8, 0 to "):
        gone.encode(x.astype(np.float32))
    earlier = {key: value for key, value in identity.items() if key not in ("units", "class_names")}
    gone = dataclasses.replace(run, data=None, run=run.run._replace(data=without_images(earlier)))
    np.testing.assert_array_equal(gone.encode(x), run.encode(x))
    with pytest.raises(UserError, match="trained on images, 0 to 1"):
        gone.encode(x.astype(np.float32))


def untrained(tmp_path, labels, shape=(6, 6, 3)):
    """A conditional model of colour images at its first step."""
    rng = np.random.default_rng(0)
    split = {
        "train_images": rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8),
        "test_images": rng.integers(0, 256, (3, *shape), dtype=np.uint8),
        "train_labels": labels,
        "test_labels": labels[:3],
    }
    np.savez(tmp_path / "own.npz", **split)
    config = config_of(
        tmp_path / "own.npz",
        model__conditional=True,
        dataset__validation_size=1,
        training__batch_size=2,
        training__seeds=(0,),
    )
    run = make_run(config, tmp_path)
    model = make_model(lane_spec(config, run.data).model)
    progress: Any = None
    own = Trained(tmp_path, 0, model, model.init(jax.random.key(0)), run.data, run, progress)
    return own, split


def test_a_conditional_model_takes_the_labels_and_names_of_training(tmp_path):
    labels = np.array([1, 2_000_000, 5, 5, 1, 2_000_000, 5, 1])
    run, split = untrained(tmp_path, labels)
    assert run.class_names == ("1", "5", "2000000")
    x = split["train_images"]
    codes = run.encode(x, labels)
    flat, classes = x.reshape(8, -1) / np.float32(255), np.searchsorted([1, 5, 2_000_000], labels)
    expected = posterior_mean(run.model, run.variables, flat, classes)
    np.testing.assert_allclose(codes, expected, atol=1e-6)
    for given in (labels.tolist(), pd.Series(labels), labels.astype(float), labels.astype(str)):
        np.testing.assert_array_equal(run.encode(x, given), codes)
    assert (run.encode(x, labels[::-1]) != codes).any()
    for unseen in (0, 2, -1, "6", "cat"):
        with pytest.raises(UserError, match=r"label .* is no class .*; they are 1, 5, 2000000"):
            run.encode(x[:1], [unseen])
    with pytest.raises(UserError, match="labels should be whole numbers or names"):
        run.encode(x[:1], [None])
    # Two colour images are two images, of one label each.
    path = run.interpolate(x[0], x[1], steps=4, labels=[5])
    assert path.shape == (4, 6, 6, 3)
    np.testing.assert_allclose(path[0], run.reconstruct(x[0], labels=[5]), atol=1e-6)
    pairs = run.interpolate(x[:1], x[1:2], steps=4, labels=[5])
    np.testing.assert_array_equal(pairs, path[None])
    with pytest.raises(UserError, match=r"shape \(2, 6, 6\); they should be \(n, 6, 6, 3\)"):
        run.encode(x[:2, ..., 0], [1, 1])
    gone = make_program(run.run.lanes, tmp_path, without_images(run.run.data.identity))
    again = dataclasses.replace(run, data=None, run=gone)
    np.testing.assert_array_equal(again.encode(x, labels), codes)


def test_classes_that_are_names_are_also_numbers(tmp_path):
    for names, numbers in ((("cat", "dog"), (0, 1)), (("3", "12"), (3, 12))):
        for given in (numbers, names):
            assert classes_of(given, 2, names).tolist() == [0, 1]
    with pytest.raises(UserError, match="label 2 is no class that the model was trained on; they"):
        classes_of([2], 1, ("cat", "dog"))
    assert classes_of("dog", 1, ("cat", "dog")).tolist() == [1]


def test_figures_are_matplotlib_s(run, with_pixels):
    before = sorted(run.workdir.rglob("*.png"))
    found = run.figures()
    assert {"reconstructions", "samples", "latent_space", "traversals"} <= found.keys()
    assert all(isinstance(figure, Figure) for figure in found.values())
    assert found["samples"]._repr_png_().startswith(b"\x89PNG")  # as a notebook shows it
    assert sorted(run.workdir.rglob("*.png")) == before


def test_figures_are_written_for_talks(run, with_pixels, monkeypatch, tmp_path):
    def draw(run, done, lane, at):
        with style.written(files_of(run.config.values)):
            samples(at / "samples.png", np.zeros((1, 2, 3, 3, 1)), shown="E[x | z]", title="a_b$c$")

    monkeypatch.setattr(run_figures, "draw_lane", draw)  # one is enough
    at = tmp_path / "new" / "folder"
    found = run.figures(at, formats=("pdf", "svg"), dpi=60)
    assert list(found) == ["samples"]
    assert (at / "samples.pdf").read_bytes().startswith(b"%PDF")
    assert "</svg>" in (at / "samples.svg").read_text()
    assert len(list(at.iterdir())) == 2
    small, large = (
        PIL.Image.open(io.BytesIO(run.figures(dpi=dpi)["samples"]._repr_png_())).width
        for dpi in (60, 120)
    )
    assert large == pytest.approx(2 * small, abs=2)
    run.figures(tmp_path / "again", formats="pdf")
    with pytest.raises(
        UserError, match=r"figure_format.* = 'jpg' is unknown; .*there are: pdf, png, svg"
    ):
        run.figures(formats="jpg")
    with pytest.raises(UserError, match=r"log\.figure_dpi = 5000 should be at most 1200"):
        run.figures(dpi=5_000)


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

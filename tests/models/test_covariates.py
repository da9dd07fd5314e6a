"""A model that is given several covariates, from training to export."""

import jax
import numpy as np
import pytest

import vae_jax
from tests.small.cells import made_cells
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_idle
from vae_jax.config.schema import defaults, nest
from vae_jax.errors import UserError
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import posterior_means
from vae_jax.models.vae import VAE
from vae_jax.networks import MLP
from vae_jax.probability.counts import NegativeBinomialLikelihood

pytestmark = pytest.mark.slow  # `docs` of noxfile.py runs them

KEYS = {
    "model.conditional": True,
    "model.likelihood": "negative_binomial",
    "model.likelihood_size_factor": "learned",
    "model.likelihood_dispersion": "class",
    "model.encoder.widths": (8,),
    "model.decoder.widths": (8,),
    "log.figures": ("latent_space",),
}
BATCHES, DONORS = ["b0", "b1"], ["d0", "d1", "d2"]


def test_encoder_decoder_and_dispersion_are_given_their_levels():
    """One-hot levels side by side; r is of the first covariate."""
    likelihood = NegativeBinomialLikelihood(
        counts=True, image_shape=(1, 5, 1), given_sizes=(2, 3), dispersion="class"
    )
    spec = ModelSpec(
        kind=VAE(conditional=True), latent_size=2, encoder=MLP((4,), "tanh"),
        decoder=MLP((4,), "tanh"), likelihood=likelihood, image_shape=(1, 5, 1),
        num_classes=6, given_sizes=(2, 3),
    )  # fmt: skip
    model = make_model(spec)
    variables = model.init(jax.random.key(0))
    params = variables["params"]
    log_r = np.arange(10, dtype=np.float32).reshape(2, 5) / 10
    params["likelihood"]["log_r"] = log_r
    assert params["encoder"]["hidden_0"]["kernel"].shape == (5 + 5, 4)
    assert params["decoder"]["hidden_0"]["kernel"].shape == (5 + 2, 4)
    x = np.arange(30, dtype=np.float32).reshape(6, 5)
    trace = model.trace(variables, posterior_means, x, np.arange(6))
    levels = np.concatenate([np.eye(2)[np.arange(6) // 3], np.eye(3)[np.arange(6) % 3]], axis=1)
    own = jax.tree.map(np.float64, params["encoder"])
    h = np.tanh(np.concatenate([x, levels], axis=1) @ own["hidden_0"]["kernel"])
    mean = h @ own["mean"]["kernel"] + own["mean"]["bias"]
    np.testing.assert_allclose(trace.layers[0].q.mean()[0], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trace.x.log_r[0], log_r[np.arange(6) // 3], rtol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model of cells with types as labels, and batch and donor as covariates."""
    cells = made_cells(150, 6, types=4)
    donors = np.random.default_rng(1).integers(0, 3, 150)
    rows = [[BATCHES[b], DONORS[d]] for b, d in zip(cells.batches, donors, strict=True)]
    at = tmp_path_factory.mktemp("covariates") / "run"
    run = vae_jax.train(
        cells.counts, at, labels=cells.types, covariates=rows, latent_size=3, epochs=2, keys=KEYS
    )
    return run, cells, rows


def test_labels_are_for_figures_and_covariates_for_the_model(trained, tmp_path, with_pixels):
    run, cells, rows = trained
    assert run.data.num_classes == 4
    x = cells.counts[:6]
    codes = run.encode(x, labels=rows[:6])
    names = [" / ".join(row) for row in rows[:6]]
    np.testing.assert_array_equal(run.encode(x, labels=names), codes)
    other = [[row[0], DONORS[(DONORS.index(row[1]) + 1) % 3]] for row in rows[:6]]
    assert np.abs(run.encode(x, labels=other) - codes).max() > 1e-4
    assert run.generate(2, labels=[["b0", "d1"], ["b1", "d2"]]).shape == (2, 6)
    assert run.reconstruct(x, labels=rows[:6]).shape == (6, 6)
    assert run.encode(x[0], labels=rows[:1]).shape == (1, 3)
    shown = run.figures(tmp_path, names=("latent_space", "samples", "reconstructions"))
    texts = shown["latent_space"].findobj(lambda artist: hasattr(artist, "get_text"))
    legend = {text.get_text() for text in texts}
    assert {"0", "1", "2", "3"} <= legend


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"reads covariates: give labels=, a row an image, as .b0, d0."),
        ([3], r"reads covariates: give labels=, a row an image, as .b0, d0."),
        ([["b0"], ["b0", "d1"]], "should be whole numbers or names"),
        ([["b0", "d9"]], "label 'b0 / d9' is no class that the model was trained on"),
        ([["b0"]], "label 'b0' is no class"),
        ([["b0", "d0"]] * 2, r"should be whole numbers or names of shape .1,."),
    ],
)
def test_wrong_covariates(trained, labels, message):
    run, cells, _ = trained
    with pytest.raises(UserError, match=message):
        run.encode(cells.counts[:1], labels=labels)


def test_they_are_needed_to_measure_on_others(trained):
    run, _, rows = trained
    others = made_cells(30, 6, types=4, seed=1)
    found = run.evaluate(others.counts, others.types, covariates=rows[:30])
    assert np.isfinite(found["elbo"]).all()
    with pytest.raises(UserError, match=r"reads covariates .covariate 0, covariate 1., and the"):
        run.evaluate(others.counts, others.types)


def test_a_folder_without_its_data_and_an_export_take_them(trained, tmp_path):
    run, cells, rows = trained
    x = cells.counts[:4]
    codes = run.encode(x, labels=rows[:4])
    vae_jax.export(run, tmp_path / "exported")
    exported = vae_jax.load_exported(tmp_path / "exported")
    np.testing.assert_allclose(exported.encode(x, labels=rows[:4]), codes, rtol=1e-4, atol=1e-5)
    (run.workdir / "data.npz").rename(tmp_path / "data.npz")
    alone = vae_jax.load(run.workdir)
    (tmp_path / "data.npz").rename(run.workdir / "data.npz")
    assert alone.data is None
    np.testing.assert_array_equal(alone.encode(x, labels=rows[:4]), codes)


def test_a_level_that_is_not_in_the_training_set(tmp_path):
    cells = made_cells(60, 6)
    with pytest.raises(UserError, match="needs every level of covariate 0 in the training set"):
        vae_jax.train(
            cells.counts, tmp_path / "run", covariates=np.arange(60) // 50, epochs=1, keys=KEYS
        )


def test_covariates_that_nothing_reads():
    values = defaults() | {
        "dataset.name": "anndata", "dataset.path": "x.h5ad", "dataset.covariates": ("batch",)
    }  # fmt: skip
    with pytest.raises(UserError, match=r"has no effect: it is for model.conditional = True"):
        refuse_idle([check(nest(values))])

"""Counts from training to export, and the ELBO of a model of single cells against its formula."""

import jax
import numpy as np
import pytest
from scipy import special, stats

import vae_jax
from configs import counts
from tests.small.cells import made_cells, write_cells
from vae_jax.config.check import check
from vae_jax.errors import UserError
from vae_jax.functions import elbo, encode
from vae_jax.models.model import latents, posterior_samples
from vae_jax.runs.run import first_state, lane_model, make_run

pytestmark = pytest.mark.slow  # `docs` of noxfile.py runs them

KEYS = {"model.likelihood": "negative_binomial", "model.conditional": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model of small counts, and the cells."""
    cells = made_cells(120, 7, types=2)
    keys = KEYS | {
        "model.likelihood_size_factor": "total",
        "model.likelihood_dispersion": "class",
        "model.likelihood_zero_inflated": True,
        "model.encoder.widths": (8,),
        "model.decoder.widths": (8,),
    }
    at = tmp_path_factory.mktemp("counts") / "run"
    run = vae_jax.train(cells.counts, at, labels=cells.batches, latent_size=2, epochs=3, keys=keys)
    return run, cells


def test_counts_go_in_and_means_of_counts_come_out(trained):
    run, cells = trained
    x, labels = cells.counts[:5], cells.batches[:5]
    assert run.config["model.encoder.inputs"] == "log1p"
    assert run.encode(x, labels).shape == (5, 2)
    rebuilt = run.reconstruct(x, labels)
    assert rebuilt.shape == (5, 7)
    totals = x.sum(axis=1)
    assert (rebuilt.sum(axis=1) < totals).all()  # some zeros are no counts
    assert (rebuilt.sum(axis=1) > 0.4 * totals).all()
    made = run.generate(3, labels=[0, 1, 1])
    assert made.shape == (3, 7)
    assert 200 < made.sum(axis=1).mean() < 5_000  # a usual total: they are around 2,000
    assert np.isfinite(run.nll(x, 10, labels=labels)).all()
    np.testing.assert_array_equal(run.images("test"), cells.counts[-12:])
    one = run.encode(x[0], labels[:1])
    np.testing.assert_allclose(one, run.encode(x, labels)[:1], rtol=1e-5, atol=1e-6)
    for wrong in (x / 7, -x, x[:, :3]):
        with pytest.raises(UserError):
            run.encode(wrong, labels)


def test_figures_show_profiles(trained, tmp_path, with_pixels):
    run, _ = trained
    names = ("reconstructions", "samples", "traversals")
    assert set(run.figures(tmp_path, names=names)) == set(names)
    assert {path.stem for path in tmp_path.rglob("*.png")} == set(names)
    shown = run.pictures(run.generate(2, labels=[0, 1]))
    assert shown.shape == (2, 48, 42, 1)
    assert shown.min() < 0.3


def test_they_can_be_measured_on_others(trained):
    run, _ = trained
    others = made_cells(30, 7, types=2, seed=1)
    found = run.evaluate(others.counts, others.batches)
    assert np.isfinite(found["elbo"]).all()


def test_an_export_takes_counts(trained, tmp_path):
    run, cells = trained
    vae_jax.export(run, tmp_path / "exported")
    exported = vae_jax.load_exported(tmp_path / "exported")
    x, labels = cells.counts[:5], cells.batches[:5]
    np.testing.assert_allclose(
        exported.encode(x, labels=labels), run.encode(x, labels), rtol=1e-5, atol=1e-6
    )
    assert exported.generate(3, labels=[0, 1, 1]).shape == (3, 7)


def softmax(raw):
    return special.softmax(np.float64(raw), axis=-1)


@pytest.mark.parametrize(
    ("conditional", "size"),
    [(True, "learned"), (True, "total"), (False, "total")],
)
def test_the_elbo_of_single_cells_is_its_formula(tmp_path, conditional, size):
    """log NB(x; size softmax(decoder(z)), exp(log r)) - KL(q || N(0, 1)), by scipy and numpy.

    The size: the total of x; or exp(m + s z_0), and the decoder is given the other units. On 3,000
    cells and 500 genes, of configs/counts.py; networks by hand.
    """
    cells = made_cells(3_000, 500)
    write_cells(tmp_path / "cells.npz", cells, test=300)
    config = counts.get_config()
    config.dataset.path = str(tmp_path / "cells.npz")
    config.model.conditional = conditional
    config.model.likelihood_size_factor = size
    run = make_run(check(config), tmp_path / "run")
    model, variables = lane_model(run, first_state(run).variables, 0)
    rng = np.random.default_rng(0)
    log_r = rng.normal(size=500).astype(np.float32)
    variables["params"]["likelihood"]["log_r"] = log_r
    n = 40
    x, batch = cells.counts[:n].astype(np.float32), cells.batches[:n]
    labels = batch if conditional else None
    context = np.eye(2)[batch] if conditional else np.zeros((n, 0))
    key = jax.random.key(1)

    params = jax.tree.map(np.float64, variables["params"])

    def layers(params, h):
        for i in range(2):
            own = params[f"hidden_{i}"]
            h = np.maximum(h @ own["kernel"] + own["bias"], 0)
        return h

    h = layers(params["encoder"], np.concatenate([np.log1p(x), context], axis=1))
    heads = {name: h @ own["kernel"] + own["bias"] for name, own in params["encoder"].items()
             if not name.startswith("hidden")}  # fmt: skip
    q = encode(model, variables, x, labels)
    trace = model.trace(variables, posterior_samples(model, key, 1), x, labels)
    z = np.float64(latents(trace)[0][0])
    mean, scale = np.float64(q.mean()[0]), np.float64(q.scale()[0])
    np.testing.assert_allclose(heads["mean"], mean, rtol=1e-3, atol=1e-4)
    decoder, sizes = params["decoder"], x.sum(axis=1, keepdims=True)
    if size == "learned":
        log_n = np.log(cells.counts[: run.spec.train_size].sum(axis=1))
        sizes = np.exp(log_n.mean() + log_n.std() * z[:, :1])
        z = z * (np.arange(10) > 0)
    output = layers(decoder, np.concatenate([context, z], axis=1)) @ decoder["output"]["kernel"]
    shares = softmax(output + decoder["output"]["bias"])
    means, r = sizes * shares, np.exp(np.float64(log_r))
    reconstruction = stats.nbinom.logpmf(x, r, r / (r + means)).sum(axis=1)
    kl = 0.5 * (mean**2 + scale**2 - 1) - np.log(scale)
    found = elbo(model, variables, key, x, labels)
    np.testing.assert_allclose(found, reconstruction - kl.sum(axis=1), rtol=2e-5)

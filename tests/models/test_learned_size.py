"""Counts whose size is a latent: its scale, log p(x) by integration, lanes, and mistakes."""

import jax
import numpy as np
import pytest

from tests.small.cells import made_cells
from tests.small.runs import load, values_of
from tests.small.sweeps import run_sweep
from vae_jax.config.build import lane_spec
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.dataset import Split, log_total
from vae_jax.data.stored import open_stored
from vae_jax.errors import UserError
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.functions import decode, elbo
from vae_jax.models import make_model
from vae_jax.models.model import generate, given, log_joint
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.runs.run import first_state, lane_model, make_run, make_start
from vae_jax.sweeps import language as hyper

KEYS = {
    "model.likelihood": "negative_binomial",
    "model.likelihood_size_factor": "learned",
    "model.likelihood_dispersion": "variable",
}


@pytest.fixture
def cells(tmp_path):
    """Small cells, and the path of their .npz."""
    cells = made_cells(120, 7, types=2)
    np.savez(tmp_path / "x.npz", train_images=cells.counts[20:], test_images=cells.counts[:20])
    return cells, tmp_path / "x.npz"


def config(npz, **changes):
    """A config that is checked."""
    of_counts = {"dataset.binarization": "none", "dataset.validation_size": 20}
    values = values_of(npz) | KEYS | of_counts | {"model.encoder.inputs": "log1p"}
    return check(nest(values | {key.replace("__", "."): value for key, value in changes.items()}))


def log_n(counts):
    return np.log(counts.sum(axis=1))


def first(config, tmp_path):
    """The model, and its variables before the first step."""
    run = make_run(config, tmp_path / "run")
    return lane_model(run, first_state(run).variables, 0)


def test_the_first_unit_is_the_standardised_log_size(cells, tmp_path):
    counts, npz = cells[0].counts, cells[1]
    model, variables = first(config(npz, model__latent_size=2), tmp_path)
    of_training = log_n(counts[20:-20])
    mean, scale = of_training.mean(), of_training.std()
    z = np.array([[[0.0, 0.5], [1.0, 0.5], [-2.0, 0.5]]], np.float32)
    means = decode(model, variables, z).mean()[0]
    np.testing.assert_allclose(log_n(means), mean + scale * z[0, :, 0], rtol=1e-5)
    shares = means / means.sum(axis=1, keepdims=True)  # of the second unit alone
    np.testing.assert_allclose(shares, np.broadcast_to(shares[0], shares.shape), rtol=1e-5)
    other = decode(model, variables, -z).mean()[0]
    assert np.abs(shares - other / other.sum(axis=1, keepdims=True)).max() > 1e-3
    # Sizes of samples are spread as those of the data.
    made = log_n(
        jax.jit(generate, static_argnums=(0, 3))(model, variables, jax.random.key(1), 4_000)
    )
    np.testing.assert_allclose(made.mean(), mean, atol=4 * scale / 4_000**0.5)
    np.testing.assert_allclose(made.std(), scale, rtol=4 / 8_000**0.5)


@pytest.mark.slow
def test_importance_samples_find_the_integral(cells, tmp_path):
    """log p(x) = log of the integral of p(x, z) over z_0 and z_1, by a grid."""
    model, variables = first(config(cells[1], model__latent_size=2), tmp_path)
    x = cells[0].counts[:3].astype(np.float32)
    axis = np.linspace(-6, 6, 121, dtype=np.float32)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    z = np.broadcast_to(z, (len(z), 3, 2))
    # By samples of the prior: before training, q(z | x) is nowhere near.
    q = DiagonalGaussian(np.zeros((1, 3, 2), np.float32), np.zeros((1, 3, 2), np.float32))

    @jax.jit
    def found(x_bd):
        log_kb = log_joint(model.trace(variables, given([z])), x_bd)
        grid = jax.scipy.special.logsumexp(log_kb, axis=0)
        samples = importance_sampling(model, variables, jax.random.key(1), x_bd, 20_000, q=q)
        return grid, samples.log_likelihood

    grid, samples = found(x)
    np.testing.assert_allclose(samples, grid + 2 * np.log(axis[1] - axis[0]), atol=0.05)


@pytest.mark.slow
def test_a_padded_lane_is_its_config_alone(cells, tmp_path):
    """Padding takes the last units, the size is the first: their params and gradients."""
    run = make_run(config(cells[1]), tmp_path / "run")
    x = cells[0].counts[:20].astype(np.float32)

    def of(spec):
        model = make_model(spec)

        @jax.jit
        def found(key):
            init_key, key = jax.random.split(key)
            variables = model.init(init_key, make_start(run))

            def loss(params):
                return -elbo(model, variables | {"params": params}, key, x).mean()

            value, slopes = jax.value_and_grad(loss)(variables["params"])
            return value, variables["params"], slopes

        return found(jax.random.key(1))

    value, *trees = of(lane_spec(run.config, run.data).model)
    padded_value, *padded_trees = of(lane_spec(run.config, run.data, 5).model)
    np.testing.assert_allclose(padded_value, value, rtol=1e-5)

    def compare(padded, alone):
        inside = tuple(slice(0, n) for n in alone.shape)
        np.testing.assert_allclose(padded[inside], alone, rtol=1e-3, atol=1e-4)

    for padded, alone in zip(padded_trees, trees, strict=True):
        jax.tree.map(compare, padded, alone)
        of_z = padded["decoder"]["hidden_0"]["kernel"]
        assert (of_z[np.array([0, 3, 4])] == 0).all()  # the size, and the padding
        assert (of_z[1:3] != 0).any(axis=1).all()


@pytest.mark.slow
def test_a_sweep_of_latent_sizes_is_its_configs(cells, tmp_path):
    changes = {key.replace(".", "__"): value for key, value in config(cells[1]).values.items()}

    def swept(name, *sizes):
        settings = hyper.sweep("model.latent_size", sizes)
        plan = run_sweep(cells[1], tmp_path / name, settings, **changes)
        assert [program.padded_latent_size for program in plan.programs] == [
            max(sizes) if len(sizes) > 1 else None
        ]
        return load(tmp_path / name, 0).variables

    def close(one, other):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-4)

    jax.tree.map(close, swept("sweep", 2, 4), swept("alone", 2))


def test_of_stored_counts_it_is_the_same(tmp_path):
    counts = made_cells(90, 7).counts.astype(np.int32)
    np.save(tmp_path / "x.npy", counts)
    stored = open_stored(tmp_path / "x.npy", "x").part(0, 50).flattened()
    in_memory = log_total(Split(counts[:50], None))
    assert log_total(Split(stored, None)) == in_memory
    expected = log_n(counts[:50])
    np.testing.assert_allclose(in_memory, (expected.mean(), expected.std()), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__latent_size": 1}, "model.latent_size should be at least 2"),
        (
            {"model__name": "two_layers", "objective__kl": "sampled"},
            "model.name = 'two_layers' should be 'vae'",
        ),
        ({"model__decoder__name": "grid"}, "which the decoder is not given, and this one takes"),
        (
            {
                "model__posterior": "categorical",
                "model__prior": "uniform",
                "objective__gradient": "leave_one_out",
                "objective__num_samples": 2,
            },
            "and z is discrete; take 'total'",
        ),
        ({"model__decoder__name": "pixelcnn"}, "is of all variables at once"),
    ],
)
def test_what_it_does_not_go_with(cells, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        make_run(config(cells[1], **changes), tmp_path / "run")

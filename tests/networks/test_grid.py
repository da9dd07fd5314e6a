"""The network whose latent units are places of a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.runs import run, write_tiny_npz
from tests.small.samples import normal
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.networks.grid import Grid

GRID = Grid((4, 3), "elu")
SHAPE = (8, 6, 1)  # two stages: a grid of 2 x 2
BOTH = {
    "model__encoder__name": "grid",
    "model__decoder__name": "grid",
    "model__encoder__widths": (4,),
    "model__decoder__widths": (4,),
}


def test_a_place_sees_its_own_surroundings_alone():
    """Unlike a dense layer: the code of the first place does not depend on the last pixel."""
    encoder = Grid((4,), "elu").encoder((16, 16, 1), (("mean", 8 * 8 * 3),))
    params = jax.jit(encoder.init)(jax.random.key(0))
    x = normal(0, 1, 256)
    outputs = jax.jit(encoder.apply)(params, np.stack([x[0], np.r_[x[0, :-1], 9.0]]))["mean"]
    first, last = outputs[:, :3], outputs[:, -3:]
    np.testing.assert_array_equal(first[0], first[1])
    assert np.abs(last[0] - last[1]).max() > 1e-3


def test_the_decoder_reads_each_unit_at_its_place_and_the_context_everywhere():
    decoder = GRID.decoder(SHAPE, 2, 12, 1)
    params = jax.jit(decoder.init)(jax.random.key(0))
    apply = jax.jit(decoder.apply)
    z, context = normal(1, 1, 12), jnp.ones((1, 1))
    made = apply(params, z, context)
    assert made.shape == (1, 48, 2)
    moved = apply(params, z + np.eye(12, dtype=np.float32)[-1:], context)
    away = np.abs(np.asarray(moved - made)).sum(axis=-1).reshape(8, 6)
    assert away[-1, -1] > 1e-3
    assert away[-1, -1] > away[0, 0]
    other = np.abs(np.asarray(apply(params, z, 0 * context) - made)).sum(axis=-1)
    assert (other > 0).all()


def test_a_head_that_the_places_do_not_divide_is_of_the_mean_over_them():
    """Each of the maps of a flow moves all units, so that no place has its own."""
    encoder = GRID.encoder(SHAPE, (("mean", 8), ("flow", 5)))  # 4 places
    variables = jax.jit(encoder.init)(jax.random.key(0))
    outputs = jax.jit(encoder.apply)(variables, normal(0, 3, 48))
    assert {name: h.shape for name, h in outputs.items()} == {"mean": (3, 8), "flow": (3, 5)}
    assert np.abs(outputs["flow"]).max() < 0.1 * np.abs(outputs["mean"]).max()  # near identity
    for pixel in (0, 47):
        x = normal(0, 3, 48)
        x[0, pixel] += 5.0
        moved = jax.jit(encoder.apply)(variables, x)
        assert np.abs(moved["flow"][0] - outputs["flow"][0]).max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("posterior", ["planar", "mixture", "inverse_autoregressive", "full"])
def test_every_posterior_with_a_density_is_trained_on_a_grid(tmp_path, posterior):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    changes = {
        **BOTH,
        "model__posterior": posterior,
        "model__latent_size": 9,
        "objective__kl": "sampled",
        "training__num_epochs": 1,
    }
    run(npz, tmp_path / "run", **changes)
    for lane in folder.read_results(tmp_path / "run")["lanes"]:
        assert np.isfinite(lane["elbo"])


@pytest.mark.slow
def test_codes_on_a_grid_are_trained(tmp_path):
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    changes = {
        **BOTH,
        "model__posterior": "vq",
        "model__prior": "uniform",
        "model__codebook__entries": 4,
        "model__codebook__width": 2,
        "training__num_epochs": 1,
    }
    with pytest.raises(UserError, match=r"grid of 3 x 3 places.*should be a multiple of 9"):
        run(npz, tmp_path / "wrong", **changes, model__latent_size=4)
    run(npz, tmp_path / "right", **changes, model__latent_size=9)
    for lane in folder.read_results(tmp_path / "right")["lanes"]:
        assert lane["kl"] == pytest.approx(9 * np.log(4), rel=1e-5)

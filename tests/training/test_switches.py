"""The switches that jax offers for finding errors work on a healthy run."""

import jax
import pytest

from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.config.schema import nest
from vae_jax.objectives import Objective, weights_at


@pytest.mark.parametrize(
    "changes",
    [
        {"jax_debug_nans": True, "jax_debug_infs": True, "jax_numpy_dtype_promotion": "strict"},
        pytest.param(
            {"jax_disable_jit": True, "jax_debug_key_reuse": False}, marks=pytest.mark.slow
        ),
    ],
)
def test_a_run_under_a_switch(tmp_path, changes):
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz")) | {
        "training.seeds": (0,),
        "training.num_epochs": 1,
        "training.batch_size": 125,
        "evaluation.batch_size": 25,
    }
    before = {name: getattr(jax.config, name) for name in changes}
    try:
        for name, value in changes.items():
            jax.config.update(name, value)
        train(nest(values), tmp_path / "run")
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert (tmp_path / "run" / "results.json").exists()


def test_no_infinity_is_multiplied_by_nothing():
    """A cycle without an end, computed operation by operation."""
    with jax.debug_nans(True):
        assert weights_at(Objective(), 3).beta == 1

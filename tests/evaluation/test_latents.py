"""What the latent units do, of models that were built to know."""

import jax
import numpy as np

from tests.small import exact
from tests.small.models import mlp_spec
from vae_jax.evaluation.latents import active_units, activity, collapsed_units, latents
from vae_jax.models import ModelSpec

latents_of = jax.jit(latents, static_argnums=0)


def with_three_active_units():
    """Of seven units, three whose mean follows a pixel each; the other four are the prior."""
    spec = ModelSpec(latent_size=7, encoder=mlp_spec(), decoder=mlp_spec(), image_shape=(1, 3, 1))
    model = exact.model_of(spec)
    variables = jax.tree.map(np.zeros_like, exact.variables_of(model))
    kernel_dl = np.zeros((3, 7), np.float32)
    kernel_dl[[0, 1, 2], [1, 4, 6]] = (2.0, 0.3, -1.0)
    variables["params"]["encoder"]["mean"]["kernel"] = kernel_dl
    return model, variables


def test_three_of_seven_are_active_and_four_have_collapsed():
    model, variables = with_three_active_units()
    x_bd = np.random.default_rng(0).integers(0, 2, (400, 3)).astype(np.float32)
    found = latents_of(model, variables, x_bd)
    variance_d = x_bd.var(axis=0)
    expected = np.zeros(7)
    expected[[1, 4, 6]] = np.square([2.0, 0.3, -1.0]) * variance_d
    np.testing.assert_allclose(activity(found.mean), expected, rtol=1e-5)
    assert active_units(found.mean) == 3
    assert collapsed_units(found.kl) == 4
    np.testing.assert_allclose(found.kl[:, 1], 0.5 * np.square(2.0 * x_bd[:, 0]), rtol=1e-5)


def test_a_unit_that_is_the_same_for_all_is_neither_active_nor_collapsed():
    model, variables = with_three_active_units()
    variables["params"]["encoder"]["mean"]["bias"] = np.eye(7, dtype=np.float32)[0]
    found = latents_of(model, variables, np.zeros((400, 3), np.float32))
    assert active_units(found.mean) == 0
    assert collapsed_units(found.kl) == 6

"""Measures of examples: whatever the batches and the lanes, with noise of their own."""

from functools import cache

import jax
import numpy as np
import pytest

from tests.small import exact
from vae_jax.devices.lanes import layout, shard_lanes, to_host
from vae_jax.evaluation.bounds import bound
from vae_jax.evaluation.examples import joined, measure_batches
from vae_jax.models import make_model
from vae_jax.sections.declare import stack
from vae_jax.training.streams import lane_keys

BETA = np.float32(2.0)


@cache
def lanes_of(spec, seeds):
    keys = lane_keys(seeds)
    return jax.jit(jax.vmap(make_model(spec).init))(keys.init), keys.evaluation


def evaluated(spec, seeds, images, batch_size, num_samples=1, at_once=0):
    objective = stack([exact.objective(num_samples=num_samples, beta=BETA)] * len(seeds))
    step = np.zeros(len(seeds), np.int32)
    on = layout(len(seeds))
    lanes = shard_lanes(on, ((objective, step), stack([spec] * len(seeds)), *lanes_of(spec, seeds)))
    batches = measure_batches(bound, on, at_once, *lanes, images, None, batch_size=batch_size)
    return to_host(on, joined(list(batches), len(images)))


IMAGES = np.random.default_rng(0).integers(0, 2, (23, 30)).astype(np.uint8) * 255


@pytest.fixture(scope="module")
def whole(small_spec):
    """Of all images in one batch."""
    return evaluated(small_spec, (0, 1), IMAGES, 100)


@pytest.mark.parametrize(
    ("batch_size", "at_once"),
    [pytest.param(1, 0, marks=pytest.mark.slow), (7, 0), (23, 0), (10, 3)],
)
def test_the_result_does_not_depend_on_batches(small_spec, whole, batch_size, at_once):
    assert whole["elbo"].shape == (2, 23)
    parts = evaluated(small_spec, (0, 1), IMAGES, batch_size, at_once=at_once)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), parts, whole)


def test_it_does_not_depend_on_lanes(small_spec, whole):
    alone = evaluated(small_spec, (1,), IMAGES, 100)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b[1], rtol=1e-5), alone, whole)


def test_the_same_call_gives_the_same_bits(small_spec, whole):
    again = evaluated(small_spec, (0, 1), IMAGES, 100)
    jax.tree.map(np.testing.assert_array_equal, again, whole)


def test_the_loss_is_that_of_the_objective(whole):
    np.testing.assert_allclose(
        whole["loss"], -whole["reconstruction"] + BETA * whole["kl"], rtol=1e-5
    )


def test_examples_have_noise_of_their_own(small_spec):
    terms = evaluated(small_spec, (0,), np.zeros_like(IMAGES), 23)
    assert len(np.unique(terms["reconstruction"])) == 23
    assert len(np.unique(np.round(terms["kl"], 5))) == 1  # the KL is exact: no noise in it

import jax
import numpy as np

from tests.objectives import exact
from vae_jax.devices.lanes import layout, shard_lanes, to_host
from vae_jax.evaluation.bounds import bound
from vae_jax.evaluation.examples import joined, measure_batches
from vae_jax.keys import stack
from vae_jax.models import make_model
from vae_jax.training.streams import lane_keys

BETA = np.float32(2.0)


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


def test_the_result_does_not_depend_on_batches_or_lanes(small_spec):
    images = np.random.default_rng(0).integers(0, 2, (23, 30)).astype(np.uint8) * 255
    whole = evaluated(small_spec, (0, 1), images, 100)
    assert whole["elbo"].shape == (2, 23)
    for batch_size in (1, 7, 23):
        parts = evaluated(small_spec, (0, 1), images, batch_size)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), parts, whole)
    in_turn = evaluated(small_spec, (0, 1), images, 10, at_once=3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), in_turn, whole)
    alone = evaluated(small_spec, (1,), images, 100)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b[1], rtol=1e-5), alone, whole)
    np.testing.assert_allclose(
        whole["loss"], -whole["reconstruction"] + BETA * whole["kl"], rtol=1e-5
    )
    again = evaluated(small_spec, (0, 1), images, 100)
    jax.tree.map(np.testing.assert_array_equal, again, whole)


def test_examples_have_noise_of_their_own(small_spec):
    images = np.zeros((5, 30), np.uint8)
    terms = evaluated(small_spec, (0,), images, 5)
    assert len(np.unique(terms["reconstruction"])) == 5
    assert len(np.unique(np.round(terms["kl"], 5))) == 1  # the KL is exact: no noise in it

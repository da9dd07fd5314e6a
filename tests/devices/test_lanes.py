"""Lanes over devices: the same whatever the devices and the way they take them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from vae_jax.devices import lanes
from vae_jax.devices.lanes import Layout, layout, map_lanes, replicate, shard_lanes, to_host


def on(count: int, devices: int, data_devices: int = 1) -> Layout:
    chosen = np.array(jax.devices()[: devices * data_devices])
    return Layout(count, Mesh(chosen.reshape(devices, data_devices), ("lanes", "data")))


def function(key, lane, shared):
    return {"sum": lane @ shared, "noise": jax.random.normal(key, (2,))}


@pytest.mark.parametrize("in_turn", [True, False])
@pytest.mark.parametrize(("count", "devices"), [(1, 1), (3, 1), (8, 8), (11, 8), (3, 2), (5, 4)])
def test_every_lane_is_the_function_of_its_own(monkeypatch, count, devices, in_turn):
    monkeypatch.setattr(lanes.Layout, "in_turn", in_turn)
    where = on(count, devices)
    keys = jax.random.split(jax.random.key(0), count)
    lane = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    shared = np.arange(3, dtype=np.float32)
    run = jax.jit(lambda per_lane, shared: map_lanes(where, function, per_lane, shared))
    found = run(shard_lanes(where, (keys, lane)), (replicate(where, shared),))
    assert found["sum"].shape == (where.padded,)
    assert len(found["sum"].sharding.device_set) == devices
    host = to_host(where, found)
    assert host["sum"].shape == (count,)
    np.testing.assert_allclose(host["sum"], lane @ shared, rtol=1e-5)
    np.testing.assert_array_equal(
        host["noise"], jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
    )


def test_a_layout_takes_no_more_devices_than_there_are_lanes():
    assert jax.device_count() == 8
    shapes = {n: layout(n).mesh.devices.shape for n in (1, 3, 8, 20)}
    assert shapes == {1: (1, 1), 3: (3, 1), 8: (8, 1), 20: (8, 1)}
    assert layout(3, data_devices=4).mesh.devices.shape == (2, 4)
    assert layout(1, data_devices=8).mesh.devices.shape == (1, 8)
    assert layout(20).padded == 24
    assert hash(layout(3)) == hash(layout(3))


def test_what_is_fetched_does_not_change_when_the_device_reuses_its_memory():
    where = on(2, 2)
    state = shard_lanes(where, np.zeros((2, 4), np.float32))
    kept = to_host(where, state)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    for _ in range(3):
        state = add(state)
    np.testing.assert_array_equal(kept, 0)
    np.testing.assert_array_equal(to_host(where, state), 3)


def test_a_batch_is_shared_over_the_devices_of_a_row():
    where = on(2, 2, data_devices=4)

    def shared_mean(lane, x):
        return jnp.mean(lanes.share_batch(x) * lane)

    x = np.arange(16, dtype=np.float32)
    lane = shard_lanes(where, np.array([1.0, 2.0], np.float32))
    program = jax.jit(lambda lane, x: map_lanes(where, shared_mean, (lane,), (x,)))
    compiled = program.lower(lane, replicate(where, x)).compile().as_text()
    assert "all-reduce" in compiled
    np.testing.assert_allclose(to_host(where, program(lane, replicate(where, x))), [7.5, 15.0])

"""Where the seeds of the initial params, the order and the noise come from."""

import jax
import numpy as np
import pytest

from tests.small.runs import config_of, values_of
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.devices.lanes import to_host
from vae_jax.errors import UserError
from vae_jax.runs.run import first_state, make_run, on_devices
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep, program_run
from vae_jax.training.loop import order_lanes, train_chunks
from vae_jax.training.streams import RunKeys, lane_keys, run_keys


def words(key):
    return np.asarray(jax.random.key_data(key))


def same(one, other):
    return bool((words(one) == words(other)).all())


def test_by_default_all_streams_are_those_of_the_seed():
    keys = lane_keys([4, 2**32 - 1], {"init": [-1, -1], "order": [-1, -1]})
    for lane, seed in enumerate((4, 2**32 - 1)):
        for own, alone in zip(keys, run_keys(seed), strict=True):
            assert same(own[lane], alone)


@pytest.mark.parametrize("stream", ["init", "order", "step"])
def test_a_stream_of_another_seed_leaves_the_others(stream):
    own, other = run_keys(4), run_keys(2**31 + 5)
    keys = lane_keys([7, 4], {stream: [-1, 2**31 + 5]})
    for name in RunKeys._fields:
        assert same(getattr(keys, name)[0], getattr(run_keys(7), name))
        assert same(getattr(keys, name)[1], getattr(other if name == stream else own, name))


def facts_of(npz, tmp_path, **changes):
    """Of two seeds in one program: their initial params, first order, and params after a step."""
    of = make_run(config_of(npz, **changes), tmp_path)
    spec, layout, keys, examples = on_devices(of)
    first = first_state(of)
    order = to_host(layout, order_lanes(spec, layout, keys, np.int32(0)))
    params = to_host(layout, first.variables["params"])
    (chunk, *_) = train_chunks(spec, layout, keys, examples, first, total_steps=1)
    return params, order, to_host(layout, chunk.state.variables["params"])


def differ(trees):
    """For each tree, whether the two lanes differ."""
    return [any((x[0] != x[1]).any() for x in jax.tree.leaves(tree)) for tree in trees]


def test_each_key_fixes_its_source_alone(tiny_npz, tmp_path):
    usual = facts_of(tiny_npz, tmp_path)
    assert differ(usual) == [True, True, True]
    fixed = facts_of(tiny_npz, tmp_path, training__init_seed=9)
    assert differ(fixed) == [False, True, True]
    # Lane 1 has the seed 9: it is the same run as before, to the bit.
    for now, before in zip(jax.tree.leaves(fixed), jax.tree.leaves(usual), strict=True):
        np.testing.assert_array_equal(now[1], before[1])
    fixed = facts_of(tiny_npz, tmp_path, training__order_seed=9)
    assert differ(fixed) == [True, False, True]
    still = {"training__init_seed": 9, "training__order_seed": 9}
    assert differ(facts_of(tiny_npz, tmp_path, **still)) == [False, False, True]  # by the noise
    fixed = facts_of(tiny_npz, tmp_path, **still, training__noise_seed=9)
    assert differ(fixed) == [False, False, False]


def test_they_are_swept_in_one_program(tiny_npz, tmp_path):
    base = check(nest(values_of(tiny_npz)))
    settings = hyper.sweep("training.init_seed", (-1, 9))
    sweep = make_sweep(base, settings, tmp_path, Datasets())
    assert [program.lanes for program in sweep.programs] == [(0, 1, 2, 3)]
    of = program_run(sweep, sweep.programs[0], Datasets())
    assert [lane.setting for lane in of.lanes][1:3] == [
        {"training.init_seed": -1},
        {"training.init_seed": 9},
    ]
    init = words(of.keys.init)
    assert (init[1:] == init[1]).all()
    assert (init[0] != init[1]).any()
    order = words(of.keys.order)
    assert (order[0] == order[2]).all()
    assert (order[0] != order[1]).any()


def test_the_noise_of_a_measurement_is_that_of_the_lane(tiny_npz, tmp_path):
    of = make_run(config_of(tiny_npz, training__noise_seed=9), tmp_path)
    assert not same(of.keys.evaluation[0], of.keys.evaluation[1])


@pytest.mark.parametrize("key", ["init_seed", "order_seed", "noise_seed"])
@pytest.mark.parametrize(
    ("value", "right"),
    [(-2, "at least -1"), (2**32, r"below 2\*\*32"), (1.0, "a whole number"), (True, "a whole")],
)
def test_other_values_are_refused(tiny_npz, key, value, right):
    with pytest.raises(UserError, match=f"training.{key} = .*{right}"):
        check(nest(values_of(tiny_npz) | {f"training.{key}": value}))

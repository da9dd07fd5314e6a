"""Which keys are static, which lanes share a program, and what is refused before anything runs."""

import jax
import numpy as np
import pytest

from tests.small.keys import HOST, OF_LANE, STATIC, TRACED
from tests.small.runs import config_of, values_of, write_tiny_npz
from vae_jax import files
from vae_jax.config.build import lane_spec, make_config
from vae_jax.config.schema import KEYS, lane_keys, nest
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.runs.run import first_state, make_dataset, on_devices
from vae_jax.sections.declare import stack
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import (
    Datasets,
    SweepPlan,
    based_on,
    check_settings,
    make_sweep,
    program_key,
    program_run,
    read_sweep,
    refuse_other_sweep,
    split,
    write_sweep,
)
from vae_jax.sweeps.records import collect
from vae_jax.training.loop import train_chunks, train_lanes


def test_every_key_is_static_traced_or_the_host_s():
    assert TRACED.keys() | OF_LANE.keys() == lane_keys(KEYS)
    assert STATIC.keys() | TRACED.keys() | OF_LANE.keys() | HOST == KEYS.keys()
    assert len(STATIC) + len(TRACED) + len(OF_LANE) + len(HOST) == len(KEYS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(config_of(write_tiny_npz(tmp_path_factory.mktemp("plan") / "tiny.npz")))


def reading(npz, key):
    """A config of which some choice reads the key."""
    values = values_of(npz)
    for family, member in KEYS[key].readers[0].when:
        values[family] = (member,) if isinstance(values[family], tuple) else member
    return values


def structure(values, data):
    return jax.tree.structure(lane_spec(make_config(values), data))


def grouped_by(values):
    return program_key(make_config(values), pad_latents=False)


@pytest.mark.parametrize("key", [key for key in STATIC if not key.startswith("dataset.")])
def test_a_static_key_changes_the_program(data, key):
    base = reading("tiny.npz", key)
    other = base | {key: STATIC[key]}
    assert structure(other, data) != structure(base, data)
    assert grouped_by(other) != grouped_by(base)


@pytest.mark.parametrize("key", [key for key in STATIC if key.startswith("dataset.")])
def test_other_data_are_another_program(tiny_npz, key):
    base = reading(tiny_npz, key)
    other = base | {key: STATIC[key]}
    specs = [structure(values, make_dataset(make_config(values))) for values in (base, other)]
    assert specs[0] != specs[1]
    assert grouped_by(other) != grouped_by(base)


NAMES = {"dataset.name", "evaluation.metrics", "log.figures", "search.name"}


@pytest.mark.parametrize("key", sorted(HOST - NAMES))
def test_a_key_of_the_host_does_not(data, key):
    base = reading("tiny.npz", key)
    value = 1 if isinstance(base[key], int) else "other"
    other = base | {key: value if base[key] != value else 2}
    assert structure(other, data) == structure(base, data)
    assert grouped_by(other) != grouped_by(base)


@pytest.mark.parametrize("key", TRACED)
def test_a_traced_key_is_one_leaf_and_the_same_program(data, key):
    base = reading("tiny.npz", key)
    base |= {"optimizer.schedule.boundaries": (1.5, 2.5)}  # their number is a shape
    specs = [lane_spec(make_config(values), data) for values in (base, base | {key: TRACED[key]})]
    assert jax.tree.structure(specs[0]) == jax.tree.structure(specs[1])
    own, other = (jax.tree.leaves(stack([spec])) for spec in specs)
    assert all(leaf.dtype == np.float32 for leaf in own)
    assert sum(not np.array_equal(a, b) for a, b in zip(own, other, strict=True)) == 1


@pytest.mark.parametrize("key", OF_LANE)
def test_a_key_of_a_lane_is_no_leaf_and_the_same_program(data, key):
    base = reading("tiny.npz", key)
    other = base | {key: OF_LANE[key]}
    assert structure(other, data) == structure(base, data)
    assert grouped_by(other) == grouped_by(base)
    leaves = [jax.tree.leaves(lane_spec(make_config(v), data)) for v in (base, other)]
    for one, another in zip(*leaves, strict=True):
        np.testing.assert_array_equal(one, another)


def test_lanes_of_other_numbers_are_one_compilation(tiny_npz, tmp_path):
    base = values_of(tiny_npz, training__seeds=(0,), sweep__pad_latents=False)

    def trained(settings):
        sweep = make_sweep(make_config(base), settings, tmp_path, Datasets())
        assert [p.lanes for p in sweep.programs] == [tuple(range(len(settings)))]
        run = program_run(sweep, sweep.programs[0], Datasets())
        list(train_chunks(*on_devices(run), first_state(run), total_steps=1))

    numbers = ("objective.beta", "objective.free_bits", "optimizer.learning_rate", "optimizer.b1")
    trained(hyper.sweep("objective.beta", (1, 2)))
    count = train_lanes._cache_size()
    for key in numbers:
        trained([{}, {key: TRACED[key]}])
    assert train_lanes._cache_size() == count


def test_padded_boundaries_never_come(tiny_npz, tmp_path):
    settings = hyper.sweep("optimizer.schedule.boundaries", ((), (1.0,), (1.0, 2.5)))
    base = values_of(tiny_npz, training__seeds=(0,), optimizer__schedule__name="stepwise")
    sweep = make_sweep(make_config(base), settings, tmp_path, Datasets())
    run = program_run(sweep, sweep.programs[0], Datasets())
    inf = np.inf
    np.testing.assert_array_equal(
        run.spec.optimizer.schedule.boundaries, [[inf, inf], [12, inf], [12, 30]]
    )


def grouped(npz, tmp_path, settings, **changes) -> SweepPlan:
    return make_sweep(config_of(npz, **changes), settings, tmp_path, Datasets())


def test_lanes_are_numbered_setting_by_setting_and_seed_by_seed(tiny_npz, tmp_path):
    sweep = grouped(tiny_npz, tmp_path, hyper.sweep("objective.beta", (1, 2)))
    lanes = [sweep.lane(number) for number in range(sweep.num_lanes)]
    assert [(lane.setting["objective.beta"], lane.seed) for lane in lanes] == [
        (1.0, 4), (1.0, 9), (2.0, 4), (2.0, 9),
    ]  # fmt: skip
    assert lanes[3].config.values == values_of(tiny_npz, objective__beta=2.0)


def test_latent_sizes_share_a_program_unless_told_otherwise(tiny_npz, tmp_path):
    settings = hyper.product(
        [
            hyper.sweep("model.latent_size", (2, 5)),
            hyper.sweep("model.encoder.widths", ((8,), (9,))),
        ]
    )
    sweep = grouped(tiny_npz, tmp_path, settings)
    assert [(p.lanes, p.padded_latent_size) for p in sweep.programs] == [
        ((0, 1, 4, 5), 5), ((2, 3, 6, 7), 5),
    ]  # fmt: skip
    run = program_run(sweep, sweep.programs[0], Datasets())
    assert run.spec.model.latent_size == 5
    assert run.spec.model.latent_mask.sum(axis=1).tolist() == [2, 2, 5, 5]
    apart = grouped(tiny_npz, tmp_path, settings, sweep__pad_latents=False)
    assert len(apart.programs) == 4
    run = program_run(apart, apart.programs[0], Datasets())
    assert run.spec.model.latent_mask is None
    assert run.spec.model.latent_size == 2
    # One size alone needs no padding.
    same = grouped(tiny_npz, tmp_path, hyper.fixed("model.latent_size", 5))
    assert [p.padded_latent_size for p in same.programs] == [None]


def test_no_program_has_more_lanes_than_allowed(tiny_npz, tmp_path):
    settings = hyper.sweep("objective.beta", range(1, 12))
    sweep = grouped(tiny_npz, tmp_path, settings, sweep__max_lanes=8)
    assert [len(p.lanes) for p in sweep.programs] == [8, 7, 7]
    assert sorted(n for p in sweep.programs for n in p.lanes) == list(range(22))
    parts = split(sweep, sweep.programs[0], 2)
    assert [(p.name, len(p.lanes)) for p in parts.programs] == [
        ("000a", 4), ("000b", 4), ("001", 7), ("002", 7),
    ]  # fmt: skip
    assert parts.programs[0].lanes + parts.programs[1].lanes == sweep.programs[0].lanes


def test_a_sweep_is_read_as_it_was_written(tiny_npz, tmp_path):
    settings = hyper.sweep("model.encoder.widths", ((8,), (9, 4), ()))
    sweep = grouped(tiny_npz, tmp_path, settings)
    from vae_jax.config.schema import nest
    from vae_jax.folders import folder

    files.write_json(tmp_path / folder.CONFIG, nest(sweep.base.values))
    write_sweep(sweep)
    assert read_sweep(tmp_path) == sweep


WRONG = {
    "unknown key": ([{"model.latent_sise": 3}], "config 0 .*did you mean 'model.latent_size'"),
    "wrong type": (
        [{"objective.beta": 1.0}, {"objective.beta": "much"}],
        r"config 1 of the sweep \(objective.beta=much\): objective.beta = 'much' should be",
    ),
    "empty": ([], "the sweep is empty"),
    "no list": ({"objective.beta": 1.0}, "should return what hyper's functions give"),
    "the same twice": (
        [{"objective.beta": 1}, {"objective.beta": 2}, {"objective.beta": 1.0}],
        r"config 2 of the sweep \(objective.beta=1.0\) is config 0 once more",
    ),
    "seeds": ([{"training.seeds": (1,)}], "training.seeds can't be swept over"),
    "the sweep's own": ([{"sweep.max_lanes": 3}], "sweep.max_lanes can't be swept over"),
    "too many devices": ([{"training.data_devices": 10}], "at most the 8 cpu devices there are"),
    "too large a batch": (
        [{"training.batch_size": 252, "training.data_devices": 2}],
        "at most the 250 training examples",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_in_any_config_is_found_before_anything_runs(tiny_npz, name):
    overrides, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        check_settings(config_of(tiny_npz), overrides, Datasets())


def test_a_mistake_in_a_thousand_configs_is_found(tiny_npz):
    overrides = hyper.sweep("optimizer.learning_rate", [i / 1000 for i in range(999, -1, -1)])
    with pytest.raises(UserError, match=r"config 999 .*learning_rate = 0.0 should be"):
        check_settings(config_of(tiny_npz), overrides, Datasets())


RESULTS = {
    "finished": True,
    "lanes": [],
    "pseudo_likelihood": False,
    "wall_seconds": 0.0,
    "evaluation": {},
}


def with_other_images(npz):
    with np.load(npz) as there:
        content = {name: there[name] for name in there.files}
    np.savez(npz, **(content | {"test_images": content["test_images"][::-1]}))


def test_a_sweep_knows_its_data_from_the_start(tiny_npz, tmp_path):
    config, settings = config_of(tiny_npz), hyper.sweep("objective.beta", (1, 2))
    plan = make_sweep(config, settings, tmp_path / "sweep", Datasets())
    (tmp_path / "sweep").mkdir()
    files.write_json(tmp_path / "sweep" / folder.CONFIG, nest(plan.base.values))
    write_sweep(plan)
    before = tiny_npz.read_bytes()
    with_other_images(tiny_npz)
    there = read_sweep(plan.workdir)
    with pytest.raises(UserError, match=r"tiny.npz holds other data than the sweep"):
        program_run(there, there.programs[0], Datasets())
    other = make_sweep(config, settings, plan.workdir, Datasets())
    with pytest.raises(UserError, match=r"other data than the sweep .* restore them"):
        refuse_other_sweep(there, other)
    # Results that were found on the other data are never pooled with the rest.
    at = there.folder(there.programs[0])
    at.mkdir(parents=True)
    identity = Datasets().of(config).identity
    files.write_json(at / folder.RESULTS, RESULTS | {"dataset": identity})
    (at / folder.METRICS).write_text("")
    with pytest.raises(UserError, match=r"other data than the sweep"):
        collect(there)
    tiny_npz.write_bytes(before)
    program_run(there, there.programs[0], Datasets())


def test_what_a_sweep_leaves_to_its_data_is_decided_for_each_setting(tiny_npz, tmp_path):
    values = values_of(tiny_npz) | {"dataset.binarization": "auto", "model.likelihood": "auto"}
    kinds = hyper.sweep("model.likelihood", ("auto", "bernoulli", "gaussian"))
    plan = make_sweep(make_config(values), kinds, tmp_path / "sweep", Datasets())
    chosen = [
        f"{own.dataset.binarization} {own.values['model.likelihood']}"
        for own in based_on(plan, plan.base).configs
    ]
    assert based_on(plan, plan.base) == plan
    assert chosen == ["none discretized_logistic", "dynamic bernoulli", "none gaussian"]
    assert set(plan.swept) == {"model.likelihood", "dataset.binarization"}

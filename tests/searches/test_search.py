"""Searches over real trials: the same numbers as alone, resumed to the bit, one compilation."""

import contextlib
import csv
import json
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.small.runs import config_of
from vae_jax import api
from vae_jax.commands import search as command
from vae_jax.commands.sweep import sweep
from vae_jax.errors import Stopped, UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Checkpoints, refuse_damaged_meta
from vae_jax.runs.run import Datasets
from vae_jax.searches import rounds
from vae_jax.searches.plan import first_trials, make_plan
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import make_sweep, runs_in
from vae_jax.training.loop import init_lanes, order_lanes, train_lanes
from vae_jax.training.search import PBT

SETTINGS = hyper.zipit(
    [
        hyper.sample("optimizer.learning_rate", hyper.log_uniform(1e-4, 1e-1), n=5, seed=0),
        hyper.sample("objective.beta", hyper.uniform(0.5, 2.0), n=5, seed=0),
    ]
)


def base_of(npz, **changes):
    own = {"training__seeds": (0,), "training__num_epochs": 4, "search__reduction": 2,
           "search__places": 3} | changes  # fmt: skip
    return config_of(npz, **own)


def run(npz, workdir, settings=SETTINGS, **changes):
    data = Datasets()
    plan = make_plan(base_of(npz, **changes), settings, workdir, data)
    command.search(workdir, plan, data)
    return json.loads((workdir / "results.json").read_text())


def lanes(workdir):
    with open(workdir / "lanes.csv", newline="") as table:
        return list(csv.DictReader(table))


def numbers(row):
    return {key: value for key, value in row.items() if key != "split"}


def record(workdir):
    """What a search leaves, without times."""
    found = {}
    for path in ("lanes.csv", "metrics.jsonl", "search.json", "results.json",
                 "best/metrics.jsonl", "best/results.json", "best/config.json"):  # fmt: skip
        content = (workdir / path).read_text()
        if path.endswith("results.json"):
            content = json.loads(content)
            content.pop("wall_seconds")
        found[path] = content
    best = api.load(workdir / "best")
    return found, jax.tree.map(np.asarray, best.variables)


def assert_equal(one, other):
    assert one[0] == other[0]
    jax.tree.map(np.testing.assert_array_equal, one[1], other[1])


@pytest.mark.slow
def test_a_trial_is_what_its_lane_in_a_sweep_is(tiny_npz, tmp_path, capsys):
    before = {f: f._cache_size() for f in (train_lanes, init_lanes, order_lanes)}
    found = run(tiny_npz, tmp_path / "search")
    # Five settings, in three places: one compilation.
    assert {f: f._cache_size() - n for f, n in before.items()} == dict.fromkeys(before, 1)
    assert found["epochs"] == 5 * 1 + 2 * 1 + 1 * 2
    assert found["steps"] == found["epochs"] * 12
    shown = capsys.readouterr().out
    assert "halving: 9 of 20 epochs (108 steps), 5 settings" in shown
    assert "epoch 1: 3 stopped, 2 of 5 left; the best so far: " in shown

    data = Datasets()
    sweep(
        tmp_path / "sweep", make_sweep(base_of(tiny_npz), SETTINGS, tmp_path / "sweep", data), data
    )
    alone = {(r["lane"], r["step"], r["split"]): r for r in folder.read_rows(tmp_path / "sweep")}
    rows = folder.read_rows(tmp_path / "search")
    assert {row["lane"] for row in rows} == set(range(5))
    for row in rows:
        other = alone[row["lane"], row["step"], row["split"]]
        assert row.keys() == other.keys()
        assert numbers(row) == pytest.approx(numbers(other), rel=1e-5)
    scores = {r["lane"]: r["bound"] for r in alone.values()
              if r["split"] == "validation" and r["epoch"] == 1}  # fmt: skip
    kept = sorted(scores, key=scores.get)[-2:]
    assert {int(lane["lane"]) for lane in lanes(tmp_path / "search")
            if int(lane["epochs"]) > 1} == set(kept)  # fmt: skip

    # The best is a run folder like that of a run alone.
    best = found["best"]
    there = json.loads((tmp_path / "sweep" / "results.json").read_text())["lanes"][best["lane"]]
    assert best["elbo"] == pytest.approx(there["elbo"], rel=1e-5)
    assert best["validation_bound"] == pytest.approx(there["validation_bound"], rel=1e-5)
    loaded = api.load(tmp_path / "search" / "best")
    of_sweep = api.load(tmp_path / "sweep", lane=best["lane"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        loaded.variables,
        of_sweep.variables,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("halving", {}),
        ("asha", {"objective__warmup_epochs": 1.0}),
        ("pbt", {"search__fraction": 0.3, "search__reduction": 3}),
    ],
)
def test_a_search_killed_after_any_round_ends_the_same(
    tiny_npz, tmp_path, monkeypatch, name, changes
):
    changes |= {"search__name": name}
    run(tiny_npz, tmp_path / "whole", **changes)

    # Each attempt takes one round, and is killed in the next: before or after its rows are written.
    append, judge, events = folder.append_rows, rounds.judge, []

    def killed(function):
        def instead(*args):
            events.append(function)
            if len(events) == 3 + attempts % 2:
                raise KeyboardInterrupt
            return function(*args)

        return instead

    monkeypatch.setattr(folder, "append_rows", killed(append))
    monkeypatch.setattr(rounds, "judge", killed(judge))
    attempts = 0
    while attempts < 30 and not (tmp_path / "killed" / "results.json").exists():
        attempts += 1
        events.clear()
        with contextlib.suppress(KeyboardInterrupt):
            run(tiny_npz, tmp_path / "killed", **changes)
    assert attempts > 3
    assert_equal(record(tmp_path / "killed"), record(tmp_path / "whole"))


@pytest.mark.slow
def test_a_signal_stops_it_and_it_goes_on(tiny_npz, tmp_path, monkeypatch, capsys):
    run(tiny_npz, tmp_path / "whole")
    take = rounds.take_round

    def with_a_signal(plan, state, chosen, places, stop, *more):
        if state.rounds == 3:
            stop.since = 0.0
        return take(plan, state, chosen, places, stop, *more)

    monkeypatch.setattr(rounds, "take_round", with_a_signal)
    with pytest.raises(Stopped, match="stopped after 7 epochs"):
        run(tiny_npz, tmp_path / "stopped")
    monkeypatch.setattr(rounds, "take_round", take)
    assert not (tmp_path / "stopped" / "results.json").exists()
    command.search(tmp_path / "stopped", None, Datasets())  # by the folder alone
    assert_equal(record(tmp_path / "stopped"), record(tmp_path / "whole"))
    capsys.readouterr()
    command.search(tmp_path / "stopped", None, Datasets())
    assert "there is nothing to do" in capsys.readouterr().out


@pytest.mark.slow
def test_places_do_not_change_what_is_found(tiny_npz, tmp_path):
    one = run(tiny_npz, tmp_path / "one", search__places=2)
    other = run(tiny_npz, tmp_path / "other", search__places=5)
    assert one["best"]["lane"] == other["best"]["lane"]
    assert one["best"]["elbo"] == pytest.approx(other["best"]["elbo"], rel=1e-5)
    assert [a["epochs"] for a in one["lanes"]] == [b["epochs"] for b in other["lanes"]]


@pytest.mark.slow
def test_a_search_over_latent_sizes_shares_a_program(tiny_npz, tmp_path):
    settings = hyper.product(
        [
            hyper.sweep("model.latent_size", (1, 2, 3)),
            hyper.sweep("optimizer.learning_rate", (1e-3, 1e-2)),
        ]
    )
    found = run(tiny_npz, tmp_path / "search", settings)
    loaded = api.load(tmp_path / "search" / "best")
    size = found["best"]["lane"] // 2 + 1
    kernels = [leaf.shape for leaf in jax.tree.leaves(loaded.variables["params"])]
    assert any(shape == (size, 8) for shape in kernels)


@pytest.mark.slow
def test_a_copy_is_kept_by_its_own_objective(tiny_npz, tmp_path, monkeypatch):
    """What best_bound says of a trial is what its own beta makes of its best params."""
    judge, states = rounds.judge, []

    def noted(*args):
        states.append(judge(*args))
        return states[-1]

    monkeypatch.setattr(rounds, "judge", noted)
    settings = hyper.zipit(
        [
            hyper.sweep("optimizer.learning_rate", (1e-2, 1e-4, 1e-5)),
            hyper.sweep("objective.beta", (4.0, 0.5, 1.0)),
        ]
    )
    data = Datasets()
    base = base_of(tiny_npz, search__name="pbt", search__reduction=3, search__factor=10.0)
    plan = make_plan(base, settings, tmp_path, data)
    command.search(tmp_path, plan, data)
    copies = set()
    for state in states:
        kept = [n for n, own in state.kept.items() if not np.isnan(own.best_bound)]
        run = rounds.run_in_places(plan, state.trials, np.array(kept), 0)
        stacked = rounds.stack([state.kept[n] for n in kept])
        expected = rounds.scores_of(run, stacked.best)
        np.testing.assert_allclose(stacked.best_bound, expected, rtol=1e-5)
        copies |= {n for n in kept if len(state.trials[n].lineage) > 1}
    assert copies


def damage(path):
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def test_a_finished_search_is_one_with_results_and_its_best(tiny_npz, tmp_path, capsys):
    first = run(tiny_npz, tmp_path)
    whole = record(tmp_path)
    capsys.readouterr()
    run(tiny_npz, tmp_path)
    assert "there is nothing to do" in capsys.readouterr().out

    damage(tmp_path / "best" / "checkpoints")
    assert run(tiny_npz, tmp_path)["best"] == first["best"]
    assert_equal(record(tmp_path), whole)
    shutil.rmtree(tmp_path / "best")
    run(tiny_npz, tmp_path)
    assert_equal(record(tmp_path), whole)

    (tmp_path / "results.json").write_text("")
    with pytest.raises(UserError, match=r"results.json is damaged .* or remove it"):
        run(tiny_npz, tmp_path)
    (tmp_path / "results.json").unlink()
    run(tiny_npz, tmp_path)
    assert_equal(record(tmp_path), whole)

    # A flipped bit of what lies beside the newest checkpoint: the one before is taken.
    newest = max((tmp_path / "checkpoints").iterdir(), key=lambda step: int(step.name))
    meta = newest / "meta" / "metadata"
    text = meta.read_text()
    changes = [('"done"', '"dond"'), ("[1,", "[3,"), ('"meta_crc32"', '"meta_crc33"'),
               ('"format": 3', '"format": 2'), ('"kept"', '"kepu"')]  # fmt: skip
    for before, after in changes:
        assert before in text
        meta.write_text(text.replace(before, after, 1))
        with Checkpoints(tmp_path / "checkpoints", keep=None) as checkpoints:
            read = checkpoints._read(int(newest.name), meta=ocp.args.JsonRestore()).meta
            with pytest.raises(ValueError, match="beside it does not match"):
                refuse_damaged_meta(read)
    shutil.rmtree(tmp_path / "best")
    run(tiny_npz, tmp_path)
    assert "is damaged (the checksum of what is saved beside it" in capsys.readouterr().out
    assert_equal(record(tmp_path), whole)


def test_pbt_goes_on_without_a_finite_score():
    trials = first_trials([{"objective.beta": 1.0}, {"objective.beta": 2.0}])
    trials = tuple(trial._replace(epochs=1) for trial in trials)
    found = PBT().judged(trials, 3, lambda *_: {})
    assert found.copies == {}
    assert [trial.judged for trial in found.trials] == [1, 1]
    assert PBT().ready(found.trials, 3) == [0, 1]


def test_a_diverged_trial_is_out(tiny_npz, tmp_path):
    settings = hyper.sweep("optimizer.learning_rate", (1e-3, 1e30, 1e-2, 1e30))
    settings[3]["objective.beta"] = 2.0
    found = run(tiny_npz, tmp_path / "search", settings)
    status = [lane["status"] for lane in found["lanes"]]
    assert status[1] == status[3] == "diverged"
    assert [lane["diverged_step"] is None for lane in found["lanes"]] == [True, False, True, False]
    assert found["best"]["lane"] in (0, 2)
    assert [lane["epochs"] for lane in found["lanes"]][1] == 1


@pytest.mark.slow
def test_when_all_diverge_that_is_said(tiny_npz, tmp_path):
    settings = hyper.sweep("optimizer.learning_rate", (1e29, 1e30))
    for _ in range(2):
        with pytest.raises(UserError, match=r"every trial in .* diverged"):
            run(tiny_npz, tmp_path / "search", settings)
    with pytest.raises(UserError, match=r"holds a search; .* works there$"):
        api.load(tmp_path / "search")


@pytest.mark.slow
def test_memory_that_is_short_halves_the_places(tiny_npz, tmp_path, monkeypatch, capsys):
    take = rounds.take_round

    def small(plan, state, chosen, places, *more):
        if places > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return take(plan, state, chosen, places, *more)

    monkeypatch.setattr(rounds, "take_round", small)
    found = run(tiny_npz, tmp_path / "search", SETTINGS[:3], search__places=4)
    shown = capsys.readouterr().out
    assert "out of memory; going on with 2 places" in shown
    assert "going on with 1 place: " in shown
    assert found["best"] is not None


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ([], {}, "the sweep is empty"),
        (SETTINGS, {"training__seeds": (0, 1)}, "a search has one seed"),
        (SETTINGS, {"evaluation__every_epochs": 2}, "evaluation.every_epochs should be 1"),
        (SETTINGS, {"training__num_epochs": 1}, "training.num_epochs = 1 leaves no epoch"),
        (hyper.sweep("training.batch_size", (10, 20)), {}, "need 2, by training.batch_size"),
        (SETTINGS, {"sweep__max_lanes": 3}, "need 2, by sweep.max_lanes"),
        (hyper.sweep("search.places", (1, 2)), {}, "search.places can't be swept over"),
        (
            hyper.sweep("model.latent_size", (2, 3)),
            {"search__name": "pbt", "search__reduction": 3},
            "search.name = 'pbt' changes numbers",
        ),
    ],
)
def test_a_search_that_can_t_be_is_refused(tiny_npz, tmp_path, settings, changes, message):
    with pytest.raises(UserError, match=message):
        run(tiny_npz, tmp_path / "search", settings, **changes)
    assert not (tmp_path / "search").exists()


def test_a_folder_of_something_else_is_refused(tiny_npz, tmp_path):
    data = Datasets()
    at = tmp_path / "search"
    run(tiny_npz, at)
    with pytest.raises(UserError, match=r"search\.places: 3 there, 2 here"):
        run(tiny_npz, at, search__places=2)
    with pytest.raises(UserError, match="holds a search"):
        sweep(at, make_sweep(base_of(tiny_npz), SETTINGS, at, data), data)
    assert api.load(at).workdir == at / "best"
    with pytest.raises(UserError, match="the best run that it found is in"):
        runs_in(at)
    with pytest.raises(UserError, match="holds no search"):
        command.search(tmp_path / "nothing", None, data)
    with pytest.raises(UserError, match="holds a single run"):
        run(tiny_npz, at / "best")

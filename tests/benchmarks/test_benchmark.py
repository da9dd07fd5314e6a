"""What the benchmark counts, prints and compares; ours and Flax's VAE on a work that is tiny."""

import itertools
import json

import jax
import numpy as np
import pytest

from benchmarks import benchmark, ceilings, machine, models, peers, systems
from benchmarks.systems import SYSTEMS
from benchmarks.work import WORKS, Work, config_of, work_from
from vae_jax.config.build import lane_spec
from vae_jax.data.dataset import Dataset, Split
from vae_jax.models import make_model
from vae_jax.objectives import OBJECTIVES

TINY = Work("tiny", (64,), 2, 20, images=400)


def test_counts_are_those_by_hand():
    work = Work("by hand", (3,), 2, 5, objective="iwae", num_samples=4)
    flops = (
        2 * 5 * 784 * 3 * 2  # x to hidden, without x's gradient
        + 2 * 5 * 3 * 4 * 3  # hidden to means and scales
        + 2 * 20 * 2 * 3 * 3  # four samples of z to hidden
        + 2 * 20 * 3 * 784 * 3  # hidden to logits
    )
    params = (784 * 3 + 3) + (3 * 4 + 4) + (2 * 3 + 3) + (3 * 784 + 784)
    images = 5 * 784
    moved = 7 * 4 * params + images + 4 * (2 * images + 2 * 4 * images)
    assert ceilings.counts(work) == (flops, moved, params)


def test_counts_of_convolutions_are_those_by_hand():
    work = Work("by hand", (2,), 1, 1, network="conv")
    flops = (
        2 * 14 * 14 * 16 * 2 * 2  # 28 x 28 to 14 x 14 x 2, 4 x 4
        + 2 * 392 * 2 * 3  # to the mean and scale
        + 2 * 1 * 392 * 3  # z to 14 x 14 x 2
        + 2 * 14 * 14 * 2 * 16 * 2 * 3  # to 28 x 28 x 2, 4 x 4
        + 2 * 28 * 28 * 9 * 2 * 3  # to the logits, 3 x 3
    )
    assert ceilings.counts(work).flops == flops


@pytest.mark.parametrize("work", WORKS, ids=[work.name for work in WORKS])
def test_a_work_is_one_model_everywhere(work):
    split = Split(np.zeros((work.images, 784), np.uint8), None)
    data = Dataset(split, split, split, (28, 28, 1), dynamic=True, binary=True, identity={})
    spec = lane_spec(config_of(work), data)
    variables = jax.eval_shape(make_model(spec.model).init, jax.random.key(0))
    sizes = [leaf.size for leaf in jax.tree.leaves(variables)]
    assert sum(sizes) == ceilings.counts(work).params
    assert spec.steps_per_epoch == work.steps
    assert type(spec.objective.bound) is OBJECTIVES[work.objective]
    assert spec.objective.num_samples == work.num_samples
    assert work.objective == "iwae" or work.num_samples == 1  # as the peers take for granted
    assert work_from(json.loads(json.dumps(work))) == work
    taking = {name for name, entry in SYSTEMS.items() if entry.takes(work)}
    assert {"vae_jax", "flax", "pytorch", "pytorch-compiled"} <= taking
    assert not [c for c in ",: " if c in work.name]  # it is part of a flag, and of a ratio's name


def losses_of(system, work: Work, epochs: int) -> list[float]:
    """Of one step, and of so many epochs of two kinds of image."""
    images = np.repeat(np.eye(2, dtype=np.uint8) * 255, 392, axis=1).repeat(200, axis=0)
    with jax.numpy_rank_promotion("allow"):  # a peer is not held to our rules
        return list(itertools.islice(system(work, images), 1 + epochs))


@pytest.mark.slow
@pytest.mark.parametrize("system", [systems.vae_jax, peers.flax])
@pytest.mark.parametrize(("objective", "num_samples"), [("elbo", 1), ("iwae", 3)])
def test_ours_and_flax_train_a_tiny_work(system, objective, num_samples):
    work = TINY._replace(objective=objective, num_samples=num_samples)
    first, *_, last = losses_of(system, work, epochs=16)
    assert 0.9 * 784 * np.log(2) < first < 1.5 * 784 * np.log(2)
    assert np.log(2) < last < 20  # one of two images: log 2 is the least there is


@pytest.mark.slow
@pytest.mark.parametrize("system", [systems.vae_jax, peers.flax])
def test_ours_and_flax_have_convolutions(system):
    first, *_, last = losses_of(system, TINY._replace(network="conv", widths=(4, 6)), epochs=4)
    assert 0.9 * 784 * np.log(2) < first < 1.5 * 784 * np.log(2)
    assert last < first


def test_rates_are_measured():
    assert 0 < ceilings.peak_gflops((64,)) < 1e6
    assert 0 < ceilings.gigabytes_per_second(2**16) < 1e6
    two = [
        {"gflops": 1.0, "gigabytes_per_second": 4.0, "products_milliseconds": 2.0, "array_mb": 3},
        {"gflops": 2.0, "gigabytes_per_second": 3.0, "products_milliseconds": 1.0, "array_mb": 3},
    ]
    best = {"gflops": 2, "gigabytes_per_second": 4, "products_milliseconds": 1, "array_mb": 3}
    assert ceilings.best(two) == best


def test_slower_are_the_ratios_that_grew_past_the_tolerance():
    recorded = {"a": 1.0, "b": 1.0, "c": 1.0, "gone": 1.0}
    now = {"a": 1.14, "b": 1.16, "c": 0.5, "new": 9.0}
    assert benchmark.slower(recorded, now) == {"b": (1.0, 1.16)}
    assert list(benchmark.slower(recorded, now, tolerance=0.1)) == ["a", "b"]
    assert benchmark.slower(recorded, recorded) == {}


@pytest.fixture
def times(monkeypatch, tmp_path):
    """Milliseconds a step that a benchmark finds, in place of processes that measure them."""
    found = {"vae_jax": 2.0, "flax": 4.0, "pytorch": 8.0, "its products": 1.0}

    def in_a_process(system, work):
        step = found[system]
        return {
            "step_milliseconds": step, "epoch_seconds": step * work.steps / 1_000,
            "first_step_seconds": 3.0, "loss": 99.0, "peak_memory_mb": 500.0,
        }  # fmt: skip

    def rates(work):
        return {
            "accelerator": None, "gflops": 1_000.0, "array_mb": 10.0,
            "gigabytes_per_second": 100.0, "products_milliseconds": found["its products"],
        }  # fmt: skip

    monkeypatch.setattr(benchmark, "in_a_process", in_a_process)
    monkeypatch.setattr(ceilings, "in_a_process", rates)
    monkeypatch.setattr(benchmark, "missing", lambda system: ["torch"] * (system == "pytorch"))
    monkeypatch.setattr(machine, "RESULTS", tmp_path / "results")
    return found


def test_from_command_to_table_to_comparison(times, tmp_path, capsys):
    command = ["--works=784-400-20", "--systems=pytorch,flax", "--rounds=2"]
    assert benchmark.main(command) == 0
    printed = capsys.readouterr().out
    assert "pytorch is left out: torch is not installed" in printed
    rows = [line.split() for line in printed.splitlines() if line.endswith("99.00")]
    assert rows == [
        ["vae_jax", "2.000", "0.86", "1.00", "0.31", "3.0", "500", "99.00"],
        ["flax", "4.000", "1.72", "2.00", "0.15", "3.0", "500", "99.00"],
    ]
    first_words = [line.split()[0] for line in printed.splitlines() if line]
    assert first_words[3:7] == ["floor", "its", "vae_jax", "flax"]  # sorted by time

    (path,) = (tmp_path / "results").iterdir()
    report = json.loads(path.read_text())
    assert {"date", "machine", "versions", "works"} <= report.keys()
    assert path.name.startswith(f"benchmark-systems-{machine.slug(report['machine'])}-")
    assert benchmark.ratios(report["works"]) == {
        "784-400-20: vae_jax to flax": 0.5,
        "784-400-20: vae_jax to its products": 2.0,
    }

    record = tmp_path / "record.json"
    path.rename(record)
    assert benchmark.main([*command, f"--compare={record}"]) == 0
    assert "0 of 2 ratios are over 15% slower" in capsys.readouterr().out
    times["flax"] = 3.0
    assert benchmark.main([*command, f"--compare={record}"]) == 1
    printed = capsys.readouterr().out
    assert "slower: 784-400-20: vae_jax to flax: 0.67, recorded 0.50" in printed
    assert "recorded on another machine" not in printed
    report["machine"]["processor"] = "Another"
    record.write_text(json.dumps(report))
    assert benchmark.main([*command, "--systems=vae_jax", f"--compare={record}"]) == 0
    printed = capsys.readouterr().out
    assert "recorded on another machine, another-" in printed
    assert "1 recorded ratios were not measured now" in printed
    assert benchmark.main(["--works=conv", f"--compare={record}"]) == 2
    assert "has none of these works" in capsys.readouterr().err


def test_a_peer_that_fails_is_left_out_and_ours_is_not(times, capsys, monkeypatch):
    def fails(system, work):
        if system in failing:
            raise RuntimeError("Traceback:\n  ...\nValueError: no compiler\n")
        return whole(system, work)

    whole = benchmark.in_a_process
    monkeypatch.setattr(benchmark, "in_a_process", fails)
    failing = {"flax"}
    assert list(benchmark.measure(WORKS[0], ["vae_jax", "flax"], 2)["systems"]) == ["vae_jax"]
    printed = capsys.readouterr().out
    assert printed == "flax is left out of 784-400-20: ValueError: no compiler\n"
    failing = {"vae_jax"}
    with pytest.raises(RuntimeError, match="no compiler"):
        benchmark.measure(WORKS[0], ["vae_jax", "flax"], 2)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--works=conv,no", "--works = 'no' is unknown; there are: 784-200-200-50, 784-400-20"),
        ("--systems=no", "--systems = 'no' is unknown; there are: flax, keras-jax"),
        ("--rounds=0", "--rounds=0"),
        ("--round=1", "Unknown command line flag 'round'"),
        ("sweeps", "there is no benchmark 'sweeps'; there are: sweep, objectives"),
        ("--compare=no.json", "--compare=no.json: No such file"),
        ("--compare={bad}", "is not JSON that"),
    ],
)
@pytest.mark.parametrize("content", ["", "[]", '{"works": {"conv": {"systems": 3}}}'])
def test_a_mistake_is_answered_in_one_line(argument, message, content, tmp_path, capsys):
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    assert benchmark.main([argument.format(bad=bad)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_products_of_a_step_are_found_also_in_a_scan():
    def step(x, kernel):
        first = x @ kernel
        rest, _ = jax.lax.scan(lambda h, k: (jax.jit(lambda h: h @ k)(h), None), first, kernels)
        return rest

    kernels = np.ones((3, 4, 4), np.float32)
    jaxpr = jax.make_jaxpr(step)(np.ones((5, 4), np.float32), np.ones((4, 4), np.float32))
    found = list(models.products_in(jaxpr.jaxpr))
    assert [equation.primitive.name for equation in found] == ["dot_general"] * 4

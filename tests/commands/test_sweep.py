"""A sweep's folder, and what happens when something goes wrong in it."""

import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.runs import config_of, evaluate, load, rows_of
from tests.small.runs import run as train_alone
from tests.small.sweeps import SETTINGS, lanes_of, results_of, run_sweep
from vae_jax.cli.main import main
from vae_jax.commands import sweep
from vae_jax.errors import Failed, UserError
from vae_jax.folders import folder
from vae_jax.models.model import NO_START, generate
from vae_jax.reports.sweep_report import report
from vae_jax.runs import compilation
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps import worker
from vae_jax.sweeps.plan import Datasets, make_sweep, read_sweep


@pytest.mark.slow
def test_a_sweep_is_measured_on_other_images_too(finished, tmp_path, capsys):
    """On its own test images it finds its own numbers, also of lanes with padded latents."""
    workdir, npz = tmp_path / "sweep", finished[1]
    shutil.copytree(finished[0], workdir)
    before = results_of(workdir)
    with np.load(npz) as data:
        np.savez(tmp_path / "same.npz", images=data["test_images"], labels=data["test_labels"])
    for _ in range(2):
        capsys.readouterr()
        assert main(["evaluate", f"--workdir={workdir}", f"--on={tmp_path / 'same.npz'}"]) == 0
    said = capsys.readouterr().out
    assert "holds these results already; there is nothing to do" in said
    assert "images of same.npz (50 images, binarisation: dynamic), by a model trained on" in said
    (at,) = (workdir / "on").iterdir()
    there = results_of(at)
    assert there["lanes"] == before["lanes"]
    assert there["settings"] == before["settings"]
    assert there["dataset"] != before["dataset"]
    assert results_of(workdir) == before
    report(at, by=["objective.beta"])
    assert "a row pools lanes that differ in model.latent_size" in capsys.readouterr().out
    assert main(["sweep", f"--workdir={at}"]) == 2
    assert "measured on other images" in capsys.readouterr().err


def test_the_folder_is_as_promised(finished, with_lanes_drawn):
    workdir, _ = finished
    for name in ("config.json", "environment.json", "sweep.json"):
        assert (workdir / name).exists(), name
    lanes = lanes_of(workdir)
    assert [(r["lane"], r["seed"], r["model.latent_size"], r["objective.beta"]) for r in lanes] == [
        (str(i), ("4", "9")[i % 2], ("2", "3")[i // 4], ("0.5", "2.0")[i // 2 % 2])
        for i in range(8)
    ]
    assert {row["status"] for row in lanes} == {"done"}
    rows = rows_of(workdir)
    assert {row["lane"] for row in rows} == set(range(8))
    assert all(row["seed"] == (4, 9)[row["lane"] % 2] for row in rows)
    results = results_of(workdir)
    assert results["finished"]
    assert results["failed"] == []
    assert results["swept"] == ["model.latent_size", "objective.beta"]
    for i, setting in enumerate(results["settings"]):
        assert setting["model.latent_size"] == (2, 3)[i // 2]
        own = [lane["elbo"] for lane in results["lanes"][2 * i : 2 * i + 2]]
        assert setting["mean"]["elbo"] == pytest.approx(np.mean(own))
        assert setting["se"]["elbo"] == pytest.approx(np.std(own, ddof=1) / np.sqrt(2))
    sweep.draw_best_lane(read_sweep(workdir), results, Datasets())
    figures = {path.stem for path in (workdir / "figures").iterdir()}
    assert figures >= {
        "by_model.latent_size",
        "by_objective.beta",
        "heat_map_model.latent_size_objective.beta",
        "training_curves",
        "samples",
        "reconstructions",
    }


def test_a_lane_is_its_config_alone_and_is_saved_at_its_own_size(finished, tmp_path):
    workdir, npz = finished
    train_alone(
        npz, tmp_path / "alone", model__latent_size=2, objective__beta=2.0, training__seeds=(9,)
    )
    alone, together = results_of(tmp_path / "alone")["lanes"][0], results_of(workdir)["lanes"][3]
    assert together["model.latent_size"] == 2
    assert together["objective.beta"] == 2
    for name in ("elbo", "reconstruction", "kl", "validation_bound", "bits_per_dim", "elbo_se"):
        assert together[name] == pytest.approx(alone[name], rel=1e-4), name
    mine, other = load(workdir, lane=3), load(tmp_path / "alone")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        mine.variables,
        other.variables,
    )
    made = generate(mine.model, mine.variables, jax.random.key(0), 3)
    assert made.shape == (3, 36)
    assert load(workdir, lane=5).variables["params"]["encoder"]["mean"]["bias"].shape == (3,)
    with pytest.raises(UserError, match=r"has no lane 8; it has 0 to 7"):
        load(workdir, lane=8)


@pytest.mark.slow
def test_lanes_csv_says_what_runs_and_what_waits(finished, tmp_path, monkeypatch):
    _, npz = finished
    seen = []

    def looking(run, *args, **kwargs):
        seen.append([row["status"] for row in lanes_of(tmp_path / "sweep")])
        return original(run, *args, **kwargs)

    original = worker.train_run
    monkeypatch.setattr(worker, "train_run", looking)
    monkeypatch.setattr(worker, "RECORDING", float("inf"))
    run_sweep(npz, tmp_path / "sweep", WIDTHS[:2], training__num_epochs=1)
    assert seen == [["running"] * 2 + ["waiting"] * 2, ["done"] * 2 + ["running"] * 2]


def test_changed_data_are_refused(finished, tmp_path, monkeypatch):
    workdir, npz = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    for path in (copy / "results.json", copy / "programs" / "000" / "results.json"):
        path.unlink()
    other = Datasets()
    data = other.of(config_of(npz))
    other_data = data._replace(identity=data.identity | {"checksum": "another"})
    monkeypatch.setattr(Datasets, "of", lambda self, config: other_data)
    with pytest.raises(UserError, match="holds other data than the sweep"):
        sweep.sweep(copy, None, other)


def test_a_finished_sweep_is_left_alone(finished, capsys):
    workdir, npz = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.name != ".lock"}
    run_sweep(npz, workdir)
    assert "there is nothing to do" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.name != ".lock"} == before


def test_another_sweep_is_refused_and_the_difference_shown(finished):
    workdir, npz = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}
    with pytest.raises(UserError, match=r"another sweep \(config 1: objective.beta: 2.0 there, 4"):
        run_sweep(npz, workdir, [*SETTINGS[:1], SETTINGS[1] | {"objective.beta": 4}, *SETTINGS[2:]])
    with pytest.raises(UserError, match=r"4 configs there, 3 here"):
        run_sweep(npz, workdir, SETTINGS[:3])
    with pytest.raises(UserError, match=r"training.num_epochs: 3 there, 4 here"):
        run_sweep(npz, workdir, training__num_epochs=4)
    with pytest.raises(UserError, match=r"holds a sweep; `vae-jax sweep` works there"):
        train_alone(npz, workdir)
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*")} == before


def test_a_folder_of_a_single_run_is_refused(finished, tmp_path):
    _, npz = finished
    train_alone(npz, tmp_path / "run", training__num_epochs=1)
    with pytest.raises(UserError, match="holds a single run; take another --workdir"):
        run_sweep(npz, tmp_path / "run")


@pytest.mark.slow
def test_results_do_not_depend_on_how_lanes_are_cut_into_programs(finished, tmp_path):
    """To the bit, where lanes are taken in turn; the largest latent size stays the same."""
    workdir, npz = finished
    plan = run_sweep(npz, tmp_path / "cut", sweep__max_lanes=3)
    assert [len(p.lanes) for p in plan.programs] == [3, 3, 2]
    key = ["lane", "step", "split"]
    whole, cut = (
        sorted(rows_of(at), key=lambda row: [row[k] for k in key])
        for at in (workdir, tmp_path / "cut")
    )
    assert whole == cut


@pytest.mark.slow
def test_padding_can_be_switched_off(finished, tmp_path):
    workdir, npz = finished
    plan = run_sweep(npz, tmp_path / "apart", sweep__pad_latents=False)
    assert len(plan.programs) == 2
    padded, apart = (results_of(at)["lanes"] for at in (workdir, tmp_path / "apart"))
    for a, b in zip(padded, apart, strict=True):
        assert a["elbo"] == pytest.approx(b["elbo"], rel=1e-4)


@pytest.mark.slow
def test_lanes_that_do_not_fit_into_memory_are_divided(finished, tmp_path, monkeypatch, capsys):
    _, npz = finished
    data = Datasets()
    plan = make_sweep(config_of(npz), SETTINGS, tmp_path, data)
    from vae_jax.sweeps.plan import program_run

    run = program_run(plan, plan.programs[0], data)
    memory = compilation.compile_run(run)
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(compilation.template(run.spec, NO_START)))
    assert memory.device > memory.shared > 0
    assert memory.host > state
    assert compilation.parts_to_fit(run, memory) == 1
    need = compilation.total(run, memory)
    fixed = memory.shared * run.layout.mesh.devices.size + compilation.PROCESS
    room = fixed + 0.6 * (need - fixed)
    monkeypatch.setattr(compilation, "host_memory", lambda: room / compilation.FRACTION)
    assert compilation.parts_to_fit(run, memory) == 2
    monkeypatch.setattr(worker, "parts_to_fit", lambda run, _: 2 if len(run.lanes) > 4 else 1)
    run_sweep(npz, tmp_path / "small", training__num_epochs=1)
    assert "program 000: its 8 lanes do not fit into memory together" in capsys.readouterr().out
    assert [p.name for p in read_sweep(tmp_path / "small").programs] == ["000a", "000b"]
    assert [lane["program"] for lane in results_of(tmp_path / "small")["lanes"]] == (
        ["000a"] * 4 + ["000b"] * 4
    )


def out_of_device_memory():
    jax.jit(lambda: jnp.zeros(10**12))().block_until_ready()


@pytest.mark.slow
@pytest.mark.parametrize("exhaust", [out_of_device_memory, lambda: np.zeros(10**15)])
def test_out_of_memory_halves_a_program_and_goes_on(
    finished, tmp_path, monkeypatch, capsys, exhaust
):
    _, npz = finished
    original = worker.train_run

    def little_memory(run, *args, **kwargs):
        if len(run.lanes) > 2:
            exhaust()
        return original(run, *args, **kwargs)

    monkeypatch.setattr(worker, "train_run", little_memory)
    run_sweep(npz, tmp_path / "small", training__num_epochs=1)
    assert capsys.readouterr().out.count("do not fit into memory together") == 3
    names = [p.name for p in read_sweep(tmp_path / "small").programs]
    assert names == ["000aa", "000ab", "000ba", "000bb"]
    assert {row["status"] for row in lanes_of(tmp_path / "small")} == {"done"}


WIDTHS = hyper.sweep("model.encoder.widths", ((6,), (7,), (8,)))


@pytest.mark.slow
def test_a_program_that_raises_is_recorded_and_the_others_go_on(
    finished, tmp_path, monkeypatch, capsys
):
    _, npz = finished
    workdir, original = tmp_path / "sweep", worker.train_run

    def broken(run, *args, **kwargs):
        if run.config.values["model.encoder.widths"] == (7,):
            raise RuntimeError("seven is too many")
        return original(run, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "train_run", broken)
        with pytest.raises(Failed, match=r"1 of 3 programs failed.*001/error.txt"):
            run_sweep(npz, workdir, WIDTHS, training__num_epochs=1)
    assert "RuntimeError: seven is too many" in capsys.readouterr().out
    assert "Traceback" in (workdir / "programs" / "001" / "error.txt").read_text()
    statuses = [row["status"] for row in lanes_of(workdir)]
    assert statuses == ["done", "done", "failed", "failed", "done", "done"]
    assert results_of(workdir)["failed"] == ["001"]
    assert not results_of(workdir)["finished"]
    # Mended, the same command trains what had failed, and nothing else.
    done = (workdir / "programs" / "000" / "metrics.jsonl").stat().st_mtime_ns
    time.sleep(0.05)
    run_sweep(npz, workdir, WIDTHS, training__num_epochs=1)
    assert results_of(workdir)["finished"]
    assert results_of(workdir)["failed"] == []
    assert (workdir / "programs" / "000" / "metrics.jsonl").stat().st_mtime_ns == done


@pytest.mark.slow
def test_a_diverged_lane_is_reported_and_the_rest_go_on(finished, tmp_path, capsys):
    _, npz = finished
    rates = hyper.sweep("optimizer.learning_rate", (1e-3, 1e30))
    run_sweep(npz, tmp_path / "sweep", rates)
    lanes = lanes_of(tmp_path / "sweep")
    assert [row["status"] for row in lanes] == ["done", "done", "diverged", "diverged"]
    step = int(lanes[2]["diverged_step"])
    assert step > 0
    printed = capsys.readouterr().out
    assert f"(optimizer.learning_rate 1e+30, seed 4) diverged at step {step}, left out" in printed
    settings = results_of(tmp_path / "sweep")["settings"]
    assert [setting["lanes_in_mean"] for setting in settings] == [2, 0]
    assert settings[1]["mean"]["elbo"] is None


@pytest.mark.slow
def test_a_program_is_compiled_while_the_one_before_trains(finished, tmp_path, monkeypatch):
    """And then its own calls find it compiled."""
    _, npz = finished
    order = []
    original_compile, original_train = worker.compile_run, worker.train_run

    def compiling(run):
        order.append(("compile", run.config.values["model.encoder.widths"]))
        return original_compile(run)

    def training(run, *args, **kwargs):
        widths = run.config.values["model.encoder.widths"]
        following = [w for w in ((6,), (7,), (8,)) if w > widths][:1]
        deadline = time.monotonic() + 30
        while following and ("compile", following[0]) not in order:
            assert time.monotonic() < deadline, "the next program is not being compiled"
            time.sleep(0.01)
        order.append(("train", widths))
        return original_train(run, *args, **kwargs)

    monkeypatch.setattr(worker, "compile_run", compiling)
    monkeypatch.setattr(worker, "train_run", training)
    run_sweep(npz, tmp_path / "sweep", WIDTHS, training__num_epochs=1)
    assert sorted(order) == sorted((v, (w,)) for v in ("compile", "train") for w in (6, 7, 8))


@pytest.mark.slow
def test_a_sweep_over_datasets_and_epochs(finished, tmp_path):
    """Keys that do not change the compiled program, and still can't be lanes of one."""
    _, npz = finished
    settings = hyper.product(
        [
            hyper.sweep("dataset.binarization", ("dynamic", "threshold")),
            hyper.sweep("training.num_epochs", (1, 2)),
        ]
    )
    plan = run_sweep(npz, tmp_path / "sweep", settings)
    assert len(plan.programs) == 4
    rows = [row for row in rows_of(tmp_path / "sweep") if row["split"] == "validation"]
    assert [row["epoch"] for row in rows if row["seed"] == 4] == [1, 1, 2, 1, 1, 2]
    assert len(results_of(tmp_path / "sweep")["dataset"]["several"]) == 2


def test_seeds_alone_are_a_sweep(finished, tmp_path):
    _, npz = finished
    run_sweep(npz, tmp_path / "seeds", hyper.fixed("objective.beta", 2), training__num_epochs=1)
    results = results_of(tmp_path / "seeds")
    assert results["swept"] == []
    assert len(results["settings"]) == 1
    assert results["settings"][0]["lanes_in_mean"] == 2


def test_evaluate_repeats_the_results_and_changes_evaluation_only(finished, tmp_path):
    workdir, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    config = folder.read_json(copy / folder.CONFIG)
    evaluate(copy, config)
    assert (copy / folder.RESULTS).read_bytes() == (workdir / folder.RESULTS).read_bytes()
    config["evaluation"]["num_samples"] = 20
    config["log"]["figure_format"] = ("pdf",)
    evaluate(copy, config)
    assert (copy / folder.FIGURES / "by_objective.beta.pdf").exists()
    again, before = results_of(copy), results_of(workdir)
    assert again["evaluation"]["evaluation.num_samples"] == 20
    for a, b in zip(again["lanes"], before["lanes"], strict=True):
        assert a["elbo"] == pytest.approx(b["elbo"], abs=1)
        assert a["elbo"] != b["elbo"]
    config["training"]["num_epochs"] = 9
    with pytest.raises(UserError, match=r"evaluate can change evaluation.\*, log.figure\* and"):
        evaluate(copy, config)

"""The files of a sweep: damaged, incomplete, of one run, or of other data."""

import json
import shutil

import numpy as np
import pytest

from tests.small.runs import run as train_alone
from tests.small.sweeps import results_of, run_sweep
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.reports.sweep_report import in_order, report
from vae_jax.sweeps.plan import read_sweep


def ask(workdir, capsys, **questions):
    capsys.readouterr()
    report(workdir, **questions)
    return capsys.readouterr().out


def test_report_answers_questions(finished, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    workdir, _ = finished
    whole = ask(workdir, capsys)
    assert whole.count("±") == 1 + 4 * 4
    lanes = results_of(workdir)["lanes"]
    best = max(lanes, key=lambda lane: lane["validation_bound"])
    assert f"lane {best['lane']:>4}: validation {best['validation_bound']:.2f}" in whole

    narrowed = ask(workdir, capsys, where=["model.latent_size=3"], by=["objective.beta"])
    table = [line.split() for line in narrowed.splitlines() if "±" in line][1:]
    own = [lane["elbo"] for lane in lanes if lane["model.latent_size"] == 3]
    assert [(row[0], row[1], row[2]) for row in table] == [
        ("0.5", "2", f"{np.mean(own[:2]):.2f}"),
        ("2", "2", f"{np.mean(own[2:]):.2f}"),
    ]
    assert (workdir / "figures" / "by_objective.beta_where_model.latent_size=3.png").exists()

    pooled = ask(workdir, capsys, by=["objective.beta"])
    assert "pools lanes that differ in model.latent_size" in pooled
    assert [line.split()[1] for line in pooled.splitlines() if "±" in line][1:] == ["4", "4"]


def test_rows_are_in_order():
    values = [("b", 2), ("b", 10), ("a", 2), ("b", 1)]
    groups = in_order([({"name": name, "number": n}, []) for name, n in values])
    assert [tuple(g[0].values()) for g in groups] == [("b", 1), ("b", 2), ("b", 10), ("a", 2)]


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ({"by": ["objective.bta"]}, r"was not swept here; did you mean 'objective.beta'"),
        ({"where": ["training.seeds=1"]}, "swept: model.latent_size, objective.beta"),
        ({"where": ["objective.beta"]}, "should be KEY=VALUE"),
        ({"where": ["objective.beta=7"]}, r"values of objective.beta: 0.5, 2.0"),
    ],
)
def test_a_question_that_has_no_answer_is_told(finished, questions, message):
    with pytest.raises(UserError, match=message):
        report(finished[0], **questions)


def test_report_of_a_single_run_and_of_nothing(finished, tmp_path, capsys):
    _, npz = finished
    train_alone(npz, tmp_path / "run", training__num_epochs=1)
    printed = capsys.readouterr().out
    assert ask(tmp_path / "run", capsys) == printed[printed.index("test set of") :]
    with pytest.raises(UserError, match="are for sweeps"):
        report(tmp_path / "run", by=["objective.beta"])
    with pytest.raises(UserError, match="holds no run"):
        report(tmp_path / "nothing")


def test_a_damaged_sweep_file_is_told(finished, tmp_path):
    workdir, _ = finished
    for name in (folder.CONFIG, folder.SWEEP):
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
    (tmp_path / folder.SWEEP).write_text('{"settings": [{"objective.beta": "x"}], "programs": []}')
    with pytest.raises(UserError, match=r"sweep.json is damaged"):
        read_sweep(tmp_path)


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "", "000/..", "CON"])
def test_a_name_in_a_sweep_file_is_no_path(finished, tmp_path, name):
    workdir, _ = finished
    (tmp_path / folder.CONFIG).write_bytes((workdir / folder.CONFIG).read_bytes())
    content = json.loads((workdir / folder.SWEEP).read_text())
    content["programs"][0]["name"] = name
    (tmp_path / folder.SWEEP).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"sweep.json is damaged .* is no name of a program"):
        read_sweep(tmp_path)


def test_a_sweep_file_has_every_lane_once(finished, tmp_path):
    workdir, _ = finished
    (tmp_path / folder.CONFIG).write_bytes((workdir / folder.CONFIG).read_bytes())
    content = json.loads((workdir / folder.SWEEP).read_text())
    for lanes in ([0, 0, *range(2, 8)], list(range(7)), ["0"]):
        content["programs"][0]["lanes"] = lanes
        (tmp_path / folder.SWEEP).write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"sweep.json is damaged"):
            read_sweep(tmp_path)


def test_a_finished_sweep_without_a_program_trains_it_again(finished, tmp_path, capsys):
    workdir, npz = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    shutil.rmtree(copy / "programs")
    run_sweep(npz, copy)
    assert "nothing to do" not in capsys.readouterr().out
    assert results_of(copy)["finished"]
    assert results_of(copy)["lanes"] == results_of(workdir)["lanes"]

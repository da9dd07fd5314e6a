"""Tables for papers and other programs: the numbers of results.json, their spread over seeds."""

import csv
import io
import json

import numpy as np
import pytest

from tests.conftest import values_of, write_tiny_npz
from vae_jax import arguments, frames
from vae_jax.cli import main
from vae_jax.commands.sweep import sweep
from vae_jax.commands.train import train
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.reports.export import FORMATS, compared, escaped, table_of
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run, a sweep over beta, and a run on other data."""
    at = tmp_path_factory.mktemp("export")
    npz = write_tiny_npz(at / "tiny.npz")
    base = values_of(npz, training__num_epochs=1)
    train(nest(base), at / "run")
    data = Datasets()
    settings = hyper.sweep("objective.beta", (0.5, 2.0))
    sweep(at / "sweep", make_sweep(base, settings, at / "sweep", data), data)
    with np.load(npz) as content:
        np.savez(at / "other.npz", **{k: v[::-1] for k, v in content.items()})
    train(nest(base | {"dataset.path": str(at / "other.npz")}), at / "other")
    return at


def lanes_of(workdir):
    return json.loads((workdir / "results.json").read_text())["lanes"]


def test_csv_has_the_mean_and_the_standard_error_over_seeds(folders):
    text = FORMATS["csv"](table_of(folders / "sweep"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["objective.beta"] for row in rows] == ["0.5", "2"]
    for row, beta in zip(rows, (0.5, 2.0), strict=True):
        elbos = [o["elbo"] for o in lanes_of(folders / "sweep") if o["objective.beta"] == beta]
        assert row["seeds"] == "2"
        assert float(row["elbo"]) == pytest.approx(np.mean(elbos))
        assert float(row["elbo_se"]) == pytest.approx(np.std(elbos, ddof=1) / np.sqrt(2))


def test_latex_and_markdown_say_what_the_numbers_are(folders):
    table = table_of(folders / "sweep")
    latex, markdown = FORMATS["latex"](table), FORMATS["markdown"](table)
    assert latex.startswith("% test set of tiny.npz (50 images")
    assert "nats per example, mean and standard error over seeds" in latex
    assert r"\begin{tabular}{l" in latex
    assert latex.count(r"\mathbf") == 2  # the best ELBO, and the bits per dimension
    assert r" \pm " in latex
    lines = markdown.splitlines()
    assert lines[0].startswith("| objective.beta | seeds | elbo |")
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert " ± " in lines[2]
    assert escaped("a_b & 5% #1") == r"a\_b \& 5\% \#1"


def test_the_command_names_every_format():
    assert tuple(FORMATS) == arguments.FORMATS


def test_a_run_is_one_row(folders):
    table = table_of(folders / "run")
    assert [len(group.lanes) for group in table.groups] == [2]
    assert len(FORMATS["text"](table).splitlines()) == 3
    with pytest.raises(UserError, match="nothing was swept"):
        table_of(folders / "run", by=("objective.beta",))


def test_runs_stand_side_by_side(folders, capsys):
    table = compared([folders / "run", folders / "sweep"])
    assert table.keys == ["run", "objective.beta"]
    labels = [(group.labels["run"][-5:], group.labels["objective.beta"]) for group in table.groups]
    assert labels == [("t/run"[-5:], 1.0), ("sweep", 0.5), ("sweep", 2.0)] or [
        label[1] for label in labels
    ] == [1.0, 0.5, 2.0]
    command = ["compare", str(folders / "run"), str(folders / "sweep"), "--format=markdown"]
    assert main(command) == 0
    assert capsys.readouterr().out == FORMATS["markdown"](table) + "\n"


def test_other_data_are_not_averaged_nor_compared(folders, capsys):
    with pytest.raises(UserError, match="are of other data and can't stand in one table"):
        compared([folders / "run", folders / "other"])
    assert main(["compare", str(folders / "run"), str(folders / "other")]) == 2
    error = capsys.readouterr().err
    assert "checksum" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare"], "at least two run folders"),
        (["compare", "RUN"], "at least two run folders"),
        (["compare", "RUN", "nothing"], "holds no run"),
        (["compare", "RUN", "RUN", "--format=pdf"], "format"),
        (["report", "--workdir=RUN", "--format=word"], "format"),
        (["report", "--workdir=RUN", "--follow"], "--follow is for --html"),
    ],
)
def test_a_mistake_is_one_line(folders, capsys, arguments, message):
    own = [a.replace("RUN", str(folders / "run")) for a in arguments]
    assert main(own) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_frames_are_tidy(folders):
    several = frames.results([folders / "run", folders / "sweep"])
    assert several["run"].nunique() == 2
    assert len(several) == 2 + 4
    history = frames.history(folders / "sweep")
    assert {"lane", "seed", "step", "epoch", "split", "elbo", "objective.beta"} <= set(history)
    assert history.groupby(["lane", "step", "split"]).size().max() == 1
    lanes = frames.lanes(folders / "sweep")
    assert len(lanes) == 4
    assert set(lanes["status"]) == {"done"}
    with pytest.raises(UserError, match="holds no run"):
        frames.results(folders / "nothing")

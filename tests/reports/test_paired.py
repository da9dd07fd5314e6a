"""Two settings seed by seed: a table by hand, and what is refused."""

import json
import math
import re

import numpy as np
import pytest

from tests.small.runs import values_of
from vae_jax import files
from vae_jax.cli.main import main
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.pages.sheets import result_sheet
from vae_jax.reports.columns import labelled
from vae_jax.reports.paired import compare_paired
from vae_jax.reports.paper_table import FORMATS, table_of
from vae_jax.reports.sweep_report import report, sweep_table

DATA = {"name": "tiny", "checksum": "1", "train_size": 250, "validation_size": 50,
        "test_size": 50, "binarization": "dynamic"}  # fmt: skip
A = {0: -100.0, 1: -101.0, 2: -104.0}  # by seed
B = {0: -101.0, 1: -103.0, 2: -110.0}  # differences 1, 2, 6


def lane(number, seed, bound, **more):
    return {
        "lane": number, "seed": seed, "status": "done", "diverged_step": None, "best_step": 9,
        "best_epoch": 1.0, "validation_bound": bound, "bound": bound, "elbo": bound,
        "reconstruction": bound + 10, "kl": 10.0, "bits_per_dim": -bound / 100,
        "bound_of": "probability", "bound_name": "",
    } | more  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal in which a table is one."""
    monkeypatch.setenv("COLUMNS", "120")


def write(at, elbos, **more):
    """A run folder with these ELBOs, by hand. more: of results.json; lanes: changes by seed."""
    changes = more.pop("lanes", {})
    lanes = [lane(i, s, e, **changes.get(s, {})) for i, (s, e) in enumerate(elbos.items())]
    at.mkdir()
    files.write_json(at / "config.json", nest(values_of("tiny.npz")))
    content = {
        "finished": True, "step": 9, "lanes": lanes, "lanes_in_mean": len(lanes), "mean": {},
        "se": {}, "dataset": DATA, "pseudo_likelihood": False, "wall_seconds": 1.0,
        "evaluation": {"evaluation.num_importance_samples": 50},
    }  # fmt: skip
    files.write_json(at / "results.json", content | more)
    return at


def write_sweep(at, by_beta, **more):
    """A sweep folder over beta."""
    write(at, {})
    lanes = [
        lane(i, seed, elbo, **{"objective.beta": beta})
        for i, (beta, seed, elbo) in enumerate(
            (beta, seed, elbo) for beta, elbos in by_beta.items() for seed, elbo in elbos.items()
        )
    ]
    content = json.loads((at / "results.json").read_text())
    content |= {"lanes": lanes, "swept": ["objective.beta"], "settings": [], "programs": 1}
    files.write_json(at / "results.json", content | {"programs_done": 1} | more)
    files.write_json(at / "sweep.json", {"settings": [], "programs": []})
    return at


def row(text, metric):
    """The cells of a metric's row."""
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [metric]]
    return re.split(r"\s{2,}", line.strip())


def test_a_table_by_hand(tmp_path):
    text = compare_paired([write(tmp_path / "a", A), write(tmp_path / "b", B)])
    assert f"A: {tmp_path / 'a'}" in text.splitlines()
    assert f"B: {tmp_path / 'b'}" in text.splitlines()
    assert "over the seeds 0, 1, 2" in text.splitlines()
    half = 4.302653 * math.sqrt(7 / 3)
    # Of nine pairs A is above in 6 and equal in one. Var A = 13/3, Var B = 67/3, of the
    # differences 7.
    cells = ["elbo", "-101.67", "-104.67", "+3.000", f"[{3 - half:+.3f}, {3 + half:+.3f}]"]
    assert row(text, "elbo")[:5] == cells
    assert row(text, "elbo")[5].startswith("0.72 [")
    assert row(text, "elbo")[6:] == ["9", "25", f"{1 - 7 / (80 / 3):.0%}"]
    # Fewer bits are better: the same chance, and the other sign.
    assert row(text, "bits/dim")[3] == "-0.03000"
    assert row(text, "bits/dim")[5] == row(text, "elbo")[5]
    # Of a KL, neither direction is better; here both have the same.
    assert row(text, "kl")[3:] == ["+0.000", "[+0.000, +0.000]", "-", ">1,000,000", ">1,000,000",
                                   "-"]  # fmt: skip


def test_the_settings_of_a_sweep_against_the_first(tmp_path, capsys):
    write_sweep(tmp_path / "sweep", {0.5: A, 1.0: B, 2.0: {0: -1.0, 7: -2.0}})
    assert main(["compare", str(tmp_path / "sweep"), "--paired"]) == 0
    text = capsys.readouterr().out
    assert text.count("A: objective.beta 0.5") == 2
    assert "B: objective.beta 1" in text
    assert text.count("over the seeds 0, 1, 2") == 1
    assert "not compared: one seed, 0, is in both (A has 0, 1, 2, and B 0, 7)" in text


def test_what_diverged_or_is_missing_is_said_and_left_out(tmp_path):
    gone = {"status": "diverged", "diverged_step": 1234, "elbo": None}
    a = write(tmp_path / "a", A | {3: -90.0, 5: -1.0}, lanes={3: gone})
    text = compare_paired([a, write(tmp_path / "b", B | {3: -1.0})])
    assert row(text, "elbo")[1:4] == ["-101.67", "-104.67", "+3.000"]
    assert "seed 3 of A diverged at step 1,234: left out of both" in text
    assert "only A has the seeds 5: left out" in text
    assert "over the seeds 0, 1, 2\n" in text


def test_a_metric_that_not_all_have_has_no_row(tmp_path):
    nll = {seed: {"nll": 90.0 + seed} for seed in A}
    a = write(tmp_path / "a", A, lanes=nll)
    b = write(tmp_path / "b", B, lanes={0: {"nll": 80.0}, 1: {"nll": 80.0}})
    text = compare_paired([a, b])
    assert "nll" not in text
    b = write(tmp_path / "c", B, lanes=nll)
    assert row(compare_paired([a, b]), "nll")[1:4] == ["91.00", "91.00", "+0.000"]


NLL = {"lanes": {seed: {"nll": 90.0 + seed} for seed in A}}
REFUSED = {
    "other seeds": ({5: -1.0, 6: -2.0}, {}, "no seed is in both (A has 0, 1, 2, and B 5, 6)"),
    "one seed": ({2: -1.0, 6: -2.0}, {}, "one seed, 2, is in both"),
    "other data": (B, {"dataset": DATA | {"checksum": "2"}}, "are of other data"),
    "other samples": (
        B,
        {**NLL, "evaluation": {"evaluation.num_importance_samples": 5000}},
        "nll is with evaluation.num_importance_samples = 50 in A and 5000 in B",
    ),
    "diverged": (
        B,
        {"lanes": {seed: {"status": "diverged", "diverged_step": 3} for seed in (0, 1)}},
        "of the 3 seeds that both have, 2 diverged in one of them",
    ),
    "a density": (
        B,
        {"lanes": {seed: {"bound_of": "density", "kl": None} for seed in B}},
        "no metric in common",
    ),
}


@pytest.mark.parametrize(("elbos", "more", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_pair_is_refused_in_one_line(tmp_path, capsys, elbos, more, message):
    a, b = write(tmp_path / "a", A, **NLL), write(tmp_path / "b", elbos, **more)
    assert main(["compare", str(a), str(b), "--paired"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_flags_that_do_not_go_together(tmp_path, capsys):
    a, b = (str(write(tmp_path / name, A)) for name in "ab")
    for flag in ("--interval", "--name=elbo=E", "--format=latex"):
        assert main(["compare", a, b, "--paired", flag]) == 2
        assert f"{flag.split('=')[0]} is for a table of means" in capsys.readouterr().err
    assert main(["compare", a, "--paired"]) == 2
    assert "--paired is of two settings, and there is one" in capsys.readouterr().err
    assert main(["compare", "--paired"]) == 2


def test_the_columns_of_a_table_become_intervals(tmp_path):
    elbos = {seed: float(value) for seed, value in enumerate([100, 1, 2, 3, 4, 5, 6, -50, 2, 5])}
    at = write_sweep(tmp_path / "sweep", {0.5: elbos, 2.0: {0: -1.0}})
    table = table_of(at, interval=True)
    assert "interquartile mean [95% bootstrap interval] over seeds" in table.caption
    assert "fewer than 10 seeds" in table.caption
    markdown = FORMATS["markdown"](table)
    cells = [cell.strip() for cell in markdown.splitlines()[2].split("|")]
    found = re.fullmatch(r"3.50 \[(-?[\d.]+), (-?[\d.]+)\]", cells[3])
    assert float(found[1]) < 3.5 < float(found[2])
    assert markdown.splitlines()[3].split("|")[3].strip() == "-1.00"  # one seed: no interval
    latex = FORMATS["latex"](table)
    assert f"${cells[3]}$" in latex
    assert "mathbf" not in latex
    csv = [line.split(",") for line in FORMATS["csv"](table).splitlines()]
    assert csv[0][2:5] == ["elbo_iqm", "elbo_low", "elbo_high"]
    assert float(csv[1][2]) == 3.5
    assert csv[2][2:5] == ["-1.0", "", ""]
    assert "fewer than 10" not in table_of(at, ["objective.beta=0.5"], interval=True).caption
    assert "interquartile" not in table_of(at).caption


def test_the_report_has_them_too(tmp_path, capsys):
    gone = {7: {"status": "diverged", "diverged_step": 5}}
    run = write(tmp_path / "run", A | {7: -1.0}, lanes=gone)
    assert main(["report", f"--workdir={run}", "--interval"]) == 0
    text = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["iqm"][1] == f"{np.mean(list(A.values())):.2f}"
    assert [lines[name][1] for name in ("low", "high")] == ["-104.00", "-100.00"]
    assert "± se" not in text
    assert "lane 3 diverged at step 5, left out" in text
    assert "an interval of fewer than 10 seeds is narrower" in text
    report(run)
    assert "± se" in capsys.readouterr().out
    with pytest.raises(UserError, match="where"):
        report(run, where=["a=b"], interval=True)


def test_the_tables_of_a_sweep_and_of_the_page_have_them(tmp_path, capsys):
    at = write_sweep(tmp_path / "sweep", {0.5: A, 2.0: B})
    content = json.loads((at / "results.json").read_text())
    lanes = labelled(content, {})
    text = sweep_table(at, content, lanes, ["objective.beta"], (), interval=True)
    assert "interquartile mean [95% bootstrap interval] over lanes" in text
    assert "-101.67 [-104.00, -100.00]" in text
    assert "an interval of fewer than 10 seeds" in text
    usual = sweep_table(at, content, lanes, ["objective.beta"], ())
    assert "mean ± standard error over lanes" in usual
    assert "-101.67 ± 1.20" in usual
    sheet = result_sheet(at, interval=True)
    assert sheet.rows[0][1] == ("-101.67 [-104.00, -100.00]", pytest.approx(-305 / 3))
    assert "interquartile" in sheet.caption
    assert "bold: the best mean ELBO" in sheet.caption
    assert result_sheet(at).rows[0][1].text == "-101.67 ± 1.20"

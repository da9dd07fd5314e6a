"""Tables for papers and other programs: the numbers of results.json, their spread over seeds."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.api import frames
from vae_jax.cli import flags
from vae_jax.cli.main import main
from vae_jax.commands.sweep import sweep
from vae_jax.config.build import make_config
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.reports.columns import best_lanes, columns_of, kinds, means, near_best
from vae_jax.reports.paper_table import (
    FORMATS,
    Group,
    Table,
    by_error,
    compare_runs,
    escaped,
    make_table,
    table_of,
    worded,
)
from vae_jax.reports.sweep_report import best_lines
from vae_jax.reports.table import table as run_table
from vae_jax.runs.summary import summary
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run, a sweep over beta, and a run on other data."""
    at = tmp_path_factory.mktemp("export")
    npz = write_tiny_npz(at / "tiny.npz")
    base = values_of(npz, training__num_epochs=1)
    train(nest(base), at / "run")
    data = Datasets()
    settings = hyper.sweep("objective.beta", (0.5, 2.0))
    sweep(at / "sweep", make_sweep(make_config(base), settings, at / "sweep", data), data)
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
        assert float(row["elbo_se_over_seeds"]) == pytest.approx(np.std(elbos, ddof=1) / np.sqrt(2))
        # elbo_se of results.json is another number: over the images, of one lane.
        assert "elbo_se" not in row
        assert "elbo_se" in lanes_of(folders / "sweep")[0]


def test_latex_and_markdown_say_what_the_numbers_are(folders):
    table = table_of(folders / "sweep")
    latex, markdown = FORMATS["latex"](table), FORMATS["markdown"](table)
    assert latex.startswith("% test set of tiny.npz (50 images")
    assert "nats per example, mean and standard error over seeds" in latex
    assert r"\begin{tabular}{l" in latex
    assert latex.count(r"\mathbf") >= 2  # the best ELBO, and the bits per dimension
    assert r" \pm " in latex
    lines = markdown.splitlines()
    assert lines[0].startswith("| objective.beta | seeds | elbo |")
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert " ± " in lines[2]
    assert escaped("a_b & 5% #1") == r"a\_b \& 5\% \#1"


def of_elbos(*groups, **more):
    """A table with a group for each list of ELBOs, one a lane."""
    lanes = [
        Group(
            {"objective.beta": float(i)},
            [lane(j, elbo, bound_of="probability", bound_name="") | more
             for j, elbo in enumerate(elbos)],
        )
        for i, elbos in enumerate(groups)
    ]  # fmt: skip
    return make_table(["objective.beta"], lanes, "a caption")


def cell_rows(table):
    return [line.split(" & ") for line in FORMATS["latex"](table).splitlines() if " & " in line][1:]


@pytest.mark.parametrize(
    ("mean", "se", "said"),
    [
        (-107.6134, 0.0812, r"-107.61 \pm 0.08"),
        (-107.6134, 0.1612, r"-107.61 \pm 0.16"),  # the first digit is a 1: two
        (-107.6134, 0.2912, r"-107.6 \pm 0.3"),
        (-107.6134, 0.0962, r"-107.61 \pm 0.10"),
        (0.277912, 0.000512, r"0.2779 \pm 0.0005"),
        (4712.3, 1.42, r"4712.3 \pm 1.4"),
        (4712.3, 31.2, r"4712 \pm 31"),
        (4712.3, 0.0, r"4712.30 \pm 0.00"),
        (-107.6134, None, "-107.61"),
    ],
)
def test_the_error_says_how_many_digits_there_are(mean, se, said):
    assert by_error(mean, se, 2) == said


def test_bold_is_all_that_is_as_good_as_the_best():
    """Means -100, -100.3, -101 and -104, each with an error of 0.5 (0.7 of a difference)."""
    groups = [[mean - 0.5, mean + 0.5] for mean in (-100.0, -100.3, -101.0, -104.0)]
    table = of_elbos(*groups)
    found = near_best([own.lanes for own in table.groups], table.columns)
    assert found == {0: {0, 1}}
    assert [r"\mathbf" in row[2] for row in cell_rows(table)] == [True, True, False, False]
    # Of one lane each, no error is known: the best alone.
    assert near_best([[own[0]] for own in (g.lanes for g in table.groups)], table.columns) == {
        0: {0}
    }


def test_a_table_in_words_of_one_s_own():
    table = worded(
        of_elbos([-2.0, -3.0]), ["objective.beta=$\\beta$", "elbo=ELBO"], r"On \emph{x}", "tab:a"
    )
    latex = FORMATS["latex"](table)
    assert r"$\beta$ & seeds & ELBO & " in latex
    parts = (r"\begin{table}", r"\caption{On \emph{x}}", r"\label{tab:a}", r"\begin{tabular}",
             r"\end{tabular}", r"\end{table}")  # fmt: skip
    at = [latex.index(part) for part in parts]
    assert at == sorted(at)
    assert latex.endswith(r"\end{table}")
    only = FORMATS["latex"](worded(of_elbos([-2.0, -3.0]), [], label="tab:a"))
    assert r"\caption{A caption.}" in only
    assert r"{table}" not in FORMATS["latex"](of_elbos([-2.0, -3.0]))
    heads = FORMATS["csv"](table).splitlines()[0].split(",")
    assert heads[:4] == ["$\\beta$", "seeds", "ELBO", "ELBO_se_over_seeds"]
    assert FORMATS["markdown"](table).startswith("| $\\\\beta$ | seeds | ELBO |")
    with pytest.raises(
        UserError, match=r"no column 'objective.bta'; did you mean 'objective.beta'"
    ):
        worded(table, ["objective.bta=x"])
    with pytest.raises(UserError, match="should be KEY=TEXT"):
        worded(table, ["x"])


def test_a_key_that_a_run_does_not_have_is_an_empty_cell(folders):
    """Of two priors: vampprior's pseudo-inputs are no property of a standard normal."""
    changed(folders, "vamp", {}, {"model.prior": "vampprior"})
    at = folders / "vamp" / "config.json"
    content = json.loads(at.read_text())
    content["model"]["prior_components"] = 40
    at.write_text(json.dumps(content))
    table = compare_runs([folders / "run", folders / "vamp"])
    found = columns(table)
    assert found["model.prior"] == ["standard_normal", "vampprior"]
    assert found["model.prior_components"] == ["-", "40"]
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](table))))
    assert [row["model.prior_components"] for row in rows] == ["", "40"]


def test_the_run_of_readme_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    numbers = {"reconstruction": -144.95, "kl": 5.95, "bits_per_dim": 0.2777, "best_epoch": 18.0}
    of = {"bound_of": "probability", "bound_name": ""}
    lanes = [lane(i, -150.9, **numbers, **of) for i in range(3)]
    found = {
        "finished": True, "lanes": lanes, "pseudo_likelihood": False,
        "dataset": {"name": "mnist", "test_size": 10_000, "binarization": "dynamic"},
    } | summary(lanes)  # fmt: skip
    lines = run_table(Path("runs/mnist"), found).splitlines()
    assert "bits/dim" in lines[1]
    assert len({len(line) for line in lines[1:7]}) == 1
    assert len(lines[1]) <= 80
    printed = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("lane ")
    )
    assert printed == lines[1]


def test_the_command_names_every_format():
    assert tuple(FORMATS) == flags.FORMATS


def test_a_run_is_one_row(folders):
    table = table_of(folders / "run")
    assert [len(group.lanes) for group in table.groups] == [2]
    assert len(FORMATS["text"](table).splitlines()) == 3
    with pytest.raises(UserError, match="nothing was swept"):
        table_of(folders / "run", by=("objective.beta",))


def test_runs_stand_side_by_side(folders, capsys):
    table = compare_runs([folders / "run", folders / "sweep"])
    assert table.keys == ["run", "objective.beta"]
    labels = [(group.labels["run"][-5:], group.labels["objective.beta"]) for group in table.groups]
    assert labels == [("t/run"[-5:], 1.0), ("sweep", 0.5), ("sweep", 2.0)] or [
        label[1] for label in labels
    ] == [1.0, 0.5, 2.0]
    command = ["compare", str(folders / "run"), str(folders / "sweep"), "--format=markdown"]
    assert main(command) == 0
    assert capsys.readouterr().out == FORMATS["markdown"](table) + "\n"


def changed(folders, name, lane, config=None, old=False):
    """A copy of the run's records with other numbers in its lanes, and another config."""
    at = folders / name
    at.mkdir(exist_ok=True)
    for record in ("config.json", "results.json"):
        content = json.loads((folders / "run" / record).read_text())
        if record == "results.json":
            for i, own in enumerate(content["lanes"]):
                own |= {key: x + i / 8 if isinstance(x, float) else x for key, x in lane.items()}
                if old:
                    del own["bound_of"], own["bound_name"]
            content["bound"] = content["lanes"][0].get("bound_name", lane.get("bound_name", ""))
        else:
            for key, new in (config or {}).items():
                section, own = key.split(".")
                content[section][own] = new
        (at / record).write_text(json.dumps(content))
    return at


def columns(table):
    """{heading: the cells}, of a table in Markdown."""
    lines = [line.split(" | ") for line in FORMATS["markdown"](table).splitlines() if "|" in line]
    head, _, *rows = [[cell.strip("| ") for cell in line] for line in lines]
    return {name: [row[i] for row in rows] for i, name in enumerate(head)}


IWAE = {"bound_name": "iwae(k=20)", "bound": -20.0, "elbo": -24.0, "bits_per_dim": 0.8}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("first", ["run", "iwae"])
def test_bounds_of_other_objectives_have_columns_of_their_own(folders, first, old):
    """Whichever run is named first; also of folders that do not say it lane by lane."""
    config = {"objective.name": "iwae", "objective.num_samples": 20}
    changed(folders, "iwae", IWAE, config, old)
    names = ["run", "iwae"] if first == "run" else ["iwae", "run"]
    found = columns(compare_runs([folders / name for name in names]))
    i, j = names.index("run"), names.index("iwae")
    assert found["iwae(k=20)"][i] == "-"
    assert found["iwae(k=20)"][j].startswith("-19.94")
    assert found["elbo"][i].startswith("-26.9")
    assert found["elbo"][j].startswith("-23.94")
    assert found["bits/dim of elbo"][j] == found["bits/dim of iwae(k=20)"][i] == "-"
    assert "the bounds differ" in compare_runs([folders / name for name in names]).caption
    latex = FORMATS["latex"](compare_runs([folders / name for name in names]))
    assert latex.count(r"\mathbf") == 1  # the better ELBO; of the others there is one each


DENSITY = {"bound": 55.0, "elbo": 55.0, "nll": -60.0, "bits_per_dim": None}


@pytest.mark.parametrize("old", [False, True])
def test_nothing_is_best_across_a_density_and_a_probability(folders, old):
    of = {} if old else {"bound_of": "density"}
    config = {"model.likelihood": "gaussian", "dataset.binarization": "none"}
    changed(folders, "density", DENSITY | of, config, old)
    content = json.loads((folders / "run" / "results.json").read_text())
    changed(folders, "probability", {"nll": 25.0}, None, old)
    assert content["pseudo_likelihood"] is False
    table = compare_runs([folders / "probability", folders / "density"])
    found = columns(table)
    assert found["elbo (density)"][0] == found["elbo (probability)"][1] == "-"
    assert found["nll (density)"][0] == found["nll (probability)"][1] == "-"
    assert "bounds of a probability and of a density can't be compared" in table.caption
    assert r"\mathbf" not in FORMATS["latex"](table)
    # Of one kind, one is the best.
    two = compare_runs([folders / "density", changed(folders, "d2", DENSITY | of, config, old)])
    assert FORMATS["latex"](two).count(r"\mathbf") == 4  # elbo and nll, which are equal


def lane(number, bound, **more):
    return {"lane": number, "seed": 0, "status": "done", "validation_bound": bound, "bound": bound,
            "elbo": bound, "best_epoch": 1.0} | more  # fmt: skip


def test_the_best_lanes_are_the_best_of_their_kind():
    """A density of 55 is not better than a probability of -511."""
    of_both = [
        lane(0, -511.0, bound_of="probability"),
        lane(1, 55.0, bound_of="density"),
        lane(2, -500.0, bound_of="probability"),
        lane(3, 60.0, bound_of="density"),
        lane(4, 70.0, bound_of="density", status="diverged"),
    ]
    assert [own["lane"] for own in best_lanes(of_both)] == [2, 0, 3, 1]
    lines = best_lines(best_lanes(of_both), [])
    assert [one for one in lines if "best lanes" in one] == [
        "best lanes by validation (probability)",
        "best lanes by validation (density)",
    ]
    # Earlier versions say it by the swept likelihood; other images are another kind too.
    old = [lane(0, -511.0, **{"model.likelihood": "discretized_logistic"}),
           lane(1, 55.0, **{"model.likelihood": "gaussian"}),
           lane(2, 50.0, **{"model.likelihood": "beta"})]  # fmt: skip
    assert [own["lane"] for own in best_lanes(old)] == [0, 1, 2]
    assert len(kinds(old)) == 2
    images = [lane(i, -i, **{"dataset.path": path}) for i, path in enumerate(("a", "b", "a"))]
    assert [own["lane"] for own in best_lanes(images)] == [0, 2, 1]
    sizes = [lane(i, i, **{"dataset.num_labels": 10 * i}) for i in range(3)]
    assert [own["lane"] for own in best_lanes(sizes)] == [2, 1, 0]


def test_what_can_not_be_averaged_is_not():
    lanes = [
        lane(0, -2.0, bound_of="probability", bound_name=""),
        lane(1, -4.0, bound_of="probability", bound_name=""),
        lane(2, 9.0, bound_of="density", bound_name=""),
    ]
    (of_p, of_d) = [c for c in columns_of(lanes) if c.name == "elbo"]
    assert means(lanes[:2], [of_p, of_d]).mean == [-3.0, None]
    assert means(lanes, [of_p, of_d]).mean == [None, None]


def test_markdown_takes_no_text_for_html_and_latex_no_line_for_another():
    group = Group({"a": "x<img src=q>|\\\ny"}, [])
    table = Table("name\n\\input{x}", ["a"], [group], [])
    row = FORMATS["markdown"](table).splitlines()[2]
    assert row == r"| x\<img src=q\>\|\\ y | 0 |"
    assert FORMATS["latex"](table).splitlines()[0] == r"% name \input{x}"


def test_other_data_are_not_averaged_nor_compared(folders, capsys):
    with pytest.raises(UserError, match="are of other data and can't stand in one table"):
        compare_runs([folders / "run", folders / "other"])
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
        (["report", "--workdir=RUN", "--follow"], "--follow needs --html"),
        (["report", "--workdir=RUN", "--name=elbo=ELBO"], "--name is for --format"),
        (["report", "--workdir=RUN", "--format=csv", "--label=x"], "are for --format=latex"),
        (["compare", "RUN", "RUN", "--caption=x"], "are for --format=latex"),
        (["compare", "RUN", "RUN", "--name=elb=x"], "did you mean 'elbo'?"),
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

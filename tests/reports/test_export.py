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
from vae_jax.reports.columns import best_lanes, columns_of, kinds, means
from vae_jax.reports.export import FORMATS, Group, Table, compared, escaped, table_of
from vae_jax.reports.sweep_report import best_lines
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
    found = columns(compared([folders / name for name in names]))
    i, j = names.index("run"), names.index("iwae")
    assert found["iwae(k=20)"][i] == "-"
    assert found["iwae(k=20)"][j].startswith("-19.94")
    assert found["elbo"][i].startswith("-26.9")
    assert found["elbo"][j].startswith("-23.94")
    assert found["bits/dim of elbo"][j] == found["bits/dim of iwae(k=20)"][i] == "-"
    assert "the bounds differ" in compared([folders / name for name in names]).caption
    latex = FORMATS["latex"](compared([folders / name for name in names]))
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
    table = compared([folders / "probability", folders / "density"])
    found = columns(table)
    assert found["elbo (density)"][0] == found["elbo (probability)"][1] == "-"
    assert found["nll (density)"][0] == found["nll (probability)"][1] == "-"
    assert "bounds of a probability and of a density can't be compared" in table.caption
    assert r"\mathbf" not in FORMATS["latex"](table)
    # Of one kind, one is the best.
    two = compared([folders / "density", changed(folders, "d2", DENSITY | of, config, old)])
    assert FORMATS["latex"](two).count(r"\mathbf") == 2  # elbo and nll


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

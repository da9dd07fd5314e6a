"""The report page: one file without a link to anywhere, with all that the records say."""

import base64
import html
import io
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.small.hostile import PAYLOAD, write_hostile
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.cli.main import main
from vae_jax.commands.sweep import sweep
from vae_jax.config.build import make_config
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.figures.sweeps import Point
from vae_jax.folders import folder
from vae_jax.pages import charts, report, sweep_charts
from vae_jax.pages.curves import curves
from vae_jax.pages.report import write_report
from vae_jax.reports.table import folder_name
from vae_jax.sweeps import language as hyper
from vae_jax.sweeps.plan import Datasets, make_sweep


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A sweep over three keys in which a lane diverges, and a run of one lane."""
    at = tmp_path_factory.mktemp("pages")
    base = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=2)
    data = Datasets()
    settings = hyper.product(
        [
            hyper.sweep("model.latent_size", (2, 3)),
            hyper.sweep("optimizer.learning_rate", (1e-3, 1e30)),
        ]
    )
    sweep(at / "sweep", make_sweep(make_config(base), settings, at / "sweep", data), data)
    train(nest(base | {"training.seeds": (3,), "model.latent_size": 1}), at / "run")
    return at


def read(address):
    kind, _, content = address.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(content))))


def text_of(path):
    return path.read_text()


@pytest.mark.slow
def test_it_is_one_file_without_a_network(folders):
    path = write_report(folders / "sweep")
    page = text_of(path)
    assert path == folders / "sweep" / "report.html"
    assert path.stat().st_size < 15_000_000
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?:", page)
    sections = [
        "results", "images", "training", "by-0", "parallel", "rates", "latent-space",
        "latent-units", "lanes", "problems", "run",
    ]  # fmt: skip
    assert re.findall(r'<(?:section|details) id="([^"]+)"', page) == sections
    assert re.search(
        r"<h2>[23] latent units are best: test ELBO -[0-9.]+ ± [0-9.]+ nats</h2>", page
    )
    assert re.search(r"<h2>Test set by model.latent_size: best at [23]</h2>", page)
    assert re.search(r"the best lane has a validation ELBO of -[0-9.]+, at epoch [12] of 2", page)
    assert "4 of 8 lanes diverged." in page
    assert '<details id="run">' in page
    assert "learning_rate 1e+30" in page
    assert "diverged at step" in page
    assert page.count('class="best"') == 2
    assert "undefined" not in page[: page.index("<script")]


@pytest.mark.slow
def test_a_failed_program_is_told_with_its_traceback(folders, tmp_path):
    """Also if no lane diverged."""
    workdir, data = tmp_path / "sweep", Datasets()
    base = values_of(folders / "tiny.npz", training__num_epochs=1)
    settings = hyper.sweep("model.latent_size", (2, 3))
    sweep(workdir, make_sweep(make_config(base), settings, workdir, data), data)
    folder.mark_unfinished(workdir)
    program = next((workdir / "programs").iterdir())
    (program / "error.txt").write_text("Traceback\nValueError: <mine>")
    page = text_of(write_report(workdir))
    assert "1 program failed; epoch 1 so far" in page
    assert 'id="problems"' in page
    assert "diverged at step" not in page
    assert "ValueError: &lt;mine&gt;" in page


@pytest.mark.slow
def test_every_lane_has_images_if_they_fit(folders, monkeypatch):
    def options():
        page = text_of(write_report(folders / "sweep"))
        return page.count("<option value"), "lanes.</p>" in page

    assert options() == (8, False)
    monkeypatch.setattr(report, "MOST_BYTES", 1)
    assert options() == (1, True)


@pytest.mark.slow
def test_what_a_user_wrote_is_no_markup(folders, tmp_path):
    values = values_of(folders / "tiny.npz", training__num_epochs=1, training__seeds=(0,))
    workdir = tmp_path / "<b>&run"
    train(nest(values), workdir)
    page = text_of(write_report(workdir))
    assert "<b>&run" not in page
    assert "&lt;b&gt;&amp;run" in page


def test_a_users_text_is_text_in_every_chart():
    """Where bokeh takes HTML it is escaped, and where it takes mathematics it is plain."""
    rows = [
        {"lane": 0, "split": split, "epoch": 1.0, "step": 5, "bound": -1.0, "elbo": -1.0}
        for split in ("train", "validation")
    ]
    lane = {"lane": 0, "kl": 1.0, "reconstruction": -1.0, "elbo": -2.0}
    point = Point({PAYLOAD: PAYLOAD}, {"elbo": -2.0}, {"elbo": None})
    row = {PAYLOAD: PAYLOAD, "elbo": -2.0}
    images = np.zeros((2, 4, 4, 1))
    made = [
        curves(rows, {0: PAYLOAD}, {0: "#000000"}),
        sweep_charts.against_key(PAYLOAD, [point], ["elbo"])[0],
        sweep_charts.parallel([PAYLOAD], [row, row | {PAYLOAD: "other"}], "elbo"),
        sweep_charts.rate_distortion({PAYLOAD: [lane]}, {0: PAYLOAD})[0],
        charts.latent_space(np.zeros((2, 2)), images, [PAYLOAD, "b"], ("z0", PAYLOAD)),
    ]
    models = charts.bokeh().models
    found = {type(m).__name__: m for chart in made for m in chart.references()}
    everything = [m for chart in made for m in chart.references()]
    (chooser,) = [m for m in everything if isinstance(m, models.MultiChoice)]
    assert chooser.options == [("0", html.escape(PAYLOAD))]
    for axis in (m for m in everything if isinstance(m, models.Axis)):
        texts = [axis.axis_label, *axis.major_label_overrides.values()]
        assert all(isinstance(text, models.PlainText) for text in texts)
    for hover in (m for m in everything if isinstance(m, models.HoverTool)):
        # As text: no template of HTML, and no column of the user's as HTML.
        assert isinstance(hover.tooltips, list)
        assert all("{safe}" not in t or t == "@image{safe}" for _, t in hover.tooltips)
        assert "<" not in str(hover.tooltips)
    # What else takes HTML or mathematics is not there with such a text.
    assert not {"Div", "Paragraph", "HelpButton", "HTML", "Tooltip"} & set(found)
    assert all("$" not in m.text for m in everything if isinstance(m, models.Title))
    assert all(PAYLOAD not in str(getattr(m, "title", "")) for m in everything)


def test_a_users_text_is_text_in_the_page(tmp_path, monkeypatch):
    """In every place that it reaches: the raw text stands nowhere."""
    workdir = write_hostile(tmp_path)
    monkeypatch.setattr(report, "shown_lanes", lambda *_: [])
    page = text_of(write_report(workdir))
    assert "<img src=q" not in page
    assert page.count("&lt;img src=q") > 20
    assert f"<title>{html.escape(workdir.name, quote=False)[:20]}" in page
    # The chooser's names are escaped once for the script that holds them, and once for HTML.
    assert "&amp;lt;img src=q" in page


def test_the_title_is_the_folder_also_from_inside(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert folder_name(Path()) == "mine"
    assert folder_name(Path("..")) == tmp_path.name
    assert folder_name(tmp_path / "mine") == "mine"
    assert folder_name(Path("/")) == "/"


@pytest.mark.slow
def test_a_single_run_of_one_unit(folders, monkeypatch):
    monkeypatch.chdir(folders / "run")
    page = text_of(write_report(Path()))
    assert "<title>run: run</title>" in page
    assert 'id="latent-space"' in page
    assert 'id="parallel"' not in page
    assert 'id="problems"' not in page


@pytest.mark.slow
def test_a_run_in_progress_shows_what_there_is(folders, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    values = values_of(folders / "tiny.npz", training__num_epochs=3)
    save, calls = folder.write_lanes, []

    def stopped(*arguments):
        calls.append(arguments)
        save(*arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(folder, "write_lanes", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(nest(values), workdir)
    page = text_of(write_report(workdir))
    assert "in progress: epoch" in page
    assert 'id="training"' in page
    assert 'id="results"' not in page


@pytest.mark.slow
def test_the_images_may_be_gone(folders, tmp_path):
    npz = write_tiny_npz(tmp_path / "mine.npz")
    values = values_of(npz, training__num_epochs=1, training__seeds=(0,))
    train(nest(values), tmp_path / "run")
    npz.unlink()
    page = text_of(write_report(tmp_path / "run"))
    assert 'id="training"' in page
    assert 'id="images"' not in page


@pytest.mark.slow
def test_commands_write_it_where_it_is_asked_for(folders, tmp_path, capsys, monkeypatch):
    config = tmp_path / "c.py"
    content = nest(values_of(folders / "tiny.npz", training__num_epochs=1, log__html=True))
    config.write_text(
        "from ml_collections import ConfigDict\n\ndef get_config():\n"
        f"    return ConfigDict({content!r}, convert_dict=True)\n"
    )
    assert main(["train", f"--config={config}", f"--workdir={tmp_path / 'run'}"]) == 0
    assert f"page         {tmp_path / 'run' / 'report.html'}" in capsys.readouterr().out
    assert main(["report", "--html", f"--workdir={tmp_path / 'run'}"]) == 0
    monkeypatch.setattr(charts, "bokeh", lambda: (_ for _ in ()).throw(UserError("needs bokeh")))
    assert main(["report", "--html", f"--workdir={tmp_path / 'run'}"]) == 2
    assert main(["report", "--html", f"--workdir={tmp_path / 'nothing'}"]) == 2


def test_a_picture_is_what_it_was():
    image = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4, 1)
    shown = read(charts.address(image, 48))
    np.testing.assert_array_equal(shown, np.repeat(np.round(255 * image), 3, axis=-1))
    assert read(charts.address(image, 2)).shape == (2, 2, 3)
    colours = np.full((20, 30, 1), 0.8) * [1, 0.5, 0]
    shown = read(charts.address(colours, 48))
    assert shown.shape == (20, 30, 3)
    np.testing.assert_allclose(shown.mean((0, 1)), 255 * colours.mean((0, 1)), atol=3)
    sheet = charts.tiled(np.stack([image] * 3), 2)
    assert sheet.shape == (7, 9, 1)
    np.testing.assert_array_equal(sheet[:3, :4], image)
    np.testing.assert_array_equal(sheet[4:, :4], image)
    assert (sheet[3] == 0.5).all()

"""The explorer without a browser: its widgets, as the server's documents hold them."""

import time

import numpy as np
import pytest
from bokeh.document import Document

import vae_jax
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.cli.main import main
from vae_jax.config.schema import nest
from vae_jax.pages.explorer import Explorer
from vae_jax.pages.picture import rasterise
from vae_jax.pages.server import build, lane_numbers

pytestmark = pytest.mark.slow  # `pages` of noxfile.py runs them


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run with two latent units."""
    at = tmp_path_factory.mktemp("explorer")
    base = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=1)
    train(nest(base | {"model.latent_size": 2}), at / "run")
    return at


@pytest.fixture
def page(folders):
    return Explorer(vae_jax.load(folders / "run"))


def shown(picture):
    return np.asarray(picture.source.data["image"][0])


def test_a_moved_slider_decodes_z(page):
    before = shown(page.decoded)
    unit = page.order[0]
    page.sliders[0].value = 1.5
    assert page.z[unit] == pytest.approx(1.5)
    expected = page.trained.decode(page.z[None])[0]
    np.testing.assert_allclose(shown(page.decoded), np.clip(expected, 0, 1)[::-1], atol=1e-6)
    assert (shown(page.decoded) != before).any()
    assert page.text.text == f"z = [{', '.join(f'{v:.4g}' for v in page.z)}]"
    began = time.monotonic()
    for value in np.linspace(-2, 2, 20):
        page.sliders[0].value = float(value)
    assert (time.monotonic() - began) / 20 < 0.05


def test_a_test_image_is_shown_with_its_posterior(page):
    page.index.value = 3
    x = page.test[3:4]
    np.testing.assert_allclose(page.mean, page.trained.encode(x)[0], atol=1e-6)
    np.testing.assert_allclose(shown(page.rebuilt), page.trained.reconstruct(x)[0][::-1], atol=1e-6)
    assert "ELBO" in page.terms.text
    sd = np.asarray(page.posterior.data["high"]) - np.asarray(page.posterior.data["mean"])
    assert (sd > 0).all()
    distances = np.linalg.norm(page.codes - page.mean[None], axis=1)
    nearest = next(i for i in np.argsort(distances) if i != 3)
    np.testing.assert_array_equal(
        shown(page.near[0]), page.trained.pictures(page.test[nearest : nearest + 1])[0][::-1, :, 0]
    )


def test_a_cross_is_z_and_an_ellipse_the_posterior(page):
    page.move_to(np.array([0.5, -1.0]))
    assert page.cross.data == {"x": [0.5], "y": [-1.0]}
    page.index.value = 3
    found = page.trained.posterior(page.test[3:4])
    own = {name: column[0] for name, column in page.ellipse.data.items()}
    assert (own["x"], own["y"]) == pytest.approx(tuple(found["mean"]))
    sides = sorted(4 * found["sd"])  # two standard deviations to each side
    assert sorted((own["width"], own["height"])) == pytest.approx(sides, rel=1e-4)
    # The frame is as large as the codes need, wherever z is.
    glyphs = {type(r.glyph).__name__ for r in page.plane.x_range.renderers}
    assert glyphs == {"Scatter"}
    assert page.cross not in [r.data_source for r in page.plane.x_range.renderers]


def test_a_plane_of_components_shows_z_where_its_projection_is(page):
    page.origin, page.directions = np.array([1.0, 2.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    page.move_to(np.array([3.0, 5.0]))
    assert page.cross.data == {"x": [3.0], "y": [2.0]}


def test_the_line_between_two_images(page):
    page.ends[0].value, page.ends[1].value, page.along.value = 4, 7, 0.0
    expected = page.trained.reconstruct(page.test[4:5])[0]
    np.testing.assert_allclose(shown(page.between), expected[::-1], atol=1e-5)


def test_samples_have_a_temperature(page):
    before = shown(page.sampled)
    page.temperatures[0].value = 0
    cold = shown(page.sampled)
    assert (cold != before).any()
    np.testing.assert_array_equal(cold[:6, :6], cold[:6, 7:13])  # all at the prior's mean
    page.temperatures[0].value = 1
    np.testing.assert_allclose(shown(page.sampled), before, atol=1e-6)


def test_layers_have_temperatures_and_those_below_follow(tmp_path):
    values = values_of(
        write_tiny_npz(tmp_path / "tiny.npz"), training__num_epochs=1, training__seeds=(0,),
        model__name="two_layers", model__top__latent_size=2, model__top__widths=(8,),
        objective__kl="sampled",
    )  # fmt: skip
    train(nest(values), tmp_path / "run")
    page = Explorer(vae_jax.load(tmp_path / "run"))
    assert page.trained.layers.tolist() == [1, 1, 1, 0, 0]
    assert [slider.title for slider in page.temperatures] == [
        "temperature, top layer", "temperature, layer 1 below"
    ]  # fmt: skip
    page.temperatures[0].value = page.temperatures[1].value = 0
    cold = shown(page.sampled)
    page.temperatures[1].value = 1
    assert (shown(page.sampled) != cold).any()
    top = page.order.tolist().index(3)
    before = page.z.copy(), shown(page.decoded)
    page.sliders[top].value = 2.0
    assert (page.z[:3] != before[0][:3]).all()
    assert page.z[3:].tolist() == pytest.approx([2.0, 0.0])
    assert (shown(page.decoded) != before[1]).any()
    below = page.z[:3].copy()
    page.sliders[page.order.tolist().index(1)].value = -1.0
    assert page.z[1] == -1
    np.testing.assert_array_equal(page.z[[0, 2]], below[[0, 2]])


def test_a_drawing_is_encoded(page):
    page.strokes.data = {"xs": [[0.2, 0.8]], "ys": [[0.8, 0.8]]}
    image = shown(page.drawn)
    assert image[-2:].max() == 1  # a line near the top; rows are from the bottom
    assert image[:2].max() == 0
    np.testing.assert_allclose(page.z, page.trained.encode(image[::-1].astype(np.float32))[0],
                               atol=1e-5)  # fmt: skip
    blank = rasterise([], [], (6, 6, 1))
    assert blank.shape == (6, 6, 1)
    assert not blank.any()


def test_what_a_page_sends_may_be_nonsense(page):
    for index in (None, -5, 10**9, 2.7):
        page.pick(index)
    page.see({"xs": [[0.5]], "ys": [[5.0]]})
    page.see({"xs": [[]], "ys": [[]]})
    page.move_to(np.array([1e30, -1e30]))
    assert page.sliders[0].value in (-4.0, 4.0)


def test_a_class_is_chosen_where_the_model_is_conditional(tmp_path):
    values = values_of(
        write_tiny_npz(tmp_path / "tiny.npz"), training__num_epochs=1, training__seeds=(0,),
        model__conditional=True,
    )  # fmt: skip
    train(nest(values), tmp_path / "run")
    page = Explorer(vae_jax.load(tmp_path / "run"))
    assert page.label.visible
    before = shown(page.decoded)
    page.label.value = "2"
    assert (shown(page.decoded) != before).any()
    page.pick(1)


def test_a_document_changes_its_lane(folders):
    document = Document()
    assert sorted(lane_numbers(folders / "run")) == [0, 1]
    build(folders / "run", [0, 1], document)
    (root,) = document.roots
    choice, place = root.children
    first = place.children[0]
    assert document.template_variables["heading"] == "run: explorer"
    choice.value = "1"
    assert place.children[0] is not first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=nothing"], "holds no run"),
        (["--workdir=RUN", "--address=256.0.0.1"], "can't be used"),
        (["--workdir=RUN", "--port=many"], "port"),
    ],
)
def test_a_mistake_is_one_line(folders, capsys, arguments, message):
    own = [a.replace("RUN", str(folders / "run")) for a in arguments]
    assert main(["explore", *own]) == 2
    error = capsys.readouterr().err
    assert message in error


def test_three_thousand_units_are_shown_by_kl_and_nothing_waits(tmp_path):
    """As many as a convolutional hierarchy may have."""
    npz = write_tiny_npz(tmp_path / "tiny.npz")
    values = values_of(
        npz, training__num_epochs=1, training__seeds=(0,), evaluation__metrics=("latents",)
    )
    changes = {"model.latent_size": 3_000, "log.figures": ("samples",)}
    train(nest(values | changes), tmp_path / "run")
    assert main(["report", f"--workdir={tmp_path / 'run'}", "--html"]) == 0
    assert (tmp_path / "run" / "report.html").stat().st_size < 5_000_000
    run = vae_jax.load(tmp_path / "run")
    began = time.monotonic()
    page = Explorer(run)
    assert len(page.sliders) == 20
    _, kl_l = run.codes(page.test)
    assert kl_l[page.order[19]] >= np.sort(kl_l)[-20]
    page.sliders[0].value = 2.0
    assert "...]  # 3,000 units" in page.text.text
    page.index.value = 1
    assert time.monotonic() - began < 60

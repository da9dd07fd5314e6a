import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from vae_jax.figures.images import (
    hardest,
    interpolations,
    manifold,
    reconstructions,
    samples,
    tiled,
    traversals,
)
from vae_jax.figures.latent_space import (
    aggregate_posterior,
    apart,
    latent_space,
    principal_components,
    principal_plane,
)
from vae_jax.figures.measurements import latent_units, likelihood, rate_distortion
from vae_jax.figures.style import dot_size, elbo_lines, free_place, round_step, shown
from vae_jax.figures.training_curves import training_curves

pytestmark = pytest.mark.usefixtures("with_pixels")
RNG = np.random.default_rng(0)


def test_tiles_are_where_they_belong():
    images = RNG.random((2, 3, 4, 5, 1))
    canvas = tiled(images)
    assert canvas.shape == (2 * 5 - 1, 3 * 6 - 1, 1)
    np.testing.assert_array_equal(canvas[5:9, 12:17], images[1, 2])
    assert (canvas[4] == 1).all()


@pytest.mark.parametrize(
    ("about", "step"), [(0.9, 1), (1, 1), (1.1, 2), (0.021, 0.05), (30, 50), (70, 100)]
)
def test_steps_are_round_and_not_below(about, step):
    assert round_step(about) == pytest.approx(step)


def test_principal_components_are_the_directions_of_most_variance():
    codes = RNG.normal(size=(5_000, 2)) * [3.0, 1.0]
    rotation, _ = np.linalg.qr(RNG.normal(size=(5, 5)))
    projected, explained = principal_components(codes @ rotation[:2])
    np.testing.assert_allclose(
        np.abs(np.corrcoef(projected[:, 0], codes[:, 0])[0, 1]), 1, atol=1e-3
    )
    np.testing.assert_allclose(explained, [0.9, 0.1], atol=0.01)


ROWS = [
    {"lane": lane, "seed": lane, "step": s, "epoch": s / 10, "split": split, "elbo": -100.0 + s,
     "bound": -100.0 + s + lane,
     "reconstruction": -90.0, "kl": 10.0, "loss": None}
    for lane in (0, 1) for s in (5, 10, 20) for split in ("train", "validation")
]  # fmt: skip

FIGURES = {
    "likelihood": lambda path: likelihood(
        path, (1, 10, 60), RNG.random((2, 3)), (4, 9), RNG.random(30), title="t", prefix=""
    ),
    "hardest": lambda path: hardest(path, RNG.random((2, 3, 6, 6, 1)), np.arange(6.0), title="t"),
    "interpolations": lambda path: interpolations(path, RNG.random((2, 5, 6, 6, 1)), title="t"),
    "aggregate posterior": lambda path: aggregate_posterior(
        path, RNG.normal(size=(50, 2)), RNG.normal(size=(50, 2)), [3, 0], title="t"
    ),
    "of one unit": lambda path: aggregate_posterior(
        path, RNG.normal(size=(50, 1)), RNG.normal(size=(50, 1)), [0], title="t"
    ),
    "rate and distortion": lambda path: rate_distortion(
        path, {"a": [(5.0, 80.0), (6.0, 78.0)], "b": [(9.0, 70.0)]}, title="t", prefix=""
    ),
    "of many settings": lambda path: rate_distortion(
        path, {str(i): [(i, 100.0 - i)] for i in range(30)}, title="t", prefix="pseudo-"
    ),
    "latent units": lambda path: latent_units(
        path, RNG.random(30), RNG.random(30), active=0.01, title="t"
    ),
    "latent units without KL": lambda path: latent_units(
        path, RNG.random(3), None, active=0.01, title="t"
    ),
    "samples": lambda path: samples(path, RNG.random((3, 3, 6, 6, 1)), title="t"),
    "colour samples": lambda path: samples(path, RNG.random((3, 3, 6, 6, 3)), title="t"),
    "reconstructions": lambda path: reconstructions(
        path, RNG.random((2, 3, 6, 6, 1)), RNG.random((2, 3, 6, 6, 1)), title="t"
    ),
    "manifold": lambda path: manifold(
        path, RNG.random((6, 6, 4, 4, 1)), np.linspace(-1, 1, 6), title="t"
    ),
    "traversals": lambda path: traversals(
        path, RNG.random((2, 5, 4, 4, 1)), [3, 0], np.linspace(-3, 3, 5), title="t"
    ),
    "latent space": lambda path: latent_space(
        path, RNG.normal(size=(50, 2)), np.arange(50) % 3, title="t"
    ),
    "projected, unlabelled": lambda path: latent_space(
        path, RNG.normal(size=(50, 5)), None, title="t"
    ),
    "one latent unit": lambda path: latent_space(path, RNG.normal(size=(50, 1)), None, title="t"),
    "oblong manifold": lambda path: manifold(
        path, RNG.random((3, 3, 4, 9, 3)), np.linspace(-1, 1, 3), title="t"
    ),
    "training curves": lambda path: training_curves(path, ROWS, title="t", prefix="pseudo-"),
    "no curves yet": lambda path: training_curves(path, [], title="t", prefix=""),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_a_png_and_leaves_no_temporary_file(tmp_path, name):
    FIGURES[name](tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_the_user_s_settings_change_no_figure(tmp_path, monkeypatch):
    """Nor does a backend that is not there, which every notebook sets."""
    FIGURES["training curves"](tmp_path / "plain.png")
    own = {"font.size": 30, "axes.facecolor": "red", "text.parse_math": True}
    with matplotlib.rc_context(own):
        FIGURES["training curves"](tmp_path / "other.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    code = (
        "from pathlib import Path; from vae_jax.figures.training_curves import training_curves; "
        f"training_curves(Path({str(tmp_path / 'notebook.png')!r}), [], title='', prefix='')"
    )
    environment = {**os.environ, "MPLBACKEND": "module://nowhere.backend_inline"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert (tmp_path / "notebook.png").exists()


def test_what_a_user_writes_is_no_mathematics(tmp_path):
    """Half a formula is an error of matplotlib's where a text is taken for one."""
    title = r"my $\foo$ data.npz, 5 $ and _x^"
    training_curves(tmp_path / "figure.png", ROWS, title=title, prefix="$")
    latent_space(
        tmp_path / "figure.png",
        RNG.normal(size=(9, 2)),
        np.arange(9) % 2,
        title=title,
        class_names=("$\\a$", "$b"),
        limit=4.0,
    )


@pytest.mark.parametrize(("n", "least", "most"), [(8, 30, 40), (10_000, 2.9, 3.1), (0, 39, 41)])
def test_dots_are_seen_and_do_not_hide_one_another(n, least, most):
    assert least <= dot_size(n) <= most


def figure_of(draw):
    with shown() as figures:
        draw("figure.png")
    (found,) = figures.values()
    found.draw_without_rendering()
    return found


def drawn(function, *arguments, **more):
    return figure_of(lambda name: function(Path(name), *arguments, title="t", **more))


def test_a_title_is_one_line_and_the_rest_is_small():
    title = "Samples, seed 0\n" + "mnist (binarisation dynamic), mlp 400 / 20 / mlp 400, " * 3
    fig = figure_of(lambda name: samples(Path(name), RNG.random((3, 3, 6, 6, 1)), title=title))
    assert fig._suptitle.get_text() == "Samples, seed 0"
    assert fig._supxlabel.get_text().startswith("mnist (binarisation dynamic)")
    assert fig._supxlabel.get_fontsize() < fig._suptitle.get_fontsize()
    long = drawn(samples, RNG.random((3, 3, 6, 6, 1)))
    assert long._supxlabel is None
    fig = figure_of(lambda name: samples(Path(name), RNG.random((1, 1, 2, 2, 1)), title="a" * 300))
    assert "\n" not in fig._suptitle.get_text()
    assert fig._suptitle.get_window_extent().width <= fig.bbox.width


@pytest.mark.parametrize("n", [3, 6, 20, 21])
def test_ticks_of_the_manifold_are_at_equal_distances(n):
    fig = drawn(manifold, RNG.random((n, n, 4, 4, 1)), np.linspace(-2, 2, n))
    (axes,) = fig.axes
    steps = np.diff(axes.get_xticks())
    assert len(steps) >= 2
    assert (steps == steps[0]).all()


def test_labels_of_classes_do_not_lie_on_one_another():
    names = ["laboratory", "photograph", "street", "forest", "kitchen"]
    codes, labels = RNG.normal(size=(200, 2)) * 0.1, np.arange(200) % 5
    fig = drawn(latent_space, codes, labels, class_names=names)
    boxes = [t.get_bbox_patch().get_window_extent() for t in fig.axes[0].texts]
    assert len(boxes) == 5
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:i])


def test_boxes_that_are_apart_stay_where_they_are():
    centres = np.array([[0.0, 0.0], [3.0, 0.0]])
    np.testing.assert_array_equal(apart(centres, np.full((2, 2), 2.0)), centres)
    moved = apart(np.zeros((2, 2)), np.full((2, 2), 2.0))
    assert np.abs(moved[0] - moved[1]).max() >= 2


def test_a_label_of_rate_and_distortion_hides_no_point():
    groups = {str(i): [(5 + 0.1 * i, 80.0 - 0.1 * i)] for i in range(6)}
    (axes, *_) = drawn(rate_distortion, groups, prefix="").axes
    labels = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
    assert labels
    for scatter in axes.collections:
        (point,) = axes.transData.transform(scatter.get_offsets())
        assert not any(box.contains(*point) for box in labels)
        assert all(text.zorder < scatter.zorder for text in axes.texts)


def test_lines_of_equal_elbo_end_at_the_edges():
    lines = elbo_lines(0.0, 10.0, 50.0, 60.0)
    assert [total for total, _, _ in lines] == [55.0, 60.0, 65.0]
    for total, rates, distortions in lines:
        for x, y in zip(rates, distortions, strict=True):
            assert x + y == pytest.approx(total)
            assert x in (0, 10) or y in (50, 60)


def test_a_label_goes_where_there_is_room():
    plane = (0.0, 10.0, 0.0, 10.0)
    taken = [(1.0, 9.0), (3.0, 7.0)]
    x, y = free_place((0.0, 10.0), (10.0, 0.0), taken, plane)
    assert x > 7
    assert x + y == pytest.approx(10)
    assert free_place((0.0, 0.1), (0.1, 0.0), [], plane) is None  # in a corner


def test_the_plane_of_codes_holds_their_components():
    codes = RNG.normal(size=(60, 4))
    mean, directions, explained = principal_plane(codes)
    projected, _ = principal_components(codes)
    np.testing.assert_allclose((codes - mean) @ directions, projected, atol=1e-9)
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-9)
    assert explained[0] >= explained[1]

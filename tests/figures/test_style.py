"""What all figures share: titles, sizes, and files that the user's settings do not change."""

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from tests.small.figures import ROWS, drawn
from vae_jax.figures import style
from vae_jax.figures.images import samples
from vae_jax.figures.latent_space import latent_space
from vae_jax.figures.style import dot_size, elbo_lines, free_place, round_step
from vae_jax.figures.training_curves import training_curves

pytestmark = pytest.mark.usefixtures("with_pixels")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("about", "step"), [(0.9, 1), (1, 1), (1.1, 2), (0.021, 0.05), (30, 50), (70, 100)]
)
def test_steps_are_round_and_not_below(about, step):
    assert round_step(about) == pytest.approx(step)


def test_the_user_s_settings_change_no_figure(tmp_path):
    """Nor does a backend that is not there, which every notebook sets."""

    def write(name):
        samples(tmp_path / name, np.zeros((1, 1, 2, 2, 1)), shown="E[x | z]", title="t")

    write("plain.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.parse_math": True}):
        write("other.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["other.png", "plain.png"]  # no temporary file


def test_a_backend_that_is_not_there_is_not_asked_for(tmp_path):
    code = (
        "from pathlib import Path; from vae_jax.figures.training_curves import training_curves; "
        f"training_curves(Path({str(tmp_path / 'notebook.png')!r}), [], title='', prefix='')"
    )
    environment = {**os.environ, "MPLBACKEND": "module://nowhere.backend_inline"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert (tmp_path / "notebook.png").exists()


def test_what_a_user_writes_is_no_mathematics():
    """Half a formula is an error of matplotlib's where a text is taken for one."""
    title = r"my $\foo$ data.npz, 5 $ and _x^"
    fig = drawn(training_curves, ROWS, title=title, prefix="$")
    assert fig._suptitle.get_text() == title
    assert fig.axes[0].get_ylabel() == "$ELBO (nats per example)"
    codes, names = RNG.normal(size=(9, 2)), ("$\\a$", "$b")
    fig = drawn(latent_space, codes, np.arange(9) % 2, title=title, class_names=names)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(names)


@pytest.mark.parametrize(("n", "least", "most"), [(8, 30, 40), (10_000, 2.9, 3.1), (0, 39, 41)])
def test_dots_are_seen_and_do_not_hide_one_another(n, least, most):
    assert least <= dot_size(n) <= most


def test_a_title_is_one_line_and_the_rest_is_small():
    title = "Samples, seed 0\n" + "mnist (binarisation dynamic), mlp 400 / 20 / mlp 400, " * 3
    fig = drawn(samples, RNG.random((3, 3, 6, 6, 1)), shown="E[x | z]", title=title)
    assert fig._suptitle.get_text() == "Samples, seed 0"
    assert fig._supxlabel.get_text().startswith("mnist (binarisation dynamic)")
    assert fig._supxlabel.get_fontsize() < fig._suptitle.get_fontsize()
    assert drawn(samples, RNG.random((3, 3, 6, 6, 1)), shown="E[x | z]")._supxlabel is None
    fig = drawn(samples, RNG.random((1, 1, 2, 2, 1)), shown="E[x | z]", title="a" * 300)
    assert "\n" not in fig._suptitle.get_text()
    assert fig._suptitle.get_window_extent().width <= fig.bbox.width


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


@pytest.mark.parametrize(("letters", "below"), [(10, False), (150, True)])
def test_a_legend_of_long_labels_stands_below_and_leaves_the_axes_their_room(letters, below):
    fig = style.figure(6, 4, "title")
    axes = fig.subplots()
    for i in range(10):
        axes.plot([0, 1], [i, i], label=f"{i} " + "ab " * (letters // 3))
    style.legend(fig)
    fig.draw_without_rendering()
    legend, plot = (it.get_tightbbox() for it in (fig.legends[0], axes))
    assert not legend.overlaps(plot)
    assert (legend.y1 < plot.y0) == below
    assert legend.x1 <= fig.bbox.x1
    assert legend.y0 >= 0
    assert plot.height > 2.5 * fig.dpi

"""Which figures are drawn of which run: those that are named, or all that fit."""

import types

import pytest

import vae_jax
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.reports.run_figures import chosen, problems_of
from vae_jax.runs.run import make_run
from vae_jax.views.figures import FIGURES

ALWAYS = {"training_curves", "reconstructions", "samples", "latent_space", "rate_distortion"}
REAL = {"traversals", "interpolations", "aggregate_posterior"}


@pytest.fixture
def npz(tmp_path):
    return write_tiny_npz(tmp_path / "tiny.npz")


def names(npz, tmp_path, **changes):
    return set(chosen(make_run(check(nest(values_of(npz, **changes))), tmp_path / "run")))


def test_all_that_fit_are_drawn_where_none_is_named(npz, tmp_path):
    assert names(npz, tmp_path) == ALWAYS | REAL
    assert names(npz, tmp_path, model__latent_size=2) == ALWAYS | REAL | {"manifold"}
    metrics = {"evaluation__metrics": ("nll", "latents")}
    measured = {"likelihood", "hardest", "latent_units"}
    assert names(npz, tmp_path, **metrics) == ALWAYS | REAL | measured


def test_those_that_are_named_are_drawn(npz, tmp_path):
    found = names(npz, tmp_path, log__figures=("samples,latent_space",))
    assert found == {"samples", "latent_space"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log__figures": ("sample",)}, r"figures\[0\] = 'sample' is unknown; did you mean 'sampl"),
        ({"log__figures": ("manifold",)}, "is a grid of z of 2 units, and this model has 3; leave"),
        ({"log__figures": ("hardest",)}, "shows the metric 'nll'; add it to evaluation.metrics"),
        ({"log__figures": ("latent_units",)}, "shows the metric 'latents'; add it"),
        (
            {
                "log__figures": ("manifold",),
                "model__name": "two_layers",
                "model__latent_size": 2,
                "objective__kl": "sampled",
            },
            "this model has 12",
        ),
    ],
)
def test_a_named_figure_that_does_not_fit_is_refused(npz, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        names(npz, tmp_path, **changes)


def test_figures_that_move_z_need_a_real_one():
    model = types.SimpleNamespace(
        has_discrete_z=lambda data: True, num_units=lambda data: 2, named=lambda: "model.name = 'c'"
    )
    config = types.SimpleNamespace(model=model)
    without = {name for name, own in FIGURES.items() if any(own().needs_of_data(config, None))}
    assert without == REAL | {"manifold"}


def test_a_lane_of_another_size_has_the_figures_that_fit_it(npz, tmp_path):
    """Lanes of a sweep may differ in it: the best was drawn by what fits the first."""
    two, three = (check(nest(values_of(npz, model__latent_size=size))) for size in (2, 3))
    run = make_run(two, tmp_path / "run")
    run = run._replace(lanes=[run.lanes[0], run.lanes[1]._replace(config=three)])
    assert "manifold" in chosen(run, 0)
    assert "manifold" not in chosen(run, 1)
    assert list(problems_of(run, 1, FIGURES["manifold"]()))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of one lane and epoch whose config names figures, one of which has nothing to show."""
    at = tmp_path_factory.mktemp("figures")
    npz = write_tiny_npz(at / "tiny.npz")
    values = values_of(
        npz,
        training__num_epochs=1,
        training__seeds=(4,),
        evaluation__metrics=("latents",),
        log__figures=("rate_distortion", "training_curves"),
    )
    train(nest(values), at / "run")
    return at / "run"


def test_a_run_draws_what_its_config_names(workdir):
    assert {path.stem for path in (workdir / "figures").iterdir()} == {"training_curves"}


def test_from_python_by_name(workdir, with_pixels, capsys):
    run = vae_jax.load(workdir)
    assert run.figures() == {}  # none of those in the config shows the lane's model
    assert list(run.figures(names="samples")) == ["samples"]
    assert list(run.figures(names=["latent_units", "samples"])) == ["samples", "latent_units"]
    capsys.readouterr()
    assert run.figures(names="rate_distortion") == {}
    assert "figure rate_distortion is left out: it has a point for each lane" in (
        capsys.readouterr().err
    )
    with pytest.raises(UserError, match=r"'samplse' is unknown; did you mean 'samples'\?"):
        run.figures(names="samplse")
    with pytest.raises(UserError, match="'manifold' is a grid of z of 2 units"):
        run.figures(names=("samples", "manifold"))

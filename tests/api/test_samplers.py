"""Samplers of a run: fitted by its evaluation, kept in its folder, and taken from Python."""

import json
import re

import numpy as np
import pytest

import vae_jax
from tests.small.runs import evaluate, train, values_of, write_tiny_npz
from vae_jax.api.fitted import Sampler
from vae_jax.config.check import check
from vae_jax.config.needs import refuse_idle, refuse_measured_data
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.evaluation.samplers import SAMPLERS, kept
from vae_jax.evaluation.samplers.gaussians import Gaussian
from vae_jax.evaluation.samplers.interface import fit
from vae_jax.pages.explorer import Explorer
from vae_jax.pages.report import pictures_of
from vae_jax.runs.run import make_dataset

POINT = {"model.posterior": "deterministic", "objective.name": "rae", "objective.beta": 0.01}
EVERY = ("prior", *SAMPLERS)
ALL = {
    "evaluation.metrics": ("samples",),
    "evaluation.samplers": EVERY,
    "evaluation.mixture.components": 3,
    "evaluation.sampler_steps": 30,
    "evaluation.sampler_width": 8,
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    at = tmp_path_factory.mktemp("samplers")
    values = values_of(write_tiny_npz(at / "tiny.npz"), training__num_epochs=2)
    train(nest(values | ALL | {"log.figures": ("samplers",)}), at / "run")
    return at / "run"


@pytest.mark.slow
def test_each_sampler_has_its_scores_and_its_row(workdir):
    made = np.load(workdir / "evaluation" / "samples.npz")
    assert made.keys() == {"made", *(f"made_{name}" for name in SAMPLERS)}
    assert len({made[name].tobytes() for name in made}) == len(EVERY)
    lane = vae_jax.frames.results(workdir).iloc[0]
    for of in ("", *(f"_{name}" for name in SAMPLERS)):
        assert 0 <= lane[f"precision{of}"] <= 1
        assert lane[f"frechet_distance{of}"] >= 0
        assert np.isfinite(lane[f"kid{of}"])
    assert (workdir / "figures" / "samplers.png").exists()
    codes = np.load(workdir / "evaluation" / "codes.npz")["code"][0]
    run = vae_jax.load(workdir, lane=0)
    assert codes.shape == (len(run.data.train.images), run.latent_size)


@pytest.mark.slow
def test_only_what_reads_a_changed_number_is_fitted_anew(workdir, capsys):
    values = json.loads((workdir / "config.json").read_text())
    values["evaluation"]["mixture"]["components"] = 4
    before = {name: kept.path_of(workdir / "evaluation", name).read_bytes() for name in SAMPLERS}
    evaluate(workdir, nest_lists(values))
    assert re.findall(r"fitting (\w+) to 250", capsys.readouterr().out) == ["mixture"]
    after = {name: kept.path_of(workdir / "evaluation", name).read_bytes() for name in SAMPLERS}
    assert [name for name in SAMPLERS if before[name] != after[name]] == ["mixture"]


def nest_lists(values):
    """The config of a folder, with tuples."""
    if isinstance(values, dict):
        return {key: nest_lists(value) for key, value in values.items()}
    return tuple(values) if isinstance(values, list) else values


@pytest.mark.slow
def test_from_python_a_lane_takes_what_was_kept_or_fitted(workdir):
    run = vae_jax.load(workdir, lane=0)
    assert run.samplers == tuple(SAMPLERS)
    images = {name: run.generate(6, seed=1, sampler=name) for name in SAMPLERS}
    images["prior"] = run.generate(6, seed=1)
    assert len({made.tobytes() for made in images.values()}) == len(EVERY)
    own = vae_jax.fit_sampler(run, "gaussian")
    codes = np.load(workdir / "evaluation" / "codes.npz")["code"][0]
    near = 4 * codes.std(axis=0) / np.sqrt(len(codes))
    assert (abs(own.fitted.centre_l - codes.mean(axis=0)) < near).all()
    z = own.sample(7, seed=3)
    assert z.shape == (7, run.latent_size)
    np.testing.assert_array_equal(z, own.sample(7, seed=3))
    assert np.isfinite(own.log_prob(z)).all()
    by_own = run.with_sampler(own)
    np.testing.assert_array_equal(by_own.generate(3), run.generate(3, sampler=own))
    x = run.images("test")[:5]
    assert not np.allclose(by_own.nll(x, 50), run.nll(x, 50))
    cold = by_own.generate(3, temperature=0.0)
    np.testing.assert_allclose(cold, run.decode(np.tile(own.fitted.centre_l, (3, 1))), atol=1e-5)


@pytest.mark.slow
def test_the_explorer_and_the_page_take_what_was_kept(workdir):
    run = vae_jax.load(workdir, lane=0)
    page = Explorer(run)
    assert page.source.visible
    assert page.source.options == [*EVERY]
    of_prior = page.sampled.source.data["image"][0]
    page.source.value = "mixture"
    of_mixture = page.sampled.source.data["image"][0]
    assert (of_mixture != of_prior).any()
    page.source.value = "prior"
    np.testing.assert_array_equal(page.sampled.source.data["image"][0], of_prior)
    page.source.value = "../mixture"
    np.testing.assert_array_equal(page.sampled.source.data["image"][0], of_prior)
    names = [picture["name"] for picture in pictures_of(run)]
    for name in SAMPLERS:
        assert f"samples by {name}, fitted to the codes, decoded" in names


@pytest.mark.slow
def test_what_a_sampler_can_t_do_is_said(workdir):
    run = vae_jax.load(workdir, lane=0)
    x = run.images("test")[:5]
    with pytest.raises(UserError, match="TwoStage has samples of z, but no density"):
        run.with_sampler("two_stage").nll(x)
    with pytest.raises(UserError, match="no density"):
        vae_jax.fit_sampler(run, "two_stage", steps=2, width=4).log_prob(np.zeros((1, 3)))
    with pytest.raises(UserError, match=r"sampler = 'prior' .* kept .*: gaussian, mixture, flow"):
        run.generate(2, sampler="prior")
    other = Sampler(Gaussian(), fit(Gaussian(), 0, np.eye(5)[None])[0])
    with pytest.raises(UserError, match="codes of 5 units, and this model has 3: fit another"):
        run.generate(2, sampler=other)
    with pytest.raises(UserError, match=r"name = 'mixtur' .* did you mean 'mixture'"):
        vae_jax.fit_sampler(run, "mixtur")


@pytest.mark.slow
def test_others_beside_do_not_change_the_samples_of_the_prior(workdir, tmp_path):
    alone = {"evaluation.samplers": ("prior",), "evaluation.metrics": ("samples",)}
    npz = workdir.parent / "tiny.npz"
    values = values_of(npz, training__num_epochs=2) | alone
    train(nest(values | {"log.figures": ("training_curves",)}), tmp_path / "run")
    one, several = (
        np.load(at / "evaluation" / "samples.npz")["made"] for at in (tmp_path / "run", workdir)
    )
    np.testing.assert_array_equal(one, several)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation.samplers": ("mixtures",)}, r"\[0\] = 'mixtures' .* did you mean 'mixture'"),
        (
            {"evaluation.samplers": ("gaussian", "flow")},
            r"components = 3 has no effect while evaluation.samplers is \('gaussian', 'flow'\); le",
        ),
        (
            {"evaluation.samplers": ("mixture",)},
            r"evaluation.sampler_steps = 30 has no effect while evaluation.samplers is",
        ),
        (
            {"evaluation.samplers": ()},
            "should have one name or more, each once: prior, gaussian, mixture, flow, two_stage",
        ),
        ({"evaluation.samplers": ("mixture", "flow", "mixture")}, "each once"),
        (
            {"model.name": "ladder", "model.posterior": "diagonal", "objective.name": "elbo"},
            "'gaussian' is fitted to one layer of codes",
        ),
        ({"model.conditional": True}, "of a model that reads no labels"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz"))
    if not changes.get("evaluation.samplers", True):
        usual = {"components": 10, "steps": 5_000, "width": 128}
        changes |= {"evaluation.mixture.components": usual["components"]}
        changes |= {f"evaluation.sampler_{name}": usual[name] for name in ("steps", "width")}
    with pytest.raises(UserError, match=message):
        refuse_idle([check(nest(values | POINT | ALL | changes))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation.mixture.components": 250}, "should be fewer than the 250 training images"),
        ({"model.latent_size": 1_001}, "has 1,001 units; it is for at most 1,000: leave it out"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(tmp_path, changes, message):
    config = check(nest(values_of(write_tiny_npz(tmp_path / "tiny.npz")) | POINT | ALL | changes))
    with pytest.raises(UserError, match=message):
        refuse_measured_data(config, make_dataset(config))

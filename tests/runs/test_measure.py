"""What `evaluate` measures beside the bound, and what it keeps of it."""

import shutil
import zlib
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.measuring import results_of, with_metrics
from tests.small.runs import evaluate, load, run, train, values_of
from vae_jax import files
from vae_jax.config.build import lane_spec
from vae_jax.config.schema import nest
from vae_jax.data.binarization import scale
from vae_jax.data.dataset import Split
from vae_jax.data.sets import sprites
from vae_jax.errors import UserError
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.evaluation.latents import active_units
from vae_jax.evaluation.metrics import METRICS, codes, likelihood
from vae_jax.evaluation.metrics.metric import Subject, lane_by_lane
from vae_jax.folders import folder
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import posterior_mean
from vae_jax.reports.paper_table import table_of
from vae_jax.reports.table import nll_warnings
from vae_jax.runs import measure as measurements
from vae_jax.sections.declare import replace
from vae_jax.sweeps.plan import runs_in
from vae_jax.training.streams import lane_keys

pytestmark = pytest.mark.usefixtures("few_steps")


def test_a_lane_s_numbers_are_those_of_its_model_alone(copy, capsys, with_pixels):
    workdir, config = copy
    evaluate(workdir, with_metrics(config))
    said = capsys.readouterr().out
    assert "nll: 2 lanes x 50 images, each 60 decodings" in said
    assert "active_units" in said
    for figure in ("likelihood", "hardest", "latent_units"):
        assert (workdir / folder.FIGURES / f"{figure}.png").stat().st_size > 5_000
    kept = np.load(workdir / "evaluation" / "nll.npz")
    assert kept["log_likelihood"].shape == (2, 50)
    assert kept["curve"].shape == (2, 50, 7)  # 1, 2, 5, 10, 20, 50, 60
    for lane, seed in enumerate((4, 9)):
        model, variables, data = load(workdir, lane)
        stream = jax.random.fold_in(lane_keys([seed]).evaluation[0], zlib.crc32(b"nll"))
        x = scale(jnp.asarray(data.test.images))

        def one(index, x_d, model=model, variables=variables, stream=stream):
            key = jax.random.fold_in(stream, index)
            return importance_sampling(model, variables, key, x_d[None], 60)

        found = jax.jit(jax.vmap(one))(jnp.arange(50), x)
        np.testing.assert_allclose(
            kept["log_likelihood"][lane], found.log_likelihood[:, 0], rtol=1e-5
        )
        own = results_of(workdir)["lanes"][lane]
        log_likelihood_n = np.float64(found.log_likelihood[:, 0])
        assert own["nll"] == pytest.approx(-log_likelihood_n.mean(), rel=1e-5)
        assert own["nll_se"] == pytest.approx(log_likelihood_n.std(ddof=1) / 50**0.5, rel=1e-4)
        assert own["nll"] < -own["elbo"]
        means = posterior_mean(model, variables, x)
        assert own["active_units"] == active_units(np.asarray(means))
    mean = results_of(workdir)["mean"]["nll"]
    assert mean == pytest.approx(np.mean([lane["nll"] for lane in results_of(workdir)["lanes"]]))


def test_nll_of_the_first_images_is_never_mixed_with_that_of_all(copy):
    workdir, config = copy
    some = with_metrics(config, metrics=("nll",), nll={"images": 20})
    evaluate(workdir, some)
    part = np.load(workdir / "evaluation" / "nll.npz")["log_likelihood"]
    assert part.shape == (2, 20)
    for lane, own in enumerate(results_of(workdir)["lanes"]):
        assert own["nll"] == pytest.approx(-part[lane].mean(dtype=np.float64), rel=1e-6)
        assert own["nll_images"] == 20
    assert "nll(20)" in table_of(workdir).headings
    evaluate(workdir, with_metrics(config, metrics=("nll",)))
    whole = np.load(workdir / "evaluation" / "nll.npz")["log_likelihood"]
    assert whole.shape == (2, 50)
    np.testing.assert_array_equal(whole[:, :20], part)  # the same noise
    assert "nll_images" not in results_of(workdir)["lanes"][0]
    assert "nll" in table_of(workdir).headings


def test_what_an_earlier_version_measured_of_all_images_is_found(copy, monkeypatch):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("nll",)))
    measured = results_of(workdir)["lanes"]
    path = workdir / "evaluation" / "nll.json"
    there = folder.read_json(path)
    there["settings"]["metric"] = "Nll(num_importance_samples=60)"
    files.write_json(path, there)
    monkeypatch.setattr(measurements, "measure_split", None)
    evaluate(workdir, with_metrics(config, metrics=("nll",)))
    assert [lane["nll"] for lane in results_of(workdir)["lanes"]] == [
        lane["nll"] for lane in measured
    ]


class Clock:
    """Each batch of `measured` takes 7 s; the first of a program 100 s more."""

    def __init__(self):
        self.now = 0.0
        self.compiled = set()

    def batches(self, measure, layout, at_once, section, *arguments, batch_size):
        n = len(arguments[3])
        for _ in range(0, n, batch_size):
            self.now += 7.0 if section in self.compiled else 107.0
            self.compiled.add(section)
            yield {"log_likelihood": np.zeros((8, min(batch_size, n)))}


@pytest.mark.parametrize(
    ("name", "section", "said"),
    [
        # 50 images are 5 batches of 12.
        ("nll", likelihood.Nll(60, 150), "nll: about 35 s for 2 lanes x 50 images"),
        ("nll", likelihood.Nll(60, 150, images=12), None),  # a single batch
        # One batch; its trial of 20 of 1,000 moves takes 7 s.
        ("ais", likelihood.Ais(images=5), "ais: about 6 min for 2 lanes x 5 images"),
        ("ais", likelihood.Ais(images=5, temperatures=40), None),
    ],
)
def test_how_long_it_takes_is_told_by_what_is_compiled(
    trained, monkeypatch, capsys, name, section, said
):
    workdir, _ = trained
    (own,) = runs_in(workdir)
    clock = Clock()
    monkeypatch.setattr(measurements, "measure_batches", clock.batches)
    monkeypatch.setattr(measurements, "to_host", lambda layout, batch: batch)
    monkeypatch.setattr(measurements, "shard_lanes", lambda layout, parts: parts)
    monkeypatch.setattr(measurements.time, "monotonic", lambda: clock.now)
    metric = section.metric(measurements.subject_of(own))
    best = SimpleNamespace(variables=None)
    measurements.measure_split(own, best, name, section, metric, own.spec.model)
    lines = [line for line in capsys.readouterr().out.splitlines() if "about" in line]
    assert lines == ([said] if said else [])


@pytest.mark.slow
def test_annealed_importance_sampling_is_of_the_first_images(copy, monkeypatch):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("ais",)))
    kept = np.load(workdir / "evaluation" / "ais.npz")
    assert {kept[name].shape for name in kept.files} == {(2, 5)}
    for lane, own in enumerate(results_of(workdir)["lanes"]):
        log_p_n, other_n = kept["log_likelihood"][lane], kept["importance_log_likelihood"][lane]
        assert own["ais_nll"] == pytest.approx(-log_p_n.mean(), rel=1e-6)
        assert own["importance_gap"] == pytest.approx((log_p_n - other_n).mean(), abs=1e-4)
        np.testing.assert_allclose(log_p_n, other_n, atol=3)
        assert own["ais_gap"] == pytest.approx((kept["upper"] - kept["lower"])[lane].mean())
    monkeypatch.setattr(measurements, "measure_split", None)
    evaluate(workdir, with_metrics(config, metrics=("ais",)))  # what is kept is found again


@pytest.mark.slow
def test_the_gaps_are_what_lies_between_the_elbo_and_log_p(copy):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("gaps",)))
    kept = np.load(workdir / "evaluation" / "gaps.npz")
    for lane, own in enumerate(results_of(workdir)["lanes"]):
        whole_n = kept["log_likelihood"][lane] - kept["elbo"][lane]
        assert whole_n.shape == (6,)
        found = own["approximation_gap"] + own["amortization_gap"]
        assert found == pytest.approx(whole_n.mean(), abs=1e-4)
        assert own["amortization_gap"] > 0


@pytest.mark.slow
def test_without_dead_units_the_model_is_measured_as_it_is_and_with_them_without_them(
    copy, monkeypatch
):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("nll", "nll_active")))
    for own in results_of(workdir)["lanes"]:
        assert own["nll_active"] == own["nll"]
    # A bound that leaves some units of a lane and not others: the dead ones are masked.
    activity_kl = np.array([own["activity"] for own in latents_of(workdir)])
    between = np.sort(activity_kl, axis=None)[1:3].mean()
    monkeypatch.setattr(likelihood, "ACTIVE", between)
    (workdir / "evaluation" / "nll_active.json").unlink()
    evaluate(workdir, with_metrics(config, metrics=("nll_active",)))
    for lane, own in enumerate(results_of(workdir)["lanes"]):
        _, variables, data = load(workdir, lane)
        mask_l = jnp.array(activity_kl[lane] > between, jnp.float32)
        masked = make_model(replace(model_spec_of(workdir), latent_mask=mask_l))
        stream = jax.random.fold_in(lane_keys([own["seed"]]).evaluation[0], zlib.crc32(b"nll"))

        def one(index, x_d, masked=masked, variables=variables, stream=stream):
            key = jax.random.fold_in(stream, index)
            return importance_sampling(masked, variables, key, x_d[None], 60)

        found = jax.jit(jax.vmap(one))(jnp.arange(50), scale(jnp.asarray(data.test.images)))
        log_likelihood_n = np.float64(found.log_likelihood[:, 0])
        assert own["nll_active"] == pytest.approx(-log_likelihood_n.mean(), rel=1e-5)


def latents_of(workdir):
    return folder.read_json(workdir / "evaluation" / "latents.json")["lanes"]


def model_spec_of(workdir):
    run = runs_in(workdir)[0]
    return lane_spec(run.config, run.data).model


@pytest.mark.slow
def test_probes_learn_from_training_codes_and_are_scored_on_the_test_s(copy):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("probes",)))
    assert np.load(workdir / "evaluation" / "probes.npz")["mean"].shape == (2, 250 + 50, 3)
    for own in results_of(workdir)["lanes"]:
        assert own["neighbour_accuracy"] > 0.8  # three blocks, of which each digit is one
        assert own["linear_accuracy"] > 0.6


@pytest.mark.slow
def test_samples_are_compared_in_a_feature_space_that_other_runs_can_share(copy, tmp_path):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("samples",)))
    first = results_of(workdir)["lanes"]
    kept = np.load(workdir / "evaluation" / "samples.npz")["made"]
    assert kept.shape == (2, 50, 36)
    assert set(np.unique(kept)) == {0, 255}
    for own in first:
        assert all(0 <= own[name] <= 1 for name in ("precision", "recall", "coverage"))
        assert own["frechet_distance"] > 0
        assert own["feature_space"] == first[0]["feature_space"]
    space = workdir / "evaluation" / "features.npz"
    space.rename(tmp_path / "features.npz")
    given = {"metrics": ("samples",), "samples": {"features": str(tmp_path / "features.npz")}}
    evaluate(workdir, with_metrics(config, **given))
    assert results_of(workdir)["lanes"] == first
    assert not space.exists()
    before = (workdir / folder.RESULTS).read_bytes()
    given["samples"] = {"features": str(tmp_path / "none.npz")}
    with pytest.raises(UserError, match=r"none.npz"):
        evaluate(workdir, with_metrics(config, **given))
    assert (workdir / folder.RESULTS).read_bytes() == before


def test_the_three_parts_are_the_kl(copy):
    workdir, config = copy
    evaluate(workdir, with_metrics(config, metrics=("surgery",)))
    for own in results_of(workdir)["lanes"]:
        parts = [own[n] for n in ("mutual_information", "total_correlation", "dimension_wise_kl")]
        errors = [own[f"{n}_se"] for n in ("mutual_information", "dimension_wise_kl")]
        assert 0 <= own["mutual_information"] <= np.log(50) + 0.01
        assert sum(parts) == pytest.approx(own["kl"], abs=10 * sum(errors))


def test_weights_that_one_sample_dominates_are_told(copy, capsys, monkeypatch):
    workdir, config = copy
    monkeypatch.setattr(likelihood, "DOMINATES", 0.0)
    evaluate(workdir, with_metrics(config))
    assert (
        "nll of lane 0 is an upper bound: in 100% of the images one sample has over half of the "
        "weight; raise evaluation.num_importance_samples, or measure ais too"
    ) in capsys.readouterr().out
    known = {"lane": 1, "dominated": 0.5, "importance_gap": 0.123}
    assert nll_warnings(known)[0].startswith("nll of lane 1 is an upper bound, by about 0.12 nats")
    assert nll_warnings({"lane": 1, "dominated": 0.0}) == []


def test_neither_batches_nor_what_else_is_measured_change_the_result(copy):
    workdir, config = copy
    evaluate(workdir, with_metrics(config))
    first, arrays = results_of(workdir), (workdir / "evaluation" / "nll.npz").read_bytes()
    shutil.rmtree(workdir / "evaluation")
    evaluate(workdir, with_metrics(config, metrics=("nll",)))
    assert (workdir / "evaluation" / "nll.npz").read_bytes() == arrays
    shutil.rmtree(workdir / "evaluation")
    evaluate(workdir, with_metrics(config, metrics=("nll",), draws_at_once=1))
    for one, other in zip(results_of(workdir)["lanes"], first["lanes"], strict=True):
        assert one["nll"] == pytest.approx(other["nll"], rel=1e-5)


def test_padded_latent_units_are_no_units():
    """Every summary of a padded lane is that of the lane alone."""
    rng = np.random.default_rng(0)
    factors = np.stack([np.arange(600) % 3, np.arange(600) // 3 % 4], axis=1)
    mean = np.stack([factors[:, i] + 0.3 * rng.normal(size=600) for i in (0, 1)], axis=1)
    alone = {"mean": mean, "log_scale": 0 * mean - 1, "kl": mean**2}
    padded = {
        name: np.pad(own[None], ((0, 0), (0, 0), (0, 6))).astype(np.float32)
        for name, own in alone.items()
    }
    unpadded = {name: own[None].astype(np.float32) for name, own in alone.items()}
    split = Split(np.zeros((600, 1), np.uint8), factors[:, 0], factors)
    data: Any = SimpleNamespace(test=split, train=split)
    model = jax.tree.map(lambda leaf: np.asarray(leaf)[None], ModelSpec(latent_size=2))
    subject = Subject(({},), (2,), data, model, None, 0)  # type: ignore[arg-type]
    for summary in (
        lane_by_lane(codes.latents_summary),
        lane_by_lane(codes.surgery_summary),
        codes.disentanglement_summary,
    ):
        assert summary(padded, subject) == summary(unpadded, subject)
    found = lane_by_lane(codes.latents_summary)(padded, subject)[0]
    assert (found["active_units"], found["collapsed_units"]) == (2, 0)
    assert len(found["kl_by_unit"]) == len(found["activity"]) == 2


def test_a_checkpoint_of_another_config_is_told(copy):
    workdir, config = copy
    other = config | {"model": config["model"] | {"latent_size": 5}}
    files.write_json(workdir / folder.CONFIG, other)
    before = (workdir / folder.RESULTS).read_bytes()
    with pytest.raises(UserError, match=r"of another config than the config.json beside it") as e:
        evaluate(workdir, other)
    assert "\n" not in str(e.value)
    assert (workdir / folder.RESULTS).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metrics": ("nnl",)},
            r"'nnl' is unknown; did you mean 'nll'\? there are: ais, codebook, codes, "
            "disentanglement, elbo, gaps, latents, nll, nll_active, probes, samples, surgery",
        ),
        ({"metrics": ("nll,fid",)}, "'fid' is unknown"),
        ({"num_importance_samples": 0}, "should be a whole number, at least 1"),
        (
            {"metrics": ("gaps",), "gaps": {"images": 0, "steps": 5}},
            "evaluation.gaps.images = 0 should be a whole number",
        ),
    ],
)
def test_mistakes_leave_the_folder_as_it_is(trained, changes, message):
    workdir, config = trained
    with pytest.raises(UserError, match=message):
        evaluate(workdir, with_metrics(config, **changes))
    assert not (workdir / "evaluation").exists()


@pytest.mark.slow
def test_factors_are_asked_for(trained, tmp_path, monkeypatch):
    workdir, config = trained
    with pytest.raises(UserError, match="needs the factors that the images were made of"):
        evaluate(workdir, with_metrics(config, metrics=("disentanglement",)))
    monkeypatch.setattr(sprites, "TRAIN_SIZE", 2_000)
    monkeypatch.setattr(sprites, "TEST_SIZE", 1_000)
    values = values_of("", dataset__name="sprites", training__num_epochs=1)
    values |= {
        "dataset.path": "",
        "dataset.in_memory": "auto",
        "training.batch_size": 500,
        "dataset.validation_size": 500,
    }
    train(nest(values | {"evaluation.metrics": ("disentanglement",)}), tmp_path / "sprites")
    for own in results_of(tmp_path / "sprites")["lanes"]:
        for column in METRICS["disentanglement"].columns:
            assert 0 <= own[column.name] <= 1
    assert own["factor_vae_score"] > 0.2


def test_a_pseudo_likelihood_is_refused_unless_asked_for(tiny_npz, tmp_path):
    changes = {"dataset__binarization": "none", "evaluation__metrics": ("nll",)}
    with pytest.raises(UserError, match="is no likelihood; binarise them, or say"):
        run(tiny_npz, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()
    changes |= {"evaluation__allow_pseudo_likelihood": True, "training__num_epochs": 1}
    run(tiny_npz, tmp_path / "run", evaluation__num_importance_samples=3, **changes)
    assert results_of(tmp_path / "run")["lanes"][0]["nll"] > 0

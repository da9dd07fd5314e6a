"""The arithmetic of the papers' tables, on records made by hand; one tiny run of a command."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.papers import (
    ais,
    continuous_bernoulli,
    discrete,
    disentanglement,
    few_labels,
    flows,
    gaps,
    iwae,
    jackknife,
    ladder,
    linear_vae,
    rate_distortion,
    signal_to_noise,
    small_runs,
    study,
    vampprior,
    warm_up,
)
from experiments.papers.table import Estimate, Row, away, cells, estimate, paired, slope, verdict
from tests.small.results import write_results
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.config.check import check
from vae_jax.evaluation.gradients import Moments
from vae_jax.sweeps import language
from vae_jax.sweeps.plan import check_override

STUDIES = (
    ais, continuous_bernoulli, discrete, disentanglement, few_labels, flows, gaps, iwae, jackknife,
    ladder, linear_vae, rate_distortion, signal_to_noise, small_runs, vampprior, warm_up,
)  # fmt: skip


def test_an_interval_is_student_s_and_one_seed_has_none():
    found = estimate([1.0, 2.0, 6.0])
    assert found.mean == 3.0
    assert found.error == pytest.approx(np.sqrt(7.0 / 3))
    assert found.interval == pytest.approx(stats.t.interval(0.95, 2, 3.0, np.sqrt(7.0 / 3)))
    assert np.isnan(estimate([5.0]).error)
    assert np.isnan(estimate([5.0]).interval).all()
    assert estimate([]).seeds == 0


def test_a_difference_is_taken_seed_by_seed():
    a, b = {0: 1.0, 1: 10.0, 7: 4.0}, {1: 8.0, 0: 0.0, 3: 99.0}
    assert paired(a, b) == estimate([1.0, 2.0])  # the seeds of both
    assert paired({0: 1.0}, {1: 1.0}).seeds == 0


NEAR = Estimate(1.0, 0.1, 100)  # 0.8 to 1.2


@pytest.mark.parametrize(
    ("published", "claim", "said"),
    [
        (1.1, "equal", "yes"), (1.3, "equal", "no"),
        (0.5, "above", "yes"), (1.5, "above", "no"), (1.1, "above", "open"),
        (1.5, "below", "yes"), (0.5, "below", "no"), (0.9, "below", "open"),
        (1.0, "none", ""), (None, "above", ""),
    ],
)  # fmt: skip
def test_a_claim_holds_by_the_interval(published, claim, said):
    assert verdict(Row("x", NEAR, published, claim)) == said


def test_a_row_says_how_far_away_in_standard_errors():
    row = Row("nll", Estimate(88.0, 0.5, 3), 87.0, "equal")
    assert away(row) == 2.0
    assert cells(row) == ["nll", "87.00", "88.00 ± 0.50", "3", "85.85 to 90.15", "+2.0", "yes"]
    alone = cells(Row("nll", estimate([88.0]), 87.0, "below"))
    assert alone == ["nll", "< 87.00", "88.00", "1", "-", "-", "open"]
    assert cells(Row("nll", estimate([]), None))[1:4] == ["-", "not yet", "0"]


def test_a_slope_is_that_of_a_line():
    assert slope([1, 2, 5], [3.0, 5.0, 11.0]) == pytest.approx(2.0)


def test_lanes_are_found_by_their_values_and_those_without_a_number_are_left_out():
    rows = [
        {"seed": 0, "objective.beta": 1.0, "nll": 5.0},
        {"seed": 1, "objective.beta": 1.0, "nll": None},
        {"seed": 2, "objective.beta": 1.0, "nll": float("nan")},
        {"seed": 0, "objective.beta": 2.0, "nll": 7.0},
        {"seed": 3, "nll": 8.0},
    ]
    assert study.by_seed(rows, "nll", objective__beta=1.0) == {0: 5.0}


@pytest.mark.parametrize("paper", STUDIES, ids=lambda paper: paper.__name__.rpartition(".")[2])
def test_every_setting_of_a_paper_is_a_config(paper):
    base = check(paper.get_config())
    settings = paper.sweep(language)
    checked = [check_override(base, setting, base.members) for setting in settings]
    assert len({tuple(config.values.items()) for config in checked}) == len(settings)
    name = paper.__name__.rpartition(".")[2]
    assert f"python -m {paper.__name__} --workdir=runs/papers/{name}" in paper.__doc__
    assert "Differences from the paper" in paper.__doc__


# -- linear VAE


def random_linear(rng, n=50, d=6, units=2):
    """A linear VAE whose q is the exact posterior where W W' is diagonal; and images."""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0][:units]
    weights, variance = np.array([[2.0], [1.5]]) * basis, 0.3
    x, bias = rng.normal(size=(n, d)), rng.normal(size=d)
    inner = weights @ weights.T + variance * np.eye(units)
    mean = (x - bias) @ weights.T @ np.linalg.inv(inner)
    scale = np.broadcast_to(np.sqrt(variance / np.diag(inner)), mean.shape)
    return linear_vae.Linear(weights, bias, variance, mean, scale), x


def test_log_likelihood_is_that_of_the_gaussian_and_the_elbo_of_the_exact_posterior():
    found, x = random_linear(np.random.default_rng(0))
    covariance = found.weights_ld.T @ found.weights_ld + found.variance * np.eye(6)
    expected = stats.multivariate_normal(found.bias_d, covariance).logpdf(x)
    np.testing.assert_allclose(linear_vae.log_likelihood(found, x), expected, rtol=1e-12)
    np.testing.assert_allclose(linear_vae.elbo(found, x), expected, rtol=1e-12)
    away_from_it = found._replace(mean_nl=found.mean_nl + 0.1)
    assert np.all(linear_vae.elbo(away_from_it, x) < expected)


def test_the_maximum_is_that_of_the_best_params_and_no_other_s():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5))
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    variance = values[2:].mean()
    weights = np.sqrt(values[:2] - variance)[:, None] * vectors[:, :2].T
    nothing = np.zeros((500, 2))
    best = linear_vae.Linear(weights, x.mean(0), variance, nothing, nothing)
    maximum = linear_vae.maximum_log_likelihood(linear_vae.eigenvalues(x), 2)
    assert linear_vae.log_likelihood(best, x).mean() == pytest.approx(maximum, rel=1e-12)
    for other in (best._replace(variance=1.1 * variance), best._replace(weights_ld=0.9 * weights)):
        assert linear_vae.log_likelihood(other, x).mean() < maximum


def test_as_many_units_are_predicted_as_eigenvalues_are_above():
    spectrum = np.array([3.0, 2.0, 1.0, 0.5])
    right, wrong = np.array([0.3, 0.002, 0.5]), np.array([0.3, 0.02, 0.5])
    found = linear_vae.predicted(spectrum, 1.5, [right, right])
    assert found == ("2", "2, 2", "0.0020, 0.0020", "yes")
    found = linear_vae.predicted(spectrum, 1.5, [right, wrong])
    assert found == ("2", "2, 3", "0.0020, 0.0200", "no")
    all_of_them = linear_vae.predicted(np.full(40, 2.0), 1.0, [np.ones(16)])
    assert all_of_them == ("16", "16", "", "yes")  # no more than there are


# -- signal to noise


def test_the_signal_to_noise_ratio_has_no_floor():
    rng = np.random.default_rng(2)
    n, d = 400, 300

    def of(mean):
        x = mean + rng.normal(size=(n, d))
        return signal_to_noise.signal_to_noise(
            Moments({"w": jnp.asarray(x.mean(0))}, {"w": jnp.asarray(x.var(0, ddof=1))}, None), n
        )

    assert of(0.5) == pytest.approx(0.5, rel=0.02)
    assert of(0.0) < 0.02  # the mean of |mean| / std would be (2 / (pi n))^1/2 = 0.04


def test_slopes_are_by_seed_and_one_without_a_signal_is_left_out():
    rows = [
        {"place": "p", "estimator": "IWAE", "seed": seed, "k": k, "encoder": ratio}
        for seed, power in ((0, -0.5), (1, 0.5), (2, None))
        for k in signal_to_noise.KS
        for ratio in [0.0 if power is None else 3 * k**power]
    ]
    found = signal_to_noise.slopes(rows, "p", "IWAE", "encoder")
    assert found == pytest.approx([-0.5, 0.5])
    assert signal_to_noise.slopes(rows, "p", "DReG", "encoder") == []


def test_the_table_of_signal_to_noise(tmp_path):
    rows = [
        {"place": place, "estimator": name, "seed": seed, "k": k, "encoder": k**-0.5, "decoder": k}
        for place in ("linear", "easiest")
        for name in signal_to_noise.ESTIMATORS
        for seed in (0, 1)
        for k in signal_to_noise.KS
    ]
    files.write_json(tmp_path / signal_to_noise.RESULTS, rows)
    said = [" ".join(line.split()) for line in signal_to_noise.table(tmp_path).splitlines()]
    assert any(s.startswith("linear, encoder, IWAE -0.50 -0.50 ± 0.00 2") for s in said)
    assert "easiest, encoder, DReG 1.000 0.500 0.250 0.125 0.062" in said
    assert "easiest, decoder, IWAE 1.000 4.000 16.000 64.000 256.000" in said
    assert (tmp_path / signal_to_noise.FIGURE).exists()


@pytest.mark.slow
def test_estimators_share_their_value_and_the_decoder_s_gradient():
    """Of one key; STL and DReG differ from the plain gradient in the encoder's alone."""
    model, variables, x = signal_to_noise.linear_place(3)
    key = jax.random.key(0)
    found = {
        name: jax.value_and_grad(
            lambda params, of=of: of(model, variables | {"params": params}, key, x, 4)
        )(variables["params"])
        for name, of in signal_to_noise.ESTIMATORS.items()
    }
    plain_value, plain = found["IWAE"]
    for name in ("STL", "DReG"):
        value, gradient = found[name]
        assert value == pytest.approx(float(plain_value), rel=1e-5)
        for a, b in zip(*(jax.tree.leaves(g["decoder"]) for g in (gradient, plain)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        mean = gradient["encoder"]["mean"]["kernel"] - plain["encoder"]["mean"]["kernel"]
        assert np.abs(mean).max() > 1e-3


# -- rate and distortion


def test_the_price_of_a_nat_is_beta_on_a_curve_whose_slope_it_is():
    """D(R) = 100 / R: the optimum of D + beta R has R = (100 / beta)^1/2."""
    points = {}
    for beta in (0.25, 1.0, 4.0):
        rate = (100 / beta) ** 0.5
        points[beta] = dict.fromkeys((0, 1, 2), (rate, 100 / rate))
    found = rate_distortion.price(points[1.0], points[4.0])
    assert found.mean == pytest.approx(2.0)  # (20 - 10) / (10 - 5), between 1 and 4
    assert rate_distortion.between(Estimate(2.0, 0.0, 3), 1.0, 4.0) == "yes"
    assert rate_distortion.between(Estimate(5.0, 0.1, 3), 1.0, 4.0) == "no"
    assert rate_distortion.between(estimate([2.0]), 1.0, 4.0) == "open"


def test_the_table_of_rate_and_distortion(tmp_path):
    rows = [
        {"seed": seed, "objective.beta": beta, "kl": rate + noise, "reconstruction": -100 / rate}
        for beta, rate in ((1.0, 10.0), (4.0, 5.0))
        for seed, noise in ((0, 0.0), (1, 0.1), (2, -0.1))
    ]
    lost = {"seed": 3, "objective.beta": 1.0, "kl": 1e9, "reconstruction": 0.0}
    write_results(tmp_path, [*rows, lost | {"status": "diverged"}])
    said = rate_distortion.table(tmp_path)
    assert said.splitlines()[1].split()[:4] == ["1", "10.00", "±", "0.06"]
    assert "2.000 ± 0.000" in said
    assert "rate falls and distortion rises with beta: 2 of 2 steps" in said
    assert (tmp_path / rate_distortion.FIGURE).exists()


# -- tables of differences


def test_ways_are_compared_with_the_plain_one(tmp_path):
    rows = [
        {
            "seed": seed,
            "objective.warmup_epochs": epochs,
            "objective.free_bits": bits,
            "active_units": units + seed,
            "nll": 100.0 - units - 0.1 * seed * (bits > 0),
            "elbo": -100.0,
        }
        for (epochs, bits), units in zip(warm_up.WAYS.values(), (10, 14, 10, 20), strict=True)
        for seed in (0, 1, 2)
    ]
    write_results(tmp_path, rows)
    said = [" ".join(line.split()) for line in warm_up.table(tmp_path).splitlines()]
    assert any(s.startswith("active_units, warm-up - plain > 0.00 4.00 ± 0.00 3") for s in said)
    assert next(s for s in said if s.startswith("nll, both - plain")).endswith("yes")
    assert next(s for s in said if s.startswith("nll, free bits - plain")).endswith("open")


def test_cells_of_the_gaps_are_found_by_family_and_encoder():
    rows = [
        {
            "seed": seed,
            "model.posterior": posterior,
            "model.encoder.widths": list(widths),  # as JSON has it
            "approximation_gap": 2.0 - (posterior != "diagonal") + 0.1 * seed,
            "amortization_gap": 4.0 - (widths == (400,)) + 0.2 * seed,
        }
        for posterior in gaps.POSTERIORS
        for widths in gaps.ENCODERS
        for seed in (0, 1, 2)
    ]
    claims = gaps.claims(rows)
    assert [verdict(row) for row in claims] == ["yes"] * len(claims)
    assert len(claims) == 2 * 3 + 3
    assert claims[0].ours.mean == pytest.approx(2.1)


def test_more_maps_and_priors_are_compared(tmp_path):
    rows = [
        {
            "seed": seed,
            "model.posterior": "planar" if maps else "diagonal",
            "model.flow.layers": maps or 4,  # the default, of a model without maps
            "elbo": -100.0 + maps,
            "nll": 95.0 - 0.1 * maps + seed,
        }
        for maps in flows.MAPS
        for seed in (0, 1)
    ]
    assert flows.of_maps(rows, 0, "elbo") == {0: -100.0, 1: -100.0}
    assert flows.of_maps(rows, 16, "elbo") == {0: -84.0, 1: -84.0}
    rows = [
        {"seed": seed, "model.prior": prior, "nll": nll + seed, "elbo": -nll}
        for prior, nll in zip(vampprior.PRIORS, (92.0, 91.0, 90.0), strict=True)
        for seed in (0, 1, 2)
    ]
    write_results(tmp_path, rows)
    said = vampprior.table(tmp_path)
    assert "nll, vampprior - standard_normal" in said
    assert "-2.00 ± 0.00" in said


# -- the command


TINY = (
    "--config.dataset.name=arrays", "--config.dataset.validation_size=50",
    "--config.model.latent_size=2", "--config.model.encoder.widths=(4,)",
    "--config.model.decoder.widths=(4,)", "--config.training.batch_size=50",
    "--config.training.num_epochs=1", "--config.evaluation.every_epochs=1", "--seeds=2",
)  # fmt: skip


def answer(*arguments):
    return cli.answer(lambda: study.run(rate_distortion.STUDY, arguments))


@pytest.mark.slow
def test_a_command_trains_resumes_and_prints(tiny_npz, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rate_distortion, "BETAS", (0.5, 4.0))
    workdir, tiny = tmp_path / "run", (*TINY, f"--config.dataset.path={tiny_npz}")
    assert answer(f"--workdir={workdir}", "--table") == 2
    assert "holds no sweep yet; leave --table out to train it" in capsys.readouterr().err
    assert answer(f"--workdir={workdir}", *tiny) == 0
    printed = capsys.readouterr().out
    assert "4 lanes in 1 program" in printed
    lanes = json.loads((workdir / "results.json").read_text())["lanes"]
    means = [np.mean([row["kl"] for row in lanes if row["objective.beta"] == b]) for b in (0.5, 4)]
    assert all(f"{mean:.2f} ±" in printed for mean in means)
    assert answer(f"--workdir={workdir}", *tiny) == 0
    again = capsys.readouterr().out
    assert "there is nothing to do" in again
    assert answer(f"--workdir={workdir}", "--table") == 0
    assert capsys.readouterr().out in again
    assert answer(f"--workdir={workdir}", *tiny, "--config.objective.bata=1") == 2
    assert "did you mean" in capsys.readouterr().err
    assert answer(f"--workdir={workdir}", "--config=mnist_20d") == 2
    assert "this command has its own config" in capsys.readouterr().err


def test_every_paper_is_a_study():
    for paper in STUDIES:
        module = importlib.import_module(paper.__name__)
        assert module.STUDY.table is module.table

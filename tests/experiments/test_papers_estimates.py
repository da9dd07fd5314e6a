"""The arithmetic of more papers: estimators against brute force, and tables by hand."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from experiments.papers import (
    ais,
    continuous_bernoulli,
    discrete,
    disentanglement,
    few_labels,
    iwae,
    jackknife,
    ladder,
    small_runs,
)
from experiments.papers.signal_to_noise import linear_place
from tests.small.results import write_results
from vae_jax import files
from vae_jax.config.check import check
from vae_jax.folders import folder
from vae_jax.sweeps import language


def lines_of(said):
    return [" ".join(line.split()) for line in said.splitlines()]


# -- IWAE


def test_the_waypoint_is_compared_only_with_its_own_recipe(tmp_path):
    rows = [
        {"seed": seed, "nll": 90.26 + 0.1 * seed, "elbo": -95.0, "active_units": 20 - seed}
        for seed in (-1, 0, 1)
    ]
    write_results(tmp_path, rows)
    config = iwae.get_config()
    folder.write_config(tmp_path, check(config))
    nll = next(line for line in lines_of(iwae.table(tmp_path)) if line.startswith("nll"))
    assert nll.startswith("nll, k = 1 90.26 90.26 ± 0.06 3")
    assert nll.endswith("yes")
    config.training.num_epochs = 3_280
    folder.write_config(tmp_path, check(config))
    nll = next(line for line in lines_of(iwae.table(tmp_path)) if line.startswith("nll"))
    assert nll.startswith("nll, k = 1 - 90.26 ± 0.06 3")


def test_the_waypoint_has_400_000_steps_and_the_stages_of_the_paper():
    config = iwae.get_config()
    assert abs(config.training.num_epochs * (59_600 // 100) - 400_000) < 596
    assert config.optimizer.schedule.boundaries == (1, 4, 13, 40, 121, 364, 1_093)


# -- jackknife


def brute_force(log_w, order):
    k, total = len(log_w), 0.0
    for j in range(order + 1):
        factor = (-1) ** j * (k - j) ** order / (math.factorial(order - j) * math.factorial(j))
        subsets = [
            logsumexp(np.delete(log_w, left)) - math.log(k - j)
            for left in map(list, itertools.combinations(range(k), j))
        ]
        total += factor * np.mean(subsets)
    return total


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_jackknife_is_that_of_all_subsets_also_where_one_weight_has_it_all(order):
    log_w = np.random.default_rng(0).normal(size=(4, 6)) * np.array([[0.1], [2.0], [30.0], [200.0]])
    expected = [brute_force(row, order) for row in log_w]
    np.testing.assert_allclose(jackknife.jackknife(log_w, order), expected, rtol=1e-10)
    np.testing.assert_allclose(jackknife.jackknife(log_w + 50, order), np.add(expected, 50))
    pool = log_w[:2].ravel()
    assert jackknife.jackknife_mean(pool, 6, order) == pytest.approx(np.mean(expected[:2]))


def test_the_jackknife_takes_a_bias_away_order_by_order():
    """Of weights 1 and 3, whose expectations are sums over all tuples."""
    k = 6
    log_w = np.log(np.array(list(itertools.product((1.0, 3.0), repeat=k))))
    bias = [abs(np.mean(jackknife.jackknife(log_w, m)) - math.log(2)) for m in (0, 1, 2)]
    assert bias[1] < 0.2 * bias[0]
    assert bias[2] < 0.2 * bias[1]


def test_the_linear_pool_has_the_exact_mean_weight():
    log_w, exact = jackknife.linear_pool(0, 2**16)
    assert logsumexp(log_w) - math.log(log_w.size) == pytest.approx(exact, abs=0.02)
    variance = 2 * jackknife.DIMENSIONS * jackknife.MOVED**2
    assert np.var(log_w) == pytest.approx(variance, rel=0.03)


def test_biases_are_means_over_groups_and_slopes_are_by_log_k(monkeypatch):
    monkeypatch.setattr(jackknife, "KS", (4, 32))
    log_w = np.random.default_rng(1).normal(size=(2, 64))
    found = jackknife.measured(log_w)
    whole = logsumexp(log_w, axis=1) - math.log(64)
    halves = logsumexp(log_w.reshape(2, -1, 32), axis=2) - math.log(32)
    assert found["bias"]["IWAE"][-1] == pytest.approx(np.mean(halves) - np.mean(whole))
    assert found["score"]["ELBO"] == pytest.approx(-np.mean(log_w))
    assert found["score"]["IWAE"] == pytest.approx(-np.mean(halves))
    monkeypatch.setattr(jackknife, "KS", (4, 8, 16, 32, 64))
    rows = [{"place": "linear", "seed": 0, "bias": {"JVI-1": [-3 / k**2 for k in jackknife.KS]}}]
    assert jackknife.slopes(rows, "linear", "JVI-1") == pytest.approx([-2.0])


def test_the_table_of_the_jackknife(tmp_path):
    rows = []
    for seed, place in itertools.product((0, 1, 2), ("linear", "mnist")):
        orders = jackknife.ORDERS.items()
        bias = {name: [-0.1 * k ** -(m + 1.0) for k in jackknife.KS] for name, m in orders}
        scores = {"ELBO": 108.0, "IWAE": 104.5, "JVI-1": 104.0, "JVI-2": 103.9, "all samples": 103}
        row = {"place": place, "seed": seed, "exact": -103.0, "effective": 0.5}
        rows.append(row | {"bias": bias, "score": scores})
    files.write_json(tmp_path / jackknife.RESULTS, rows)
    said = lines_of(jackknife.table(tmp_path))
    assert any(s.startswith("linear: slope, JVI-1 -2.00 -2.00 ± 0.00 3") for s in said)
    assert any(s.startswith("mnist: bias, IWAE, k = 4 - -0.02500 ± 0.00000") for s in said)
    assert any(s.startswith("mnist: JVI-1 - IWAE < 0.00 -0.50") for s in said)
    assert (tmp_path / jackknife.FIGURE).exists()


# -- annealed importance sampling


@pytest.mark.slow
def test_both_bounds_are_around_the_exact_value_of_the_linear_model(monkeypatch):
    monkeypatch.setattr(ais, "TEMPERATURES", (10, 100))
    monkeypatch.setattr(ais, "SAMPLES", (100,))
    model, variables, _ = linear_place(0)
    found, x_nd = ais.own_images(model, variables, jax.random.key(0), 30)
    exact = ais.mean(ais.log_likelihood(ais.linear(model, variables, x_nd), x_nd))
    assert found["lower 10"] < exact - 0.2
    assert found["upper 10"] > exact + 0.2
    assert found["lower 100"] == pytest.approx(exact, abs=0.3)
    assert found["upper 100"] == pytest.approx(exact, abs=0.3)
    assert found["is 100"] == pytest.approx(exact, abs=0.3)
    given = ais.test_images(model, variables, jax.random.key(1), jnp.asarray(x_nd, jnp.float32))
    assert given["lower 100"] == pytest.approx(exact, abs=0.3)


def test_the_table_of_bounds(tmp_path):
    rows = []
    for seed in (0, 1, 2):
        off = {30: 3.0, 100: 1.0, 300: 0.3, 1_000: 0.1}
        around = {f"lower {n}": -100 - v - 0.01 * seed for n, v in off.items()}
        around |= {f"upper {n}": -100 + v for n, v in off.items()}
        around |= {f"is {n}": -102.0 for n in ais.SAMPLES}
        exact = {"exact": -100.0}
        rows += [
            {"place": p, "seed": seed} | around | (exact if p == "linear" else {})
            for p in ("linear", "mnist", "test")
        ]
    files.write_json(tmp_path / ais.RESULTS, rows)
    said = lines_of(ais.table(tmp_path))
    assert (tmp_path / ais.FIGURE).exists()
    assert any(s.startswith("linear: lower 30 - exact < 0.000 -3.010 ± 0.006 3") for s in said)
    assert any(s.startswith("mnist: upper 1000 - lower 1000 > 0.000 0.210") for s in said)
    assert all(s.endswith("yes") for s in said if s.startswith("test: is"))


# -- tables of sweeps


def test_binary_estimators_are_compared_by_score_and_variance(tmp_path):
    rows = [
        {
            "seed": seed,
            "objective.name": bound,
            "objective.gradient": gradient,
            "elbo": -120.0 + (gradient == "disarm"),
            "nll": 110.0,
        }
        for bound, gradient in discrete.WAYS.values()
        for seed in (0, 1, 2)
    ]
    write_results(tmp_path, rows)
    measured = [
        {"way": way, "seed": seed, "encoder": 100.0 - 20 * (way == "DisARM") + seed, "decoder": 1.0}
        for way in discrete.WAYS
        for seed in (0, 1, 2)
    ]
    files.write_json(tmp_path / discrete.RESULTS, measured)
    said = lines_of(discrete.table(tmp_path))
    assert any(s.startswith("elbo, DisARM - RLOO > 0.00 1.00 ± 0.00 3") for s in said)
    ratio = next(s for s in said if s.startswith("variance, DisARM / RLOO"))
    assert ratio.split()[6] == "0.80"
    assert ratio.endswith("yes")


def test_scored_as_continuous_is_apart_from_the_bernoulli_s_own_number(tmp_path):
    rows = [
        {"seed": seed, "model.likelihood": name, "elbo": value + 0.1 * seed}
        for name, value in zip(
            continuous_bernoulli.LIKELIHOODS, (-80.0, 4_700.0, 900.0), strict=True
        )
        for seed in (0, 1, 2)
    ]
    write_results(tmp_path, rows)
    scored = [{"seed": seed, "elbo": 4_600.0} for seed in (0, 1, 2)]
    files.write_json(tmp_path / continuous_bernoulli.RESULTS, scored)
    said = lines_of(continuous_bernoulli.table(tmp_path))
    assert any(s.startswith("elbo, bernoulli (no likelihood) - -79.90") for s in said)
    gain = next(s for s in said if "continuous_bernoulli - bernoulli" in s)
    assert "> 0.00 100.10 ± 0.06 3" in gain


def test_errors_by_number_of_labels_are_percent(tmp_path):
    rows = [
        {"seed": seed, "dataset.num_labels": labels, "accuracy": right + 0.001 * seed}
        for labels, right in zip(few_labels.LABELS, (0.80, 0.90, 0.92, 0.95), strict=True)
        for seed in (0, 1, 2)
    ]
    write_results(tmp_path, rows)
    alone = [{"labels": 100, "seed": seed, "error": 26.0} for seed in (0, 1, 2)]
    files.write_json(tmp_path / few_labels.RESULTS, alone)
    said = lines_of(few_labels.table(tmp_path))
    assert (tmp_path / few_labels.FIGURE).exists()
    assert any(s.startswith("error, 100 labels, percent 11.97 19.90 ± 0.06 3") for s in said)
    assert any(s.startswith("error, 600 - 100 labels < 0.00 -10.00") for s in said)
    gain = next(s for s in said if s.startswith("error, 100 labels: M2 - alone"))
    assert "< 0.00 -6.10 ± 0.06 3" in gain
    assert gain.endswith("yes")


def test_upper_layers_are_summed_and_models_compared(tmp_path):
    rows = [
        {
            "seed": seed,
            "model.name": model,
            "objective.warmup_epochs": warmup,
            "nll": 90.0,
            "elbo": -98.0,
            **{f"active_layer_{i}": i + (model == "ladder") + warmup for i in range(5)},
        }
        for model in ladder.MODELS
        for warmup in ladder.WARMUP
        for seed in (0, 1, 2)
    ]
    write_results(tmp_path, rows)
    said = lines_of(ladder.table(tmp_path))
    assert any(s.startswith("upper, hierarchy, warm-up 0 - 6.00") for s in said)
    assert any(s.startswith("upper, ladder: warm-up - none > 0.00 12.00") for s in said)
    assert any(s.startswith("upper, warm-up: ladder - plain > 0.00 4.00") for s in said)


def test_small_runs_are_found_by_their_own_keys(tmp_path):
    swept = {key for run in small_runs.RUNS.values() for key in run.keys}
    usual = check(small_runs.get_config()).values
    rows = []
    for i, run in enumerate(small_runs.RUNS.values()):
        values = {key: run.keys.get(key, usual[key]) for key in swept}
        as_read = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
        rows += [as_read | {"seed": s, "elbo": -100.0 - i, "nll": 90.0 + i} for s in (0, 1, 2)]
    write_results(tmp_path, rows)
    said = lines_of(small_runs.table(tmp_path))
    for i, what in enumerate(small_runs.RUNS):
        assert any(s.startswith(f"{what}: -elbo") and f" {100 + i}.00 ± 0.00 3" in s for s in said)
    assert any(s.startswith("12 latent units: nll 92.10 94.00") for s in said)


# -- disentanglement


def test_shares_are_of_what_differs_and_the_jackknife_takes_the_noise_away():
    of_method = np.arange(4.0)[:, None, None] + np.zeros((4, 3, 5))
    of_strength = np.arange(3.0)[None, :, None] + np.zeros((4, 3, 5))
    of_seed = np.arange(5.0)[None, None] + np.zeros((4, 3, 5))
    assert disentanglement.shares(of_method) == (1.0, 0.0, 0.0)
    assert disentanglement.shares(of_strength) == (0.0, 1.0, 0.0)
    assert disentanglement.shares(of_seed) == (0.0, 0.0, 1.0)
    assert sum(disentanglement.shares(of_method + of_strength + of_seed)) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(6, 3, 5)) for _ in range(200)]
    plain = np.mean([disentanglement.shares(x).method for x in noise])
    corrected = np.mean([disentanglement.estimates(x)[0].mean for x in noise])
    assert plain > 0.04  # 5 of 89 degrees of freedom
    assert abs(corrected) < 0.015


def test_the_scores_of_all_settings_are_put_in_order(tmp_path):
    settings = disentanglement.sweep(language)
    usual = check(disentanglement.get_config()).values
    rng, rows = np.random.default_rng(0), []
    for i, setting in enumerate(settings):
        values = {key: setting.get(key, usual[key]) for key in disentanglement.SWEPT}
        for seed in (0, 1, 2, 3):
            scores = dict.fromkeys(disentanglement.SCORES, i // 3 + 0.1 * rng.normal())
            rows.append({"seed": seed} | values | scores)
    found = disentanglement.scores(rows, "mig")
    assert found.shape == (6, 3, 4)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), np.arange(6), atol=0.1)
    files.write_json(tmp_path / disentanglement.RESULTS, rows)
    said = lines_of(disentanglement.table(tmp_path))
    assert next(s for s in said if s.startswith("mig: share of the method")).endswith("no")
    assert disentanglement.scores(rows[:-2], "mig") is None  # two seeds alone have all

"""The arithmetic of the study on hand-made lanes, and its command on tiny data."""

import math

import numpy as np
import pytest

from experiments import how_many_seeds as study
from vae_jax.cli import main as cli

RATES = study.RATES
TINY = (
    "--config.dataset.name=arrays",
    "--config.dataset.validation_size=50",
    "--config.model.latent_size=2",
    "--config.model.encoder.widths=(6,)",
    "--config.model.decoder.widths=(6,)",
    "--config.training.batch_size=20",
    "--config.evaluation.num_importance_samples=5",
    "--config.evaluation.nll.images=10",
    "--seeds=8",
    "--source_seeds=4",
)


def lanes_of(values, **more):
    return [
        {"seed": seed, "status": "done", "elbo": value, "nll": -value, "diverged_step": None} | more
        for seed, value in enumerate(values)
    ]


def of_source(source, values):
    keys = {key: -1 if own == source else 0 for own, key in study.SEED_OF.items()}
    return lanes_of(values, **keys)


def test_each_setting_of_the_sources_has_its_name():
    settings = study.settings_of_sources()
    usual = dict.fromkeys(study.SEED_OF.values(), -1)
    assert [study.source_of(usual | setting) for setting in settings] == [
        "initial params", "order", "noise", "none",
    ]  # fmt: skip
    assert [len(setting) for setting in settings] == [2, 2, 2, 3]


def test_the_shares_of_the_variance():
    """Variances: params 8, order 2, noise 2, the test's noise 1/2, all 10."""
    deviations = {"initial params": 2, "order": 1, "noise": 1, "none": 0.5}
    lanes = [
        lane
        for source, deviation in deviations.items()
        for lane in of_source(source, [-deviation, deviation])
    ]
    sources = study.values_by(lanes, study.source_of)
    all_n = np.array([-math.sqrt(5), math.sqrt(5)])
    assert study.shares(sources, all_n, "elbo") == pytest.approx(
        {"initial params": 0.75, "order": 0.15, "noise": 0.15, "none": 0.05}
    )


def test_the_wrong_sign_of_all_subsets_by_hand():
    """Differences 1, 1, 1, -2: of two seeds, three pairs of six have the sum -1."""
    a_n, b_n = np.array([1.0, 2, 3, 2]), np.array([0.0, 1, 2, 4])
    of = study.sign_errors(a_n, b_n, 2, paired=True)
    assert of.found == pytest.approx(1 / 2, abs=0.02)
    assert study.deviation(a_n, b_n, paired=True) == pytest.approx(1.5)
    # Unpaired, {0, 1} of A meets {2, 3} of B: 3 - 6; {2, 3} meets {0, 1}: 5 - 1; ...
    a, b = a_n, b_n
    sums = [(a[i] + a[j]) - (b.sum() - b[i] - b[j]) for i in range(4) for j in range(i + 1, 4)]
    wanted = np.mean([total < 0 for total in sums]) + np.mean([total == 0 for total in sums]) / 2
    assert study.sign_errors(a, b, 2, paired=False).found == pytest.approx(wanted, abs=0.02)


def test_of_normal_values_it_is_the_formula():
    rng = np.random.default_rng(0)
    a_n, b_n = rng.normal(0.3, 1, 1_000), rng.normal(0, 1, 1_000)
    for paired in (True, False):
        of = study.sign_errors(a_n, b_n, 3, paired=paired)
        assert of.found == pytest.approx(of.normal, abs=0.02)
    shared = rng.normal(0, 5, 1_000)
    paired = study.sign_errors(a_n + shared, b_n + shared, 3, paired=True)
    unpaired = study.sign_errors(a_n + shared, b_n + shared, 3, paired=False)
    assert paired.found < 0.4 < unpaired.found


def test_the_table_says_what_there_is_and_what_diverged():
    assert study.table([], []) == "no program is done yet"
    low = lanes_of(np.arange(12.0), **{study.RATE: RATES[0]})
    first = study.table(low, [])
    assert "the distribution over seeds" in first
    assert "by source" not in first
    assert "the wrong sign" not in first
    high = lanes_of(np.arange(12.0) + 1, **{study.RATE: RATES[1]})
    high[3] |= {"status": "diverged", "diverged_step": 77, "elbo": None}
    text = study.table(low + high, [])
    assert "settings: seed 3 diverged at step 77, left out" in text
    assert "elbo: difference -1.000 [-1.000, -1.000] of 11 seeds; pairing removes 100.0%" in text
    row = text.splitlines()[-1].split()
    assert row == ["10", *["-"] * 8]  # there are not 20 seeds
    at_three = text.splitlines()[-3].split()
    assert at_three[:3] == ["3", "0.0%", "0.0%"]
    assert float(at_three[3][:-1]) > 20


@pytest.mark.slow
def test_from_command_to_figure_and_again(tiny_npz, tmp_path, capsys, with_pixels):
    command = [f"--workdir={tmp_path / 'study'}", *TINY, f"--config.dataset.path={tiny_npz}"]

    def answer(*more):
        return cli.answer(lambda: study.run([*command, *more])), capsys.readouterr().out

    assert answer("--table") == (0, "no program is done yet\n")
    code, printed = answer()
    assert code == 0
    for text in ("the distribution over seeds", "by source", "the wrong sign", "figure  "):
        assert text in printed
    assert (tmp_path / "study" / study.FIGURE).read_bytes().startswith(b"\x89PNG")
    code, again = answer()
    assert code == 0
    assert again.count("there is nothing to do") == 2
    table = printed[printed.index("the distribution") :]
    assert again.endswith(table)
    assert answer("--table") == (0, table)


def test_too_few_seeds_are_refused(tmp_path, capsys):
    command = [f"--workdir={tmp_path / 'study'}", "--seeds=3"]
    assert cli.answer(lambda: study.run(command)) == 2
    assert "should be at least 4" in capsys.readouterr().err

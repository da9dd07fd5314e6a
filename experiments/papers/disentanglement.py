"""What do the scores of disentangled codes depend on: method, strength or seed?

    python -m experiments.papers.disentanglement --workdir=runs/papers/disentanglement

Locatello et al. 2019, Challenging Common Assumptions in the Unsupervised Learning of Disentangled
Representations: of 12,600 models, the random seed and the strength of the regulariser matter more
than the method.

The paper's six methods with three strengths each, and ten seeds, on the sprites of this codebase:
180 lanes in five programs. The share of each in the variance of a score: of the methods' means, of
the settings' means about those of their method, and of the seeds about the mean of their setting.
The three sum to 1. They and their intervals are by the jackknife over the seeds.

Differences from the paper: three strengths (six), ten seeds (50), one data set (seven), three
scores (six); networks 4096-64-10 and back (convolutions), 3 epochs, 843 steps (300,000), Adam at
1e-3 (1e-4), batches of 128 (64); annealed VAE with gamma 10 and capacities of 5, 10 and 25 nats
over 1.5 epochs (gamma 1,000, 5 to 100 nats, 100,000 steps). FactorVAE's discriminator has two
layers of 256 (six of 1,000).

What was found (seeds 0 to 9; 54:06, 33:34 of them of a processor, on two shared cores of an AMD
EPYC, busy with other work; jax 0.10.2, 2026-12-01):

    share of the variance    method            strength          seed
    MIG                      0.08 +- 0.04      0.01 +- 0.02      0.91 +- 0.05
    SAP                      0.00 +- 0.04      0.04 +- 0.03      0.96 +- 0.06
    FactorVAE score          0.19 +- 0.06      0.03 +- 0.02      0.78 +- 0.08

The seed has most, the method less than half. The scores are low after 3 epochs (MIG 0.017 to 0.031
by method).
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from configs import default
from experiments.papers import study
from experiments.papers.table import Estimate, Row, estimate, lines
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.config.check import check
from vae_jax.data.binarization import scale
from vae_jax.evaluation.disentanglement import factor_vae_score, mutual_information_gap, sap
from vae_jax.evaluation.latents import latents
from vae_jax.folders.schemas import read_json
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import lane_model
from vae_jax.sweeps.plan import runs_in
from vae_jax.words import aligned

SCORES = ("mig", "sap", "factor_vae_score")
PARTS = ("method", "strength", "seed")
RESULTS = "scores.json"

TERM, WEIGHT = "objective.regularizer", "objective.regularizer_weight"
METHODS: dict[str, list[dict[str, Any]]] = {
    "beta-VAE": [{"objective.beta": beta} for beta in (2.0, 4.0, 8.0)],
    "annealed VAE": [
        {"objective.beta": 10.0, "objective.capacity": nats, "objective.capacity_epochs": 1.5}
        for nats in (5.0, 10.0, 25.0)
    ],
    "FactorVAE": [
        {TERM: "total_correlation_adversarial", WEIGHT: gamma} for gamma in (10.0, 30.0, 100.0)
    ],
    "beta-TCVAE": [{TERM: "total_correlation_weighted", WEIGHT: beta} for beta in (1.0, 3.0, 7.0)],
    "DIP-VAE-I": [
        {TERM: "dip_i", WEIGHT: off, "objective.diagonal_weight": 10.0} for off in (2.0, 10.0, 50.0)
    ],
    "DIP-VAE-II": [{TERM: "dip_ii", WEIGHT: off} for off in (2.0, 10.0, 50.0)],
}
SWEPT = sorted({key for settings in METHODS.values() for setting in settings for key in setting})


class Shares(NamedTuple):
    """Of the variance of a score; they sum to 1."""

    method: float
    strength: float
    seed: float


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.name = "sprites"
    config.dataset.binarization = "none"
    config.dataset.validation_size = 4_000
    config.model.latent_size = 10
    config.model.encoder.widths = (64,)
    config.model.decoder.widths = (64,)
    config.training.batch_size = 128
    study.judge_at_the_end(config, num_epochs=3, seeds=10)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return [setting for settings in METHODS.values() for setting in settings]


def measure(workdir: Path) -> None:
    """Leaves RESULTS: the values of a lane that differ, its "seed", and its SCORES."""
    if (workdir / RESULTS).exists():
        return
    rows = []
    for run in runs_in(workdir):
        variables, test = load_progress(run).best.variables, run.data.test
        x_nd = scale(jnp.asarray(test.images))
        factors_nf = test.factors
        assert factors_nf is not None  # sprites have them
        model = lane_model(run, variables, 0)[0]
        codes_of = jax.jit(lambda own, model=model, x_nd=x_nd: latents(model, own, x_nd).mean)
        for i, lane in enumerate(run.lanes):
            codes_nl = np.asarray(codes_of(lane_model(run, variables, i)[1]), np.float64)
            found = {
                "mig": mutual_information_gap(codes_nl, factors_nf),
                "sap": sap(codes_nl, factors_nf),
                "factor_vae_score": factor_vae_score(0, codes_nl, factors_nf),
            }
            values = {key: lane.config.values[key] for key in SWEPT}
            rows.append({"seed": lane.seed} | values | found)
    files.write_json(workdir / RESULTS, rows)


def shares(score_mts: Float[np.ndarray, "m t s"]) -> Shares:
    """Of methods, strengths within a method, and seeds within a setting, of the sum of squares."""
    setting_mt, method_m = score_mts.mean(axis=2), score_mts.mean(axis=(1, 2))
    total = np.sum(np.square(score_mts - score_mts.mean()))
    method = np.sum(np.square(method_m - method_m.mean())) * score_mts[0].size
    strength = np.sum(np.square(setting_mt - method_m[:, None])) * score_mts.shape[2]
    of_seed = np.sum(np.square(score_mts - setting_mt[:, :, None]))
    return Shares(*(float(part / total) for part in (method, strength, of_seed)))


def estimates(score_mts: Float[np.ndarray, "m t s"]) -> list[Estimate]:
    """The shares by the jackknife over seeds: n share - (n - 1) share without a seed, of each seed.

    Their mean is without the noise of the means, of order 1/n, which adds to the shares of methods
    and strengths; it can be below 0.
    """
    n = score_mts.shape[2]
    whole = np.array(shares(score_mts))
    left = np.array([shares(np.delete(score_mts, seed, axis=2)) for seed in range(n)])
    return [estimate(values) for values in (n * whole - (n - 1) * left).T.tolist()]


def of_setting(rows: list[study.Lane], setting: dict[str, Any], name: str) -> dict[int, float]:
    """The number of that name by seed; a key that the setting does not name is at its default."""
    usual = check(get_config()).values
    wanted = {key: setting.get(key, usual[key]) for key in SWEPT}
    return study.by_seed(rows, name, **wanted)


def scores(rows: list[study.Lane], name: str) -> Float[np.ndarray, "m t s"] | None:
    """By method, strength and seed, of the seeds that all settings have; None: there are none."""
    found = [[of_setting(rows, s, name) for s in settings] for settings in METHODS.values()]
    seeds = sorted(set.intersection(*(set(of) for settings in found for of in settings)))
    if len(seeds) < 3:
        return None
    return np.array([[[of[seed] for seed in seeds] for of in settings] for settings in found])


def table(workdir: Path) -> str:
    path = workdir / RESULTS
    if not path.exists():
        return "not yet: the scores are measured after the training"
    rows, out = read_json(path), []
    means = [["score", "method", "by strength, rising", "mean", "deviation"]]
    for name in SCORES:
        score_mts = scores(rows, name)
        if score_mts is None:
            return "not yet: fewer than three seeds have all settings"
        for part, share in zip(PARTS, estimates(score_mts), strict=True):
            half = 0.5 if part == "method" else None
            out.append(Row(f"{name}: share of the {part}", share, half, "below"))
        for method, of_method in zip(METHODS, score_mts, strict=True):
            by_strength = ", ".join(f"{value:.3f}" for value in of_method.mean(axis=1))
            numbers = (of_method.mean(), of_method.std(ddof=1))
            means.append([name, method, by_strength, *(f"{value:.3f}" for value in numbers)])
    return "\n".join([*lines(out), "", *aligned(means, left={0, 1})])


STUDY = study.Study(get_config, sweep, table, measure)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))

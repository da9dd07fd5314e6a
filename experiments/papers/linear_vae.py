"""Is the optimum of a linear VAE's ELBO probabilistic PCA, and which units collapse?

    python -m experiments.papers.linear_vae --workdir=runs/papers/linear_vae

Lucas, Tucker, Grosse and Norouzi 2019, Don't Blame the ELBO! (sections 3 and 4). Decoder and
encoder are linear, p(x | z) = N(W z + b, s^2 I), q(z | x) a diagonal Gaussian. Then

1. the ELBO has probabilistic PCA's maximum likelihood as its maximum, where q is the exact
   posterior: ELBO = log p(x) = the value of Tipping and Bishop 1999 by the eigenvalues of the
   covariance, a number without any training;
2. with s fixed, a unit collapses exactly if its eigenvalue is below s^2: as many units stay active
   as eigenvalues are above it.

Here x are the grey values, 0 to 1, of MNIST's first 10,000 images, and z has 16 units. ELBO and
log p(x) of the trained params are computed in float64 in closed form, on the training images: no
noise of samples. A unit is active where the variance of its posterior mean is above 0.01; with
eigenvalue e that is 1 - s^2 / e, so between e = s^2 and 1.01 s^2 it counts as collapsed.

Differences from the paper: 16 units, not up to 200; the scale of q may depend on x (at the optimum
it does not); grey values as they are; 10,000 images; Adam with a cosine schedule to 0, 60,000 steps
of 100 images.

What was found (seeds 0 to 2; 17:31, 10:13 of them of a processor, on two shared cores of an AMD
EPYC, busy with other work; jax 0.10.2, 2026-12-01): ELBO 265.062 +- 0.002 nats, log p(x) of the
same params 265.087 +- 0.001, and the exact maximum is 265.109; s^2 0.027383 and 0.027378. All are
on the side where they have to be, and 0.02% from it: what is left is training. 15,000 steps at
5e-3 had 264.86, 60,000 of them 265.03 (one seed), at 2e-2 81 (one seed: too large).

    s^2     eigenvalues above   active units, by seed   variance of the next unit's mean
    4.5      1                   1, 1, 1                0.0004, 0.0004, 0.0003
    2        6                   6, 6, 6                0.0006, 0.0006, 0.0005
    1.33     9                   9, 9, 10               0.0011, 0.0011, 0.0170
    0.98    12                  12, 12, 12              0.0008, 0.0014, 0.0020

One of twelve lanes has one unit too many, just above the threshold; after 15,000 steps, two had. In
one of those, the weights of two units shared a direction, and had not yet merged. There are no
local maxima, but slow places.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from configs import default
from experiments.papers import study
from experiments.papers.table import Row, estimate, lines
from vae_jax.cli import main as cli
from vae_jax.errors import UserError
from vae_jax.evaluation.latents import ACTIVE, activity
from vae_jax.folders import folder
from vae_jax.functions import decode, encode
from vae_jax.models.model import Model, Variables
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import Lane, lane_model
from vae_jax.sweeps.plan import runs_in
from vae_jax.words import aligned

UNITS = 16
# s^2, each far from the next eigenvalues: 1, 6, 9 and 12 of them are above.
VARIANCES = (4.5, 2.0, 1.33, 0.98)

Images = Float[np.ndarray, "n d"]


class Linear(NamedTuple):
    """A trained linear VAE and its q of n images, in float64."""

    weights_ld: Float[np.ndarray, "l d"]
    bias_d: Float[np.ndarray, " d"]
    variance: float  # s^2
    mean_nl: Float[np.ndarray, "n l"]
    scale_nl: Float[np.ndarray, "n l"]


def get_config() -> ConfigDict:
    config = default.get_config()
    config.dataset.binarization = "none"
    config.dataset.validation_size = 50_000  # trained on the first 10,000
    config.model.latent_size = UNITS
    config.model.encoder.widths = ()
    config.model.encoder.inputs = "raw"
    config.model.decoder.widths = ()
    config.model.likelihood = "gaussian_shared_scale"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.schedule.name = "cosine"
    config.training.batch_size = 100
    study.judge_at_the_end(config, num_epochs=600)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    scales = [round(v**0.5, 6) for v in VARIANCES]
    fixed = hyper.product(
        [hyper.fixed("model.likelihood", "gaussian"), hyper.sweep("model.likelihood_scale", scales)]
    )
    return hyper.chainit([hyper.fixed("model.likelihood", "gaussian_shared_scale"), fixed])


def eigenvalues(x_nd: Images) -> Float[np.ndarray, " d"]:
    """Of the covariance (divided by n), the largest first."""
    return np.linalg.eigvalsh(np.cov(x_nd.T, bias=True))[::-1]


def maximum_log_likelihood(eigenvalue_d: Float[np.ndarray, " d"], units: int) -> float:
    """log p(x), nats, a mean over x, at probabilistic PCA's maximum (Tipping and Bishop 1999).

    s^2 is the mean of the eigenvalues that are left, and the model's covariance has the others.
    """
    d = len(eigenvalue_d)
    variance = eigenvalue_d[units:].mean()
    logs = np.log(eigenvalue_d[:units]).sum() + (d - units) * np.log(variance)
    return float(-0.5 * (d * np.log(2 * np.pi) + logs + d))


def log_likelihood(of: Linear, x_nd: Images) -> Float[np.ndarray, " n"]:
    """log N(x; b, W' W + s^2 I), by the l x l matrix W W' + s^2 I (Woodbury)."""
    (units, d), away_nd = of.weights_ld.shape, x_nd - of.bias_d
    inner_ll = of.weights_ld @ of.weights_ld.T + of.variance * np.eye(units)
    log_det = np.linalg.slogdet(inner_ll)[1] + (d - units) * np.log(of.variance)
    seen_nl = away_nd @ of.weights_ld.T
    solved_ln = np.linalg.solve(inner_ll, seen_nl.T)
    square_n = (np.square(away_nd).sum(1) - (seen_nl.T * solved_ln).sum(0)) / of.variance
    return -0.5 * (d * np.log(2 * np.pi) + log_det + square_n)


def elbo(of: Linear, x_nd: Images) -> Float[np.ndarray, " n"]:
    """E_q log N(x; W z + b, s^2) - KL(q || N(0, I)): both in closed form."""
    square_n = np.square(x_nd - of.bias_d - of.mean_nl @ of.weights_ld).sum(1)
    square_n += np.square(of.scale_nl) @ np.square(of.weights_ld).sum(1)
    d = x_nd.shape[1]
    reconstruction_n = -0.5 * (d * np.log(2 * np.pi * of.variance) + square_n / of.variance)
    spread_nl = np.square(of.scale_nl)
    kl_nl = 0.5 * (np.square(of.mean_nl) + spread_nl - 1) - np.log(of.scale_nl)
    return reconstruction_n - kl_nl.sum(1)


def linear(model: Model, variables: Variables, x_nd: Images) -> Linear:
    """What a trained linear VAE is.

    Raises:
      UserError: its q or p is of another kind.
    """
    q = encode(model, variables, jnp.asarray(x_nd, jnp.float32))
    p = decode(model, variables, jnp.concatenate([jnp.zeros((1, q.mean().shape[-1])),
                                                  jnp.eye(q.mean().shape[-1])]))  # fmt: skip
    at_zero, *at_units = np.asarray(p.mean(), np.float64)
    if not hasattr(p, "log_scale"):
        raise UserError("the linear VAE needs a Gaussian likelihood")
    return Linear(
        np.stack(at_units) - at_zero,
        at_zero,
        float(np.exp(2 * np.asarray(p.log_scale, np.float64)).mean()),
        np.asarray(q.mean()[0], np.float64),
        np.asarray(q.scale()[0], np.float64),
    )


def trained(workdir: Path) -> Iterator[tuple[Lane, Images, Linear]]:
    """Each finished lane, the training images, and its linear VAE."""
    for run in runs_in(workdir):
        if not folder.is_finished(run.workdir):
            continue
        x_nd = run.data.train.images.reshape(len(run.data.train.images), -1) / 255.0
        variables = load_progress(run).best.variables
        for i, lane in enumerate(run.lanes):
            yield lane, x_nd, linear(*lane_model(run, variables, i), x_nd)


def table(workdir: Path) -> str:
    learned: list[tuple[float, float, float]] = []  # ELBO, log p(x), s^2
    varying: dict[float, list[Float[np.ndarray, " l"]]] = {}  # {s^2: variances by seed}
    spectrum = np.zeros(0)
    for lane, x_nd, found in trained(workdir):
        spectrum = spectrum if len(spectrum) else eigenvalues(x_nd)
        if lane.config.values["model.likelihood"] == "gaussian_shared_scale":
            means = elbo(found, x_nd).mean(), log_likelihood(found, x_nd).mean()
            learned.append((float(means[0]), float(means[1]), found.variance))
        else:
            varying.setdefault(found.variance, []).append(activity(found.mean_nl))
    if not len(spectrum):
        return "not yet: no program of the sweep is finished"
    rows = []
    if learned:
        elbos, likelihoods, variances = zip(*learned, strict=True)
        best, left = maximum_log_likelihood(spectrum, UNITS), float(spectrum[UNITS:].mean())
        rows = [
            Row("ELBO, nats", estimate(elbos), best, "none", 3),
            Row("log p(x) of the same params", estimate(likelihoods), best, "none", 3),
            Row("s^2", estimate(variances), left, "none", 6),
        ]
    shown = [["s^2 fixed", "eigenvalues above", "active, by seed", "variance of the next", "holds"]]
    for variance, by_seed in sorted(varying.items(), reverse=True):
        shown.append([f"{variance:.3g}", *predicted(spectrum, variance, by_seed)])
    return "\n".join(["published: the exact maximum", *lines(rows), "", *aligned(shown)])


def predicted(
    spectrum: Float[np.ndarray, " d"], variance: float, by_seed: Sequence[Float[np.ndarray, " l"]]
) -> tuple[str, str, str, str]:
    """How many eigenvalues are above s^2, at most UNITS; how many units are active, by seed.

    And the variance of the mean of the first unit that should have collapsed; if all are as many.

    Args:
      by_seed: the variances of the posterior means of all units.
    """
    above = min(int((spectrum > variance).sum()), UNITS)
    active = [int((varying > ACTIVE).sum()) for varying in by_seed]
    left = [np.sort(varying)[::-1][above : above + 1] for varying in by_seed]
    holds = "yes" if all(count == above for count in active) else "no"
    return (
        str(above),
        ", ".join(map(str, active)),
        ", ".join(f"{value:.4f}" for values in left for value in values),
        holds,
    )


STUDY = study.Study(get_config, sweep, table)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))

"""Does the jackknife take the bias of the importance weighted bound away, order by order?

    python -m experiments.papers.jackknife --workdir=runs/papers/jackknife

Nowozin 2018, Debiasing Evidence Approximations: On Importance-weighted Autoencoders and Jackknife
Variational Inference. The bound of k samples, L_k = log mean w, is below log p(x) by a bias of
order 1/k. The jackknife of order m combines L_k with the bounds of all subsets of k - 1, ..., k - m
of the same samples, and has a bias of order k^-(m+1) (JVI-1, JVI-2); it is no bound any more.

Measured at two places, with k = 4 to 64:

- linear: z ~ N(0, I), x ~ N(z, I) of 20 dimensions; log p(x) is known. q is the posterior,
  N(x / 2, I / 2), with its mean moved by 0.11 in each dimension: log w is normal, of variance 0.5;
- mnist: a VAE 784-200-200-50, tanh, trained by the ELBO for 6 epochs, and 100 test images.

Each image has a pool of samples, parted into groups of k. The bias is the mean over the groups,
less log of the mean weight of the whole pool: this has the noise of the mean weight in both, where
it cancels. The slope is that of log |bias| by log k over FIT.

Differences from the paper: the trained model is smaller, trained for 6 epochs and by the ELBO alone
(the paper also trains by the jackknife); the test set is the first 100 images.

What was found (seeds 0 to 2; 12:43, 4:55 of them of a processor, on two shared cores of an AMD
EPYC, busy with other work; jax 0.10.2, 2026-12-01):

    linear    slope            bias at k = 4       16                  64
    IWAE      -0.98 +- 0.00    -0.0705 +- 0.0000   -0.0189 +- 0.0000   -0.0048 +- 0.0000
    JVI-1     -1.83 +- 0.03    -0.0066 +- 0.0000   -0.0006 +- 0.0000   -0.0001 +- 0.0000
    JVI-2     -2.47 +- 0.14    -0.0022 +- 0.0000   -0.0001 +- 0.0000   (noise)

    mnist, k = 32: ELBO 108.22 +- 0.06, IWAE 104.53 +- 0.08, JVI-1 104.06 +- 0.08, JVI-2
    103.92 +- 0.08, all 65,536 samples 103.14 +- 0.06; slopes -0.34, -0.34 and -0.38.

At the linear place the slopes come near to -1, -2 and -3, still growing with k. At the trained one
none does: the weights vary so much (effective samples: 0.13% of them) that k = 64 is far from the
limit that the orders are about. The order of the scores is the paper's, and each is above -log p(x)
there. FIT was chosen after a look: k where the bias is above the noise of the pool, 0.00002.
"""

import math
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict
from scipy.special import logsumexp

from experiments.papers import chart, study
from experiments.papers.table import Row, estimate, lines, paired, slope
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.data.binarization import sampled_once, scale
from vae_jax.folders.schemas import read_json
from vae_jax.models.model import Model, Variables, log_joint, log_posterior, posterior_samples
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import lane_model
from vae_jax.sweeps.plan import runs_in

KS = (4, 8, 16, 32, 64)
ORDERS = {"IWAE": 0, "JVI-1": 1, "JVI-2": 2}
FIT = {"IWAE": (16, 32, 64), "JVI-1": (8, 16, 32), "JVI-2": (4, 8, 16)}
SCORED = 32  # samples of the paper's table
# -log p(x) of its model that was trained by the ELBO, nats.
PUBLISHED = {"ELBO": 93.38, "IWAE": 89.22, "JVI-1": 88.66, "JVI-2": 88.40}
DIMENSIONS, MOVED, LINEAR_POOL = 20, 0.11, 2**24
IMAGES, POOL, BLOCK = 100, 2**16, 2**8
AT_ONCE = 2**23  # subsets of which the sums are in memory
RESULTS = "jackknife.json"
FIGURE = "jackknife_bias.png"
NOISE = 2e-5  # of the biases of the linear place, nats

Pools = Float[np.ndarray, "b n"]  # log weights


def get_config() -> ConfigDict:
    config = study.short_recipe(num_epochs=6)
    config.model.latent_size = 50
    for net in (config.model.encoder, config.model.decoder):
        net.widths = (200, 200)
        net.activation = "tanh"
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.fixed("objective.name", "elbo")


def jackknife(log_w_gk: Float[np.ndarray, "g k"], order: int) -> Float[np.ndarray, " g"]:
    """The jackknife of log mean w of each group, in nats: 0, 1 or 2 samples are left out.

    sum_j (-1)^j (k - j)^m / ((m - j)! j!) of the mean of log mean w over all subsets of k - j
    samples, j = 0 to m, m the order: Sharot's coefficients, as in the paper. float64: the terms are
    k^m times as large as what is left of them.
    """
    k = log_w_gk.shape[1]
    # The largest first: a sum without it is summed anew, the others lose no digits.
    log_w_gk = -np.sort(-log_w_gk.astype(np.float64), axis=1)
    w_gk = np.exp(log_w_gk - log_w_gk[:, :1])
    sums = [np.sum(w_gk, axis=1)[:, None]]
    if order > 0:
        sums.append(sums[0] - w_gk)
        sums[1][:, 0] = np.sum(w_gk[:, 1:], axis=1)
    if order > 1:
        first, second = np.triu_indices(k, 1)
        sums.append(sums[1][:, first] - w_gk[:, second])
        sums[2][:, 0] = np.sum(w_gk[:, 2:], axis=1)  # without the two largest
    total_g = log_w_gk[:, 0]
    for j, sums_gs in enumerate(sums):
        factor = (-1) ** j * (k - j) ** order / (math.factorial(order - j) * math.factorial(j))
        total_g = total_g + factor * np.mean(np.log(sums_gs / (k - j)), axis=1)
    return total_g


def jackknife_mean(log_w_n: Float[np.ndarray, " n"], k: int, order: int) -> float:
    """The mean of the jackknife over the pool's groups of k samples."""
    groups = log_w_n.reshape(-1, k)
    parts = max(1, len(groups) * math.comb(k, order) // AT_ONCE)
    return float(
        np.mean(np.concatenate([jackknife(p, order) for p in np.array_split(groups, parts)]))
    )


def linear_pool(seed: int, n: int = LINEAR_POOL) -> tuple[Pools, float]:
    """log w of the linear model, and the exact log p(x)."""
    rng = np.random.default_rng(seed)
    x_d = math.sqrt(2) * rng.normal(size=DIMENSIONS)
    log_w_n = np.empty(n)
    for rows in np.array_split(np.arange(n), max(1, n // 2**18)):
        noise_nd = rng.normal(size=(len(rows), DIMENSIONS))
        z_nd = x_d / 2 + MOVED + math.sqrt(0.5) * noise_nd
        square_nd = np.square(z_nd) + np.square(x_d - z_nd) - np.square(noise_nd)
        log_w_n[rows] = -0.5 * np.sum(square_nd + np.log(4 * np.pi), axis=1)
    exact = -0.5 * float(np.sum(np.square(x_d) / 2 + np.log(4 * np.pi)))
    return log_w_n[None], exact


def trained_pool(
    model: Model, variables: Variables, key: Key[Array, ""], x_bd: Float[Array, "b d"]
) -> Pools:
    """log w of POOL samples of q for each image."""

    @jax.jit
    def block(key: Key[Array, ""]) -> Float[Array, "k b"]:
        trace = model.trace(variables, posterior_samples(model, key, BLOCK), x_bd, None)
        return log_joint(trace, x_bd) - log_posterior(trace)

    keys = jax.random.split(key, POOL // BLOCK)
    return np.concatenate([np.asarray(block(key)) for key in keys]).T.copy()


def measured(log_w_bn: Pools) -> dict[str, Any]:
    """The bias of each estimator by k, means over images, and the score of SCORED samples."""
    largest_b = log_w_bn.max(axis=1).astype(np.float64)
    best_b = logsumexp(log_w_bn.astype(np.float64), axis=1) - math.log(log_w_bn.shape[1])
    weight_bn = np.exp(log_w_bn - largest_b[:, None])
    square_b = np.square(weight_bn.mean(axis=1)) / np.square(weight_bn).mean(axis=1)
    bias = {
        name: [float(np.mean([jackknife_mean(w, k, order) for w in log_w_bn] - best_b)) for k in KS]
        for name, order in ORDERS.items()
    }
    best = float(best_b.mean())
    scores = {name: -(best + values[KS.index(SCORED)]) for name, values in bias.items()}
    return {
        "bias": bias,
        "score": {"ELBO": -float(log_w_bn.mean()), **scores, "all samples": -best},
        "effective": float(square_b.mean()),
    }


def pools(workdir: Path) -> Iterator[tuple[str, int, Pools, float | None]]:
    """(place, seed, log weights, exact log p(x) if it is known) of all."""
    (run,) = runs_in(workdir)
    variables = load_progress(run).best.variables
    images = scale(jnp.asarray(sampled_once(jax.random.key(0), run.data.test.images[:IMAGES])))
    for i, lane in enumerate(run.lanes):
        yield "linear", lane.seed, *linear_pool(lane.seed)
        model, own = lane_model(run, variables, i)
        key = jax.random.key(lane.seed)
        yield "mnist", lane.seed, trained_pool(model, own, key, images), None


def measure(workdir: Path) -> None:
    """Leaves RESULTS: what `measured` gives, with "place", "seed" and "exact", for each."""
    if (workdir / RESULTS).exists():
        return
    rows = []
    for place, seed, log_w_bn, exact in pools(workdir):
        rows.append({"place": place, "seed": seed, "exact": exact} | measured(log_w_bn))
        print(f"{place}, seed {seed}: measured", flush=True)
    files.write_json(workdir / RESULTS, rows)


def at(rows: list[dict[str, Any]], place: str, of: Callable[[Any], float]) -> dict[int, float]:
    """{seed: the number that `of` finds in the place's row}."""
    return {row["seed"]: of(row) for row in rows if row["place"] == place}


def slopes(rows: list[dict[str, Any]], place: str, name: str) -> list[float]:
    """The slope of log |bias| by log k over FIT, by seed."""
    used = [KS.index(k) for k in FIT[name]]
    found = [row["bias"][name] for row in rows if row["place"] == place]
    logs = [np.log(np.abs(bias)[used]) for bias in found]
    return [slope(np.log(FIT[name]), y) for y in logs]


def score_of(name: str) -> Callable[[Any], float]:
    return lambda row: row["score"][name]


def table(workdir: Path) -> str:
    path = workdir / RESULTS
    if not path.exists():
        return "not yet: the biases are measured after the training"
    rows, out = read_json(path), []
    for place in ("linear", "mnist"):
        for name, order in ORDERS.items():
            found = estimate(slopes(rows, place, name))
            out.append(Row(f"{place}: slope, {name}", found, -(order + 1.0), "equal"))
        for name in ORDERS:
            for i, k in enumerate(KS):
                found = estimate([row["bias"][name][i] for row in rows if row["place"] == place])
                out.append(Row(f"{place}: bias, {name}, k = {k}", found, None, digits=5))
    scores = {name: at(rows, "mnist", score_of(name)) for name in rows[0]["score"]}
    for name, of in scores.items():
        what = f"mnist: -log p(x), {name}" + (f", k = {SCORED}" if name in ORDERS else "")
        out.append(Row(what, estimate(list(of.values())), PUBLISHED.get(name)))
    for worse, better in pairwise(scores):
        difference = paired(scores[better], scores[worse])
        out.append(Row(f"mnist: {better} - {worse}", difference, 0.0, "below"))
    off = at(rows, "linear", lambda row: row["score"]["all samples"] + row["exact"])
    what = "linear: -log p(x), all samples - exact"
    out.append(Row(what, estimate(list(off.values())), 0.0, "equal", 5))
    for place in ("linear", "mnist"):
        effective = at(rows, place, lambda row: row["effective"])
        what = f"{place}: effective samples, a share"
        out.append(Row(what, estimate(list(effective.values())), None, digits=4))
    draw(workdir / FIGURE, rows)
    return "\n".join(lines(out))


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """-bias by k at both places, of what is above the noise of the samples."""
    panels = []
    for place, title in (("linear", "linear, log p(x) known"), ("mnist", "a trained VAE, MNIST")):
        found = [row["bias"] for row in rows if row["place"] == place]
        curves = []
        for name in ORDERS:
            y = [estimate([-bias[name][i] for bias in found]) for i in range(len(KS))]
            kept = [(k, e) for k, e in zip(KS, y, strict=True) if e.mean > NOISE]
            curves.append(chart.Curve(name, [k for k, _ in kept], [e for _, e in kept]))
        panels.append(chart.Panel(title, "k", "-bias (nats per example)", curves, log_y=True))
    chart.draw(path, "Bias of the jackknife by number of samples k", panels)


STUDY = study.Study(get_config, sweep, table, measure)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))

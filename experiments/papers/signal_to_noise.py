"""Does the encoder's gradient lose its signal as the bound gets tighter, and does DReG mend it?

    python -m experiments.papers.signal_to_noise --workdir=runs/papers/signal_to_noise

Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better (theorem 1): the
signal-to-noise ratio (SNR) of the gradient of the IWAE bound with k samples falls as k^-1/2 for the
encoder and rises as k^1/2 for the decoder. Tucker, Lawson, Gu and Maddison 2018, Doubly
Reparameterized Gradient Estimators: with DReG the encoder's rises as k^1/2. Sticking the landing
(STL; Roeder, Wu and Duvenaud 2017) is biased for k > 1, and its bias does not shrink: its SNR rises
too, about the wrong mean.

Measured: the slope of log SNR by log k, least squares over k = FIT, at fixed params and a fixed
minibatch, at three places:

- linear: z ~ N(0, I), x ~ N(z, I) of 20 dimensions, q = N(x / 2, 2/3 I), each param moved by
  Gaussian noise of 0.01. The weights have few outliers there, so the asymptote comes early.
- mnist: a VAE 784-100-5, trained by the ELBO for 5 epochs; the first 4 validation images;
- easiest: the same VAE; of the first 8 validation images the one whose weights vary least, which is
  where the effective sample size of 5,000 samples is largest.

SNR here is |E g| / (trace of the covariance)^1/2 of all params of a part, and |E g|^2 is estimated
without bias (|mean|^2 - trace / n), so that pure noise has 0. The mean of ratios by param, which
the papers draw, scales alike, but has a floor of (2 / (pi n))^1/2. Intervals are over seeds: each
has params, images' binarisation and noise of its own.

Differences from the papers: the SNR above; one example at the linear place, and a smaller VAE at
the trained one. The linear place is built, not trained; the other is a sweep of one setting.

What was found (seeds 0 to 2; 4:26 for two places and 2:30 for the third, on two shared cores of an
Intel Xeon, busy with other work; jax 0.10.2, 2026-12-01):

    slope of log SNR by log k   claimed   linear          easiest         mnist
    encoder, IWAE               -0.5      -0.58 +- 0.08   (one seed)      -0.08 +- 0.07
    encoder, STL                           0.49 +- 0.00    0.44 +- 0.03    0.29 +- 0.03
    encoder, DReG                0.5       0.45 +- 0.01    0.29 +- 0.10   -0.21 +- 0.02
    decoder, IWAE                0.5       0.50 +- 0.00    0.45 +- 0.02    0.29 +- 0.03
    effective sample size                 38 to 48%       16 to 32%       6 to 16%

- At the linear place the slopes show; DReG's still grows with k: from 64 to 256 it is 0.48.
- At the trained one they do not, up to k = 256. The theorem is about k that is large for the
  weights' variance, and the less the weights vary, the nearer are the slopes to it.
- DReG has the better SNR everywhere, at k = 256 by a factor of 2 to 350.
- Chosen after a look: FIT begins at 16 because DReG's slope still grew below it in a pilot, and the
  easiest image was added after the four did not show the claim.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from configs import default
from experiments.papers import chart, study
from experiments.papers.table import Estimate, Row, estimate, lines, shown, slope
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.data.binarization import scale
from vae_jax.evaluation.gradients import END, PARTS, Moments, moments, parts_of
from vae_jax.folders.schemas import read_json
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import (
    Model,
    Params,
    Variables,
    given,
    latents,
    log_joint,
    log_posterior,
    posterior_samples,
)
from vae_jax.networks import MLP
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.importance import IWAE
from vae_jax.objectives.log_weights import log_densities
from vae_jax.probability.likelihoods import GaussianLikelihood
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import lane_model
from vae_jax.sweeps.plan import runs_in
from vae_jax.words import aligned

KS = (1, 4, 16, 64, 256)
FIT = (16, 64, 256)
GRADIENTS = {"linear": 10_000, "mnist": 100, "easiest": 200}
# The slopes that are claimed; None: by no theorem. The decoder's gradient is the same for all.
CLAIMED = {"IWAE": -0.5, "STL": None, "DReG": 0.5}
DIMENSIONS, VARIANCE, MOVED = 20, 2 / 3, 0.01  # of the linear place
IMAGES, CHOICES, DRAWS = 4, 8, 5_000
TITLES = {
    "linear": "linear Gaussian model",
    "easiest": "trained VAE, one image",
    "mnist": "trained VAE, four images",
}
FIGURE = "gradient_signal_to_noise.png"
RESULTS, EFFECTIVE = "signal_to_noise.json", "effective.json"

Place = tuple[Model, Variables, Float[Array, "b d"]]
# (model, variables, key, x, k) -> the loss, whose gradient is the estimate
Estimator = Callable[[Model, Variables, Key[Array, ""], Float[Array, "b d"], int], Any]


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.latent_size = 5
    config.model.encoder.widths = (100,)
    config.model.decoder.widths = (100,)
    config.model.decoder.output_bias_from_data = True
    config.training.batch_size = 200
    study.judge_at_the_end(config, num_epochs=5)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.fixed("objective.name", "elbo")


def signal_to_noise(of: Moments, n: int) -> float:
    """|E g| / (trace of the covariance of g)^1/2, by n gradients; 0 if no signal is seen."""
    square = sum(float(jnp.sum(jnp.square(leaf))) for leaf in jax.tree.leaves(of.mean))
    trace = sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(of.variance))
    return float(np.sqrt(max(square - trace / n, 0.0) / trace)) if trace > 0 else np.nan


def iwae(
    gradient: str,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    k: int,
) -> Float[Array, ""]:
    """The negative IWAE bound of k samples, with a gradient that this codebase trains with."""
    objective = Objective(bound=IWAE(gradient=gradient), num_samples=k)
    return loss(objective, model, variables, key, x_bd, None, END, regularized=False).value


def sticking_the_landing(
    model: Model, variables: Variables, key: Key[Array, ""], x_bd: Float[Array, "b d"], k: int
) -> Float[Array, ""]:
    """The same, where log q(z | x) has a gradient through z alone: biased, so no config has it."""
    trace = model.trace(variables, posterior_samples(model, key, k), x_bd, None)
    held = jax.lax.stop_gradient(variables)
    log_q_kb = log_posterior(model.trace(held, given(latents(trace)), x_bd, None))
    return -jnp.mean(IWAE().value(log_densities(trace, x_bd, log_q_kb).log_weight(1.0)))


ESTIMATORS: dict[str, Estimator] = {
    "IWAE": partial(iwae, "reparameterized"),
    "STL": sticking_the_landing,
    "DReG": partial(iwae, "doubly_reparameterized"),
}
CURVES = (*(("encoder", name) for name in ESTIMATORS), ("decoder", "IWAE"))


def of_keys(
    model: Model,
    estimator: Estimator,
    k: int,
    variables: Variables,
    keys_n: Key[Array, " n"],
    x_bd: Float[Array, "b d"],
) -> dict[str, Moments]:
    """Moments of the gradient of each of PARTS, over the keys."""

    def sample(key: Key[Array, ""]) -> dict[str, Params]:
        def loss_of(params: Params) -> Float[Array, ""]:
            return estimator(model, variables | {"params": params}, key, x_bd, k)

        return parts_of(jax.grad(loss_of)(variables["params"]))

    nowhere = jax.tree.map(lambda leaf: leaf[None], parts_of(variables["params"]))
    return moments(sample, keys_n, nowhere)


def linear_place(seed: int) -> Place:
    """x of the linear model, and its VAE near the optimum."""
    linear = MLP(widths=(), activation="relu")
    model = make_model(
        ModelSpec(
            latent_size=DIMENSIONS,
            encoder=linear,
            decoder=linear,
            image_shape=(DIMENSIONS, 1, 1),
            likelihood=GaussianLikelihood(scale=1.0),
            inputs="raw",
        )
    )
    keys = jax.random.split(jax.random.key(seed), 3)
    variables = model.init(keys[0])
    eye, zeros = jnp.eye(DIMENSIONS), jnp.zeros(DIMENSIONS)
    encoder, decoder = (variables["params"][name] for name in ("encoder", "decoder"))
    exact = {
        "encoder": {
            "mean": {"kernel": eye / 2, "bias": zeros},
            "log_scale": {"kernel": 0 * eye, "bias": zeros + 0.5 * jnp.log(VARIANCE)},
        },
        "decoder": {"output": {"kernel": eye, "bias": zeros}},
    }
    same = jax.tree.map(jnp.shape, exact) == jax.tree.map(
        jnp.shape, {"encoder": dict(encoder), "decoder": dict(decoder)}
    )
    assert same, "the linear networks have other params"
    leaves, tree = jax.tree.flatten(exact)
    noises = jax.random.split(keys[1], len(leaves))
    moved = [
        leaf + MOVED * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, noises, strict=True)
    ]
    x_bd = jnp.sqrt(2.0) * jax.random.normal(keys[2], (1, DIMENSIONS))
    params = variables["params"] | jax.tree.unflatten(tree, moved)
    return model, variables | {"params": params}, x_bd


def effective(
    model: Model, variables: Variables, x_bd: Float[Array, "b d"]
) -> Float[np.ndarray, " b"]:
    """The effective sample size of DRAWS samples of q, as a part of them: 1 / (DRAWS sum w^2)."""
    trace = model.trace(variables, posterior_samples(model, jax.random.key(0), DRAWS), x_bd, None)
    log_w_kb = np.asarray(log_joint(trace, x_bd) - log_posterior(trace), np.float64)
    weight_kb = np.exp(log_w_kb - log_w_kb.max(axis=0))
    return np.square(weight_kb.mean(axis=0)) / np.square(weight_kb).mean(axis=0)


def places(workdir: Path) -> Iterator[tuple[str, int, Place]]:
    """(place, seed, what is there) of all."""
    (run,) = runs_in(workdir)
    variables = load_progress(run).best.variables
    x_bd = scale(jnp.asarray(run.data.validation.images[:CHOICES]))
    model = None
    for lane in run.lanes:
        of_seed = linear_place(lane.seed)
        model = model or of_seed[0]  # the same object: compiled once
        yield "linear", lane.seed, (model, *of_seed[1:])
    first = lane_model(run, variables, 0)[0]
    for i, lane in enumerate(run.lanes):
        own = lane_model(run, variables, i)[1]
        easiest = int(np.argmax(effective(first, own, x_bd)))
        yield "mnist", lane.seed, (first, own, x_bd[:IMAGES])
        yield "easiest", lane.seed, (first, own, x_bd[easiest : easiest + 1])


def measure(workdir: Path) -> None:
    """Leaves RESULTS: {"place", "seed", "estimator", "k", "encoder", "decoder"} for each.

    It is written after each seed of a place; those that are there are not measured again. And
    EFFECTIVE: the effective sample size, a mean over the images of a place.
    """
    path = workdir / RESULTS
    rows = read_json(path) if path.exists() else []
    done = {(row["place"], row["seed"]) for row in rows}
    programs: dict[tuple[str, str, int], Any] = {}
    parts = []
    for place, seed, (model, variables, x_bd) in places(workdir):
        parts.append(
            {"place": place, "seed": seed, "part": float(effective(model, variables, x_bd).mean())}
        )
        if (place, seed) in done:
            continue
        for e, (name, estimator) in enumerate(ESTIMATORS.items()):
            for k in KS:
                program = programs.setdefault(
                    (place, name, k), jax.jit(partial(of_keys, model, estimator, k))
                )
                key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), e), k)
                n = GRADIENTS[place]
                found = program(variables, jax.random.split(key, n), x_bd)
                ratios = {part: signal_to_noise(found[part], n) for part in PARTS}
                rows.append({"place": place, "seed": seed, "estimator": name, "k": k} | ratios)
        files.write_json(path, rows)
        print(f"{place}, seed {seed}: measured", flush=True)
    files.write_json(workdir / EFFECTIVE, parts)


def slopes(rows: list[dict[str, Any]], place: str, name: str, part: str) -> list[float]:
    """The slope of log SNR by log k by seed; a seed without a signal at some k is left out."""
    found = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        of = {
            row["k"]: row[part]
            for row in rows
            if (row["place"], row["estimator"], row["seed"]) == (place, name, seed)
        }
        if all(of.get(k, 0) > 0 for k in FIT):
            found.append(slope(np.log(FIT), np.log([of[k] for k in FIT])))
    return found


def ratio(rows: list[dict[str, Any]], place: str, part: str, name: str, k: int) -> Estimate:
    """The signal-to-noise ratio over seeds."""
    wanted = (place, name, k)
    return estimate(
        [row[part] for row in rows if (row["place"], row["estimator"], row["k"]) == wanted]
    )


def table(workdir: Path) -> str:
    path = workdir / RESULTS
    if not path.exists():
        return "not yet: the gradients are not measured"
    rows, out = read_json(path), []
    for place in dict.fromkeys(row["place"] for row in rows):
        for name in ESTIMATORS:
            claimed = CLAIMED[name]
            claim = "none" if claimed is None else "equal"
            of = estimate(slopes(rows, place, name, "encoder"))
            out.append(Row(f"{place}, encoder, {name}", of, claimed, claim))
        of = estimate(slopes(rows, place, "IWAE", "decoder"))
        out.append(Row(f"{place}, decoder, IWAE", of, 0.5, "equal"))
    ratios = [["SNR, mean over seeds", *(f"k={k}" for k in KS)]]
    for place in dict.fromkeys(row["place"] for row in rows):
        for part, name in CURVES:
            means = [ratio(rows, place, part, name, k).mean for k in KS]
            ratios.append([f"{place}, {part}, {name}", *(shown(m, 3) for m in means)])
    draw(workdir / FIGURE, rows)
    head = "slope of log SNR by log k"
    found = [head, *lines(out), "", *aligned(ratios, left={0})]
    if (workdir / EFFECTIVE).exists():
        parts = read_json(workdir / EFFECTIVE)
        for place in dict.fromkeys(part["place"] for part in parts):
            shares = [f"{part['part']:.1%}" for part in parts if part["place"] == place]
            found.append(f"effective sample size at {place}, by seed: {', '.join(shares)}")
    return "\n".join(found)


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """The signal-to-noise ratio by k, at each place that is measured."""
    panels = [
        chart.Panel(
            title,
            "k",
            "signal-to-noise ratio",
            [
                chart.Curve(
                    f"encoder, {name}" if part == "encoder" else "decoder",
                    KS,
                    [ratio(rows, place, part, name, k) for k in KS],
                )
                for part, name in CURVES
            ],
            log_y=True,
        )
        for place, title in TITLES.items()
        if any(row["place"] == place for row in rows)
    ]
    chart.draw(path, "Signal-to-noise ratio of the gradients by number of samples k", panels)


STUDY = study.Study(get_config, sweep, table, measure)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))

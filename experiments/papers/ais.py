"""How far from log p(x) are annealed importance sampling, its bound from above, and plain sampling?

    python -m experiments.papers.ais --workdir=runs/papers/ais

Wu, Burda, Salakhutdinov and Grosse 2017, On the Quantitative Analysis of Decoder-Based Generative
Models. Annealed importance sampling (AIS) is below log p(x) in expectation. For an x that the model
made, chains that run backwards from its z (bidirectional Monte Carlo, BDMC) are above it, so that
the gap of the two bounds the error; it falls with the number of temperatures. The paper finds AIS
ahead of the bound of many samples of q (importance sampling, IS): for an IWAE on binarised MNIST,
85.68 nats with 1,000 temperatures, and 86.90 by 10,000 samples.

Measured at two places, with 8 chains of 10 leapfrog steps:

- linear: x ~ N(z, I) of 20 dimensions, whose log p(x) is known; 200 images that it made;
- mnist: a VAE 784-200-20, decoder 20-100-784, trained for 6 epochs; 20 images that it made, and
  the first 20 of the test set, which have no bound from above.

Differences from the paper: the decoders and all numbers are smaller (16 chains, 10,000
temperatures, 10,000 test images there), and 6 epochs of training; the model is a VAE.

What was found (seeds 0 to 2; 19:36, 5:55 of them of a processor, on two shared cores of an AMD
EPYC, busy with other work; jax 0.10.2, 2026-12-01), means of nats:

    temperatures             30                 100                300                1,000
    linear: AIS - exact     -0.368 +- 0.009    -0.085 +- 0.022    -0.018 +- 0.011     0.001 +- 0.005
    linear: BDMC - exact     0.364 +- 0.018     0.091 +- 0.014     0.008 +- 0.007     0.007 +- 0.004
    mnist: BDMC - AIS       12.63 +- 0.21       4.17 +- 0.63       0.67 +- 0.15       0.19 +- 0.03

    samples                  100                1,000              10,000
    mnist: IS - AIS         -1.67 +- 0.17      -0.86 +- 0.03      -0.53 +- 0.06
    test: IS - AIS          -1.78 +- 0.13      -1.29 +- 0.09      -0.83 +- 0.10

All of it is on the side where it has to be, and the paper's order holds: 1,000 temperatures are
within 0.2 nats, and 10,000 samples of q miss 0.5 to 0.8.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from experiments.papers import chart, study
from experiments.papers.linear_vae import linear, log_likelihood
from experiments.papers.signal_to_noise import linear_place
from experiments.papers.table import Row, estimate, lines, paired
from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.data.binarization import sampled_once, scale
from vae_jax.evaluation.annealed_importance_sampling import (
    Annealing,
    annealed_importance_sampling,
    bracket,
)
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.folders.schemas import read_json
from vae_jax.models.model import Model, Variables
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import lane_model
from vae_jax.sweeps.plan import runs_in

TEMPERATURES = (30, 100, 300, 1_000)
SAMPLES = (100, 1_000, 10_000)
IMAGES = {"linear": 200, "mnist": 20}
SPEC = Annealing(chains=8, leapfrog_steps=10)
RESULTS = "ais.json"
FIGURE = "annealed_bounds.png"

Numbers = dict[str, float]


def get_config() -> ConfigDict:
    config = study.short_recipe(num_epochs=6)
    config.model.latent_size = 20
    config.model.encoder.widths = (200,)
    config.model.decoder.widths = (100,)
    return config


def sweep(hyper: Any) -> list[dict[str, Any]]:
    return hyper.fixed("objective.name", "elbo")


@partial(jax.jit, static_argnums=(0, 3))
def brackets(model: Model, variables: Variables, keys_n: Key[Array, " n"], spec: Annealing) -> Any:
    """The images that the model makes, and both bounds of each."""
    return jax.vmap(lambda key: bracket(model, variables, key, spec))(keys_n)


@partial(jax.jit, static_argnums=(0, 3))
def forward(
    model: Model, variables: Variables, keys_n: Key[Array, " n"], spec: Annealing, x_nd: Array
) -> Any:
    def of_one(key: Key[Array, ""], x_d: Float[Array, " d"]) -> Any:
        return annealed_importance_sampling(model, variables, key, x_d[None], spec)

    return jax.vmap(of_one)(keys_n, x_nd).log_likelihood


@partial(jax.jit, static_argnums=(0, 4))
def importance(
    model: Model, variables: Variables, key: Key[Array, ""], x_nd: Array, samples: int
) -> Any:
    return importance_sampling(model, variables, key, x_nd, samples).log_likelihood


def mean(values: Any) -> float:
    return float(np.mean(np.asarray(values, np.float64)))


def sampled(model: Model, variables: Variables, key: Key[Array, ""], x_nd: Array) -> Numbers:
    """log p(x) by importance sampling: {"is 100": nats, ...}."""
    keys = jax.random.split(key, len(SAMPLES))
    return {
        f"is {n}": mean(importance(model, variables, own, x_nd, n))
        for n, own in zip(SAMPLES, keys, strict=True)
    }


def own_images(
    model: Model, variables: Variables, key: Key[Array, ""], n: int
) -> tuple[Numbers, Float[np.ndarray, "n d"]]:
    """Means over n images that the model makes, nats, and the images: the same for each bound."""
    image_key, sample_key = jax.random.split(key)
    keys_n, found = jax.random.split(image_key, n), {}
    for temperatures in TEMPERATURES:
        spec = SPEC._replace(temperatures=temperatures)
        around = brackets(model, variables, jax.random.clone(keys_n), spec)
        found[f"lower {temperatures}"] = mean(around.lower)
        found[f"upper {temperatures}"] = mean(around.upper)
    x_nd = around.x[:, 0]
    return found | sampled(model, variables, sample_key, x_nd), np.asarray(x_nd, np.float64)


def test_images(model: Model, variables: Variables, key: Key[Array, ""], x_nd: Array) -> Numbers:
    """Means over images that are given, nats."""
    image_key, sample_key = jax.random.split(key)
    spec = SPEC._replace(temperatures=TEMPERATURES[-1])
    keys_n = jax.random.split(image_key, len(x_nd))
    annealed = forward(model, variables, keys_n, spec, x_nd)
    name = f"lower {TEMPERATURES[-1]}"
    return {name: mean(annealed)} | sampled(model, variables, sample_key, x_nd)


def places(workdir: Path) -> Iterator[tuple[str, int, Numbers]]:
    """(place, seed, log p(x) by each way) of all."""
    (run,) = runs_in(workdir)
    variables = load_progress(run).best.variables
    count = IMAGES["mnist"]
    x_nd = scale(jnp.asarray(sampled_once(jax.random.key(0), run.data.test.images[:count])))
    linear_model = linear_place(0)[0]  # the same objects for all seeds: compiled once
    model = lane_model(run, variables, 0)[0]
    for i, lane in enumerate(run.lanes):
        linear_variables, own = linear_place(lane.seed)[1], lane_model(run, variables, i)[1]
        keys = jax.random.split(jax.random.key(lane.seed), 3)
        found, made_nd = own_images(linear_model, linear_variables, keys[0], IMAGES["linear"])
        exact_n = log_likelihood(linear(linear_model, linear_variables, made_nd), made_nd)
        yield "linear", lane.seed, found | {"exact": mean(exact_n)}
        yield "mnist", lane.seed, own_images(model, own, keys[1], count)[0]
        yield "test", lane.seed, test_images(model, own, keys[2], x_nd)


def measure(workdir: Path) -> None:
    """Leaves RESULTS: {"place", "seed", a mean of log p(x) by its way}, one for each."""
    if (workdir / RESULTS).exists():
        return
    rows = []
    for place, seed, found in places(workdir):
        rows.append({"place": place, "seed": seed} | found)
        print(f"{place}, seed {seed}: measured", flush=True)
    files.write_json(workdir / RESULTS, rows)


def difference(rows: list[dict[str, Any]], place: str, a: str, b: str) -> Any:
    """a - b by seed, nats."""
    of = [
        {row["seed"]: row[name] for row in rows if row["place"] == place and name in row}
        for name in (a, b)
    ]
    return paired(*of)


def table(workdir: Path) -> str:
    path = workdir / RESULTS
    if not path.exists():
        return "not yet: the bounds are measured after the training"
    rows, out = read_json(path), []

    def add(place: str, a: str, b: str, claim: str) -> None:
        found = difference(rows, place, a, b)
        out.append(Row(f"{place}: {a} - {b}", found, 0.0, claim, 3))

    last = TEMPERATURES[-1]
    for n in TEMPERATURES:
        add("linear", f"lower {n}", "exact", "below")
        add("linear", f"upper {n}", "exact", "above")
    for n in SAMPLES:
        add("linear", f"is {n}", "exact", "below")
    for n in TEMPERATURES:
        add("mnist", f"upper {n}", f"lower {n}", "above")
    for place in ("mnist", "test"):
        for n in SAMPLES:
            add(place, f"is {n}", f"lower {last}", "below")
    for place in ("mnist", "test"):
        found = [row[f"lower {last}"] for row in rows if row["place"] == place]
        out.append(Row(f"{place}: lower {last}", estimate(found), None))
    draw(workdir / FIGURE, rows)
    return "\n".join(lines(out))


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Each way's log p(x), against what is exact, or the lower bound of most temperatures."""
    last = f"lower {TEMPERATURES[-1]}"
    ways = (("BDMC", "upper", TEMPERATURES), ("AIS", "lower", TEMPERATURES), ("IS", "is", SAMPLES))
    panels = []
    for place, title, exact in (
        ("linear", "linear, log p(x) known", "exact"),
        ("mnist", "a trained VAE, its own images", last),
    ):
        curves = []
        for label, way, counts in ways:
            named = [(n, f"{way} {n}") for n in counts if f"{way} {n}" != exact]
            y = [difference(rows, place, name, exact) for _, name in named]
            curves.append(chart.Curve(label, [n for n, _ in named], y))
        known = "exact" if exact == "exact" else f"AIS of {TEMPERATURES[-1]:,}"
        y_label = f"log p(x) - {known} (nats per example)"
        panels.append(chart.Panel(title, "temperatures, or samples of q", y_label, curves, line=0))
    chart.draw(path, "Bounds on log p(x) by annealing, and importance sampling (IS)", panels)


STUDY = study.Study(get_config, sweep, table, measure)

if __name__ == "__main__":
    sys.exit(cli.answer(lambda: study.run(STUDY, sys.argv[1:])))

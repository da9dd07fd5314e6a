"""What does each objective cost, compared with the plain ELBO?

    python -m benchmarks objectives

times a step of `configs/default.py` (784-400-20, batch 128, one lane) with each objective,
estimator, regulariser and kind of latents in turn, ROUNDS times, in one process, and prints the
shortest time and its ratio to the plain ELBO's. Then it compares the IWAE at k = 50
(784-200-200-50, batch 20, as in its paper) with the matrix products that it needs, timed alone.
Writes JSON under
benchmarks/results/. Takes about five minutes on two cores.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import RESULTS, leave
from configs import default, mnist_iwae
from vae_jax.config.build import Config
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.dataset import Dataset
from vae_jax.devices.lanes import as_sharded
from vae_jax.runs.run import Lane, first_state, make_dataset, make_program, on_devices
from vae_jax.sections.declare import replace
from vae_jax.training.loop import order_lanes, train_lanes
from vae_jax.words import aligned

ROUNDS = 5
STEPS = 100
K5: dict[str, Any] = {"objective.num_samples": 5}
DOUBLY = {"objective.gradient": "doubly_reparameterized"}
SAMPLED = {"objective.kl": "sampled"}
M2 = {"model.name": "m2", "objective.name": "m2"}
CATEGORICAL = {"model.posterior": "categorical", "model.prior": "uniform"}
POINT = {"model.posterior": "deterministic"}
VQ = {"model.posterior": "vq", "model.prior": "uniform", "model.latent_size": 8}
ROWS: dict[str, dict[str, Any]] = {
    "elbo": {},
    "elbo, sampled KL": SAMPLED,
    "elbo, sticking the landing": SAMPLED | {"objective.gradient": "sticking_the_landing"},
    "elbo, k = 5": K5,
    "iwae, k = 5": K5 | {"objective.name": "iwae"},
    "iwae, k = 5, doubly reparameterized": K5 | {"objective.name": "iwae"} | DOUBLY,
    "iwae, k = 5, wake_wake": K5 | {"objective.name": "iwae", "objective.gradient": "wake_wake"},
    "iwae, k = 5, wake_sleep": K5 | {"objective.name": "iwae", "objective.gradient": "wake_sleep"},
    "miwae, k = 5": K5 | {"objective.name": "miwae"},
    "ciwae, k = 5": K5 | {"objective.name": "ciwae"},
    "piwae, k = 5": K5 | {"objective.name": "piwae"},
    "renyi, k = 5": K5 | {"objective.name": "renyi"},
    "m2 (10 classes)": M2,
    **{
        f"elbo + {name}": {"objective.regularizer": name, "objective.regularizer_weight": 1.0}
        for name in (
            "total_correlation_weighted",
            "total_correlation_stratified",
            "total_correlation_adversarial",
            "mmd",
            "dip_i",
            "dip_ii",
        )
    },
    **{
        f"categorical 20 x 10, {gradient}": CATEGORICAL | {"objective.gradient": gradient}
        for gradient in ("straight_through", "relaxed")
    },
    "categorical 20 x 10, leave_one_out, k = 4": CATEGORICAL
    | {"objective.gradient": "leave_one_out", "objective.num_samples": 4},
    "vq, 8 of 64 entries of 16": VQ,
    "vq, 8 of 512 entries of 16": VQ | {"model.codebook.entries": 512},
    "fsq, 8 of 5 x 5 x 5": VQ | {"model.posterior": "fsq", "model.levels": (5, 5, 5)},
    "rae": POINT | {"objective.name": "rae"},
    "aae": POINT | {"objective.name": "aae", "training.keep": "last"},
    "avb": {
        "model.posterior": "implicit",
        "objective.name": "avb",
        "training.keep": "last",
    },
    "vae_gan": {"objective.name": "vae_gan", "training.keep": "last"},
}


def steps_of(
    config: Config, data: Dataset, lanes: int = 1, steps: int = STEPS
) -> Callable[[], float]:
    """A function that trains so many steps more, of so many seeds; the seconds that a step took."""
    run = make_program([Lane(seed, seed, {}, config) for seed in range(lanes)], RESULTS, data)
    run = run._replace(spec=replace(run.spec, chunk_steps=steps))
    spec, layout, keys, examples = on_devices(run)
    order = as_sharded(layout, order_lanes(spec, layout, keys, np.int32(0)))
    state = first_state(run)

    # Not `train_chunks`: the next chunk that it starts would run while other ways are timed.
    def more() -> float:
        nonlocal state
        began = time.perf_counter()
        before = as_sharded(layout, state)
        state, *_ = train_lanes(spec, layout, before, keys, order, np.int32(steps), examples)
        jax.block_until_ready(state)
        return (time.perf_counter() - began) / steps

    more()
    return more


def products_of(config: Config, d: int) -> Callable[[], float]:
    """A function that does a step's matrix products, forward and backward; its seconds."""
    values = config.values
    b, k = config.training.batch_size, config.objective.num_samples
    latent_size = config.model.latent_size
    up = (d, *values["model.encoder.widths"])
    down = (latent_size, *values["model.decoder.widths"], d)
    layers = [(b, i, o, n > 0) for n, (i, o) in enumerate(pairwise(up))]
    layers += [(b, up[-1], 2 * latent_size, True)]
    layers += [(k * b, i, o, True) for i, o in pairwise(down)]
    rng = np.random.default_rng(0)

    def random(*shape: int) -> jax.Array:
        return jnp.array(rng.normal(size=shape), jnp.float32)

    operands = [(random(n, i), random(i, o), random(n, o)) for n, i, o, _ in layers]

    @jax.jit
    def step(operands: list[tuple[jax.Array, ...]]) -> list[jax.Array]:
        results = []
        for (x, w, g), (_, _, _, to_input) in zip(operands, layers, strict=True):
            results += [x @ w, x.T @ g, *([g @ w.T] if to_input else [])]
        return results

    return seconds_of(step, operands, STEPS)


def seconds_of(step: Callable[..., Any], operands: Any, steps: int) -> Callable[[], float]:
    """A function that calls step(operands) so often; the seconds that a call took."""

    def more() -> float:
        began = time.perf_counter()
        for _ in range(steps):
            results = step(operands)
        jax.block_until_ready(results)
        return (time.perf_counter() - began) / steps

    more()
    return more


def least(ways: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Milliseconds a step: the shortest of ROUNDS, in which the ways take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name].append(way())
    return {name: 1000 * min(rounds) for name, rounds in seconds.items()}


def main() -> None:
    base = check(default.get_config())
    data = make_dataset(base)
    ways = {
        name: steps_of(check(nest(base.values | changes)), data) for name, changes in ROWS.items()
    }
    rows = least(ways)
    lines = [["784-400-20, batch 128", "ms a step", "ratio"]]
    lines += [[name, f"{ms:.2f}", f"{ms / rows['elbo']:.2f}"] for name, ms in rows.items()]
    print("\n".join(aligned(lines, left={0})))
    paper = check(mnist_iwae.get_config())
    data = make_dataset(paper)
    floor = least({"iwae, k = 50": steps_of(paper, data), "products": products_of(paper, 784)})
    whole, alone = floor["iwae, k = 50"], floor["products"]
    print(f"\nIWAE, 784-200-200-50, k = 50, batch 20: {whole:.2f} ms a step; its matrix products")
    print(f"alone: {alone:.2f} ms; ratio {whole / alone:.2f}", flush=True)
    leave("objectives", {"milliseconds": rows, "iwae k = 50": floor})

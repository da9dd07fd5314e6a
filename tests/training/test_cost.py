"""What a compiled step costs, counted by XLA: a careless change is seen without a stopwatch."""

from itertools import pairwise

import jax
import numpy as np
import pytest

from tests.training.compiling import IMAGES, chosen
from vae_jax.models.model import NO_START
from vae_jax.training.step import Examples, init_state, minibatch, train_step
from vae_jax.training.streams import run_keys, step_keys

CONV = {
    "model.encoder.name": "conv",
    "model.encoder.widths": (16, 32),
    "model.decoder.name": "conv",
    "model.decoder.widths": (32, 16),
}
# By name: what differs from configs/default.py, and millions of operations, of bytes and of
# exponentials, logarithms and roots that a step takes (jax 0.10.2, CPU).
STEPS = {
    "784-400-20, batch 128": ({}, 440.2, 48.2, 0.864),
    "iwae, k = 5": ({"objective.name": "iwae", "objective.num_samples": 5}, 1441.3, 82.0, 1.686),
    "conv": (CONV, 2762.4, 440.1, 0.340),
}
TOLERANCE = 0.1  # of another version's counting


def lowered(changes):
    config, lanes = chosen(changes)
    spec = jax.tree.map(lambda leaf: leaf[0], lanes)
    keys = run_keys(0)
    state = jax.eval_shape(init_state, spec, keys, NO_START)

    def step(spec, state, keys, examples, order):
        streams = step_keys(keys, state.step)
        batch = minibatch(spec, streams, examples, order, state.step)
        return train_step(spec, state, streams.objective, batch)

    return config, jax.jit(step).lower(spec, state, keys, Examples(IMAGES), np.arange(256))


def products(values) -> float:
    """Operations of the matrix products of a step of an MLP, each forward and, in the backward
    pass, for its weights and (but for the first layer) its input."""
    b, k = values["training.batch_size"], values["objective.num_samples"]
    up = (784, *values["model.encoder.widths"], 2 * values["model.latent_size"])
    down = (values["model.latent_size"], *values["model.decoder.widths"], 784)
    sizes = [(b, 3 if i else 2, pair) for i, pair in enumerate(pairwise(up))]
    sizes += [(k * b, 3, pair) for pair in pairwise(down)]
    return sum(2 * times * rows * inputs * outputs for rows, times, (inputs, outputs) in sizes)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_costs_what_it_did(name):
    changes, operations, megabytes, transcendentals = STEPS[name]
    config, step = lowered(changes)
    counted = step.cost_analysis()
    assert counted["flops"] == pytest.approx(operations * 1e6, rel=TOLERANCE)
    assert counted["transcendentals"] == pytest.approx(transcendentals * 1e6, rel=TOLERANCE)
    if jax.__version_info__ >= (0, 10):  # an older XLA fuses less
        compiled = step.compile().cost_analysis()["bytes accessed"]
        assert compiled == pytest.approx(megabytes * 1e6, rel=TOLERANCE)
    if name != "conv":
        # All but a twentieth of the operations are products that no VAE can do without.
        assert products(config.values) <= counted["flops"] < 1.05 * products(config.values)

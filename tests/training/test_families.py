"""Every member of every family trains for a few steps, lanes side by side, and learns."""

import jax
import numpy as np
import pytest

from tests.small.families import (
    GREY,
    M2,
    MEMBERS,
    NEEDS,
    SAMPLED,
    SEVERAL,
    SEVERAL_NAMES,
    SMALL,
    WEIGHTS,
)
from tests.small.runs import values_of, write_tiny_npz
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.devices.lanes import to_host
from vae_jax.runs.measure import evaluate_state
from vae_jax.runs.run import first_state, make_run, on_devices
from vae_jax.training.loop import train_chunks

# Combinations that nobody wrote a config for.
COMBINED = {
    "everything learned": {
        "model.encoder.name": "resnet",
        "model.decoder.name": "gated_mlp",
        "model.likelihood": "discretized_logistic_mixture",
        "model.prior": "realnvp",
        "model.posterior": "inverse_autoregressive",
        "objective.name": "iwae",
        "objective.regularizer": "mmd",
        **GREY,
    },
    "labels and noise": {
        "model.conditional": True,
        "model.prior": "learned_gaussian",
        "model.encoder.name": "conv",
        "objective.name": "miwae",
        "objective.gradient": "doubly_reparameterized",
        "objective.corruption": "masking",
    },
    "two layers asleep": {
        "model.name": "two_layers",
        "model.likelihood": "gaussian_shared_scale",
        "objective.name": "iwae",
        "objective.gradient": "wake_sleep",
        "objective.regularizer": "dip_i",
        **GREY,
    },
    "values after values": {
        "model.name": "ladder",
        "model.upper.latent_sizes": (2,),
        "model.upper.widths": (8,),
        "model.decoder.name": "pixelcnn",
        "model.likelihood": "gaussian_optimal_scale",
        "objective.name": "iwae",
        **GREY,
    },
    "a few labels": {
        "model.prior": "learned_gaussian",
        "model.decoder.name": "residual_mlp",
        "training.labelled_per_batch": 5,
        **M2,
    },
    "a causal prior of variables": {
        "model.posterior": "categorical",
        "model.prior": "causal",
        "objective.name": "iwae",
        "objective.gradient": "leave_one_out",
    },
    "two players and labels": {
        "model.conditional": True,
        "objective.name": "aae",
        "objective.critic.times": 2,
        "objective.corruption": "masking",
        "training.ema_decay": 0.9,
        "optimizer.max_grad_norm": 5.0,
    },
    "a vampprior and a discriminator": {
        "model.prior": "vampprior",
        "objective.regularizer": "total_correlation_adversarial",
        "objective.gradient": "sticking_the_landing",
        **SAMPLED,
    },
}


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_tiny_npz(tmp_path_factory.mktemp("families") / "tiny.npz")


def trained(npz, tmp_path, changes, steps=12):
    """(loss of each step [lanes, steps], validation, state) of two lanes side by side."""
    base = SMALL | SEVERAL | WEIGHTS | {"training.lanes_at_once": 2, "log.every_steps": 12}
    config = check(
        nest(values_of(npz) | base | {"optimizer.learning_rate": 5e-3} | changes), idle_allowed=True
    )
    run = make_run(config, tmp_path)
    losses, state = [], first_state(run)
    for chunk in train_chunks(*on_devices(run), state, total_steps=2 * steps):
        state, metrics = chunk.state, chunk.metrics
        losses.append(metrics.totals["loss"] / metrics.examples)
    validation = evaluate_state(run, state, run.data.validation)
    return np.concatenate(losses, axis=1), to_host(run.layout, validation), state


def assert_it_learns(losses, validation, state):
    assert (state.diverged_step == -1).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.variables, validation)))
    assert losses.shape == (2, 24)
    assert (losses[0] != losses[1]).all()  # each lane its own seed
    assert (losses[:, -6:].mean(axis=1) < losses[:, :6].mean(axis=1)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("key", "name"), MEMBERS)
def test_it_trains(npz, tmp_path, key, name):
    value = (name,) if key in SEVERAL_NAMES else name
    assert_it_learns(*trained(npz, tmp_path, NEEDS.get((key, name), {}) | {key: value}))


DEFAULT = ("a vampprior and a discriminator",)


@pytest.mark.parametrize(
    "name",
    [n if n in DEFAULT else pytest.param(n, marks=pytest.mark.slow) for n in COMBINED],
)
def test_combinations_train(npz, tmp_path, name):
    assert_it_learns(*trained(npz, tmp_path, COMBINED[name]))

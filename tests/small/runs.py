"""Small data, configs and runs."""

import json
from typing import Any, NamedTuple

import numpy as np

import vae_jax
from configs import default
from vae_jax.commands import evaluate as evaluate_command
from vae_jax.commands import train as train_command
from vae_jax.config.build import Config, make_config
from vae_jax.config.check import check
from vae_jax.config.schema import nest


class Loaded(NamedTuple):
    """What tests take of a trained lane."""

    model: Any
    variables: Any
    data: Any


def load(workdir, lane=0, data_path=None) -> Loaded:
    found = vae_jax.load(workdir, lane, data_path)
    return Loaded(found.model, found.variables, found.data)


def write_tiny_npz(path):
    """An .npz of labelled 6 x 6 images in which there is something to learn."""
    rng = np.random.default_rng(0)

    def images(n):
        labels = rng.integers(0, 3, n)
        prototypes = np.zeros((3, 6, 6))
        prototypes[0, :3], prototypes[1, :, :3], prototypes[2, 2:5, 2:5] = 0.9, 0.9, 0.9
        return (255 * prototypes[labels]).astype(np.uint8), labels

    train_images, train_labels = images(300)
    test_images, test_labels = images(50)
    np.savez(
        path,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )
    return path


def values_of(npz, **changes):
    """The flat config of a small model on the tiny images; changes: model__latent_size=2."""
    values = check(default.get_config()).values | {
        "dataset.name": "arrays",
        "dataset.path": str(npz),
        "dataset.in_memory": "yes",
        "dataset.validation_size": 50,
        "dataset.binarization": "dynamic",
        "model.likelihood": "bernoulli",
        "model.encoder.inputs": "raw",
        "model.latent_size": 3,
        "model.encoder.widths": (8,),
        "model.decoder.widths": (8,),
        "training.batch_size": 20,
        "training.num_epochs": 3,
        "training.seeds": (4, 9),
        "log.every_steps": 5,
    }
    return values | {key.replace("__", "."): value for key, value in changes.items()}


def config_of(npz, **changes) -> Config:
    """The same, as it is passed on."""
    return make_config(values_of(npz, **changes))


def train(config, workdir):
    """Trains a config that is still to be checked."""
    train_command.train(check(config), workdir)


def evaluate(workdir, config):
    """Evaluates by a config that is still to be checked."""
    evaluate_command.evaluate(workdir, check(config))


def run(npz, workdir, **changes):
    values = values_of(npz, **changes)
    train(nest(values), workdir)
    return values


def rows_of(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]

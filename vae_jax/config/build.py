"""Builds the sections of a config, and the spec of a program, from checked values."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.config.schema import SECTIONS, Log, Sweep
from vae_jax.data import DatasetSpec
from vae_jax.data.dataset import Dataset
from vae_jax.evaluation.metrics import Evaluation
from vae_jax.keys import Facts, Values, build, replace, resolve, stack
from vae_jax.models import ModelSpec
from vae_jax.objectives import Objective
from vae_jax.training.optimizer import Optimizer
from vae_jax.training.search import Search
from vae_jax.training.spec import Spec, Training


class Config(NamedTuple):
    """The sections of a config, in the units of the config (epochs, not steps)."""

    dataset: DatasetSpec
    model: ModelSpec
    objective: Objective
    optimizer: Optimizer
    training: Training
    evaluation: Evaluation
    sweep: Sweep
    search: Search
    log: Log


def make_config(values: Values) -> Config:
    """The sections, from checked values."""
    return Config(*(build(SECTIONS[name], values, name) for name in Config._fields))


def facts_of(config: Config, data: Dataset) -> Facts:
    """What a program needs to know about the data and the length of the run."""
    train_size = len(data.train.images)
    steps_per_epoch = train_size // config.training.fitting(train_size).batch_size
    return Facts(
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        train_size=train_size,
        steps_per_epoch=steps_per_epoch,
        total_steps=config.training.num_epochs * steps_per_epoch,
    )


def lane_spec(values: Values, data: Dataset, padded_latent_size: int | None = None) -> Spec:
    """The spec of one lane; with `padded_latent_size`, latent units beyond its own are masked."""
    config = make_config(values)
    facts = facts_of(config, data)
    model = resolve(config.model, facts)
    if padded_latent_size is not None:
        mask: Any = np.arange(padded_latent_size) < model.latent_size
        model = replace(model, latent_size=padded_latent_size, latent_mask=mask)
    return Spec(
        model=model,
        objective=resolve(config.objective, facts),
        optimizer=resolve(config.optimizer, facts),
        training=resolve(config.training, facts).fitting(facts.train_size),
        train_size=facts.train_size,
        dynamic=data.dynamic,
        chunk_steps=min(config.log.every_steps, facts.steps_per_epoch),
    )


def make_spec(
    lanes: Sequence[Values], data: Dataset, padded_latent_size: int | None = None
) -> Spec:
    """The spec of lanes whose configs differ only in LANE_KEYS (and in the latent size, padded)."""
    specs = [lane_spec(values, data, padded_latent_size) for values in lanes]
    unclipped = all(math.isinf(spec.optimizer.max_grad_norm) for spec in specs)
    return stack([replace(s, optimizer=replace(s.optimizer, unclipped=unclipped)) for s in specs])

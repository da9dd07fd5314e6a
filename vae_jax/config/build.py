"""Builds the sections of a config, and the spec of a program, from checked values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vae_jax.config.code import NO_MEMBERS, Members
from vae_jax.config.declared import Key, is_read
from vae_jax.config.schema import SECTIONS, Log, Sweep, keys_with, sections_of
from vae_jax.data import DatasetSpec
from vae_jax.data.dataset import Dataset
from vae_jax.evaluation.metrics import Evaluation
from vae_jax.models import ModelSpec
from vae_jax.objectives import Objective
from vae_jax.sections.declare import Facts, Values, build, replace, resolve, stack
from vae_jax.training.optimizer import Optimizer
from vae_jax.training.search import Search
from vae_jax.training.spec import Spec, Training

CHUNK_BYTES = 64_000_000  # of images that are read at a time, at most, where they stay on disk


@dataclass(frozen=True)
class Config:
    """A checked config: its sections, in the units of the config (epochs, not steps)."""

    values: Values  # the same, flat: what files hold, and what others override

    dataset: DatasetSpec
    model: ModelSpec
    objective: Objective
    optimizer: Optimizer
    training: Training
    evaluation: Evaluation
    sweep: Sweep
    search: Search
    log: Log

    # The user-defined members that its values may name: of one in a sweep, those of all settings.
    members: Members = field(default_factory=dict, repr=False, compare=False)

    @property
    def sections(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in SECTIONS)

    @property
    def keys(self) -> Mapping[str, Key]:
        """Every key that it may have."""
        return keys_with(self.members)

    def value(self, key: str) -> Any:
        """The value of a key; its default where only members read it that this config lacks."""
        return self.values[key] if key in self.values else self.keys[key].default


def make_config(values: Values, members: Members = NO_MEMBERS) -> Config:
    """The config of checked values.

    A key that only user-defined members read may be left out; it has its default.
    """
    values = values | {
        name: key.default
        for name, key in keys_with(members).items()
        if name not in values and is_read(key, values)
    }
    of_user = sections_of(members)
    sections = {name: build(SECTIONS[name], values, name, of_user) for name in SECTIONS}
    return Config(values, **sections, members=members)


def overridden(config: Config, values: Values, members: Members | None = None) -> Config:
    """The config with some other values, which are checked already.

    `members`: the user-defined members that they may name; None: those of the config.
    """
    if not values and members is None:
        return config
    members = config.members if members is None else members
    return make_config(config.values | values, members)


def facts_of(config: Config, data: Dataset) -> Facts:
    """What a program needs to know about the data and the length of the run."""
    train_size = len(data.train.images)
    steps_per_epoch = train_size // config.training.fitting(train_size).batch_size
    return Facts(
        image_shape=data.image_shape,
        num_classes=data.num_given,
        train_size=train_size,
        steps_per_epoch=steps_per_epoch,
        total_steps=config.training.num_epochs * steps_per_epoch,
        counts=data.is_counts,
        given_sizes=data.given_sizes,
    )


def lane_spec(config: Config, data: Dataset, padded_latent_size: int | None = None) -> Spec:
    """The spec of one lane; with `padded_latent_size`, latent units beyond its own are masked."""
    facts = facts_of(config, data)
    model = resolve(config.model, facts)
    if padded_latent_size is not None:
        mask: Any = np.arange(padded_latent_size) < model.latent_size
        model = replace(model, latent_size=padded_latent_size, latent_mask=mask)
    training = resolve(config.training, facts).fitting(facts.train_size)
    chunk_steps = min(config.log.every_steps, facts.steps_per_epoch)
    if data.is_streamed:
        of_step = training.batch_size * (data.train.images.nbytes // facts.train_size)
        chunk_steps = min(chunk_steps, max(1, CHUNK_BYTES // of_step))
    return Spec(
        model=model,
        objective=resolve(config.objective, facts),
        optimizer=resolve(config.optimizer, facts),
        training=training,
        train_size=facts.train_size,
        dynamic=data.dynamic,
        chunk_steps=chunk_steps,
        augmentations=resolve(config.dataset.augmentations, facts),
    )


def make_spec(
    lanes: Sequence[Config], data: Dataset, padded_latent_size: int | None = None
) -> Spec:
    """The spec of lanes whose configs differ only in traced keys (and the latent size, padded)."""
    specs = [lane_spec(config, data, padded_latent_size) for config in lanes]
    unclipped = all(math.isinf(spec.optimizer.max_grad_norm) for spec in specs)
    return stack([replace(s, optimizer=replace(s.optimizer, unclipped=unclipped)) for s in specs])

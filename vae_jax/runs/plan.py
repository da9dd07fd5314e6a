"""From checked config values to a Run: dataset, spec, hyperparameters, keys."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.data import DATASETS, READS
from vae_jax.data.dataset import Dataset, dataset
from vae_jax.errors import UserError
from vae_jax.models.vae import ModelSpec
from vae_jax.networks.network import NetworkSpec
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.runs.config import Values
from vae_jax.training.keys import RunKeys, lane_keys
from vae_jax.training.optimizer import OptimizerHyper, OptimizerSpec
from vae_jax.training.spec import Hyperparameters, Spec


class Run(NamedTuple):
    """What stays the same from a run's first step to its last figure."""

    values: Values
    workdir: Path
    data: Dataset
    spec: Spec
    hyper: Hyperparameters
    keys: RunKeys
    pseudo: bool  # whether the "ELBO" is one of a pseudo-likelihood

    @property
    def total_steps(self) -> int:
        return self.values["training.num_epochs"] * self.spec.steps_per_epoch


def make_run(values: Values, workdir: Path) -> Run:
    """The run of a checked config. Touches no folder.

    Raises:
      UserError: the data can't be loaded, or do not go with the config.
    """
    data = make_dataset(values)
    spec = make_spec(values, data)
    return Run(
        values=values,
        workdir=workdir,
        data=data,
        spec=spec,
        hyper=make_hyper(values, spec),
        keys=lane_keys(values["training.seeds"]),
        pseudo=is_pseudo_likelihood(values, data),
    )


class Section(NamedTuple):
    """The part of the config that a dataset's loader sees."""

    path: str
    tfds_name: str


def make_dataset(values: Values) -> Dataset:
    """Loads, splits and binarises the config's dataset.

    Raises:
      UserError: it can't be loaded, or a key is set that this dataset does not read.
    """
    name = values["dataset.name"]
    section = Section(values["dataset.path"], values["dataset.tfds_name"])
    for key, value in section._asdict().items():
        if value and key not in READS.get(name, ()):
            readers = " or ".join(repr(other) for other in READS if key in READS[other])
            raise UserError(
                f"dataset.{key} = {value!r} is set, but dataset.name = {name!r} does not read it; "
                f"for that dataset.name should be {readers}"
            )
    return dataset(
        DATASETS[name](section),
        validation_size=values["dataset.validation_size"],
        binarization=values["dataset.binarization"],
        binarization_seed=values["dataset.binarization_seed"],
    )


def network_spec(values: Values, side: str) -> NetworkSpec:
    """`side` is "encoder" or "decoder"."""
    return NetworkSpec(
        name=values[f"model.{side}.name"],
        widths=values[f"model.{side}.widths"],
        activation=values[f"model.{side}.activation"],
    )


def make_model_spec(values: Values, image_shape: tuple[int, int, int]) -> ModelSpec:
    """The model's static choice, for images of (height, width, channels)."""
    return ModelSpec(
        image_shape=image_shape,
        latent_size=values["model.latent_size"],
        encoder=network_spec(values, "encoder"),
        decoder=network_spec(values, "decoder"),
        likelihood=values["model.likelihood"],
        prior=values["model.prior"],
        posterior=values["model.posterior"],
    )


def make_spec(values: Values, data: Dataset) -> Spec:
    """What is static.

    Raises:
      UserError: a batch larger than the training set.
    """
    train_size = len(data.train.images)
    batch_size = values["training.batch_size"]
    if batch_size > train_size:
        raise UserError(
            f"training.batch_size = {batch_size} should be at most the {train_size} training "
            "examples there are"
        )
    return Spec(
        model=make_model_spec(values, data.image_shape),
        objective=ObjectiveSpec(values["objective.name"], values["objective.num_samples"]),
        optimizer=OptimizerSpec(values["optimizer.name"], values["optimizer.schedule.name"]),
        batch_size=batch_size,
        train_size=train_size,
        dynamic=data.dynamic,
        chunk_steps=min(values["log.every_steps"], train_size // batch_size),
    )


def make_hyper(values: Values, spec: Spec) -> Hyperparameters:
    """What is traced: float32 arrays with a leading axis of lanes, one a seed."""
    steps_per_epoch = spec.steps_per_epoch
    boundaries: Any = np.array(values["optimizer.schedule.boundaries"]) * steps_per_epoch
    max_grad_norm: Any = values["optimizer.max_grad_norm"] or np.inf
    one_lane = Hyperparameters(
        objective=ObjectiveHyper(
            beta=values["objective.beta"],
            warmup_steps=values["objective.warmup_epochs"] * steps_per_epoch,
        ),
        optimizer=OptimizerHyper(
            learning_rate=values["optimizer.learning_rate"],
            b1=values["optimizer.b1"],
            b2=values["optimizer.b2"],
            eps=values["optimizer.eps"],
            momentum=values["optimizer.momentum"],
            weight_decay=values["optimizer.weight_decay"],
            max_grad_norm=max_grad_norm,
            total_steps=values["training.num_epochs"] * steps_per_epoch,
            final_fraction=values["optimizer.schedule.final_fraction"],
            boundaries=boundaries,
            decay_factor=values["optimizer.schedule.decay_factor"],
        ),
    )
    lanes = len(values["training.seeds"])
    return jax.tree.map(lambda v: np.stack([np.asarray(v, np.float32)] * lanes), one_lane)


def is_pseudo_likelihood(values: Values, data: Dataset) -> bool:
    """Whether the likelihood is one of binary data alone and the data are not binary."""
    return LIKELIHOODS[values["model.likelihood"]].binary and not data.binary

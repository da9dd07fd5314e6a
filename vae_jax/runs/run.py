"""From checked config values to a Run: dataset, lanes, what trains them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.config.build import is_pseudo_likelihood, make_hyper, make_spec, reads_labels
from vae_jax.config.schema import Values
from vae_jax.data import DATASETS, READS
from vae_jax.data.binarization import scale
from vae_jax.data.dataset import Dataset, Split, dataset, mean_image
from vae_jax.devices.lanes import Layout, layout, replicate, shard_lanes
from vae_jax.errors import UserError
from vae_jax.models import make_model
from vae_jax.models.model import VAE, ModelHyper, Params
from vae_jax.training.loop import init_lanes
from vae_jax.training.spec import Hyperparameters, Spec
from vae_jax.training.step import Examples, Start, State
from vae_jax.training.streams import RunKeys, lane_keys


class Lane(NamedTuple):
    """One run inside a program."""

    number: int  # in the whole run or sweep
    seed: int
    setting: dict[str, Any]  # the swept keys and their values; {} outside a sweep
    values: Values  # its whole config


class Run(NamedTuple):
    """What one program trains; it stays the same from the first step to the last figure."""

    lanes: tuple[Lane, ...]
    workdir: Path
    data: Dataset
    spec: Spec
    layout: Layout
    hyper: Hyperparameters
    keys: RunKeys
    pseudo: bool  # whether the "ELBO" is one of a pseudo-likelihood

    @property
    def values(self) -> Values:
        """The config; of LANE_KEYS (and a padded latent size), the first lane's."""
        return self.lanes[0].values

    @property
    def total_steps(self) -> int:
        return self.values["training.num_epochs"] * self.spec.steps_per_epoch


def make_run(values: Values, workdir: Path) -> Run:
    """The run of a checked config, a lane a seed. Touches no folder.

    Raises:
      UserError: the data can't be loaded, or do not go with the config.
    """
    lanes = [Lane(i, seed, {}, values) for i, seed in enumerate(values["training.seeds"])]
    return make_program(lanes, workdir, make_dataset(values))


def make_program(
    lanes: Sequence[Lane], workdir: Path, data: Dataset, padded_latent_size: int | None = None
) -> Run:
    """The run of lanes whose configs differ in LANE_KEYS alone.

    With a `padded_latent_size`, every lane has that many latent units and those past its own
    latent size are masked.

    Raises:
      UserError: the data do not go with the config, or there are too few devices.
    """
    values = lanes[0].values
    spec = make_spec(values, data)
    if padded_latent_size is not None:
        spec = spec._replace(model=spec.model._replace(latent_size=padded_latent_size))
    return Run(
        lanes=tuple(lanes),
        workdir=workdir,
        data=data,
        spec=spec,
        layout=make_layout(values, len(lanes)),
        hyper=make_hyper([lane.values for lane in lanes], spec, padded_latent_size is not None),
        keys=lane_keys([lane.seed for lane in lanes]),
        pseudo=is_pseudo_likelihood(values, data),
    )


def make_layout(values: Values, lanes: int) -> Layout:
    """The lanes over all devices there are.

    Raises:
      UserError: fewer devices than are to share a batch.
    """
    data_devices = values["training.data_devices"]
    if data_devices > jax.device_count():
        raise UserError(
            f"training.data_devices = {data_devices} should be at most the {jax.device_count()} "
            f"{jax.devices()[0].platform} devices there are"
        )
    return layout(lanes, data_devices, values["training.lanes_at_once"])


def lane_model(run: Run, params: Params, lane: int) -> tuple[VAE, Params]:
    """The model of one lane and, of all lanes' params, its own, cut back to its latent size."""
    values = run.lanes[lane].values
    spec = run.spec.model._replace(latent_size=values["model.latent_size"])
    model = make_model(spec, ModelHyper(likelihood_scale=values["model.likelihood_scale"]))
    start = first_examples(run)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), None, start))
    own = {
        name: jax.tree.map(
            lambda shape, leaf: leaf[lane][tuple(map(slice, shape.shape))], shape, params[name]
        )
        for name, shape in shapes.items()
    }
    return model, own


def first_examples(run: Run) -> np.ndarray | None:
    """The training examples, scaled, at which a VampPrior's pseudo-inputs start."""
    if run.spec.model.prior.name != "vampprior":
        return None
    return np.asarray(scale(jnp.asarray(run.data.train.images[: run.spec.model.prior.components])))


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
        num_labels=values["dataset.num_labels"],
    )


def make_examples(run: Run) -> Examples:
    """The training set as the program takes it."""
    labels = run.data.train.labels if reads_labels(run.values) else None
    labels = None if labels is None else labels.astype(np.int32)
    if labels is None or not run.spec.labelled_per_batch:
        return Examples(run.data.train.images, labels)
    return Examples(run.data.train.images, labels, np.flatnonzero(labels >= 0).astype(np.int32))


def evaluation_labels(run: Run, split: Split) -> np.ndarray | None:
    """The labels that a conditional model is given; M2 infers them."""
    if not run.values["model.conditional"] or split.labels is None:
        return None
    return split.labels.astype(np.int32)


def on_devices(run: Run) -> tuple[Spec, Layout, Hyperparameters, RunKeys, Examples]:
    """What `train_chunks` takes beside a state."""
    hyper, keys = shard_lanes(run.layout, (run.hyper, run.keys))
    return run.spec, run.layout, hyper, keys, replicate(run.layout, make_examples(run))


def first_state(run: Run) -> State:
    """Of all lanes, on the devices, before the first step."""
    hyper, keys = shard_lanes(run.layout, (run.hyper, run.keys))
    start = replicate(run.layout, make_start(run))
    return init_lanes(run.spec, run.layout, hyper, keys, start)


def make_start(run: Run) -> Start:
    """What the first params take from the training set."""
    from_data = run.values["model.decoder.output_bias_from_data"]
    return Start(mean_image(run.data.train) if from_data else None, first_examples(run))

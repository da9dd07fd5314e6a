"""Builds a Run from checked config values: dataset, lanes, spec, layout and random keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.config.build import Config, lane_spec, make_spec
from vae_jax.config.decide import decided, undecided
from vae_jax.config.needs import refuse_data
from vae_jax.data import DatasetSection, DatasetSpec
from vae_jax.data.binarization import scale
from vae_jax.data.dataset import Dataset, Split, dataset, log_total, mean_image, spread
from vae_jax.data.source import Source
from vae_jax.devices.lanes import Layout, layout, replicate, shard_lanes
from vae_jax.errors import UserError
from vae_jax.models import make_model
from vae_jax.models.model import Model, Start, Variables
from vae_jax.objectives import Objective
from vae_jax.training.feed import Feed
from vae_jax.training.loop import init_lanes
from vae_jax.training.spec import Spec
from vae_jax.training.step import Examples, State
from vae_jax.training.streams import RunKeys, lane_keys


class Lane(NamedTuple):
    """One run inside a program."""

    number: int  # unique in the run or sweep
    seed: int
    setting: dict[str, Any]  # the swept keys and their values; {} outside a sweep
    config: Config


class Run(NamedTuple):
    """All lanes of one program, and what is constant from the first step to the last figure."""

    lanes: tuple[Lane, ...]
    workdir: Path
    data: Dataset
    spec: Spec  # with a leading axis of lanes
    layout: Layout
    keys: RunKeys

    @property
    def config(self) -> Config:
        """The first lane's config; others differ in traced keys only (or a padded latent size)."""
        return self.lanes[0].config

    @property
    def total_steps(self) -> int:
        return self.config.training.num_epochs * self.spec.steps_per_epoch

    @property
    def patience(self) -> int:
        """The run ends after this many steps without an improvement in any lane; 0: it does not."""
        return self.config.training.patience * self.spec.steps_per_epoch

    @property
    def pseudo(self) -> bool:
        """Whether the "ELBO" is a pseudo-likelihood's: the likelihood is for binary data only."""
        return self.spec.model.likelihood.support == "binary" and not self.data.binary


class Datasets:
    """Loads each dataset once."""

    def __init__(self) -> None:
        self._sources: dict[DatasetSection, Source] = {}
        self._loaded: dict[DatasetSpec, Dataset] = {}

    def source(self, config: Config) -> Source:
        """The config's images and labels as they are stored."""
        section = config.dataset.source
        if section not in self._sources:
            self._sources[section] = section.load()
        return self._sources[section]

    def decided(self, config: Config) -> Config:
        """Fills in the choices that the config leaves to its data."""
        if not undecided(config):
            return config
        source = self.source(config)
        found = decided(config, source)
        self._sources[found.dataset.source] = source  # not loaded again, for what was decided
        return found

    def of(self, config: Config) -> Dataset:
        """The config's dataset, split and binarised.

        Raises:
          UserError: it can't be loaded.
        """
        spec = config.dataset
        if spec not in self._loaded:
            self._loaded[spec] = dataset(
                self.source(config),
                validation_size=spec.validation_size,
                binarization=spec.binarization,
                binarization_seed=spec.binarization_seed,
                num_labels=spec.num_labels,
            )
        return self._loaded[spec]


def make_run(config: Config, workdir: Path) -> Run:
    """The run of a checked config, one lane per seed. Writes to no folder.

    Its config has the choices filled in that this one leaves to the data.

    Raises:
      UserError: the data can't be loaded, or do not fit the config.
    """
    data = Datasets()
    config = data.decided(config)
    return make_program(lanes_of(config), workdir, data.of(config))


def lanes_of(config: Config) -> list[Lane]:
    """A lane for each seed of a config."""
    return [Lane(i, seed, {}, config) for i, seed in enumerate(config.training.seeds)]


def make_program(
    lanes: Sequence[Lane], workdir: Path, data: Dataset, padded_latent_size: int | None = None
) -> Run:
    """The run of lanes whose configs differ only in traced keys.

    With `padded_latent_size`, every lane has that many latent units, and those beyond its own
    latent size are masked.

    Raises:
      UserError: the data do not fit the config.
    """
    config = lanes[0].config
    refuse_data(config, data)
    streams = [lane.config.training.seeds_of_streams for lane in lanes]
    return Run(
        lanes=tuple(lanes),
        workdir=workdir,
        data=data,
        spec=make_spec([lane.config for lane in lanes], data, padded_latent_size),
        layout=make_layout(config, len(lanes)),
        keys=lane_keys(
            [lane.seed for lane in lanes],
            {stream: [seeds[stream] for seeds in streams] for stream in streams[0]},
        ),
    )


def make_layout(config: Config, lanes: int) -> Layout:
    """The layout of the lanes over all available devices.

    Where there are fewer than training.data_devices, those share each batch: a run can be measured
    on a machine that could not train it.
    """
    data_devices = min(config.training.data_devices, jax.device_count())
    return layout(lanes, data_devices, config.training.lanes_at_once)


def refuse_too_few_devices(config: Config) -> None:
    """Raises UserError if there are fewer devices than training.data_devices."""
    wanted, available = config.training.data_devices, jax.device_count()
    if wanted > available:
        raise UserError(
            f"training.data_devices = {wanted} should be at most the {available} "
            f"{jax.devices()[0].platform} devices there are"
        )


def lane_model(run: Run, variables: Variables, lane: int) -> tuple[Model, Variables]:
    """The model of one lane, and its part of all lanes' variables, without padded units."""
    model = make_model(lane_spec(run.lanes[lane].config, run.data).model)
    start = Start(examples_nd=first_examples(run))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), start))
    lane_variables = {
        part: jax.tree.map(
            lambda shape, leaf: leaf[lane][tuple(map(slice, shape.shape))],
            shapes[part],
            {name: variables[part][name] for name in shapes[part]},
        )
        for part in shapes
    }
    return model, lane_variables


def lane_objective(run: Run, lane: int) -> Objective:
    """The objective of one lane."""
    return jax.tree.map(lambda leaf: leaf[lane], run.spec.objective)


def first_examples(run: Run) -> np.ndarray | None:
    """The scaled training images that the initial params take."""
    count = run.spec.model.abilities.examples
    return np.asarray(scale(jnp.asarray(run.data.train.images[:count]))) if count else None


def make_dataset(config: Config) -> Dataset:
    """Loads, splits and binarises the config's dataset.

    Raises:
      UserError: the dataset can't be loaded.
    """
    return Datasets().of(config)


def make_examples(run: Run) -> Examples | Feed:
    """The training set, as input of the program; a feed of it where it stays on disk."""
    labels = run.data.train.given if run.spec.model.abilities.reads_labels else None
    labels = None if labels is None else labels.astype(np.int32)
    if run.data.is_streamed:
        return Feed(run.data.train.images, labels)
    if labels is None or not run.spec.training.labelled_per_batch:
        return Examples(run.data.train.images, labels)
    return Examples(run.data.train.images, labels, np.flatnonzero(labels >= 0).astype(np.int32))


def evaluation_labels(run: Run, split: Split) -> np.ndarray | None:
    """What a conditional model is given of a split: its labels, or the numbers of its conditions;
    None if it reads none, or infers them."""
    able = run.spec.model.abilities
    if not able.reads_labels or able.infers_labels or split.given is None:
        return None
    return split.given.astype(np.int32)


def make_start(run: Run) -> Start:
    """What the initial params take from the training set."""
    model = run.config.model
    start = Start(examples_nd=first_examples(run))
    if model.likelihood.learns_size:
        start = start._replace(log_total=log_total(run.data.train))
    centred = model.inputs == "standardized"
    from_data = model.output_bias_from_data or model.has_scale or run.data.is_counts
    if not (centred or from_data):
        return start
    mean_d = mean_image(run.data.train)
    return start._replace(
        mean_d=mean_d if from_data else None,
        centre_d=mean_d if centred else None,
        scale=spread(run.data.train, mean_d) if centred or model.has_scale else start.scale,
    )


def on_devices(run: Run) -> tuple[Spec, Layout, RunKeys, Examples | Feed]:
    """The arguments of `train_chunks` besides the state."""
    (spec, keys), examples = shard_lanes(run.layout, (run.spec, run.keys)), make_examples(run)
    if isinstance(examples, Examples):
        examples = replicate(run.layout, examples)
    return spec, run.layout, keys, examples


def first_state(run: Run) -> State:
    """The state of all lanes before the first step, on the devices."""
    spec, keys = shard_lanes(run.layout, (run.spec, run.keys))
    return init_lanes(spec, run.layout, keys, replicate(run.layout, make_start(run)))

"""From checked config values to a Run: dataset, spec, hyperparameters, keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.data import DATASETS, READS
from vae_jax.data.binarization import scale
from vae_jax.data.dataset import Dataset, dataset, mean_image
from vae_jax.errors import UserError
from vae_jax.lanes import Layout, layout
from vae_jax.models import make_model
from vae_jax.models.model import VAE, ModelHyper, ModelSpec, Params, TopSpec
from vae_jax.networks.network import NetworkSpec
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec
from vae_jax.objectives.regularizers import DISCRIMINATOR_LOSSES
from vae_jax.probability.flows import FlowSpec
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.probability.posteriors import PosteriorSpec
from vae_jax.probability.priors import PriorSpec
from vae_jax.runs.combinations import refuse_data
from vae_jax.runs.config import Values
from vae_jax.training.keys import RunKeys, lane_keys
from vae_jax.training.optimizer import OptimizerHyper, OptimizerSpec
from vae_jax.training.spec import Hyperparameters, Spec
from vae_jax.training.step import Examples, Start

# The numbers that lanes of one program may differ in: traced, one value a lane. Every other key
# changes the compiled program, the data, or what the host does with them.
LANE_KEYS = frozenset(
    {
        "model.likelihood_scale",
        "objective.beta",
        "objective.warmup_epochs",
        "objective.warmup_cycles",
        "objective.free_bits",
        "objective.capacity",
        "objective.capacity_epochs",
        "objective.alpha",
        "objective.elbo_weight",
        "objective.corruption_amount",
        "objective.regularizer_weight",
        "objective.diagonal_weight",
        "objective.classification_weight",
        "objective.discriminator.learning_rate",
        "objective.discriminator.b1",
        "objective.discriminator.b2",
        "optimizer.learning_rate",
        "optimizer.b1",
        "optimizer.b2",
        "optimizer.eps",
        "optimizer.momentum",
        "optimizer.weight_decay",
        "optimizer.max_grad_norm",
        "optimizer.schedule.final_fraction",
        "optimizer.schedule.boundaries",
        "optimizer.schedule.decay_factor",
    }
)


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
      UserError: fewer devices than are to share a batch, or too old a jax for it.
    """
    data_devices = values["training.data_devices"]
    if data_devices > 1 and jax.__version_info__ < (0, 8):
        raise UserError(
            f"training.data_devices = {data_devices} needs jax 0.8 or newer; this is "
            f"{jax.__version__}"
        )
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


def network_spec(values: Values, side: str) -> NetworkSpec:
    """`side` is "encoder" or "decoder"."""
    return NetworkSpec(
        name=values[f"model.{side}.name"],
        widths=values[f"model.{side}.widths"],
        activation=values[f"model.{side}.activation"],
        norm=values[f"model.{side}.norm"],
    )


def make_model_spec(values: Values, data: Dataset) -> ModelSpec:
    """The model's static choice."""
    flow = FlowSpec(values["model.flow.layers"], values["model.flow.width"])
    encoder = network_spec(values, "encoder")
    top = TopSpec(
        values["model.top.latent_size"],
        NetworkSpec("mlp", values["model.top.widths"], encoder.activation),
    )
    return ModelSpec(
        image_shape=data.image_shape,
        latent_size=values["model.latent_size"],
        encoder=encoder,
        decoder=network_spec(values, "decoder"),
        likelihood=values["model.likelihood"],
        prior=PriorSpec(values["model.prior"], values["model.prior_components"], flow),
        posterior=PosteriorSpec(
            values["model.posterior"], values["model.posterior_components"], flow
        ),
        name=values["model.name"],
        num_classes=data.num_classes if reads_labels(values) else 0,
        top=top if values["model.name"] == "two_layers" else None,
    )


def reads_labels(values: Values) -> bool:
    """Whether the model is given labels."""
    return values["model.conditional"] or values["model.name"] == "m2"


def make_objective_spec(values: Values, train_size: int) -> ObjectiveSpec:
    """The objective's static choice."""
    regularizer = values["objective.regularizer"]
    adversarial = regularizer in DISCRIMINATOR_LOSSES
    widths = values["objective.discriminator.widths"]
    return ObjectiveSpec(
        name=values["objective.name"],
        num_samples=values["objective.num_samples"],
        gradient=values["objective.gradient"],
        kl=values["objective.kl"],
        num_groups=values["objective.num_groups"],
        free_bits_group=values["objective.free_bits_group"],
        corruption=values["objective.corruption"],
        regularizer=regularizer,
        dataset_size=train_size,
        discriminator=NetworkSpec("mlp", widths, "leaky_relu") if adversarial else None,
    )


def make_spec(values: Values, data: Dataset) -> Spec:
    """What is static.

    Raises:
      UserError: a batch larger than the training set, or data that do not go with the model.
    """
    refuse_data(values, data)
    train_size = len(data.train.images)
    batch_size = values["training.batch_size"]
    if batch_size > train_size:
        raise UserError(
            f"training.batch_size = {batch_size} should be at most the {train_size} training "
            "examples there are"
        )
    data_devices = values["training.data_devices"]
    if batch_size % data_devices:
        raise UserError(
            f"training.data_devices = {data_devices} should divide training.batch_size = "
            f"{batch_size}"
        )
    return Spec(
        model=make_model_spec(values, data),
        objective=make_objective_spec(values, train_size),
        optimizer=OptimizerSpec(values["optimizer.name"], values["optimizer.schedule.name"]),
        batch_size=batch_size,
        train_size=train_size,
        dynamic=data.dynamic,
        chunk_steps=min(values["log.every_steps"], train_size // batch_size),
        data_devices=data_devices,
        labelled_per_batch=values["training.labelled_per_batch"],
    )


def make_hyper(lanes: Sequence[Values], spec: Spec, padded: bool = False) -> Hyperparameters:
    """What is traced: float32 arrays with a leading axis of lanes, each lane's from its config.

    `padded`: whether the spec's latent size is one that lanes are padded to.
    """
    boundaries = max(len(values["optimizer.schedule.boundaries"]) for values in lanes)
    rows = [lane_hyper(values, spec, boundaries, padded) for values in lanes]
    return jax.tree.map(
        lambda *leaves: np.stack([np.asarray(v, np.float32) for v in leaves]), *rows
    )


def lane_hyper(values: Values, spec: Spec, num_boundaries: int, padded: bool) -> Hyperparameters:
    """One lane's, with room for so many boundaries."""
    steps_per_epoch = spec.steps_per_epoch
    boundaries: Any = np.full(num_boundaries, np.inf)  # what never comes does nothing
    own = values["optimizer.schedule.boundaries"]
    boundaries[: len(own)] = np.array(own) * steps_per_epoch
    max_grad_norm: Any = values["optimizer.max_grad_norm"] or np.inf
    latent_mask: Any = np.arange(spec.model.latent_size) < values["model.latent_size"]
    total_steps = values["training.num_epochs"] * steps_per_epoch
    cycles = values["objective.warmup_cycles"]
    optimizer = OptimizerHyper(
        learning_rate=values["optimizer.learning_rate"],
        b1=values["optimizer.b1"],
        b2=values["optimizer.b2"],
        eps=values["optimizer.eps"],
        momentum=values["optimizer.momentum"],
        weight_decay=values["optimizer.weight_decay"],
        max_grad_norm=max_grad_norm,
        total_steps=total_steps,
        final_fraction=values["optimizer.schedule.final_fraction"],
        boundaries=boundaries,
        decay_factor=values["optimizer.schedule.decay_factor"],
    )
    return Hyperparameters(
        objective=ObjectiveHyper(
            beta=values["objective.beta"],
            warmup_steps=values["objective.warmup_epochs"] * steps_per_epoch,
            warmup_cycle=total_steps / cycles if cycles > 1 else np.inf,
            free_bits=values["objective.free_bits"],
            capacity=values["objective.capacity"],
            capacity_steps=values["objective.capacity_epochs"] * steps_per_epoch,
            alpha=values["objective.alpha"],
            elbo_weight=values["objective.elbo_weight"],
            corruption=values["objective.corruption_amount"],
            regularizer_weight=values["objective.regularizer_weight"],
            diagonal_weight=values["objective.diagonal_weight"],
            classification_weight=values["objective.classification_weight"],
        ),
        optimizer=optimizer,
        model=ModelHyper(
            latent_mask=latent_mask if padded else None,
            likelihood_scale=values["model.likelihood_scale"],
        ),
        discriminator=discriminator_hyper(values) if spec.objective.discriminator else None,
    )


def discriminator_hyper(values: Values) -> OptimizerHyper:
    """The numbers of a discriminator's Adam."""
    numbers: dict[str, Any] = dict.fromkeys(OptimizerHyper._fields, 0.0)
    numbers |= {
        "learning_rate": values["objective.discriminator.learning_rate"],
        "b1": values["objective.discriminator.b1"],
        "b2": values["objective.discriminator.b2"],
        "eps": 1e-8,
        "max_grad_norm": np.inf,
    }
    return OptimizerHyper(**numbers)


def is_pseudo_likelihood(values: Values, data: Dataset) -> bool:
    """Whether the likelihood is one of binary data alone and the data are not binary."""
    return LIKELIHOODS[values["model.likelihood"]].support == "binary" and not data.binary


def make_examples(run: Run) -> Examples:
    """The training set as the program takes it."""
    labels = run.data.train.labels if reads_labels(run.values) else None
    labels = None if labels is None else labels.astype(np.int32)
    if labels is None or not run.spec.labelled_per_batch:
        return Examples(run.data.train.images, labels)
    return Examples(run.data.train.images, labels, np.flatnonzero(labels >= 0).astype(np.int32))


def make_start(run: Run) -> Start:
    """What the first params take from the training set."""
    from_data = run.values["model.decoder.output_bias_from_data"]
    return Start(mean_image(run.data.train) if from_data else None, first_examples(run))

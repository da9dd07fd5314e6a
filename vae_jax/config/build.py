"""What a checked config says to the compiled program: what is static, and what is traced."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vae_jax.config.needs import refuse_data
from vae_jax.config.schema import Values
from vae_jax.data.dataset import Dataset
from vae_jax.errors import UserError
from vae_jax.models.model import ModelHyper, ModelSpec, TopSpec
from vae_jax.networks.network import NetworkSpec
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec
from vae_jax.objectives.regularizers import DISCRIMINATOR_LOSSES
from vae_jax.probability.flows import FlowSpec
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.probability.posteriors import PosteriorSpec
from vae_jax.probability.priors import PriorSpec
from vae_jax.training.optimizer import OptimizerHyper, OptimizerSpec
from vae_jax.training.spec import Hyperparameters, Spec

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
    top = TopSpec(
        values["model.top.latent_size"],
        NetworkSpec("mlp", values["model.top.widths"], values["model.top.activation"]),
    )
    return ModelSpec(
        image_shape=data.image_shape,
        latent_size=values["model.latent_size"],
        encoder=network_spec(values, "encoder"),
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

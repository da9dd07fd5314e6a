"""The spec of a program: static values form its structure, traced values are its leaves."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jax

from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import Model
from vae_jax.networks.precision import AS_DEVICE, PRECISIONS
from vae_jax.objectives import Objective
from vae_jax.sections.checks import (
    OWN_SEED,
    name_in,
    names,
    number,
    path,
    seed_or_own,
    seeds,
    whole,
)
from vae_jax.sections.declare import choice, host, of_lane, replace, section, static
from vae_jax.training.optimizer import Optimizer

START_FROM, TRAINED = "training.start_from", "training.trained"
KEPT = {
    "best": "the best on the validation set, by the objective as it is at its end",
    "last": "the last",
}


@section
class Training:
    """The config's section `training`."""

    num_epochs: int = host(10, whole(1), "passes over the training set")
    batch_size: int = static(
        128,
        whole(1),
        "examples, or all where there are fewer; an epoch leaves out an incomplete last batch",
    )
    seeds: tuple[int, ...] = host(
        (0,), seeds, "each is a lane: a separate run in the same compiled program"
    )
    init_seed: int = of_lane(
        OWN_SEED, seed_or_own, "of the initial params; -1: the seed of the lane"
    )
    order_seed: int = of_lane(
        OWN_SEED, seed_or_own, "of the order of the training images; -1: the seed of the lane"
    )
    noise_seed: int = of_lane(
        OWN_SEED,
        seed_or_own,
        "of all else that training samples: z, binarisation, augmentations; -1: that of the lane",
    )
    keep: str = host(
        "best",
        name_in(KEPT),
        "which epoch's params are evaluated",
        choices=KEPT,
    )
    patience: int = host(
        0,
        whole(0),
        "the run ends after as many epochs in which no lane improved on validation; 0: never",
    )
    data_devices: int = static(
        1, whole(1), "devices that share each batch; the others take other lanes"
    )
    labelled_per_batch: int = static(
        0,
        whole(0),
        "examples per batch picked from the labelled ones; for a model that infers labels",
    )
    ema_decay: float = static(
        0.0,
        number(0, 1, open_high=True),
        "decay of a moving average of the params, which is evaluated in their place; 0: none",
    )
    start_from: str = host(
        "", path, 'a finished run, with whose best params the lane of each seed starts; "": none'
    )
    trained: tuple[str, ...] = static(
        (), names, "parts of the params that are trained, such as 'prior'; (): all"
    )
    precision: str = choice(
        PRECISIONS, AS_DEVICE, "of the networks in training; all is measured in that of the device"
    )
    accumulate: int = static(
        1, whole(1), "parts of a batch, one after the other: memory is that of one"
    )
    lanes_at_once: int = host(
        0, whole(0), "lanes that a device computes at once; 0: one on a CPU, all on other devices"
    )

    @property
    def seeds_of_streams(self) -> dict[str, int]:
        """{stream of RunKeys: its seed, or OWN_SEED}."""
        return {"init": self.init_seed, "order": self.order_seed, "step": self.noise_seed}

    def fitting(self, train_size: int) -> "Training":
        """The section with a batch that is no larger than the training set."""
        return replace(self, batch_size=min(self.batch_size, train_size))

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        train_size = len(data.train.images)
        divided = self.data_devices > 1 or self.labelled_per_batch
        if self.batch_size > train_size and divided:
            yield (
                f"training.batch_size = {self.batch_size} should be at most the {train_size} "
                "training examples there are"
            )
        if self.labelled_per_batch and data.is_streamed:
            yield (
                f"training.labelled_per_batch = {self.labelled_per_batch} picks from all training "
                "images, and they stay on disk; it should be 0, or dataset.in_memory 'yes'"
            )

        if self.order_seed != OWN_SEED and data.is_streamed:
            yield (
                f"training.order_seed = {self.order_seed} is for training images in memory; those "
                "that stay on disk are read once for all lanes, in one order; it should be -1, or "
                "dataset.in_memory 'yes'"
            )

    def needs(self, config: Any) -> Iterator[str]:
        if self.patience and self.keep == "last":
            yield (
                f"training.patience = {self.patience} is for training.keep = 'best'; with 'last' "
                "it should be 0"
            )
        if self.labelled_per_batch and not config.model.abilities.infers_labels:
            yield (
                f"training.labelled_per_batch = {self.labelled_per_batch} is for a model that "
                f"infers labels, and {config.model.named()} does not; it should be 0"
            )
        if self.labelled_per_batch > self.batch_size:
            yield (
                f"training.labelled_per_batch = {self.labelled_per_batch} should be at most "
                f"training.batch_size = {self.batch_size}"
            )
        if self.accumulate > 1:
            yield from self.needs_of_parts(config)
        if self.batch_size % self.data_devices:
            yield (
                f"training.data_devices = {self.data_devices} should divide training.batch_size = "
                f"{self.batch_size}"
            )

    def needs_of_parts(self, config: Any) -> Iterator[str]:
        """What is wrong with a batch in parts."""
        head, objective = f"training.accumulate = {self.accumulate}", config.objective
        if self.batch_size % (self.accumulate * self.data_devices):
            yield (
                f"{head} should divide training.batch_size = {self.batch_size}"
                + f" / training.data_devices = {self.data_devices}" * (self.data_devices > 1)
            )
        of_batch = {
            f"objective.name = {config.values['objective.name']!r} with these settings": (
                not objective.bound.is_mean
            ),
            objective.regularizer_named(): config.values["objective.regularizer"] != "none",
            config.model.named(): bool(config.model.abilities.notes),
            f"model.likelihood = {config.values['model.likelihood']!r}": (
                config.model.likelihood.init_stats(1.0) is not None
            ),
        }
        for name, has_statistic in of_batch.items():
            if has_statistic:
                yield (
                    f"{head} is for a loss that is a mean over examples, and {name} has a "
                    "statistic of the whole batch; it should be 1"
                )


def fixed() -> Any:
    """A field of a spec that is part of its structure."""
    return field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Spec:
    """What defines a program besides its data and random keys: sections in its units (steps).

    Specs of equal structure share a compilation.
    """

    model: ModelSpec
    objective: Objective
    optimizer: Optimizer  # of the model's params
    training: Training
    train_size: int = fixed()  # training examples
    dynamic: bool = fixed()  # whether each minibatch is binarised with new samples
    chunk_steps: int = fixed()  # the most steps in one call of the program
    augmentations: tuple = ()  # sections: the changes of each minibatch's images, in order

    @property
    def trained_model(self) -> Model:
        """The model, as training computes it."""
        return make_model(replace(self.model, precision=self.training.precision))

    @property
    def steps_per_epoch(self) -> int:
        """Full minibatches in an epoch; the examples left out differ between epochs."""
        return self.train_size // self.training.batch_size

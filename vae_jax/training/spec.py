"""A program in two parts: what is static (Spec) and what is traced, one value a lane."""

from typing import NamedTuple

from vae_jax.models.model import ModelHyper, ModelSpec
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec
from vae_jax.training.optimizer import OptimizerHyper, OptimizerSpec


class Spec(NamedTuple):
    """Everything that changes the compiled program. Hashable: equal specs share a compilation."""

    model: ModelSpec
    objective: ObjectiveSpec
    optimizer: OptimizerSpec  # of all params but a discriminator's, whose optimiser is Adam
    batch_size: int
    train_size: int  # training examples
    dynamic: bool  # whether every minibatch is binarised anew
    chunk_steps: int  # the most steps one call of the program takes
    data_devices: int = 1  # devices that share each batch
    labelled_per_batch: int = 0  # m2: examples of each batch that are drawn from the labelled ones

    @property
    def steps_per_epoch(self) -> int:
        """Whole minibatches in an epoch; which examples are left over differs by epoch."""
        return self.train_size // self.batch_size


class Hyperparameters(NamedTuple):
    """Everything that does not: numbers, as arrays, with a leading axis of lanes in a program."""

    objective: ObjectiveHyper
    optimizer: OptimizerHyper
    model: ModelHyper = ModelHyper()
    discriminator: OptimizerHyper | None = None

"""A program in two parts: what is static (Spec) and what is traced, one value a lane."""

from typing import NamedTuple

from jaxtyping import Array, Float

from vae_jax.models.vae import ModelSpec
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec
from vae_jax.training.optimizer import OptimizerHyper, OptimizerSpec


class Spec(NamedTuple):
    """Everything that changes the compiled program. Hashable: equal specs share a compilation."""

    model: ModelSpec
    objective: ObjectiveSpec
    optimizer: OptimizerSpec
    batch_size: int
    train_size: int  # training examples
    dynamic: bool  # whether every minibatch is binarised anew
    chunk_steps: int  # the most steps one call of the program takes
    data_devices: int = 1  # devices that share each batch

    @property
    def steps_per_epoch(self) -> int:
        """Whole minibatches in an epoch; which examples are left over differs by epoch."""
        return self.train_size // self.batch_size


class Hyperparameters(NamedTuple):
    """Everything that does not: numbers, as arrays, with a leading axis of lanes in a program."""

    objective: ObjectiveHyper
    optimizer: OptimizerHyper
    latent_mask: Float[Array, " l"] | None = None  # 1 for a unit in use, 0 for padding; None: all

"""One training step: (spec, hyper, state, keys, data) -> (state, metrics), pure."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from vae_jax.data import binarization
from vae_jax.lanes import share_batch
from vae_jax.models.vae import vae
from vae_jax.objectives import OBJECTIVES
from vae_jax.objectives.annealing import anneal
from vae_jax.objectives.objective import Terms
from vae_jax.training import optimizer
from vae_jax.training.keys import RunKeys, step_keys
from vae_jax.training.spec import Hyperparameters, Spec


class State(NamedTuple):
    """All that a run carries from step to step: arrays only."""

    step: Int[Array, ""]
    params: dict[str, Any]
    opt_state: Any
    diverged_step: Int[Array, ""]  # the step whose loss or gradient was not finite; -1: none


class Data(NamedTuple):
    """The training images, on the device as they are stored, and this epoch's order of them."""

    images: Shaped[Array, "n d"]  # uint8, or float32 in [0, 1]
    order: Int[Array, " n"]


class Metrics(NamedTuple):
    """Sums over examples, in nats, and how many: 0 for a step that was not taken."""

    totals: dict[str, Float[Array, ""]]
    examples: Float[Array, ""]


METRICS = ("loss", *Terms._fields)


def init_state(
    spec: Spec, hyper: Hyperparameters, keys: RunKeys, mean_d: Float[Array, " d"] | None
) -> State:
    """The state before the first step. `mean_d`: where the decoder's output bias starts."""
    params = vae(spec.model, hyper.latent_mask).init(keys.init, mean_d)
    opt_state = optimizer.init(spec.optimizer, hyper.optimizer, params)
    return State(jnp.int32(0), params, opt_state, diverged_step=jnp.int32(-1))


def minibatch(spec: Spec, data: Data, step, key) -> Float[Array, "b d"]:
    """The step's examples: gathered, scaled to [0, 1] and, if dynamic, binarised."""
    start = (step % spec.steps_per_epoch) * spec.batch_size
    rows = jax.lax.dynamic_slice(data.order, (start,), (spec.batch_size,))
    x_bd = binarization.scale(data.images[rows])
    x_bd = binarization.draw(key, x_bd) if spec.dynamic else x_bd
    return share_batch(x_bd) if spec.data_devices > 1 else x_bd


def train_step(
    spec: Spec, hyper: Hyperparameters, state: State, keys: RunKeys, data: Data
) -> tuple[State, Metrics]:
    """One step of one lane.

    A step whose loss or gradient is not finite is not taken: the lane keeps its last finite
    params and optimiser state from there on, and `diverged_step` says where.
    """
    model = vae(spec.model, hyper.latent_mask)
    objective = OBJECTIVES[spec.objective.name]
    streams = step_keys(keys, state.step)
    x_bd = minibatch(spec, data, state.step, streams.binarization)

    def loss_of(params):
        now = anneal(hyper.objective, state.step)
        return objective(model, params, streams.objective, x_bd, now, spec.objective.num_samples)

    (loss, terms), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    norm = optimizer.global_norm(gradients)
    params, opt_state = optimizer.update(
        spec.optimizer, hyper.optimizer, gradients, norm, state.opt_state, state.params, state.step
    )

    healthy = state.diverged_step < 0
    # Of the update itself only the learning rate's product can overflow: checking that, not the
    # new params, leaves the update one pass over memory.
    step_size = hyper.optimizer.learning_rate * norm
    taken = healthy & jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(step_size)
    params, opt_state = jax.tree.map(
        lambda new, old: jnp.where(taken, new, old),
        (params, opt_state),
        (state.params, state.opt_state),
    )
    totals = {"loss": loss * spec.batch_size} | {
        name: jnp.sum(term) for name, term in terms._asdict().items()
    }
    metrics = Metrics(
        totals={name: jnp.where(taken, total, 0.0) for name, total in totals.items()},
        examples=jnp.where(taken, jnp.float32(spec.batch_size), 0.0),
    )
    diverged_step = jnp.where(healthy & ~taken, state.step, state.diverged_step)
    return State(state.step + 1, params, opt_state, diverged_step), metrics

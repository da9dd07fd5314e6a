"""One training step: (spec, hyper, state, keys, data) -> (state, metrics), pure."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from vae_jax.data import binarization
from vae_jax.devices.lanes import share_batch
from vae_jax.models import make_model
from vae_jax.objectives import objective
from vae_jax.objectives.annealing import anneal
from vae_jax.objectives.objective import Terms
from vae_jax.objectives.regularizers import discriminator
from vae_jax.training import optimizer
from vae_jax.training.optimizer import OptimizerSpec
from vae_jax.training.spec import Hyperparameters, Spec
from vae_jax.training.streams import RunKeys, step_keys


class State(NamedTuple):
    """All that a run carries from step to step: arrays only."""

    step: Int[Array, ""]
    params: dict[str, Any]
    opt_state: Any
    diverged_step: Int[Array, ""]  # the step whose loss or gradient was not finite; -1: none


class Examples(NamedTuple):
    """The training set, on the device as it is stored."""

    images: Shaped[Array | np.ndarray, "n d"]  # uint8, or float32
    labels: Int[Array | np.ndarray, " n"] | None = None  # where the model reads them; -1: unknown
    labelled: Int[Array | np.ndarray, " m"] | None = None  # where they are known, to be drawn from


class Batch(NamedTuple):
    """What one step is taken on."""

    x_bd: Float[Array, "b d"]  # in [0, 1]
    label_b: Int[Array, " b"] | None  # -1: unknown


class Start(NamedTuple):
    """What the first params take from the training set."""

    mean_d: Float[Array | np.ndarray, " d"] | None = None  # where the decoder's output bias starts
    examples: Float[Array | np.ndarray, "n d"] | None = None  # where a VampPrior's pseudo-inputs do


class Metrics(NamedTuple):
    """Sums over examples, in nats, and how many: 0 for a step that was not taken."""

    totals: dict[str, Float[Array, ""]]
    examples: Float[Array, ""]


METRICS = ("loss", *Terms._fields)


def init_state(spec: Spec, hyper: Hyperparameters, keys: RunKeys, start: Start) -> State:
    """The state before the first step."""
    params = make_model(spec.model, hyper.model).init(keys.init, *start)
    if spec.objective.discriminator is not None:
        network = discriminator(spec.objective.discriminator, spec.model.latent_size)
        params["discriminator"] = network.init(jax.random.fold_in(keys.init, 0))
    opt_state = {
        part: optimizer.init(*optimizer_of(spec, hyper, part), own)
        for part, own in parts(params).items()
    }
    return State(jnp.int32(0), params, opt_state, diverged_step=jnp.int32(-1))


def parts(params: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The params by the optimiser that trains them: the model's, and a discriminator's."""
    own = dict(params)
    if "discriminator" not in own:
        return {"model": own}
    return {"discriminator": own.pop("discriminator"), "model": own}


def optimizer_of(spec: Spec, hyper: Hyperparameters, part: str) -> tuple[OptimizerSpec, Any]:
    """The static and the traced choice for one of the `parts`."""
    if part == "discriminator":
        return OptimizerSpec("adam", "constant"), hyper.discriminator
    return spec.optimizer, hyper.optimizer


def updated(
    spec: Spec,
    hyper: Hyperparameters,
    gradients: dict[str, Any],
    state: State,
    healthy: Bool[Array, ""],
) -> tuple[dict[str, Any], dict[str, Any], Bool[Array, ""]]:
    """The params and optimiser states after one step, and whether it was taken.

    It is where all was healthy before and the gradients are finite, and their product with the
    learning rate: of an update itself, only that can overflow.
    """
    gradient_parts = parts(gradients)
    norms = {part: optimizer.global_norm(own) for part, own in gradient_parts.items()}
    choices = {part: optimizer_of(spec, hyper, part) for part in norms}
    sizes = [norm + choices[part][1].learning_rate * norm for part, norm in norms.items()]
    taken = healthy & jnp.isfinite(jnp.stack(sizes)).all()
    after, opt_state = {}, {}
    for part, own in parts(state.params).items():
        after[part], opt_state[part] = optimizer.update(
            *choices[part],
            gradient_parts[part],
            norms[part],
            taken,
            state.opt_state[part],
            own,
            state.step,
        )
    params = after.pop("model")
    return params | after, opt_state, taken


def minibatch(
    spec: Spec, keys: RunKeys, examples: Examples, order: Int[Array, " n"], step: Int[Array, ""]
) -> Batch:
    """A step's, `order` being that of its epoch: gathered, scaled and, if dynamic, binarised."""
    streams = step_keys(keys, step)
    start = (step % spec.steps_per_epoch) * spec.batch_size
    rows = jax.lax.dynamic_slice(order, (start,), (spec.batch_size,))
    if spec.labelled_per_batch:
        assert examples.labelled is not None
        size = (spec.labelled_per_batch,)
        drawn = jax.random.randint(streams.labelled, size, 0, len(examples.labelled))
        rows = rows.at[: spec.labelled_per_batch].set(examples.labelled[drawn])
    x_bd = binarization.scale(examples.images[rows])
    x_bd = binarization.draw(streams.binarization, x_bd) if spec.dynamic else x_bd
    x_bd = share_batch(x_bd) if spec.data_devices > 1 else x_bd
    return Batch(x_bd, None if examples.labels is None else examples.labels[rows])


def train_step(
    spec: Spec,
    hyper: Hyperparameters,
    state: State,
    keys: RunKeys,
    batch: Batch,
) -> tuple[State, Metrics]:
    """One step of one lane, on the step's minibatch.

    A step whose loss or gradient is not finite is not taken: the lane keeps its last finite
    params from there on, and `diverged_step` says where.
    """
    x_bd, label_b = batch
    key = step_keys(keys, state.step).objective
    model = make_model(spec.model, hyper.model, label_b)

    def loss_of(params):
        now = anneal(hyper.objective, state.step)
        return objective(model, params, key, x_bd, now, spec.objective)

    (loss, terms), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    healthy = state.diverged_step < 0
    params, opt_state, taken = updated(spec, hyper, gradients, state, healthy & jnp.isfinite(loss))
    totals = {"loss": loss * spec.batch_size} | {
        name: jnp.sum(term) for name, term in terms._asdict().items()
    }
    metrics = Metrics(
        totals={name: jnp.where(taken, total, 0.0) for name, total in totals.items()},
        examples=jnp.where(taken, jnp.float32(spec.batch_size), 0.0),
    )
    diverged_step = jnp.where(healthy & ~taken, state.step, state.diverged_step)
    return State(state.step + 1, params, opt_state, diverged_step), metrics

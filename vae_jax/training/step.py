"""One training step: (spec, state, keys, batch) -> (state, metrics), pure."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from vae_jax.data import binarization
from vae_jax.data.augmentation import augmented
from vae_jax.devices.lanes import share_batch
from vae_jax.models import make_model
from vae_jax.models.model import Params, Start, Variables
from vae_jax.objectives import loss
from vae_jax.objectives.objective import KL_OF_LAYER
from vae_jax.training import average, optimizer
from vae_jax.training.average import AVERAGE
from vae_jax.training.players import (
    MODEL,
    in_turn,
    loss_named,
    optimizers_of,
    params_by_player,
    players_of,
    with_params,
)
from vae_jax.training.spec import Spec
from vae_jax.training.streams import RunKeys, StepKeys


class State(NamedTuple):
    """The state of a run between two steps: arrays only."""

    step: Int[Array, ""]
    variables: Variables
    opt_state: dict[str, Any]  # by player: the model, and those that the objective trains
    diverged_step: Int[Array, ""]  # the step whose loss or update was not finite; -1: none


class Examples(NamedTuple):
    """The training set on the device, in its stored type; or the part that some steps take."""

    images: Shaped[Array | np.ndarray, "n d"]  # uint8, or float32
    labels: Int[Array | np.ndarray, " n"] | None = None  # None if the model reads none; -1: unknown
    labelled: Int[Array | np.ndarray, " m"] | None = None  # indices of the labelled examples
    first: Int[Array | np.ndarray, ""] | None = None  # of a part: its first step in the epoch


class Batch(NamedTuple):
    """The minibatch of one step."""

    x_bd: Float[Array, "b d"]  # in [0, 1]
    label_b: Int[Array, " b"] | None  # -1: unknown


class Metrics(NamedTuple):
    """Sums over examples, in nats, and the number of examples; 0 if the step was not sound."""

    totals: dict[str, Float[Array, ""]]  # by `metric_names`; "skipped": examples of skipped steps
    examples: Float[Array, ""]


def metric_names(spec: Spec) -> tuple[str, ...]:
    """The names of a step's metrics: its loss, its bound, the bound's terms, players' losses."""
    layers = dict.fromkeys(make_model(spec.model).layer_names)
    return (
        "loss",
        "bound",
        *spec.objective.bound.terms,
        *spec.model.abilities.losses,
        *spec.model.abilities.notes,
        *(loss_named(player) for player in players_of(spec)),
        *(f"{KL_OF_LAYER}{name}" for name in layers),
        *(["skipped"] if spec.optimizer.skip_above else []),
    )


def init_state(spec: Spec, keys: RunKeys, start: Start) -> State:
    """The state before the first step."""
    model = make_model(spec.model)
    variables = model.init(keys.init, start)
    # Each player has its own key, different from the model's.
    variables["players"] = {
        name: player.init(jax.random.fold_in(keys.init, i))
        for i, (name, player) in enumerate(players_of(spec).items())
        if player.init is not None
    }
    if spec.training.ema_decay:
        variables[AVERAGE] = average.init(variables["params"])
    optimizers = optimizers_of(spec)
    opt_state = {
        name: optimizer.init(optimizers[name], params)
        for name, params in params_by_player(spec, variables).items()
    }
    return State(jnp.int32(0), variables, opt_state, diverged_step=jnp.int32(-1))


def update(
    spec: Spec,
    gradients: dict[str, Any],
    state: State,
    taken: Bool[Array, ""],
    *,
    careful: bool,
) -> tuple[dict[str, Any], dict[str, Any], Bool[Array, ""], Bool[Array, ""]]:
    """The params and optimiser states after the moves at once, by player; whether the step is
    sound, and skipped.

    `gradients`: of the players that move at once, the model among them. A step that is not sound
    ends the training of the lane. A skipped one changes nothing. `careful`: a step after which
    params or optimiser states are not finite is not sound.
    """
    optimizers, before = optimizers_of(spec), params_by_player(spec, state.variables)
    before = {name: before[name] for name in gradients}
    skip_above = spec.optimizer.skip_above
    norms = {
        name: optimizer.global_norm(gradient)
        for name, gradient in gradients.items()
        if not optimizers[name].unclipped or (skip_above and name == MODEL)
    }
    if norms:
        taken &= jnp.isfinite(jnp.stack(list(norms.values()))).all()
    skipped = taken & (norms[MODEL] > skip_above) if skip_above else jnp.bool_(False)

    def after(taken: Bool[Array, ""]) -> tuple[dict[str, Params], dict[str, Any]]:
        updates = {
            name: optimizer.update(
                optimizers[name],
                gradients[name],
                None if optimizers[name].unclipped else norms[name],
                taken,
                state.opt_state[name],
                params,
                state.step,
            )
            for name, params in before.items()
        }
        return {n: new[0] for n, new in updates.items()}, {n: new[1] for n, new in updates.items()}

    params, opt_state = after(taken & ~skipped if skip_above else taken)
    if careful:
        taken &= all_finite((params, opt_state))
        params, opt_state = after(taken & ~skipped if skip_above else taken)
    if skip_above:
        # Gradients of zero would decay the moments, and count as a step.
        old_state = {name: state.opt_state[name] for name in opt_state}
        opt_state = jax.tree.map(
            lambda new, old: jnp.where(skipped, old, new), opt_state, old_state
        )
    return params, opt_state, taken, skipped


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether all numbers of a tree of arrays are finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def is_sound(state: State) -> Bool[Array, ""]:
    """Whether params and optimiser states are finite; once they are not, they never are again."""
    return all_finite((state.variables["params"], state.variables["players"], state.opt_state))


def minibatch(
    spec: Spec,
    streams: StepKeys,
    examples: Examples,
    order: Int[Array, " n"],
    step: Int[Array, ""],
) -> Batch:
    """The minibatch of a step: gathered by the `order` of its epoch, or part, changed by the
    augmentations that are on, scaled, binarised if dynamic."""
    training = spec.training
    in_epoch = step % spec.steps_per_epoch
    start = in_epoch if examples.first is None else in_epoch - examples.first
    start = start * training.batch_size
    rows = jax.lax.dynamic_slice(order, (start,), (training.batch_size,))
    if training.labelled_per_batch:
        assert examples.labelled is not None
        size = (training.labelled_per_batch,)
        picked = jax.random.randint(streams.labelled, size, 0, len(examples.labelled))
        rows = rows.at[: training.labelled_per_batch].set(examples.labelled[picked])
    images = examples.images[rows]
    if spec.augmentations:
        of = spec.augmentations, streams.augmentations
        images = augmented(*of, images, spec.model.image_shape)
    x_bd = binarization.scale(images)
    x_bd = binarization.sample(streams.binarization, x_bd) if spec.dynamic else x_bd
    x_bd = share_batch(x_bd) if training.data_devices > 1 else x_bd
    return Batch(x_bd, None if examples.labels is None else examples.labels[rows])


def in_parts(
    spec: Spec, gradient_of: Any, params: dict[str, Params], key: Key[Array, ""], batch: Batch
) -> tuple[tuple[Float[Array, ""], tuple[Any, ...]], dict[str, Params]]:
    """`gradient_of` of a batch whose loss is a mean over examples, a part at a time.

    Each part has its own key. Returns the mean loss and gradients, and the terms of all examples.
    """
    n = spec.training.accumulate
    rows = jnp.arange(spec.training.batch_size).reshape(n, -1)

    def add(total: Any, part: tuple[Any, Any]) -> tuple[Any, Any]:
        own_key, own_rows = part
        own = jax.tree.map(lambda leaf: leaf[own_rows], batch)
        if spec.training.data_devices > 1:
            own = own._replace(x_bd=share_batch(own.x_bd))
        (value, (terms, stats, _, _)), gradients = gradient_of(params, own_key, own)
        return jax.tree.map(jnp.add, total, (value, gradients)), (terms, stats)

    zeros = (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
    summed, (terms, stats) = jax.lax.scan(add, zeros, (jax.random.split(key, n), rows))
    value, gradients = jax.tree.map(lambda total: total / n, summed)
    terms, stats = jax.tree.map(jnp.concatenate, terms), jax.tree.map(lambda leaf: leaf[0], stats)
    return (value, (terms, stats, {}, {})), gradients


def train_step(
    spec: Spec, state: State, key: Key[Array, ""], batch: Batch, *, careful: bool = False
) -> tuple[State, Metrics]:
    """One step of one lane, on its minibatch.

    A step with a loss that is not finite is not taken, nor is any later step: `diverged_step` is
    the number of that step. Such a loss comes from params that are not finite, and those from the
    gradient of an earlier step. With `careful`, the step of that gradient is not taken, and the
    lane keeps its last finite params. It costs a second update, so it is for the chunk in which a
    lane diverged. A step that is skipped, for the norm of its gradients, is sound: training goes on
    from the same params, optimiser states and stats.
    """
    model, batch_size = spec.trained_model, spec.training.batch_size
    players, before = players_of(spec), params_by_player(spec, state.variables)
    at_once = {name: player for name, player in players.items() if player.at_once}

    def loss_of(
        params: dict[str, Params], key: Key[Array, ""], batch: Batch
    ) -> tuple[Float[Array, ""], tuple[Any, ...]]:
        variables = with_params(spec, state.variables, params)
        found = loss(spec.objective, model, variables, key, *batch, state.step, players=at_once)
        value = found.value
        for own in found.of_players.values():
            value += own - jax.lax.stop_gradient(own)  # adds a gradient, not a value
        return value, (found.terms, *found.trace[-2:], found.of_players)

    params = {name: before[name] for name in (MODEL, *at_once)}
    gradient_of = jax.value_and_grad(loss_of, has_aux=True)
    if spec.training.accumulate > 1:
        gradient_of = partial(in_parts, spec, gradient_of)
    (value, (terms, stats, notes, values)), gradients = gradient_of(params, key, batch)
    healthy = state.diverged_step < 0
    finite = jnp.isfinite(value)
    for own in values.values():
        finite &= jnp.isfinite(own)
    params, opt_state, sound, skipped = update(
        spec, gradients, state, healthy & finite, careful=careful
    )
    variables = with_params(spec, state.variables, params)
    if len(at_once) < len(players):
        found = in_turn(spec, variables, state.opt_state | opt_state, key, batch, state.step)
        variables, opt_state, of_turns, finite = found
        values |= of_turns
        sound &= finite
        if careful:
            sound &= all_finite((variables, opt_state))
        # All moves of a step are taken, or none.
        variables, opt_state = jax.tree.map(
            lambda new, old: jnp.where(sound & ~skipped, new, old),
            (variables, opt_state),
            (state.variables, state.opt_state),
        )
    taken = sound & ~skipped if spec.optimizer.skip_above else sound
    old_stats = state.variables["stats"]
    # What follows the data stays under params that stay: a book must not move under its prior.
    stats = jax.tree.map(lambda new, old: jnp.where(taken, new, old), stats, old_stats)
    stats = old_stats if spec.training.trained else stats
    totals = {"loss": value * batch_size, "bound": jnp.sum(terms.bound)} | {
        name: jnp.sum(term) for name, term in terms.parts.items()
    }
    totals |= {name: note * jnp.float32(batch_size) for name, note in notes.items()}
    totals |= {loss_named(name): value * batch_size for name, value in values.items()}
    if spec.optimizer.skip_above:
        totals["skipped"] = skipped * jnp.float32(batch_size)
    metrics = Metrics(
        totals={name: jnp.where(sound, total, 0.0) for name, total in totals.items()},
        examples=jnp.where(sound, jnp.float32(batch_size), 0.0),
    )
    diverged_step = jnp.where(healthy & ~sound, state.step, state.diverged_step)
    variables |= {"stats": stats}
    if decay := spec.training.ema_decay:
        of_params = average.update(variables[AVERAGE], variables["params"], decay, taken)
        variables |= {AVERAGE: of_params}
    return State(state.step + 1, variables, opt_state, diverged_step), metrics

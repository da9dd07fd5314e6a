"""Players and their moves: the order, what each may move, how often, and that nothing is lost."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.models import ABLE
from tests.small.runs import rows_of, run
from tests.small.steps import IMAGES, SPEC, trained
from vae_jax.models import ModelSpec
from vae_jax.models.interface import ModelSection
from vae_jax.models.model import NO_START, Model, Trace
from vae_jax.models.vae import VAE
from vae_jax.objectives import Objective
from vae_jax.objectives.aae import AAE, WAEGAN
from vae_jax.objectives.avb import AVB
from vae_jax.objectives.interface import Bound
from vae_jax.objectives.objective import Loss, Player, Terms, owned
from vae_jax.objectives.regularizers import TotalCorrelationAdversarial
from vae_jax.objectives.vae_gan import VAEGAN
from vae_jax.probability.implicit import ImplicitPosterior
from vae_jax.probability.posteriors import Deterministic
from vae_jax.sections.declare import replace, section, static
from vae_jax.training.optimizer import SGD, Optimizer, adam, update
from vae_jax.training.players import MODEL, moves, params_by_player, players_of
from vae_jax.training.step import Batch, State, init_state, metric_names, train_step
from vae_jax.training.streams import run_keys

RATE, START = 0.1, {"x": 1.0, "y": 0.5}
BATCH = Batch(jnp.float32(IMAGES[:8] > 127), None)


@section
class Board(ModelSection):
    """Two numbers."""

    @property
    def abilities(self):
        return ABLE

    def model(self, spec):
        def init(key, start=NO_START):
            return {"params": jax.tree.map(jnp.float32, START), "stats": {}}

        return Model(init, lambda *args: Trace((), None))


@section
class Game(Bound):
    """min_x max_y x y."""

    at_once: bool = static(False, lambda key, value: value, "")
    broken: bool = static(False, lambda key, value: value, "")

    owns = ("x",)
    terms = ()

    def value(self, variables):
        return variables["params"]["x"] * variables["params"]["y"]

    def loss(self, model, variables, key, x_bd, label_b, weights):
        value = self.value(variables)
        return Loss(value, Terms(jnp.full(len(x_bd), value), {}), model.trace())

    def high_loss(self, model, variables, key, x_bd, label_b, trace):
        assert (trace is not None) == self.at_once
        value = -self.value(variables)
        return jnp.where(self.value(variables) < 0, jnp.nan, value) if self.broken else value

    def players(self, spec):
        return {"high": Player(self.high_loss, owns=("y",), at_once=self.at_once)}


def game(**choices):
    sgd = Optimizer(SGD(np.float32(0)), np.float32(RATE), unclipped=True)
    spec = ModelSpec(Board(), image_shape=(2, 3, 1))
    return replace(SPEC, model=spec, objective=Objective(Game(**choices)), optimizer=sgd)


def played(spec, steps):
    state = init_state(spec, run_keys(0), NO_START)

    @jax.jit
    def step(state):
        return train_step(spec, state, jax.random.key(0), BATCH)

    values = []
    for _ in range(steps):
        state, metrics = step(state)
        values.append(metrics.totals["high_loss"] / metrics.examples)
    return state, np.array(values)


def numbers(state):
    return (float(state.variables["params"][name]) for name in "xy")


def test_at_once_a_game_spirals_outwards_and_in_turn_it_goes_round():
    """x y, by gradient: x^2 + y^2 grows by 1 + r^2 a step, or x^2 + y^2 - r x y is kept."""
    radius, kept = 1.25, 1.25 - RATE * 0.5
    x, y = numbers(played(game(at_once=True), 200)[0])
    np.testing.assert_allclose(x * x + y * y, radius * (1 + RATE**2) ** 200, rtol=1e-3)
    x, y = numbers(played(game(), 200)[0])
    np.testing.assert_allclose(x * x + y * y - RATE * x * y, kept, rtol=1e-3)
    _, at_once = played(game(at_once=True), 1)
    _, turned = played(game(), 1)
    assert at_once == pytest.approx([-0.5])  # at the params before the step
    assert turned == pytest.approx([-(1 - RATE * 0.5) * 0.5])  # after the move of x


@pytest.mark.parametrize("at_once", [False, True])
def test_a_loss_that_is_not_finite_stops_the_lane_before_any_move(at_once):
    healthy, _ = played(game(at_once=at_once), 100)
    broken, values = played(game(at_once=at_once, broken=True), 100)
    step = int(broken.diverged_step)
    assert int(healthy.diverged_step) == -1
    assert 0 < step < 40
    before, _ = played(game(at_once=at_once), step)
    assert [*numbers(broken)] == [*numbers(before)]
    assert np.isfinite(values[:step]).all()
    assert np.isnan(values[step:]).all()  # 0 of 0 examples


def test_two_losses_that_move_a_part_at_once_are_refused():
    class Both(Game):
        def players(self, spec):
            return {"other": Player(self.high_loss, owns=("x",), at_once=True)}

    found = [*Objective(Both()).shared_at_once(None)]
    assert len(found) == 1
    assert found[0].startswith("'x' of the model's params is moved at once by two losses")
    assert not [*Objective(Game(at_once=True)).shared_at_once(None)]


SMALL = {"widths": (6,), "learning_rate": np.float32(0.01)}
POINT = VAE(posterior=Deterministic())
OBJECTIVES = {
    "aae": (AAE(**SMALL, times=2), POINT, {"model", "critic", "generator"}),
    "avb": (AVB(**SMALL), VAE(posterior=ImplicitPosterior(2, 3)), {"model", "critic"}),
    "vae_gan": (VAEGAN(**SMALL, gamma=0.5), VAE(), {"model", "critic", "generator"}),
    "wae_gan": (WAEGAN(**SMALL, weight=3.0), POINT, {"model", "critic"}),
}
MOVED = {  # the parts that each moves, of a model of a point without others
    "aae": {"critic": {"critic"}, "generator": {"encoder"}, "model": {"encoder", "decoder"}},
    "avb": {"critic": {"critic"}, "model": {"encoder", "decoder", "posterior"}},
    "vae_gan": {"critic": {"critic"}, "generator": {"decoder"}, "model": {"encoder"}},
    "wae_gan": {"critic": {"critic"}, "model": {"encoder", "decoder"}},
}


def spec_of(name):
    bound, kind, _ = OBJECTIVES[name]
    facts = {"image_shape": (2, 3, 1)} if name == "vae_gan" else {}
    bound = replace(bound, **facts)
    return replace(SPEC, model=replace(SPEC.model, kind=kind), objective=Objective(bound))


def parts_of(variables):
    return variables["params"] | variables["players"]


def changed(before, after):
    """The parts of which a bit differs."""
    return {
        name
        for name, leaves in parts_of(before).items()
        if any(
            (np.asarray(a) != np.asarray(b)).any()
            for a, b in zip(
                jax.tree.leaves(leaves), jax.tree.leaves(parts_of(after)[name]), strict=True
            )
        )
    }


@pytest.mark.parametrize(
    "name", [n if n == "aae" else pytest.param(n, marks=pytest.mark.slow) for n in OBJECTIVES]
)
def test_each_moves_only_what_it_may(name):
    """By a step in which all others stand still: their rates are 0."""
    spec = spec_of(name)
    bound, players = spec.objective.bound, players_of(spec)
    state = init_state(spec, run_keys(0), NO_START)
    assert params_by_player(spec, state.variables).keys() == OBJECTIVES[name][2]
    assert state.opt_state.keys() == OBJECTIVES[name][2]

    class Still(type(bound)):
        mover = static("", lambda key, value: value, "")

        def players(self, own):
            still = {"learning_rate": 0.0, "b1": 0.9, "b2": 0.9}
            moving = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.9}
            found = super().players(own).items()
            return {
                n: player._replace(**(moving if n == type(self).mover else still))
                for n, player in found
            }

    for mover, parts in MOVED[name].items():
        Still.mover = mover
        other = Still(**{f.name: getattr(bound, f.name) for f in dataclasses.fields(bound)})
        rate = np.float32(0.01 if mover == MODEL else 0)
        optimizer = replace(spec.optimizer, learning_rate=rate)
        still = replace(spec, objective=Objective(other), optimizer=optimizer)
        after, metrics = jax.jit(
            lambda state, still=still: train_step(still, state, jax.random.key(1), BATCH)
        )(state)
        assert changed(state.variables, after.variables) == parts, mover
        names = {f"{player}_loss" for player in players}
        assert names <= metrics.totals.keys()
        assert {*metric_names(still)} == metrics.totals.keys()


def test_five_moves_are_five_by_hand():
    spec = spec_of("aae")
    spec = replace(spec, objective=Objective(replace(spec.objective.bound, times=5)))
    state = init_state(spec, run_keys(0), NO_START)
    player = players_of(spec)["critic"]
    key = jax.random.key(3)

    @jax.jit
    def together(variables, own_state):
        named = ("critic", player)
        return moves(spec, named, variables, own_state, key, BATCH, jnp.int32(0))

    @jax.jit
    def one(variables, own_state, j):
        model, params = spec.model.kind.model(spec.model), owned("critic", player, variables)

        def loss_of(own):
            moved = variables | {"players": {"critic": own}}
            return player.loss(model, moved, jax.random.fold_in(key, j), *BATCH, None)

        value, gradient = jax.value_and_grad(loss_of)(params)
        rule = adam(player.learning_rate, player.b1, player.b2)
        new, own_state = update(
            rule, gradient, None, jnp.bool_(True), own_state, params, jnp.int32(0)
        )
        return variables | {"players": {"critic": new}}, own_state, value

    found, found_state, mean = together(state.variables, state.opt_state["critic"])
    variables, own_state, values = state.variables, state.opt_state["critic"], []
    for j in range(5):
        variables, own_state, value = one(variables, own_state, j)
        values.append(value)
    for a, b in zip(
        jax.tree.leaves((found, found_state)),
        jax.tree.leaves((variables, own_state)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert int(found_state.count) == 5
    np.testing.assert_allclose(mean, np.mean(values), rtol=1e-5)
    assert changed(state.variables, found) == {"critic"}


@pytest.mark.slow
def test_lanes_of_two_rates_are_each_alone():
    specs = [
        replace(spec_of("aae"), objective=Objective(replace(AAE(times=2), **SMALL | {
            "learning_rate": np.float32(rate)})))
        for rate in (1e-3, 1e-2)
    ]  # fmt: skip
    together, _ = trained((0, 0), (), (5, 5), specs=specs)
    for lane, spec in enumerate(specs):
        alone, _ = trained((0,), (), (5, 5), specs=[spec])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[lane], b[0], rtol=1e-3, atol=1e-5)
    kernels = together.variables["players"]["critic"]["hidden_0"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_a_skipped_step_moves_no_player():
    spec = spec_of("aae")
    skipping = replace(spec, optimizer=replace(spec.optimizer, skip_above=1e-6))
    state = init_state(skipping, run_keys(0), NO_START)
    after, metrics = jax.jit(
        lambda state: train_step(skipping, state, jax.random.key(1), BATCH)
    )(state)  # fmt: skip
    assert metrics.totals["skipped"] == len(BATCH.x_bd)
    assert not changed(state.variables, after.variables)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, after.opt_state)
    assert int(after.diverged_step) == -1


@pytest.mark.parametrize("at_once", [False, True])
def test_a_player_by_the_config_s_optimiser_is_clipped_as_the_model_is(at_once):
    spec, most = game(at_once=at_once), np.float32(0.01)
    clipped = replace(spec.optimizer, max_grad_norm=most, unclipped=False)
    state, _ = played(replace(spec, optimizer=clipped), 1)
    x, y = numbers(state)
    assert (x, y) == pytest.approx((1 - RATE * 0.01, 0.5 + RATE * 0.01))


def test_the_state_of_a_discriminator_is_that_of_earlier_folders():
    """Checkpoints hold the moments of its params by their own names."""
    own = TotalCorrelationAdversarial(np.float32(1), (3,))
    spec = replace(SPEC, objective=Objective(regularizer=own))
    state = jax.eval_shape(lambda: init_state(spec, run_keys(0), NO_START))
    assert isinstance(state, State)
    assert state.opt_state.keys() == {"model", "discriminator"}
    assert state.opt_state["discriminator"].mu.keys() == {"hidden_0", "output"}
    assert state.variables["players"].keys() == {"discriminator"}


AAE_VALUES = {
    "model__posterior": "deterministic",
    "objective__name": "aae",
    "objective__critic__widths": (6,),
    "objective__critic__times": 2,
    "training__keep": "last",
    "log__figures": ("training_curves",),
    "evaluation__metrics": ("elbo",),
}


def test_resumed_it_ends_as_the_run_at_once(tiny_npz, tmp_path):
    """The rows have every loss of every player, so the moments are the same ones too."""
    run(tiny_npz, tmp_path / "once", training__num_epochs=3, **AAE_VALUES)
    run(tiny_npz, tmp_path / "longer", training__num_epochs=1, **AAE_VALUES)
    run(tiny_npz, tmp_path / "longer", training__num_epochs=3, **AAE_VALUES)
    rows = rows_of(tmp_path / "longer")
    assert rows == rows_of(tmp_path / "once")
    train_rows = [row for row in rows if row["split"] == "train"]
    assert all(row["critic_loss"] > 0 and row["generator_loss"] > 0 for row in train_rows)

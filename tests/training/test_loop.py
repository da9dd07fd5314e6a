"""The compiled run: lanes, order, divergence, the number of traces."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from tests.small.steps import SPEC, trained
from vae_jax.data.augmentation import Flip, Shift
from vae_jax.devices.lanes import Layout
from vae_jax.objectives import Objective
from vae_jax.sections.declare import replace
from vae_jax.training import loop, step
from vae_jax.training.loop import epoch_order, train_lanes
from vae_jax.training.optimizer import SGD, Adam, AdamW
from vae_jax.training.spec import Training
from vae_jax.training.step import Examples
from vae_jax.training.streams import run_keys, step_keys


def minibatch(spec, keys, examples, order, i):
    return step.minibatch(spec, step_keys(keys, i), examples, order, jnp.int32(i))


def leaves_close(a, b, lane_a, lane_b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x[lane_a], y[lane_b], **tolerance)


def test_a_lane_is_the_run_alone():
    seeds, rates, chunks = (3, 1, 4), (1e-3, 3e-3, 1e-2), (5,) * 40
    together, _ = trained(seeds, rates, chunks)
    for lane in range(3):
        alone, _ = trained(seeds[lane : lane + 1], rates[lane : lane + 1], chunks)
        leaves_close(together, alone, lane, 0, rtol=1e-3, atol=1e-4)
    assert not np.allclose(
        together.variables["params"]["decoder"]["output"]["bias"][0],
        together.variables["params"]["decoder"]["output"]["bias"][1],
        atol=1e-3,
    )


def test_the_same_call_gives_the_same_bits():
    first, second = trained((0, 1), (1e-3, 1e-3)), trained((0, 1), (1e-3, 1e-3))
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_how_steps_are_cut_into_chunks_changes_no_bit():
    coarse, fine = trained((0,), (1e-3,), (5, 5)), trained((0,), (1e-3,), (2, 3, 1, 4))
    jax.tree.map(np.testing.assert_array_equal, coarse[0], fine[0])
    assert [int(m.examples.sum()) for m in fine[1]] == [16, 24, 8, 32]


AUGMENTED = replace(SPEC, augmentations=(Flip(), Shift(1)))


@pytest.mark.slow
def test_augmented_minibatches_do_not_depend_on_chunks_or_other_lanes():
    coarse = trained((0, 1), (1e-3, 1e-3), (5, 5), spec=AUGMENTED)
    fine = trained((0, 1), (1e-3, 1e-3), (2, 3, 1, 4), spec=AUGMENTED)
    jax.tree.map(np.testing.assert_array_equal, coarse[0], fine[0])
    alone, _ = trained((1,), (1e-3,), (5, 5), spec=AUGMENTED)
    leaves_close(coarse[0], alone, 1, 0, rtol=1e-3, atol=1e-4)
    plain, _ = trained((1,), (1e-3,), (5, 5))
    bias = alone.variables["params"]["decoder"]["output"]["bias"]
    assert (bias != plain.variables["params"]["decoder"]["output"]["bias"]).any()


def test_a_minibatch_is_augmented_anew_with_its_labels_and_before_binarisation():
    grey = np.random.default_rng(1).integers(0, 256, (43, 6), dtype=np.uint8)
    labels = np.arange(43)
    examples, keys = Examples(grey, labels), run_keys(0)
    spec = replace(AUGMENTED, dynamic=False, augmentations=(Flip(),))
    found = []
    for i in (0, 5):  # the same rows, an epoch later
        streams = step_keys(keys, i, 1)
        x, label_b = step.minibatch(spec, streams, examples, jnp.arange(43), jnp.int32(i))
        np.testing.assert_array_equal(label_b, labels[:8])
        images = np.round(np.asarray(x) * 255).reshape(8, 2, 3)
        own = grey[:8].reshape(8, 2, 3)
        flipped = (images == own[:, :, ::-1]).all(axis=(1, 2))
        assert (flipped | (images == own).all(axis=(1, 2))).all()
        found.append(flipped.tolist())
    assert found[0] != found[1]
    binary, _ = step.minibatch(
        replace(spec, dynamic=True), step_keys(keys, 0, 1), examples, jnp.arange(43), jnp.int32(0)
    )
    assert set(np.unique(binary)) == {0.0, 1.0}


def test_metrics_are_a_lane_s_and_a_step_s_own():
    _, history = trained((0, 1), (1e-3, 1e-3), (5, 2))
    metrics = history[1]
    assert metrics.examples.shape == (2, 5)
    np.testing.assert_array_equal(metrics.examples, [[8, 8, 0, 0, 0]] * 2)
    for name, totals in metrics.totals.items():
        assert (totals[:, :2] != 0).all(), name
        assert (totals[:, 2:] == 0).all(), name
        assert totals[0, 0] != totals[1, 0], name
    t = metrics.totals
    np.testing.assert_allclose(t["elbo"], t["reconstruction"] - t["kl"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(t["loss"], -t["elbo"], rtol=1e-4)


def test_one_trace_for_a_whole_run(monkeypatch):
    traces = []
    original = loop.train_step

    def counted(*args, **named):
        traces.append(1)
        return original(*args, **named)

    monkeypatch.setattr(loop, "train_step", counted)
    # A spec of its own, so that no earlier test has compiled it.
    spec = replace(SPEC, model=replace(SPEC.model, latent_size=3))
    before = train_lanes._cache_size()
    for rate in (1e-3, 5e-3):  # other numbers are the same program
        trained((0, 1), (rate, rate), (5, 5, 2, 1), spec=spec)
    assert train_lanes._cache_size() == before + 1
    assert len(traces) == 1


def test_an_epoch_visits_examples_once_and_differs_by_epoch_and_run():
    visited = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            keys = run_keys(seed)
            spec = replace(SPEC, dynamic=False)
            order = epoch_order(spec, keys, jnp.int32(epoch))
            examples = Examples(jnp.arange(43, dtype=jnp.uint8)[:, None])
            rows = [minibatch(spec, keys, examples, order, epoch * 5 + i).x_bd for i in range(5)]
            visited[seed, epoch] = np.concatenate(rows).ravel() * 255
            assert len(np.unique(visited[seed, epoch])) == 40
    orders = [tuple(v) for v in visited.values()]
    assert len(set(orders)) == 4


def test_labels_stay_with_their_images_and_labelled_ones_are_picked():
    labels = np.where(np.arange(43) % 10 == 0, np.arange(43), -1)
    examples = Examples(np.arange(43, dtype=np.uint8)[:, None], labels, np.flatnonzero(labels >= 0))
    spec, keys = (
        replace(SPEC, dynamic=False, training=Training(batch_size=8, labelled_per_batch=3)),
        run_keys(0),
    )
    order, picked = np.arange(43)[::-1].copy(), []
    for i in range(20):
        x, label_b = minibatch(spec, keys, examples, jnp.array(order), i)
        rows = np.round(np.asarray(x)[:, 0] * 255).astype(int)
        np.testing.assert_array_equal(label_b, labels[rows])
        assert (label_b[:3] >= 0).all()
        at = 8 * (i % 5)
        np.testing.assert_array_equal(rows[3:], order[at + 3 : at + 8])
        picked += rows[:3].tolist()
    assert set(picked) == {0, 10, 20, 30, 40}


def test_dynamic_binarization_is_sampled_anew_at_every_step():
    examples, keys = Examples(jnp.full((43, 6), 128, jnp.uint8)), run_keys(0)
    one, two = (minibatch(SPEC, keys, examples, jnp.arange(43), i).x_bd for i in (0, 5))
    assert set(np.unique(one)) == {0.0, 1.0}
    assert (one != two).any()


def test_a_diverged_lane_is_frozen_and_the_others_go_on():
    # A learning rate of 1e30 makes the second step's loss infinite or NaN.
    rates, chunks = (1e-3, 1e30, 2e-3), (5, 5)
    state, history = trained((0, 1, 2), rates, chunks)
    assert state.diverged_step[0] == state.diverged_step[2] == -1
    assert state.diverged_step[1] == 1
    for leaf in jax.tree.leaves(state):
        assert np.isfinite(leaf).all()
    np.testing.assert_array_equal(history[0].examples[1], [8, 0, 0, 0, 0])
    assert (history[1].examples[1] == 0).all()
    assert (history[1].examples[[0, 2]] == 8).all()
    assert state.step.tolist() == [10, 10, 10]
    # Frozen at what it was before the step that failed; the others as if it were not there.
    before, _ = trained((1,), (1e30,), (1,))
    leaves_close(state.variables, before.variables, 1, 0, rtol=1e-3)
    healthy, _ = trained((0, 2), (1e-3, 2e-3), chunks)
    leaves_close(state.variables, healthy.variables, 0, 0, rtol=1e-3, atol=1e-5)
    leaves_close(state.variables, healthy.variables, 2, 1, rtol=1e-3, atol=1e-5)


@jax.custom_vjp
def poisoned(params, bad):
    """The params, whose gradient is not finite where `bad`."""
    return params


def poisoned_backward(bad, gradient):
    return jax.tree.map(lambda g: jnp.where(bad, jnp.nan, g), gradient), None


poisoned.defvjp(lambda params, bad: (params, bad), poisoned_backward)


@pytest.fixture
def poison(monkeypatch):
    """poison(kind): the loss, or its gradient alone, of a lane of beta 100 + s is NaN at step s."""

    def of(kind):
        def loss(objective, model, variables, key, x_bd, label_b, at, **more):
            bad = objective.beta == 100.0 + at
            if kind == "gradient":
                variables = variables | {"params": poisoned(variables["params"], bad)}
            found = original(objective, model, variables, key, x_bd, label_b, at, **more)
            value = jnp.where(bad, jnp.nan, found.value) if kind == "loss" else found.value
            return found._replace(value=value)

        original = step.loss
        monkeypatch.setattr(step, "loss", loss)

    return of


def of_betas(betas, chunk_steps):
    """Specs of lanes; each chunk_steps has a program of its own."""
    spec = replace(SPEC, chunk_steps=chunk_steps)
    return [replace(spec, objective=Objective(beta=float(beta))) for beta in betas]


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.slow
def test_a_lane_that_diverges_keeps_its_last_finite_params(poison, kind, monkeypatch):
    """At once and over a resume; the other lanes have the bits that they have without it."""
    bad = (5, 7, 9, 8, 19)  # first, middle and last of a chunk, two in one chunk, the very last
    healthy = range(len(bad), len(bad) + 2)
    betas, seeds = (*(100 + at for at in bad), 1, 2), tuple(range(len(bad) + 2))
    lanes = of_betas(betas, {"loss": 11, "gradient": 12}[kind])
    others, _ = trained(seeds, (), (5,) * 4, specs=lanes)
    poison(kind)
    traced, original = [], step.train_step

    def counted(*args, careful):
        traced.append(careful)
        return original(*args, careful=careful)

    monkeypatch.setattr(loop, "train_step", counted)
    train_lanes.clear_cache()
    taken = np.array([*bad, 20, 20])
    for chunks in ((20,), (5,) * 4):  # in one go, and resumed after each chunk
        state, history = trained(seeds, (), chunks, specs=lanes)
        assert state.diverged_step.tolist() == [*bad, -1, -1]
        assert state.step.tolist() == [20] * len(lanes)
        examples = np.concatenate([m.examples[:, :5] for m in history], axis=1)
        np.testing.assert_array_equal(examples, 8 * (np.arange(20) < taken[:, None]))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
        for lane in healthy:
            leaves_close(state, others, lane, lane, rtol=0)
    # The loss stops a lane in the program that all lanes have; a gradient needs another, once.
    assert traced == {"loss": [False], "gradient": [False, True]}[kind]
    for lane, at in enumerate(bad):
        alone, _ = trained((lane,), (), (5,) * (at // 5) + (at % 5,), specs=lanes[lane : lane + 1])
        assert alone.step[0] == at
        leaves_close(state.variables, alone.variables, lane, 0, rtol=1e-5)


def test_clipping_by_norm_refuses_a_norm_that_overflows():
    images = np.full((43, 6), 1e20, np.float32)
    spec = replace(SPEC, dynamic=False)
    clipped = replace(spec, optimizer=replace(spec.optimizer, max_grad_norm=1.0, unclipped=False))
    state, _ = trained((0,), (1e-3,), (5,), images=images, spec=clipped)
    assert state.diverged_step[0] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_nothing_that_is_not_finite_ever_enters_the_state():
    images = np.random.default_rng(0).random((43, 6)).astype(np.float32)
    images[7] = np.nan
    spec = replace(SPEC, dynamic=False)
    state, _ = trained((0,), (1e-3,), (5, 5, 5), images=images, spec=spec)
    assert state.diverged_step[0] >= 0
    for leaf in jax.tree.leaves(state):
        assert np.isfinite(leaf).all()


def test_warmup_and_beta_reach_the_loss():
    objective = Objective(beta=2.0, warmup_steps=10.0)
    _, history = trained((0,), (1e-3,), (5,), spec=replace(SPEC, objective=objective))
    t = history[0].totals
    beta = 2 * np.arange(5)[None] / 10
    np.testing.assert_allclose(t["loss"], -t["reconstruction"] + beta * t["kl"], rtol=1e-4)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_it_learns_the_mean_of_constant_data(seeds):
    """With one image all over, p(x | z) must come to give it, and the KL must fall to nothing."""
    x = np.tile(np.array([0, 255, 255, 0, 255, 0], np.uint8), (43, 1))
    _, history = trained(seeds, (0.03,) * len(seeds), (5,) * 60, images=x)
    last = history[-1]
    elbo = last.totals["elbo"].sum(axis=1) / last.examples.sum(axis=1)
    assert (elbo > -0.1).all()  # log p(x) can be 0 here, and starts at 6 log 2 below


def devices(lanes: int, rows: int, columns: int = 1) -> Layout:
    chosen = np.array(jax.devices()[: rows * columns])
    return Layout(lanes, Mesh(chosen.reshape(rows, columns), ("lanes", "data")))


def test_one_device_or_eight_give_the_same_bits():
    """Also where the lanes do not divide evenly, and where there is one lane alone."""
    seeds, rates = tuple(range(11)), (1e-3,) * 11
    one, eight = (trained(seeds, rates, on=devices(11, rows)) for rows in (1, 8))
    jax.tree.map(np.testing.assert_array_equal, one, eight)
    alone = trained(seeds[10:], rates[10:])
    jax.tree.map(np.testing.assert_array_equal, alone[0], jax.tree.map(lambda a: a[10:], one[0]))


def test_a_batch_over_four_devices_is_the_same_run():
    seeds, rates, chunks = (0, 1), (1e-3, 3e-3), (5,) * 10
    alone, history = trained(seeds, rates, chunks)
    spec = replace(SPEC, training=Training(batch_size=8, data_devices=4))
    shared, shared_history = trained(seeds, rates, chunks, spec=spec, on=devices(2, 2, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), alone, shared)
    for a, b in zip(history, shared_history, strict=True):
        np.testing.assert_allclose(a.totals["loss"], b.totals["loss"], rtol=1e-4)


@pytest.mark.slow
def test_lanes_at_once_are_lanes_in_turn(monkeypatch):
    """What an accelerator does, run here."""
    seeds, rates, chunks = (3, 1, 4), (1e-3, 3e-3, 1e-2), (5,) * 20
    spec = replace(SPEC, chunk_steps=6)  # a program of its own
    in_turn, _ = trained(seeds, rates, chunks, spec=spec)
    monkeypatch.setattr(Layout, "in_turn", False)
    spec = replace(SPEC, chunk_steps=7)
    for on in (devices(3, 1), devices(3, 2)):
        at_once, _ = trained(seeds, rates, chunks, spec=spec, on=on)
        close = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
        jax.tree.map(close, in_turn, at_once)


RULES = {"adam": Adam(), "adamw": AdamW(weight_decay=0.1), "sgd": SGD()}


@pytest.mark.parametrize(
    "rule",
    ["adamw", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adam", "sgd"))],
)
def test_a_padded_lane_is_its_config_alone(rule):
    """Latent sizes 1, 3 and 5 as lanes of one program, after 300 steps."""
    sizes, seeds, chunks = (1, 3, 5), (0, 1, 2), (5,) * 60
    optimizer = replace(SPEC.optimizer, rule=RULES[rule], learning_rate=3e-3)
    spec = replace(SPEC, optimizer=optimizer)

    def of_size(size, mask=None):
        return replace(spec, model=replace(SPEC.model, latent_size=size, latent_mask=mask))

    padded = [of_size(5, np.arange(5) < size) for size in sizes]
    together, history = trained(seeds, (), chunks, specs=padded)
    for lane, size in enumerate(sizes):
        alone, alone_history = trained(seeds[lane : lane + 1], (), chunks, specs=[of_size(size)])

        def compare(padded, cut, lane=lane):
            inside = tuple(map(slice, cut.shape[1:]))
            np.testing.assert_allclose(padded[lane][inside], cut[0], rtol=2e-3, atol=1e-4)
            outside = np.array(padded[lane])
            outside[inside] = 0
            assert (outside == 0).all()  # weights and optimiser moments of masked units

        jax.tree.map(compare, together.variables, alone.variables)
        jax.tree.map(compare, together.opt_state, alone.opt_state)
        for padded_metrics, cut in zip(history, alone_history, strict=True):
            for name, totals in padded_metrics.totals.items():
                np.testing.assert_allclose(totals[lane], cut.totals[name][0], rtol=1e-3, atol=1e-3)

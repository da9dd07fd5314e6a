"""Averaged params, and updates that are skipped: both change no step that is taken."""

import jax
import numpy as np
import pytest

from tests.small.runs import load, train, values_of, write_tiny_npz
from tests.small.steps import SPEC, trained
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.folders.folder import read_results, read_rows
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import make_run
from vae_jax.sections.declare import replace
from vae_jax.training.average import AVERAGE, evaluated

STEPS = (1,) * 6
SEEDS, RATES = (3, 1), (1e-2, 3e-2)


def with_decay(decay):
    return replace(SPEC, training=replace(SPEC.training, ema_decay=decay))


def skipping(norm, spec=SPEC):
    return replace(spec, optimizer=replace(spec.optimizer, skip_above=norm))


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_average_is_its_closed_form():
    decay, after = 0.8, []
    for n in range(1, len(STEPS) + 1):
        state, _ = trained(SEEDS, RATES, STEPS[:n], spec=with_decay(decay))
        after.append(state.variables["params"])
    weights = decay ** np.arange(len(STEPS))[::-1]
    found = evaluated(state.variables)
    assert AVERAGE not in found

    def mean(*leaves):
        return np.tensordot(weights, np.float64(leaves), 1) / weights.sum()

    expected = jax.tree.map(mean, *after)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)  # noqa: E731
    jax.tree.map(close, found["params"], expected)
    plain, _ = trained(SEEDS, RATES, STEPS)
    assert_equal(state.variables["params"], plain.variables["params"])
    assert AVERAGE not in plain.variables


def test_before_the_first_step_the_average_is_the_params():
    state, _ = trained(SEEDS, RATES, (0,), spec=with_decay(0.5))
    assert_equal(evaluated(state.variables)["params"], state.variables["params"])


def test_a_skipped_step_changes_nothing():
    start, _ = trained(SEEDS, RATES, (0,), spec=with_decay(0.9))
    state, history = trained(SEEDS, RATES, STEPS, spec=skipping(1e-6, with_decay(0.9)))
    assert_equal((state.variables, state.opt_state), (start.variables, start.opt_state))
    assert (state.diverged_step == -1).all()
    assert (state.step == len(STEPS)).all()
    for metrics in history:
        assert (metrics.totals["skipped"][:, 0] == 8).all()
        assert (metrics.examples[:, 0] == 8).all()
        assert (metrics.totals["loss"][:, 0] > 0).all()


@pytest.mark.slow
def test_a_norm_that_is_never_reached_skips_nothing():
    plain, _ = trained(SEEDS, RATES, STEPS)
    state, history = trained(SEEDS, RATES, STEPS, spec=skipping(1e6))
    assert_equal(state, plain)
    assert all((metrics.totals["skipped"] == 0).all() for metrics in history)


@pytest.mark.slow
def test_only_steps_above_the_norm_are_skipped():
    """Those that are taken are the steps of a run that has no others."""
    state, history = trained(SEEDS, RATES, (1,) * 40, spec=skipping(3.0))
    skipped = np.stack([metrics.totals["skipped"][:, 0] for metrics in history])
    assert 0 < skipped.mean() < 8
    count = state.opt_state["model"].count
    np.testing.assert_array_equal(count, (skipped == 0).sum(axis=0))


def test_a_step_that_is_not_finite_diverges_beside_skipping():
    images = np.random.default_rng(0).random((43, 6), dtype=np.float32)
    images[5, 2] = np.nan
    spec = skipping(1e6, replace(SPEC, dynamic=False))
    state, _ = trained(SEEDS, RATES, (1,) * 6, images=images, spec=spec)
    assert (state.diverged_step >= 0).all()


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_tiny_npz(tmp_path_factory.mktemp("average") / "tiny.npz")


@pytest.mark.slow
def test_a_run_is_evaluated_by_the_average_and_resumes(npz, tmp_path, capsys):
    changes = {"training__ema_decay": 0.9, "optimizer__skip_above": 60.0, "training__keep": "last"}
    values = values_of(npz, **changes)
    for epochs in (1, 3):
        train(nest(values | {"training.num_epochs": epochs}), tmp_path / "resumed")
    train(nest(values), tmp_path / "whole")
    runs = [make_run(check(nest(values)), tmp_path / name) for name in ("resumed", "whole")]
    resumed, whole = (load_progress(run) for run in runs)
    assert_equal(resumed.state, whole.state)
    assert_equal(resumed.best, whole.best)
    assert_equal(whole.best.variables, evaluated(whole.state.variables))
    assert not np.allclose(
        whole.best.variables["params"]["decoder"]["output"]["bias"],
        whole.state.variables["params"]["decoder"]["output"]["bias"],
        atol=1e-4,
    )
    of_lane = load(tmp_path / "whole").variables
    assert AVERAGE not in of_lane
    rows = read_rows(tmp_path / "whole")
    last = [row["bound"] for row in rows if row["split"] == "validation"][-1]
    assert read_results(tmp_path / "whole")["lanes"][1]["validation_bound"] == last
    assert all(0 <= row["skipped"] <= 1 for row in rows if row["split"] == "train")


def test_a_clip_that_skipping_leaves_nothing_to_is_refused(npz):
    values = values_of(npz, optimizer__skip_above=5.0, optimizer__max_grad_norm=10.0)
    with pytest.raises(
        UserError, match=r"max_grad_norm = 10 would clip nothing.*it should be below"
    ):
        check(nest(values))

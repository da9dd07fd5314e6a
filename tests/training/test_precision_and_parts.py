"""How a step is computed: in which precision, and in how many parts."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.families import MEMBERS, NEEDS, SMALL
from tests.small.runs import values_of, write_tiny_npz
from tests.small.steps import SPEC
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.models import make_model
from vae_jax.models.model import NO_START, posterior_samples
from vae_jax.models.vae import VAE
from vae_jax.networks.precision import PRECISIONS, computed_in
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.rae import RAE
from vae_jax.probability.posteriors import Deterministic
from vae_jax.runs.run import make_run, on_devices
from vae_jax.sections.declare import replace
from vae_jax.training.step import Batch, init_state, train_step
from vae_jax.training.streams import run_keys

POINT = {"model.posterior": "deterministic", "objective.name": "rae", "evaluation.num_samples": 0}
NETWORKS = [(key, n) for key, n in MEMBERS if key in ("model.encoder.name", "model.decoder.name")]
MODELS = [(key, n) for key, n in MEMBERS if key in ("model.name", "model.posterior", "model.prior")]
FAST = [("model.encoder.name", "mlp")]


def with_training(spec=SPEC, **changes):
    return replace(spec, training=replace(spec.training, **changes))


def gradients(spec, x_bd):
    """(loss, gradients) of the ELBO of a spec's model as training computes it, by its own noise."""
    model = spec.trained_model
    start = NO_START._replace(examples_nd=x_bd)
    variables = make_model(spec.model).init(jax.random.key(0), start) | {"players": {}}

    def value(params):
        found = loss(
            spec.objective, model, variables | {"params": params}, jax.random.key(1), x_bd, None, 0
        )
        return found.value

    return jax.value_and_grad(value)(variables["params"])


def norm(tree):
    return np.sqrt(sum(float(jnp.sum(jnp.square(leaf))) for leaf in jax.tree.leaves(tree)))


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_tiny_npz(tmp_path_factory.mktemp("computing") / "tiny.npz")


def spec_of(npz, tmp_path, changes):
    """The spec of a run of small parts, without its axis of lanes."""
    base = values_of(npz) | SMALL | {"training.seeds": (0,)} | changes
    run = make_run(check(nest(base), idle_allowed=True), tmp_path)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], on_devices(run)[0]), run


@pytest.mark.parametrize(
    ("key", "name"),
    [
        one if one in FAST else pytest.param(*one, marks=pytest.mark.slow)
        for one in NETWORKS + MODELS
        if one[1] not in ("m2", "implicit", "vq", "fsq", "uniform", "categorical", "causal")
    ],
)
def test_bfloat16_agrees_with_float32(npz, tmp_path, key, name):
    """To what 8 bits of mantissa allow; params and what comes out of the networks are float32."""
    spec, run = spec_of(npz, tmp_path, NEEDS.get((key, name), {}) | {key: name})
    x_bd = jnp.asarray(run.data.test.images[:16] > 127, jnp.float32)
    exact, exact_gradient = gradients(spec, x_bd)
    value, gradient = gradients(with_training(spec, precision="bfloat16"), x_bd)
    assert value != exact  # it is another precision
    np.testing.assert_allclose(value, exact, rtol=2e-2)
    away = norm(jax.tree.map(jnp.subtract, gradient, exact_gradient)) / norm(exact_gradient)
    assert away < 0.1
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float32")}


@pytest.mark.parametrize("scale", [1e4, pytest.param(1e-4, marks=pytest.mark.slow)])
def test_nothing_overflows_in_bfloat16(scale):
    spec = with_training(precision="bfloat16")
    value, gradient = gradients(spec, scale * jax.random.normal(jax.random.key(2), (8, 6)))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_products_are_in_the_precision(precision):
    apply = computed_in(precision, lambda w, x: x @ w)
    text = str(jax.make_jaxpr(apply)(jnp.ones((3, 3)), jnp.ones((2, 3))))
    seen = {
        "device": "dot_general",
        "float32": "Precision.HIGHEST",
        "tensorfloat32": "Precision.HIGH",
        "bfloat16": "bf16[2,3] = dot_general",
    }
    assert seen[precision] in text
    assert ("Precision" in text) == (precision in ("float32", "tensorfloat32"))
    assert ("bf16" in text) == (precision == "bfloat16")


def test_what_is_measured_is_not_in_the_precision_of_training(npz, tmp_path):
    _, run = spec_of(npz, tmp_path, {"training.precision": "bfloat16"})
    model = make_model(run.spec.model)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    take = posterior_samples(model, jax.random.key(0), 1)
    x = jnp.zeros((2, 36))
    assert "bf16" not in str(jax.make_jaxpr(lambda v: model.trace(v, take, x).x.mean())(variables))


def point_spec(**training):
    spec = replace(SPEC, model=replace(SPEC.model, kind=VAE(posterior=Deterministic())))
    return with_training(replace(spec, objective=Objective(RAE())), **training)


def after_a_step(spec, x_bd):
    """(state, metrics) after one step of this batch."""
    state = init_state(spec, run_keys(0), NO_START)
    batch = Batch(x_bd, None)
    return jax.jit(train_step, static_argnames="careful")(spec, state, jax.random.key(3), batch)


X = jax.random.bernoulli(jax.random.key(5), 0.4, (8, 6)).astype(jnp.float32)


@pytest.mark.parametrize("parts", [2, 8])
def test_a_batch_in_parts_is_the_batch(parts):
    """Without noise: the params, the moments of the optimiser, and what is recorded."""
    whole, in_parts = (after_a_step(point_spec(accumulate=n), X) for n in (1, parts))
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6, rtol=1e-5), in_parts, whole)


def test_each_part_has_its_own_noise():
    """The gradient is the mean of those of the parts, each with its key."""
    spec = with_training(accumulate=2)
    _, metrics = after_a_step(spec, jnp.concatenate([X[:4], X[:4]]))
    state = init_state(spec, run_keys(0), NO_START)
    model = make_model(spec.model)
    first, second = (
        loss(spec.objective, model, state.variables, key, X[:4], None, 0).value
        for key in jax.random.split(jax.random.key(3), 2)
    )
    assert first != second
    np.testing.assert_allclose(metrics.totals["loss"] / 8, (first + second) / 2, rtol=1e-5)


def test_parts_take_less_memory():
    spec = replace(SPEC, objective=Objective(num_samples=50))
    state = init_state(spec, run_keys(0), NO_START)
    batch = Batch(jnp.zeros((64, 6)), None)

    def bytes_of(**training):
        own = with_training(spec, batch_size=64, **training)
        lowered = jax.jit(train_step).lower(own, state, jax.random.key(0), batch)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(accumulate=8) < 0.4 * bytes_of()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "accumulate = 3 should divide training.batch_size = 20"),
        ({"training.data_devices": 10}, "= 20 / training.data_devices = 10"),
        ({"objective.regularizer": "mmd"}, "regularizer = 'mmd' has a statistic of the whole"),
        ({"objective.free_bits": 0.1}, "objective.name = 'elbo' with these settings"),
        (
            {"model.likelihood": "gaussian_optimal_scale"},
            "'gaussian_optimal_scale' has a stat",
        ),
        ({"model.posterior": "vq", "model.prior": "uniform"}, "model.posterior = 'vq' has a stat"),
        (POINT | {"objective.name": "aae", "training.keep": "last"}, "objective.name = 'aae' with"),
        ({"model.name": "m2", "objective.name": "m2"}, "objective.name = 'm2' with these settings"),
    ],
)
def test_a_batch_with_a_statistic_is_not_divided(npz, changes, message):
    grey = {"dataset.binarization": "none"} if "model.likelihood" in changes else {}
    values = values_of(npz) | {"training.accumulate": 3 if "= 3" in message else 5}
    with pytest.raises(UserError, match=re.escape(message)):
        check(nest(values | grey | changes))

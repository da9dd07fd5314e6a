from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.models import mlp_spec
from tests.small.samples import sampled
from vae_jax.functions import decode
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import (
    Start,
    generate,
    given,
    kl_by_unit,
    latents,
    log_joint,
    log_posterior,
    posterior_mean,
    posterior_means,
    posterior_samples,
    reconstruct,
)
from vae_jax.models.vae import VAE
from vae_jax.objectives.terms import elbo_terms
from vae_jax.probability.likelihoods import GaussianOptimalScale
from vae_jax.probability.priors import LearnedGaussian
from vae_jax.sections.declare import replace

RNG = np.random.default_rng(0)


def test_a_trace_has_the_documented_shapes(small_spec):
    model = make_model(small_spec)

    def found(key):
        variables, x_bd = model.init(key), jnp.ones((6, 30))
        keys = jax.random.split(jax.random.key(1))
        trace = model.trace(variables, posterior_samples(model, keys[0], 3), x_bd)
        (layer,) = trace.layers
        return {
            "z": layer.z_kbl,
            "log q": layer.log_q_kb,
            "logits": trace.x.logits,
            "log p": log_joint(trace, x_bd),
            "kl": kl_by_unit(trace),
            "reconstruction": reconstruct(model, variables, x_bd),
            "generated": generate(model, variables, keys[1], 5),
        }

    shapes = jax.eval_shape(found, jax.random.key(0))
    assert {name: leaf.shape for name, leaf in shapes.items()} == {
        "z": (3, 6, 4),
        "log q": (3, 6),
        "logits": (3, 6, 30),
        "log p": (3, 6),
        "kl": (6, 4),
        "reconstruction": (6, 30),
        "generated": (5, 30),
    }


def test_log_joint_is_prior_plus_likelihood(small_spec):
    model = make_model(small_spec)

    @jax.jit
    def found(variables, x_bd, z_kbl):
        trace = model.trace(variables, given([z_kbl]))
        return log_joint(trace, x_bd), trace.x.log_prob(x_bd[None])

    x_bd = np.float32(RNG.integers(0, 2, (6, 30)))
    z_kbl = np.float32(RNG.normal(size=(3, 6, 4)))
    both, log_likelihood = found(sampled(model), x_bd, z_kbl)
    log_prior = -0.5 * (z_kbl**2 + np.log(2 * np.pi)).sum(-1)
    np.testing.assert_allclose(both, log_prior + log_likelihood, rtol=1e-5)


def test_reconstruct_decodes_the_posterior_mean(small_spec):
    model = make_model(small_spec)

    @jax.jit
    def found(variables, x_bd):
        (layer,) = model.trace(variables, posterior_means, x_bd).layers
        trace = model.trace(variables, given([layer.q.mean_kbl]))
        return reconstruct(model, variables, x_bd), jax.nn.sigmoid(trace.x.logits[0])

    ours, by_hand = found(sampled(model), np.float32(RNG.uniform(size=(6, 30))))
    np.testing.assert_allclose(ours, by_hand, rtol=1e-6)


def test_output_bias_makes_a_new_model_give_the_data_s_mean(small_spec):
    model = make_model(small_spec)

    @jax.jit
    def at_zero(key, mean_d):
        variables = model.init(key, Start(mean_d))
        return decode(model, variables, jnp.zeros((1, 4))).mean()[0]

    mean_d = np.linspace(0.05, 0.95, 30, dtype=np.float32)
    # tanh units and zero hidden biases: z = 0 gives the output bias alone.
    np.testing.assert_allclose(at_zero(jax.random.key(0), mean_d), mean_d, rtol=1e-5)


def test_models_of_equal_specs_are_equal_functions_of_the_key(small_spec):
    again = replace(small_spec)
    first, second = (
        jax.jit(make_model(spec).init)(jax.random.key(4)) for spec in (small_spec, again)
    )
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert hash(small_spec) == hash(again)
    assert small_spec == again
    assert jax.tree.structure(small_spec) == jax.tree.structure(again)


@pytest.mark.parametrize(
    "widths", [(), (7, 8), pytest.param((7,), marks=pytest.mark.slow)], ids=str
)
def test_a_masked_model_is_the_model_of_the_units_that_are_left(widths):
    """Encoding, bounds, samples: all as if the masked units were not there, exactly no gradient."""
    large = ModelSpec(
        latent_size=6, encoder=mlp_spec(*widths), decoder=mlp_spec(*widths), image_shape=(3, 5, 2)
    )
    small = replace(large, latent_size=4)
    masked = replace(large, latent_mask=np.float32([1, 1, 1, 1, 0, 0]))

    @jax.jit
    def start(spec, key):
        return make_model(spec).init(key)

    @jax.jit
    def everything(spec, variables, key, x_bd):
        model = make_model(spec)
        trace = model.trace(variables, posterior_samples(model, key, 3), x_bd)
        (layer,) = trace.layers
        by_unit = {"mean": layer.q.mean_kbl[0], "kl": kl_by_unit(trace), "z": latents(trace)[0]}
        whole = {
            "log q": log_posterior(trace),
            "logits": trace.x.logits,
            "log p": log_joint(trace, x_bd),
            "generated": generate(model, variables, jax.random.clone(key), 5),
        }
        return by_unit, whole

    @jax.jit
    @jax.grad
    def gradient(variables, spec, key, x_bd):
        return -jnp.mean(elbo_terms(make_model(spec), variables, key, x_bd, 2).bound)

    variables, alone = start(masked, jax.random.key(0)), start(small, jax.random.key(0))
    own = jax.tree.map(
        lambda shape, leaf: leaf[tuple(map(slice, shape.shape))], alone, jax.device_get(variables)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), own, alone)

    x_bd = np.ones((6, 30), np.float32)
    x_bd[:, ::3] = 0
    by_unit, whole = everything(masked, variables, jax.random.key(1), x_bd)
    by_unit_own, whole_own = everything(small, own, jax.random.key(1), x_bd)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: close(a[..., :4], b), by_unit, by_unit_own)
    jax.tree.map(close, whole, whole_own)
    assert (by_unit["kl"][:, 4:] == 0).all()

    def nothing_outside(leaf, inside):
        outside = np.array(leaf)
        outside[tuple(map(slice, inside.shape))] = 0
        assert (outside == 0).all()

    for tree in (variables, gradient(variables, masked, jax.random.key(1), x_bd)):
        jax.tree.map(nothing_outside, tree, own)


def test_a_unit_that_is_left_out_is_at_its_prior_s_mean(small_spec):
    """In a learned prior that is not 0."""
    kind = VAE(prior=LearnedGaussian())
    model = make_model(replace(small_spec, kind=kind))
    variables = jax.device_get(model.init(jax.random.key(0)))
    variables["params"]["prior"]["mean"] = np.array([[0.5, -1.0, 2.0, 0.3]], np.float32)
    z_kbl = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    without = make_model(replace(small_spec, kind=kind, latent_mask=np.float32([1, 1, 0, 1])))
    x = without.trace(variables, given([z_kbl])).x.mean()
    z_kbl[..., 2] = 2.0
    np.testing.assert_allclose(x, model.trace(variables, given([z_kbl])).x.mean(), rtol=1e-5)


def test_standardized_inputs_are_those_of_the_raw_network_on_standardized_images(small_spec):
    """Images keep their own units outside; the moments are variables, and not trained."""
    raw, own = make_model(small_spec), make_model(replace(small_spec, inputs="standardized"))
    x_bd = RNG.random((6, 30)).astype(np.float32)
    centre_d, scale = x_bd.mean(axis=0), np.float32(0.2)
    start = Start(centre_d=centre_d, scale=scale)
    variables = own.init(jax.random.key(0), start)
    assert set(variables["stats"]) == {"inputs"}
    plain = raw.init(jax.random.key(0))
    assert plain["stats"] == {}
    jax.tree.map(np.testing.assert_array_equal, variables["params"], plain["params"])
    np.testing.assert_allclose(
        posterior_mean(own, variables, x_bd),
        posterior_mean(raw, plain, (x_bd - centre_d) / scale),
        rtol=1e-5,
        atol=1e-6,
    )
    with pytest.raises(TypeError, match=r"of shape \(n, 30\)"):
        posterior_mean(own, variables, np.zeros((6, 5, 6), np.uint8))


def test_the_optimal_scale_follows_minibatches_and_not_single_examples(small_spec):
    model = make_model(replace(small_spec, likelihood=GaussianOptimalScale()))
    variables = model.init(jax.random.key(0), Start(scale=0.5))
    x_bd = RNG.random((6, 30)).astype(np.float32)
    trace = model.trace(variables, posterior_samples(model, jax.random.key(1), 2), x_bd)
    error = np.mean(np.square(trace.x.loc - x_bd[None]))
    expected = 0.9 * 0.25 + 0.1 * error
    np.testing.assert_allclose(trace.stats["likelihood"]["mean_square"], expected, rtol=1e-5)
    # What is generated or decoded moves nothing.
    assert model.trace(variables, given([jnp.zeros((1, 1, 4))])).stats == variables["stats"]

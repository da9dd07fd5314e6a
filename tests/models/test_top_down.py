"""The convolutional hierarchy: a scan is the loop, densities are right, images of any size."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.models import ModelSpec, make_model, top_down
from vae_jax.models.model import (
    generate,
    given,
    latents,
    layer_sizes,
    log_joint,
    log_posterior,
    posterior_means,
    posterior_samples,
    prior_samples,
    reconstruct,
    sample_prior,
)
from vae_jax.models.top_down import TopDown
from vae_jax.networks.interface import Decoder, Encoder
from vae_jax.objectives.terms import elbo_terms
from vae_jax.probability.levels import DiscretizedLogisticMixture
from vae_jax.probability.likelihoods import BernoulliLikelihood


def model_of(kind, image_shape, likelihood=None):
    likelihood = likelihood or BernoulliLikelihood()
    return make_model(
        ModelSpec(kind=kind, image_shape=image_shape, num_classes=0, likelihood=likelihood)
    )


def moved(model, seed=0, scale=0.3):
    """Variables away from the start, where q and p are N(0, 1)."""
    variables = jax.jit(model.init)(jax.random.key(seed))
    leaves, structure = jax.tree.flatten(variables["params"])
    rng = np.random.default_rng(seed)
    noisy = [np.asarray(leaf + scale * rng.normal(size=leaf.shape), np.float32) for leaf in leaves]
    return variables | {"params": jax.tree.unflatten(structure, noisy)}


def images(n, image_shape):
    return np.float32(np.random.default_rng(7).integers(0, 2, (n, math.prod(image_shape))))


SMALL = TopDown((1, 2, 1), latents=2, width=6, bottleneck=4)


@pytest.mark.slow
def test_at_the_start_p_is_the_standard_normal_and_adds_nothing():
    model = model_of(SMALL, (9, 7, 1))
    variables = model.init(jax.random.key(0))
    trace = model.trace(
        variables, posterior_samples(model, jax.random.key(1), 2), images(3, (9, 7, 1))
    )
    for layer in trace.layers:
        assert (layer.p.mean_kbl == 0).all()
        assert (layer.p.log_scale_kbl == 0).all()
        assert (layer.q.mean_kbl != 0).any()


@pytest.mark.parametrize("with_x", [True, False], ids=["q", "p"])
@pytest.mark.slow
def test_a_scan_is_the_loop(monkeypatch, with_x):
    kind, shape = TopDown((4, 3), latents=2, width=6, bottleneck=4), (6, 6, 1)
    model = model_of(kind, shape)
    variables = moved(model)
    x_bd = images(3, shape) if with_x else None

    def layers(key):
        take = posterior_samples if with_x else prior_samples
        trace = model.trace(variables, take(model, key, 2), x_bd)
        return [(layer.z_kbl, layer.log_q_kb) for layer in trace.layers], trace.x.mean()

    scanned = jax.jit(layers)(jax.random.key(1))
    monkeypatch.setattr(top_down, "SCANNED", 100)
    looped = jax.jit(lambda key: layers(key))(jax.random.key(1))
    assert len(scanned[0]) == 7
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), scanned, looped
    )


@pytest.mark.parametrize(
    ("image_shape", "kind"),
    [
        pytest.param((9, 7, 1), SMALL, marks=pytest.mark.slow),
        pytest.param((5, 4, 3), TopDown((2, 1), 1, 5, 3, 2, 1), marks=pytest.mark.slow),
        pytest.param((1, 1, 1), TopDown((2,), 1, 5, 3, 1, 1), marks=pytest.mark.slow),
        ((2, 1, 1), TopDown((1,), 1, 5, 3, 1, 2)),
    ],
)
def test_samples_that_are_scored_again_have_the_same_density(image_shape, kind):
    model = model_of(kind, image_shape)
    variables, x_bd = moved(model), images(3, image_shape)

    @jax.jit
    def traces(key):
        keys = jax.random.split(key, 4)
        trace = model.trace(variables, posterior_samples(model, keys[0], 2), x_bd)
        again = model.trace(variables, given(latents(trace)), x_bd)
        alone = model.trace(variables, given(latents(trace)))
        return (
            (log_posterior(trace), log_joint(trace, x_bd)),
            (log_posterior(again), log_joint(again, x_bd)),
            log_joint(alone, x_bd),
            reconstruct(model, variables, x_bd),
            generate(model, variables, keys[1], 4),
            sample_prior(model, variables, keys[2], 4).x.sample(keys[3]),
        )

    first, again, alone, shown, made, x = traces(jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), first, again)
    np.testing.assert_allclose(first[1], alone, rtol=1e-4, atol=1e-4)
    assert len(layer_sizes(model, variables)) == sum(kind.num_blocks)
    assert shown.shape == x_bd.shape
    assert made.shape == (4, x_bd.shape[1])
    assert x.shape == (1, 4, x_bd.shape[1])


def test_importance_sampling_agrees_with_the_prior():
    """log p(x) by samples of q, and by samples of p: the same number, by independent ways."""
    kind, shape = TopDown((1, 1), latents=1, width=5, bottleneck=3), (2, 2, 1)
    model = model_of(kind, shape)
    variables, x_bd = moved(model, scale=0.1), images(4, shape)

    @jax.jit
    def both(q_key, p_key):
        found = importance_sampling(model, variables, q_key, x_bd, 4_000).log_likelihood
        x = sample_prior(model, variables, p_key, 4_000).x
        return found, jnp.exp(x.log_prob(x_bd[:, None]))  # [images, samples]

    found, p_nk = both(*jax.random.split(jax.random.key(0)))
    mean_n = p_nk.mean(axis=1)
    error_n = p_nk.std(axis=1) / mean_n / math.sqrt(4_000)
    assert (np.abs(found - jnp.log(mean_n)) < 5 * error_n + 0.02).all()


def test_the_kl_of_each_map_sums_to_the_kl():
    model = model_of(SMALL, (9, 7, 1))
    variables, x_bd = moved(model), images(3, (9, 7, 1))
    parts = jax.jit(lambda key: elbo_terms(model, variables, key, x_bd, 3).parts)(jax.random.key(0))
    names = [name for name in parts if name.startswith("kl_layer_")]
    assert names == ["kl_layer_0_2x1", "kl_layer_1_3x2", "kl_layer_2_5x4"]
    np.testing.assert_allclose(sum(parts[name] for name in names), parts["kl"], rtol=1e-5)
    np.testing.assert_allclose(
        parts["elbo"], parts["reconstruction"] - parts["kl"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
def test_colour_under_a_mixture_of_logistics():
    model = model_of(SMALL, (5, 5, 3), DiscretizedLogisticMixture())
    variables = moved(model, scale=0.05)
    x_bd = np.float32(np.random.default_rng(0).integers(0, 256, (2, 75)) / 255)
    log_p = jax.jit(lambda x: model.trace(variables, posterior_means, x).x.log_prob(x[None]))(x_bd)
    assert log_p.shape == (1, 2)
    assert np.isfinite(log_p).all()


@pytest.mark.slow
def test_one_block_is_the_one_layer_model():
    """The same functions as the encoder and the decoder of a VAE: the same numbers."""
    shape, latents_of = (2, 2, 1), 3
    kind = TopDown((1,), latents=latents_of, width=5, bottleneck=4)
    variables = jax.tree.map(np.array, moved(model_of(kind, shape)))
    params = variables["params"]
    stage = params["down"][0]
    for of_layers in stage["blocks"]["prior"].values():
        of_layers[-1][:] = 0  # p(z) is N(0, 1), and adds nothing to the state
    block = jax.tree.map(lambda leaf: leaf[0], stage["blocks"])
    state = stage["bias"][None]

    def encode(_, x_bd, context=None):
        h = top_down.convolve(x_bd.reshape(-1, *shape), params["image"], 2)
        h += top_down.bottleneck(jax.tree.map(lambda leaf: leaf[0], params["up"][0]), h)
        own = jnp.broadcast_to(state, h.shape)
        raw = top_down.bottleneck(block["posterior"], jnp.concatenate([own, h], axis=-1))
        mean, log_scale = jnp.split(raw.reshape(len(x_bd), -1), 2, axis=-1)
        return {"mean": mean, "log_scale": log_scale}

    def decode(_, z_nl, context=None):
        h = state + top_down.conv(block["latents"], z_nl.reshape(-1, 1, 1, latents_of))
        h += top_down.bottleneck(block["branch"], h)
        raw = top_down.conv(params["output"]["kernel"], jax.nn.gelu(h))
        return (raw + params["output"]["bias"][None, None, None]).reshape(len(z_nl), 4, 1)

    networks = types.SimpleNamespace(
        encoder=lambda *_: Encoder(lambda *_: {}, encode),
        decoder=lambda *_: Decoder(lambda *_: {}, decode),
    )
    spec = ModelSpec(
        latent_size=latents_of,
        encoder=networks,
        decoder=networks,
        image_shape=shape,
        num_classes=0,
        likelihood=BernoulliLikelihood(),
    )
    one_layer = make_model(spec)
    own = {"params": {name: {} for name in ("encoder", "decoder", "likelihood", "prior")}}
    own["params"]["posterior"] = {}
    x_bd, key = images(5, shape), jax.random.key(0)
    found = elbo_terms(model_of(kind, shape), variables, key, x_bd, 3).parts
    expected = elbo_terms(one_layer, own | {"stats": {}}, jax.random.clone(key), x_bd, 3).parts
    assert np.abs(expected["kl"]).min() > 0.01
    for name in ("elbo", "kl", "reconstruction"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)

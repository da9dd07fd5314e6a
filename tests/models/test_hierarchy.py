"""Models of any number of layers, where log p(x), the posterior and the KL by layer are known.

All of `exact` is linear and Gaussian, and the loadings have orthogonal columns of one norm. Then
the upward messages and their products with p are the posterior.
"""

import itertools
import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.evaluation.annealed_importance_sampling import (
    Annealing,
    annealed_importance_sampling,
    moves_noise,
)
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.evaluation.latents import active_by_layer, latents
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.hierarchy import Hierarchy, Ladder
from vae_jax.models.model import (
    generate,
    given,
    kl_of_units,
    layer_sizes,
    log_joint,
    log_posterior,
    posterior_samples,
    sample_prior,
)
from vae_jax.models.model import latents as z_of
from vae_jax.models.two_layers import TwoLayers
from vae_jax.networks import MLP
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import IWAE
from vae_jax.objectives.terms import elbo_terms
from vae_jax.probability.divergences import kl_divergence
from vae_jax.probability.likelihoods import BernoulliLikelihood, GaussianLikelihood

SIZES = (12, 8, 5, 4)  # of x, then of each layer from the bottom up
NOISE = (0.5, 0.8, 0.7)  # of x, and of each layer but the top, given the layer above
NORM = 1.69  # the square of the columns' norm


def spec_of(kind, latent_size, image_size, likelihood, network):
    return ModelSpec(
        kind=kind,
        latent_size=latent_size,
        image_shape=(image_size, 1, 1),
        num_classes=0,
        encoder=network,
        decoder=network,
        likelihood=likelihood,
    )


def dense(kernel, bias):
    return {"kernel": np.float32(kernel), "bias": np.float32(bias)}


@cache
def exact():
    """A ladder whose q is the posterior, its variables, and the loadings of each layer."""
    kind = Ladder(SIZES[2:], SIZES[1:3], upper_depth=0)
    model = make_model(spec_of(kind, SIZES[1], SIZES[0], GaussianLikelihood(NOISE[0]), MLP(())))
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(SIZES))
    downs = [math.sqrt(NORM) * np.linalg.qr(rng.normal(size=pair))[0] for pair in pairs]
    params = {"likelihood": {}, "posterior": {}, "prior": {}}
    params["decoder"] = {"output": dense(downs[0].T, np.zeros(SIZES[0]))}
    variance = 0.0
    for i, down in enumerate(downs):
        # The message is x seen through the loadings; its variance is all noise below the layer.
        variance = (variance + NOISE[i] ** 2) / NORM
        zeros = np.zeros(down.shape[1])
        if i:
            kernel = np.stack([down.T, np.zeros_like(down.T)], axis=-1).reshape(len(down.T), -1)
            bias = np.stack([np.zeros(len(down)), np.full(len(down), math.log(NOISE[i]))], axis=-1)
            params["prior"][str(i - 1)] = {"output": dense(kernel, bias.ravel())}
        up, spread = down / NORM, variance
        if i == len(downs) - 1:  # the top one is q itself: it has the prior N(0, 1) in it
            up, spread = up / (1 + variance), variance / (1 + variance)
        heads = {
            "mean": dense(up, zeros),
            "log_scale": dense(np.zeros_like(down), zeros + 0.5 * math.log(spread)),
            "features": dense(down / NORM, zeros),
        }
        if i == len(downs) - 1:
            del heads["features"]
        if i:
            params["posterior"][str(i - 1)] = heads
        else:
            params["encoder"] = heads
    return model, {"params": params, "stats": {}}, downs


def covariances(downs):
    """The covariance of (z of the top layer, ..., z of the bottom one, x), by its parts."""
    scales = [1.0, *NOISE[:0:-1], NOISE[0]]
    sizes = SIZES[::-1]
    loadings = downs[::-1]
    mixing = np.zeros((sum(sizes), sum(sizes)))  # of independent noise
    start, before = 0, None
    for i, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        rows = slice(start, start + size)
        if before is not None:
            mixing[rows] = loadings[i - 1] @ mixing[before]
        mixing[rows, rows] = scale * np.eye(size)
        start, before = start + size, rows
    return mixing @ mixing.T


def kl_of_gaussians(mean, cov, other_cov):
    """KL(N(mean, cov) || N(0, other_cov))."""
    inverse = np.linalg.inv(other_cov)
    logs = np.linalg.slogdet(other_cov)[1] - np.linalg.slogdet(cov)[1]
    return 0.5 * (np.trace(inverse @ cov) + mean @ inverse @ mean - len(mean) + logs)


X = np.float32(2 * np.random.default_rng(1).normal(size=(3, SIZES[0])))


@cache
def answers():
    """log p(x), and the KL of each layer given those above, the top first; [b] and [b, layers]."""
    cov, n = covariances(exact()[2]), sum(SIZES[1:])
    cov_x = cov[n:, n:]
    log_p = [
        -0.5 * (x @ np.linalg.solve(cov_x, x) + np.linalg.slogdet(2 * np.pi * cov_x)[1]) for x in X
    ]
    gain = cov[:n, n:] @ np.linalg.inv(cov_x)
    after = cov[:n, :n] - gain @ cov[n:, :n]
    ends = np.cumsum(SIZES[:0:-1])
    kls = [[kl_of_gaussians((gain @ x)[:m], after[:m, :m], cov[:m, :m]) for m in ends] for x in X]
    return np.array(log_p), np.diff(np.array(kls), axis=1, prepend=0)


def log_weights(model, variables, k):
    """log p(x, z) - log q(z | x) [k, b] of X."""

    @jax.jit
    def of(variables):
        trace = model.trace(variables, posterior_samples(model, jax.random.key(0), k), X)
        return log_joint(trace, X) - log_posterior(trace)

    return of(variables)


@pytest.mark.slow
def test_every_weight_of_the_exact_ladder_is_p_of_x():
    model, variables, _ = exact()
    log_w_kb = log_weights(model, variables, 50)
    np.testing.assert_allclose(log_w_kb, np.tile(answers()[0], (50, 1)), atol=2e-4)
    found = importance_sampling(model, variables, jax.random.key(0), X, 100)
    np.testing.assert_allclose(found.log_likelihood, answers()[0], atol=2e-4)
    np.testing.assert_allclose(found.effective_sample_size, 100, rtol=1e-3)


@pytest.mark.parametrize(
    "bound", [Elbo(), Elbo(kl="sampled"), IWAE()], ids=["kl", "sampled", "iwae"]
)
def test_the_kl_of_each_layer_is_its_closed_form(bound):
    model, variables, _ = exact()

    @jax.jit
    def parts_of(variables):
        found = loss(Objective(bound, 1_000), model, variables, jax.random.key(0), X, None, 0)
        return found.terms.parts

    parts = parts_of(variables)
    log_p, kls = answers()
    for i, kl_b in enumerate(kls.T):
        np.testing.assert_allclose(parts[f"kl_layer_{i}"], kl_b, atol=0.3)
    total = sum(parts[f"kl_layer_{i}"] for i in range(3))
    np.testing.assert_allclose(total, parts["kl"], rtol=1e-5)
    np.testing.assert_allclose(parts["kl"], kls.sum(axis=1), atol=0.2)
    # A sampled KL has no error here beside the reconstruction; the closed form has.
    exactly = 2e-4 if bound.kl == "sampled" else 0.5
    np.testing.assert_allclose(parts["elbo"], log_p, atol=exactly)


def test_sticking_the_landing_has_no_gradient_at_the_posterior():
    model, variables, _ = exact()
    bound = Elbo(kl="sampled", gradient="sticking_the_landing")

    def value(params):
        of = variables | {"params": params}
        return loss(Objective(bound), model, of, jax.random.key(0), X, None, 0).value

    gradients = jax.jit(jax.grad(value))(variables["params"])
    size = jax.tree.map(lambda leaf: np.abs(leaf).max(), gradients)
    assert max(jax.tree.leaves((size["encoder"], size["posterior"]))) < 1e-3
    assert max(jax.tree.leaves(size["decoder"])) > 0.1


def test_another_q_is_unbiased_and_below():
    model, variables, _ = exact()
    params = variables["params"]
    params = params | {"encoder": jax.tree.map(lambda leaf: 1.1 * leaf, params["encoder"])}
    others = variables | {"params": params}
    log_w_kb = np.float64(log_weights(model, others, 2_000)) - answers()[0]
    w_kb = np.exp(log_w_kb)
    assert (w_kb.std(axis=0) > 0.01).all()
    assert (np.abs(w_kb.mean(axis=0) - 1) < 5 * w_kb.std(axis=0) / math.sqrt(2_000)).all()
    assert (log_w_kb.mean(axis=0) < -1e-3).all()


def test_samples_of_the_prior_have_the_covariance_of_x():
    model, variables, downs = exact()

    @jax.jit
    def sampled(variables):
        trace = sample_prior(model, variables, jax.random.key(0), 20_000)
        return trace.x.sample(jax.random.key(1))[0]

    x = sampled(variables)
    cov = covariances(downs)[-SIZES[0] :, -SIZES[0] :]
    np.testing.assert_allclose(np.cov(np.asarray(x).T), cov, atol=0.15)


@pytest.mark.slow
def test_annealing_moves_the_noise_and_finds_p_of_x():
    """z of a lower layer follows: its scale under p is another than that of a layer above."""
    model, variables, _ = exact()
    spec = Annealing(chains=20, temperatures=400, leapfrog_steps=5)
    assert moves_noise(model, variables, None)
    found = jax.jit(
        lambda variables: annealed_importance_sampling(
            model, variables, jax.random.key(0), X[:1], spec
        )
    )(variables)
    np.testing.assert_allclose(found.log_likelihood, answers()[0][:1], atol=0.5)
    assert found.effective_sample_size > 5
    assert 0.4 < found.acceptance < 0.9


IMAGES = np.float32(np.random.default_rng(2).integers(0, 2, (6, 9)))
KINDS = {
    "hierarchy": Hierarchy((4, 3, 2), (7, 6, 5)),
    "ladder": Ladder((4, 3, 2), (7, 6, 5)),
    "deep": Ladder((4, 3, 2), (7, 6, 5), 2, "leaky_relu", shared=False),
}


@cache
def small(name):
    model = make_model(spec_of(KINDS[name], 5, 9, BernoulliLikelihood(), MLP((8,))))
    return model, model.init(jax.random.key(0))


@pytest.mark.parametrize(
    "name", [n if n == "deep" else pytest.param(n, marks=pytest.mark.slow) for n in KINDS]
)
def test_samples_that_are_scored_again_have_the_same_density(name):
    model, variables = small(name)

    @jax.jit
    def scored(variables):
        trace = model.trace(variables, posterior_samples(model, jax.random.key(0), 3), IMAGES)
        again = model.trace(variables, given(z_of(trace)), IMAGES)
        densities = [(log_posterior(own), log_joint(own, IMAGES)) for own in (trace, again)]
        return *densities, z_of(trace), generate(model, variables, jax.random.key(1), 7)

    first, second, z, images = scored(variables)
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-5)
    assert [leaf.shape for leaf in z] == [(3, 6, size) for size in (2, 3, 4, 5)]
    assert layer_sizes(model, variables) == (2, 3, 4, 5)
    assert images.shape == (7, 9)


@pytest.mark.parametrize("name", [pytest.param("ladder", marks=pytest.mark.slow), "deep"])
def test_the_closed_forms_are_the_means_of_the_samples(name):
    model, variables = small(name)

    @jax.jit
    def both(variables):
        parts = elbo_terms(model, variables, jax.random.key(0), IMAGES, 2_000).parts
        draws = posterior_samples(model, jax.random.key(0), 2_000)
        layers = model.trace(variables, draws, IMAGES).layers
        return parts, [layer.log_q_kb - layer.p.log_prob(layer.z_kbl) for layer in layers]

    closed, sampled = both(variables)
    for i, kl_kb in enumerate(map(np.float64, sampled)):
        error = 5 * kl_kb.std(axis=0) / math.sqrt(2_000) + 1e-6
        assert (np.abs(kl_kb.mean(axis=0) - closed[f"kl_layer_{i}"]) < error).all()


@pytest.mark.parametrize("name", ["hierarchy", "ladder"])
def test_the_kl_of_the_units_of_a_layer_is_that_of_the_layer(name):
    model, variables = small(name)

    @jax.jit
    def both(variables):
        trace = model.trace(variables, posterior_samples(model, jax.random.key(0), 3), IMAGES)
        of_layers = [
            jnp.sum(kl, axis=-1).mean(axis=0)
            if (kl := kl_divergence(layer.q, layer.p)) is not None
            else jnp.mean(layer.log_q_kb - layer.p.log_prob(layer.z_kbl), axis=0)
            for layer in trace.layers
        ]
        return kl_of_units(trace), of_layers

    kl_bl, of_layers = both(variables)
    parts = np.split(kl_bl, [5, 9, 12], axis=1)[::-1]
    for units, layer in zip(parts, of_layers, strict=True):
        np.testing.assert_allclose(units.sum(axis=1), layer, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_active_units_of_each_layer_are_those_whose_kl_is_not_0():
    model, variables, _ = exact()
    found = latents(model, variables, X, key=jax.random.key(3))
    counts = active_by_layer(found.kl, model.layer_names, layer_sizes(model, variables))
    assert counts == {"0": 4, "1": 5, "2": 8}
    without_top = jax.tree.map(np.array, variables)
    top = without_top["params"]["posterior"]["1"]
    top["mean"]["kernel"][:, 1:], top["log_scale"]["bias"][1:] = 0, 0
    found = latents(model, without_top, X, key=jax.random.key(3))
    sizes = layer_sizes(model, variables)
    assert active_by_layer(found.kl, model.layer_names, sizes)["0"] == 1
    one_group = active_by_layer(found.kl, ("map", "map", "last"), sizes)
    assert one_group == {"map": 6, "last": 8}


def layers_of(model, variables):
    """What is taken of each layer, and its densities under q and p."""

    @jax.jit
    def of(variables):
        draws = posterior_samples(model, jax.random.key(0), 2)
        layers = model.trace(variables, draws, IMAGES).layers
        return [(layer.z_kbl, layer.log_q_kb, layer.p.log_prob(layer.z_kbl)) for layer in layers]

    return of(variables)


@pytest.mark.slow
def test_a_downward_pass_with_the_params_of_p_is_the_shared_one():
    shared, variables = small("ladder")
    separate = make_model(
        spec_of(Ladder((4, 3, 2), (7, 6, 5), shared=False), 5, 9, BernoulliLikelihood(), MLP((8,)))
    )
    params = variables["params"] | {"downward": variables["params"]["prior"]}
    one, other = (
        layers_of(model, variables | {"params": own})
        for model, own in ((shared, variables["params"]), (separate, params))
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), one, other)


@pytest.mark.slow
def test_two_layers_are_the_hierarchy_with_one_more_layer():
    def model_of(kind):
        return make_model(spec_of(kind, 5, 9, BernoulliLikelihood(), MLP((8,))))

    two, several = model_of(TwoLayers(2, (7,))), model_of(Hierarchy((2,), (7,)))
    params = two.init(jax.random.key(0))["params"]
    nested = params | {name: {"0": params[name]} for name in ("posterior", "prior")}
    one, other = (
        model.trace(
            {"params": own, "stats": {}}, posterior_samples(model, jax.random.key(0), 2), IMAGES
        )
        for model, own in ((two, params), (several, nested))
    )
    jax.tree.map(np.testing.assert_array_equal, one.layers, other.layers)
    np.testing.assert_array_equal(one.x.log_prob(IMAGES[None]), other.x.log_prob(IMAGES[None]))

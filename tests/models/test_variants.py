"""Every posterior and prior inside a model, and the variants, against p(x) on a grid of z."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small import exact
from tests.small.models import mlp_spec
from tests.small.samples import sampled
from vae_jax.evaluation.latents import latents as latents_of
from vae_jax.functions import decode
from vae_jax.models import ModelSpec
from vae_jax.models.model import (
    Start,
    generate,
    given,
    joined,
    kl_by_unit,
    latents,
    log_joint,
    log_posterior,
    log_prior,
    parted,
    posterior_means,
    posterior_samples,
    reconstruct,
    sample_prior,
)
from vae_jax.models.two_layers import TwoLayers
from vae_jax.models.vae import VAE
from vae_jax.objectives.terms import elbo_terms
from vae_jax.probability.posteriors import (
    POSTERIORS,
    Diagonal,
    Full,
    InverseAutoregressive,
    MixturePosterior,
    Planar,
)
from vae_jax.probability.priors import (
    PRIORS,
    Autoregressive,
    LearnedGaussian,
    MixturePrior,
    RealNVP,
    StandardNormalPrior,
    VampPrior,
)

X_BD = np.array([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], np.float32)
# (prior, posterior): every prior, and every posterior, beside the plain other.
SIDES = {
    "autoregressive, diagonal": (Autoregressive(layers=2, width=8), Diagonal()),
    "learned_gaussian, diagonal": (LearnedGaussian(), Diagonal()),
    "mixture, diagonal": (MixturePrior(3), Diagonal()),
    "realnvp, diagonal": (RealNVP(layers=2, width=8), Diagonal()),
    "standard_normal, diagonal": (StandardNormalPrior(), Diagonal()),
    "standard_normal, full": (StandardNormalPrior(), Full()),
    "standard_normal, inverse_autoregressive": (
        StandardNormalPrior(),
        InverseAutoregressive(layers=2, width=8),
    ),
    "standard_normal, mixture": (StandardNormalPrior(), MixturePosterior(3)),
    "standard_normal, planar": (StandardNormalPrior(), Planar(layers=2)),
    "vampprior, diagonal": (VampPrior(3), Diagonal()),
}


def model_of(kind, latent_size=1, num_classes=0):
    return exact.model_of(
        ModelSpec(
            kind,
            latent_size,
            mlp_spec(6),
            mlp_spec(6),
            image_shape=(2, 2, 1),
            num_classes=num_classes,
        )
    )


def variables_of(model):
    """Random ones, all but the decoder's small."""
    variables = sampled(model, 0, Start(examples_nd=X_BD))
    params = variables["params"]
    for part in ("encoder", "prior", "posterior"):
        params[part] = jax.tree.map(lambda leaf: np.float32(0.4) * leaf, params[part])
    return variables


@partial(jax.jit, static_argnums=(0, 3))
def log_weights(model, variables, key, k, label_b=None):
    """log p(x, z) - log q(z | x) [k, b] of z ~ q(z | x)."""
    trace = model.trace(variables, posterior_samples(model, key, k), X_BD, label_b)
    return log_joint(trace, X_BD) - log_posterior(trace)


def assert_unbiased(model, variables, log_p_b, label_b=None, k=20_000):
    """E_q[p(x, z) / q(z | x)] = p(x): it holds only if z and every density belong together."""
    log_w_kb = log_weights(model, variables, jax.random.key(2), k, label_b)
    ratio_kb = np.exp(np.asarray(log_w_kb, np.float64) - log_p_b)
    error_b = (ratio_kb.mean(axis=0) - 1) / (ratio_kb.std(axis=0) / np.sqrt(k))
    assert np.abs(error_b).max() < 4.6  # of three examples; one key in 100,000 fails


def test_every_prior_and_posterior_is_in_the_table():
    priors, posteriors = ({type(pair[i]) for pair in SIDES.values()} for i in range(2))
    # tests/objectives/test_discrete.py has those of discrete z.
    assert priors == {own for own in PRIORS.values() if own().support != "discrete"}
    real = {own for own in POSTERIORS.values() if own().support != "discrete"}
    assert posteriors == {own for own in real if not (own().is_point or own().is_implicit)}


@pytest.mark.parametrize("name", SIDES)
def test_importance_weights_have_mean_p_of_x(name):
    prior, posterior = SIDES[name]
    model = model_of(VAE(prior=prior, posterior=posterior), 2)
    variables = variables_of(model)
    plain, own = model_of(VAE(prior=prior), 2), variables
    if type(prior) is not VampPrior:  # whose q is part of p(z); else one program is for all q
        own = {"params": {**variables["params"], "encoder": {}, "posterior": {}}, "stats": {}}
    assert_unbiased(model, variables, exact.grid_log_prob(plain, own, X_BD, 2))


def conditional():
    model = model_of(VAE(conditional=True, prior=LearnedGaussian()), num_classes=3)
    variables = variables_of(model)
    variables["params"]["prior"] = {
        "mean": np.float32([[-1.0], [0.0], [1.5]]),
        "log_scale": np.float32([[0.2], [-0.3], [0.0]]),
    }
    return model, variables


def test_a_conditional_model_is_one_model_for_each_label():
    label_b = np.array([2, 0, 1])
    model, variables = conditional()
    mixed = exact.grid_log_prob(model, variables, X_BD, 1, label_b)
    assert_unbiased(model, variables, mixed, label_b)
    by_label = [
        exact.grid_log_prob(model, variables, X_BD, 1, np.full(3, label)) for label in range(3)
    ]
    np.testing.assert_allclose(mixed, [by_label[2][0], by_label[0][1], by_label[1][2]], rtol=1e-4)
    assert np.std(by_label, axis=0).min() > 1e-2


def test_labels_reach_encoder_decoder_and_prior():
    model, variables = conditional()

    @jax.jit
    def found(variables, key, label_b):
        (layer,) = model.trace(variables, posterior_means, X_BD, label_b).layers
        at_zero = model.trace(variables, given([jnp.zeros((2, 3, 1))]), None, label_b)
        return (
            layer.q.mean_kbl,
            at_zero.x.logits,
            log_prior(at_zero),
            generate(model, variables, key, 3, label_b),
            decode(model, variables, jnp.zeros((3, 1)), label_b).mean(),
        )

    one, other = (found(variables, jax.random.key(0), np.full(3, label)) for label in (0, 2))
    assert (one[0] != other[0]).all()
    assert (one[1] != other[1]).any()
    assert (one[2] != other[2]).all()
    assert one[3].shape == (3, 4)
    assert (one[3] != other[3]).any()
    assert one[4].shape == (3, 4)
    with pytest.raises(AssertionError, match="this model takes labels: say which"):
        jax.eval_shape(lambda own: model.trace(own, posterior_means, X_BD).x, variables)


def two_layers():
    model = model_of(TwoLayers(top_size=1, top_widths=(5,)))
    return model, variables_of(model)


def test_two_layers_are_a_joint_distribution():
    """p(x) over a grid of (h1, h2), and the same by samples."""
    model, variables = two_layers()
    assert_unbiased(model, variables, exact.grid_log_prob(model, variables, X_BD, 2))

    @jax.jit
    def again(variables, key):
        trace = model.trace(variables, posterior_samples(model, key, 7), X_BD)
        scored = model.trace(variables, given(latents(trace)), X_BD)
        return joined(latents(trace)), log_posterior(trace), log_posterior(scored)

    z_kbl, log_q_kb, scored_kb = again(variables, jax.random.key(1))
    assert z_kbl.shape == (7, 3, 2)
    np.testing.assert_allclose(scored_kb, log_q_kb, rtol=1e-4, atol=1e-4)
    shapes = jax.eval_shape(
        lambda own, key: (
            latents_of(model, own, X_BD),
            reconstruct(model, own, X_BD),
            generate(model, own, key, 5),
        ),
        variables,
        jax.random.key(0),
    )
    assert shapes[0].mean.shape == (3, 2)
    assert [leaf.shape for leaf in shapes[1:]] == [(3, 4), (5, 4)]


def test_the_kl_of_two_layers_is_the_mean_over_samples():
    """Not that of q(h1 | x) to p(h1 | h2), in closed form, whose h2 would not depend on h1."""
    model, variables = two_layers()

    @jax.jit
    def terms(variables, key):
        trace = model.trace(variables, posterior_samples(model, key, 50), X_BD)
        assert kl_by_unit(trace) is None
        own = elbo_terms(model, variables, jax.random.clone(key), X_BD, 50)
        return own.parts["kl"], log_posterior(trace) - log_prior(trace)

    kl_b, log_ratio_kb = terms(variables, jax.random.key(1))
    np.testing.assert_allclose(kl_b, log_ratio_kb.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_two_layers_prior_and_posterior_integrate_to_one():
    model, variables = two_layers()
    points, area = exact.grid(2)

    @jax.jit
    def densities(variables, key, points):
        z = jnp.broadcast_to(points[:, None], (len(points), 3, 2))
        trace = model.trace(variables, given(parted(z, (1, 1))), X_BD)
        samples = joined(latents(sample_prior(model, variables, key, 20_000)))[0]
        return log_prior(trace), log_posterior(trace), samples

    log_p, log_q, samples = densities(variables, jax.random.key(0), points)
    prior, posterior = np.exp(log_p) * area, np.exp(log_q) * area
    np.testing.assert_allclose(prior.sum(axis=0), np.ones(3), rtol=2e-3)
    np.testing.assert_allclose(posterior.sum(axis=0), np.ones(3), rtol=2e-3)
    mean = (prior[:, 0, None] * points).sum(axis=0)
    error = (samples.mean(axis=0) - mean) / (samples.std(axis=0) / np.sqrt(20_000))
    assert np.abs(error).max() < 4.4


def test_only_the_lower_layer_reaches_the_decoder():
    model, variables = two_layers()
    z = np.float32([[0.3, -1.0], [0.3, 2.0], [0.4, 2.0]])
    x = jax.jit(lambda own, z: decode(model, own, z).mean())(variables, z)
    np.testing.assert_array_equal(x[0], x[1])
    assert (x[1] != x[2]).any()


def test_a_dream_is_a_sample_of_p_of_x():
    """z from the prior, x from the likelihood: E[x] is that of the grid."""
    model, variables, _ = exact.nonlinear()
    points, width = exact.grid(1)

    @jax.jit
    def found(variables, keys):
        dream = sample_prior(model, variables, keys[0], 20_000)
        return dream.x.sample(keys[1])[0], decode(model, variables, points).mean()

    x, mean_of_points = map(np.asarray, found(variables, jax.random.split(jax.random.key(0))))
    assert set(np.unique(x)) == {0.0, 1.0}
    density = np.exp(-0.5 * points[:, 0] ** 2) / np.sqrt(2 * np.pi)
    mean = (density[:, None] * mean_of_points).sum(0) * width
    assert np.abs(x.mean(axis=0) - mean).max() < 4.6 * np.sqrt(0.25 / 20_000)

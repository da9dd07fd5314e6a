"""init, encode, reparameterize, decode, elbo and train_step, beside what the package computes."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vae_jax
from tests.small import exact
from tests.small.models import mlp_spec
from tests.small.samples import normal
from vae_jax import decode, elbo, encode, init, reparameterize, train_step
from vae_jax.errors import UserError
from vae_jax.models import ModelSpec
from vae_jax.models.model import given, parted, posterior_mean, reconstruct
from vae_jax.models.two_layers import TwoLayers
from vae_jax.models.vae import VAE
from vae_jax.objectives import loss
from vae_jax.objectives.elbo import Elbo
from vae_jax.probability import gaussian
from vae_jax.probability.distributions import StandardNormal
from vae_jax.probability.divergences import kl_divergence
from vae_jax.probability.likelihoods import BernoulliLikelihood, GaussianOptimalScale
from vae_jax.probability.posteriors import Diagonal, Full, MixturePosterior, Planar
from vae_jax.training import step
from vae_jax.training.optimizer import Adam, Optimizer
from vae_jax.training.spec import Spec, Training

B, L, C = 4, 3, 2
LABELS = np.array([0, 1, 1, 0])
X = np.random.default_rng(0).integers(0, 2, (B, 6)).astype(np.float32)
# {name: (the model's section, its likelihood, the objective that is its ELBO)}
CASES = {
    "diagonal, bernoulli": (VAE(), BernoulliLikelihood(), Elbo()),
    "diagonal, gaussian": (VAE(), GaussianOptimalScale(), Elbo()),
    "full": (VAE(posterior=Full()), BernoulliLikelihood(), Elbo()),
    "planar": (VAE(posterior=Planar(layers=2)), GaussianOptimalScale(), Elbo(kl="sampled")),
    "conditional": (VAE(conditional=True), BernoulliLikelihood(), Elbo()),
    "two layers": (TwoLayers(2, (5,)), BernoulliLikelihood(), Elbo(kl="sampled")),
}


def spec_of(name) -> ModelSpec:
    kind, likelihood, _ = CASES[name]
    network = mlp_spec(5)
    return ModelSpec(
        kind, L, network, network, likelihood=likelihood, image_shape=(2, 3, 1), num_classes=C
    )


def labels_of(name):
    return LABELS if name == "conditional" else None


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("full", "diagonal, gaussian") else ())
        for name in CASES
        if name != "two layers"
    ],
)
def test_the_parts_make_the_elbo_of_the_objective_bit_by_bit(name):
    model, labels = exact.model_of(spec_of(name)), labels_of(name)
    variables = exact.variables_of(model)

    @jax.jit
    def by_hand(variables, key, x):
        q = encode(model, variables, x, labels)
        z = reparameterize(key, q, 2)
        p = decode(model, variables, z, labels)
        reconstruction = jnp.mean(p.log_prob(x[None]), axis=0)
        prior = StandardNormal(None, B, L)
        if q.log_prob is None:  # a flow, whose density is known of its own samples alone
            again, log_q = q.sample(key, 2)
            return reconstruction - jnp.mean(log_q - prior.log_prob(again), axis=0)
        return reconstruction - jnp.sum(kl_divergence(q, prior)[0], axis=-1)

    @jax.jit
    def others(variables, key, x):
        objective = exact.objective(CASES[name][2], 2)
        found = loss(objective, model, variables, key, x, labels, 0)
        return elbo(model, variables, key, x, labels, num_samples=2), found.terms.parts["elbo"]

    parts = by_hand(variables, jax.random.key(0), X)
    assert parts.shape == (B,)
    for own in others(variables, jax.random.key(0), X):
        np.testing.assert_array_equal(own, parts)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "diagonal, gaussian" else pytest.mark.slow)
        for name in CASES
    ],
)
def test_a_step_is_the_package_s_own_bit_by_bit(name):
    """Two steps of Adam: params, the stats that follow the data, moments, and every number."""
    adam, labels = Adam(np.float32(0.9), np.float32(0.999), np.float32(1e-8)), labels_of(name)
    rate = np.float32(0.01)
    spec = Spec(
        model=spec_of(name),
        objective=exact.objective(CASES[name][2]),
        optimizer=Optimizer(adam, rate, unclipped=True),
        training=Training(batch_size=B),
        train_size=B,
        dynamic=False,
        chunk_steps=1,
    )
    model = exact.model_of(spec.model)
    variables = exact.variables_of(model)
    optimizer = optax.chain(adam.transformation(), optax.scale(-rate))
    theirs = step.State(
        jnp.int32(0),
        variables | {"players": {}},
        {step.MODEL: adam.transformation().init(variables["params"])},
        jnp.int32(-1),
    )
    ours = variables, optimizer.init(variables["params"])
    their_step = jax.jit(lambda state, key: step.train_step(spec, state, key, (X, labels)))
    our_step = jax.jit(lambda state, key: train_step(model, optimizer, state, key, X, labels))
    for at in range(2):
        theirs, metrics = their_step(theirs, jax.random.key(at))
        ours, means = our_step(ours, jax.random.key(at))
        for part in ("params", "stats"):
            jax.tree.map(np.testing.assert_array_equal, theirs.variables[part], ours[0][part])
        assert metrics.totals["loss"] == means["loss"] * B
        for own in ("elbo", "reconstruction", "kl"):
            np.testing.assert_allclose(metrics.totals[own], means[own] * B, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, theirs.opt_state[step.MODEL], ours[1][0])


def test_reparameterize_is_mean_plus_scale_times_noise():
    q = Diagonal().distribution({}, {"mean": normal(0, B, L), "log_scale": normal(1, B, L)})
    noise = gaussian.unit_normal(jax.random.key(0), (5, B), L)
    z = reparameterize(jax.random.key(0), q, 5)
    np.testing.assert_array_equal(z, q.mean() + q.scale() * noise)
    assert z.shape == (5, B, L)
    assert reparameterize(jax.random.key(0), q).shape == (1, B, L)
    assert q.log_prob(z).shape == (5, B)


@pytest.mark.parametrize("posterior", [Diagonal(), Full(), MixturePosterior(3)])
def test_the_scale_is_the_standard_deviation_of_the_samples(posterior):
    heads = posterior.heads(L)
    outputs = {name: normal([7, i], 1, size) for i, (name, size) in enumerate(heads)}
    q = posterior.distribution({}, outputs)
    z = jax.jit(lambda key: q.sample(key, 20_000)[0])(jax.random.key(0))
    assert q.scale().shape == (1, 1, L)
    np.testing.assert_allclose(q.scale()[0], z.std(axis=0), rtol=0.03)
    np.testing.assert_allclose(q.mean()[0], z.mean(axis=0), atol=0.05)


def test_many_models_keys_and_examples_at_once():
    """Under vmap and jit, and one example alone is as it is in its batch."""
    model = exact.model_of(spec_of("diagonal, bernoulli"))

    @jax.jit
    def found(keys, noise):
        many = jax.vmap(lambda key: init(model, key))(keys)
        means = jax.vmap(lambda own: decode(model, own, encode(model, own, X).mean()).mean())(many)
        last = jax.tree.map(lambda leaf: leaf[1], many)
        alone = jax.vmap(lambda x: encode(model, last, x[None]).mean()[0, 0])(X)
        bounds = jax.vmap(lambda own, key: elbo(model, own, key, X))(many, noise)
        others = posterior_mean(model, last, X), reconstruct(model, last, X)
        return bounds, (alone, means[1, 0]), others

    bounds, ours, others = found(*(jax.random.split(jax.random.key(i), 2) for i in range(2)))
    assert bounds.shape == (2, B)
    assert (bounds[0] != bounds[1]).all()
    for own, other in zip(ours, others, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)


def test_latents_with_and_without_an_axis_of_samples():
    model = exact.model_of(spec_of("diagonal, gaussian"))
    variables, z = exact.variables_of(model), normal(3, 5, L)
    one, several = decode(model, variables, z), decode(model, variables, z[None])
    assert one.mean().shape == (5, 6)
    np.testing.assert_array_equal(one.mean(), several.mean()[0])
    x = normal(4, 5, 6)
    np.testing.assert_array_equal(one.log_prob(x), several.log_prob(x[None])[0])


def test_a_model_of_several_layers():
    """Its q is not one distribution; its z are those of all layers, the bottom one first."""
    model = exact.model_of(spec_of("two layers"))
    variables, z = exact.variables_of(model), normal(3, 1, B, L + 2)
    with pytest.raises(UserError, match="one layer of latents, and this one has 2"):
        encode(model, variables, X)
    trace = model.trace(variables, given(parted(z, (2, L))))
    np.testing.assert_array_equal(decode(model, variables, z).mean(), trace.x.mean())


def test_images_of_another_form_are_one_line():
    model = exact.model_of(spec_of("diagonal, bernoulli"))
    with pytest.raises(TypeError, match=r"x is uint8 of shape \(4, 2, 3\); it should be real"):
        encode(model, exact.variables_of(model), X.astype(np.uint8).reshape(B, 2, 3))


def test_the_names_are_found_and_the_import_is_light():
    for name in vae_jax.__all__:
        assert callable(getattr(vae_jax, name)), name
    code = "import sys, vae_jax; dir(vae_jax); sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

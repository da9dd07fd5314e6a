"""p(x | z) whose values depend on those before them: its probabilities, samples and pictures."""

import dataclasses
import itertools
from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.models import mlp_spec
from vae_jax.errors import UserError
from vae_jax.evaluation.importance_sampling import importance_sampling
from vae_jax.functions import decode, elbo
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.hierarchy import Ladder
from vae_jax.models.model import generate, log_prior, picture, reconstruct, sample_prior
from vae_jax.models.vae import VAE
from vae_jax.networks.pixelcnn import PixelCNN
from vae_jax.objectives.importance import IWAE
from vae_jax.probability.likelihoods import LIKELIHOODS, BernoulliLikelihood, Normal

SMALL = PixelCNN((), "elu", 2, 6, 3)


@cache
def small(likelihood="bernoulli", image=(3, 3, 1), kind=None):
    """(model, variables), with weights that are far from 0."""
    spec = ModelSpec(
        VAE() if kind is None else kind, 2, mlp_spec(6), SMALL, image_shape=image,
        likelihood=LIKELIHOODS[likelihood](), num_classes=3,
    )  # fmt: skip
    model = make_model(spec)
    variables = jax.device_get(jax.jit(model.init)(jax.random.key(0)))
    decoder = jax.tree.map(lambda leaf: np.float32(1.5) * leaf, variables["params"]["decoder"])
    return model, variables | {"params": variables["params"] | {"decoder": decoder}}


def values(likelihood, d, n=3):
    """Images [n, d] of its support."""
    x = np.random.default_rng(0).integers(0, 2, (n, d)).astype(np.float32)
    return x if LIKELIHOODS[likelihood].support == "binary" else (20 + 200 * x) / np.float32(255)


Z = np.float32([[0.3, -1.2], [1.1, 0.4]])


def test_probabilities_of_all_images_add_up_to_one_and_samples_have_them():
    model, variables = small()
    every = np.float32(list(itertools.product((0, 1), repeat=9)))

    @jax.jit
    def found(variables, key):
        p = decode(model, variables, Z[:1][None])
        draws = decode(model, variables, jnp.broadcast_to(Z[:1], (10_000, 1, 2))).sample(key)
        return jnp.exp(p.log_prob(every[None]))[0], draws[:, 0]

    prob, draws = map(np.asarray, found(variables, jax.random.key(1)))
    np.testing.assert_allclose(prob.sum(dtype=np.float64), 1, atol=1e-5)
    index = draws.astype(int) @ 2 ** np.arange(9)[::-1]
    often = len(draws) * prob
    off = (np.bincount(index, minlength=512) - often) / np.sqrt(often * (1 - prob))
    assert (often > 10).sum() > 50
    off = off[often > 10]
    assert np.abs(off).max() < 5
    assert abs(np.square(off).mean() - 1) < 0.6


@pytest.mark.parametrize(
    ("likelihood", "image"),
    [
        pytest.param("bernoulli", (3, 2, 1), marks=pytest.mark.slow),
        pytest.param("discretized_logistic_mixture", (2, 2, 3), marks=pytest.mark.slow),
        ("gaussian", (2, 1, 2)),
        pytest.param("poisson", (2, 2, 1), marks=pytest.mark.slow),
        pytest.param("beta", (1, 1, 3), marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_sample_is_the_one_that_is_made_value_by_value(likelihood, image):
    model, variables = small(likelihood, image)
    d = int(np.prod(image))

    @jax.jit
    def both(variables, key):
        p = decode(model, variables, Z)

        def settle(i, x):
            drawn = p.given(x).sample(jax.random.clone(key))
            return x.at[:, i].set(jax.lax.dynamic_slice_in_dim(drawn, i, 1, axis=1)[:, 0])

        return p.sample(key), jax.lax.fori_loop(0, d, settle, jnp.zeros((2, d)))

    found, one_by_one = both(variables, jax.random.key(2))
    np.testing.assert_array_equal(found, one_by_one)
    assert np.isfinite(found).all()


def test_pictures_are_of_a_sample_with_the_same_noise_for_all_or_their_own():
    model, variables = small()

    @jax.jit
    def found(variables, key):
        p, twice = decode(model, variables, Z), decode(model, variables, Z[[0, 0, 1]])
        keys = jax.random.split(key, 3)
        return (
            picture(p, jax.random.clone(key)),
            picture(twice, jax.random.clone(key)),
            picture(twice, keys),
        )

    of_two, alike, apart = map(np.asarray, found(variables, jax.random.key(3)))
    # Whatever the number of rows: nothing depends on how they are batched.
    np.testing.assert_allclose(alike[[0, 2]], of_two, rtol=1e-5)
    np.testing.assert_array_equal(alike[0], alike[1])
    assert (alike[0] != alike[2]).any()  # by z
    np.testing.assert_allclose(apart[0, 0], alike[0, 0], rtol=1e-5)  # the first has none before it
    assert (apart[0] != apart[1]).any()
    assert ((of_two > 0) & (of_two < 1)).all()  # means
    with pytest.raises(UserError, match=r"no mean that can be computed; picture\(key\)"):
        decode(model, variables, Z).mean()
    plain = Normal(jnp.ones((2, 3)), jnp.zeros((2, 3)))
    assert (picture(plain, jax.random.key(0)) == 1).all()


@pytest.mark.parametrize(
    "kind", [VAE(), pytest.param(Ladder((2,), (4,)), marks=pytest.mark.slow)], ids=["vae", "ladder"]
)
def test_a_model_takes_it_as_any_other_decoder(kind):
    model, variables = small(kind=kind)
    x = values("bernoulli", 9)

    @jax.jit
    def found(variables, key):
        keys = jax.random.split(key, 5)
        asleep = sample_prior(model, variables, keys[0], 4)
        gradient = jax.grad(lambda own: jnp.mean(elbo(model, own, keys[1], x)))(variables)
        return {
            "x": asleep.x.sample(keys[2]),
            "log_prior": log_prior(asleep),
            "made": generate(model, variables, keys[3], 5),
            "rebuilt": reconstruct(model, variables, x),
            "nll": importance_sampling(model, variables, keys[4], x, 60).log_likelihood,
            "gradient": gradient["params"],
        }

    own = jax.device_get(found(variables, jax.random.key(4)))
    assert {name: leaf.shape for name, leaf in own.items() if name != "gradient"} == {
        "x": (1, 4, 9), "log_prior": (1, 4), "made": (5, 9), "rebuilt": (3, 9), "nll": (3,),
    }  # fmt: skip
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(own))
    assert all(leaf.any() for leaf in jax.tree.leaves(own["gradient"]["encoder"]))  # by z


@pytest.mark.slow
def test_lanes_are_models_of_their_own():
    model, variables = small()
    other = jax.tree.map(lambda leaf: np.float32(0.8) * leaf, variables)
    x = values("bernoulli", 9, 2)

    def found(variables, key):
        p = decode(model, variables, Z)
        return p.log_prob(x), p.given(x).mean(), p.sample(key)

    keys = jax.random.split(jax.random.key(5))
    both = jax.tree.map(lambda *leaves: np.stack(leaves), variables, other)
    lanes = jax.jit(jax.vmap(found))(both, keys)
    alone = jax.jit(found)
    for i, own in enumerate((variables, other)):
        for leaf, single in zip(lanes, alone(own, jax.random.clone(keys)[i]), strict=True):
            np.testing.assert_allclose(leaf[i], single, rtol=1e-4, atol=1e-5)


def test_a_sleep_phase_is_refused():
    data = SimpleNamespace(image_shape=(3, 3, 1))
    config = SimpleNamespace(model=ModelSpec(decoder=SMALL))
    (problem,) = IWAE("wake_sleep").needs_of_data(config, data)
    assert "model.decoder.name = 'pixelcnn' samples one value after another" in problem
    assert not list(IWAE("wake_wake").needs_of_data(config, data))
    config = SimpleNamespace(model=ModelSpec())
    assert not list(IWAE("wake_sleep").needs_of_data(config, data))


@pytest.mark.slow
def test_statistics_of_the_likelihood_follow_the_values_given_those_before():
    model, variables = small("gaussian_optimal_scale", (2, 1, 2))
    x = values("gaussian", 4)

    @jax.jit
    def found(variables):
        trace = model.trace(variables, lambda i, q, p: (q.mean(), None), x)
        return trace.stats["likelihood"]["mean_square"], trace.x.given(x[None]).loc[0]

    mean_square, loc = found(variables)
    before = variables["stats"]["likelihood"]["mean_square"]
    np.testing.assert_allclose(
        mean_square, 0.9 * before + 0.1 * np.mean(np.square(loc - x)), rtol=1e-5
    )


@pytest.mark.slow
def test_a_label_is_seen_and_what_is_standardised_is_seen_so():
    model, variables = small(kind=VAE(conditional=True))
    x, labels = values("bernoulli", 9, 2), np.array([0, 1])
    p = [decode(model, variables, Z[[0, 0]], own) for own in (labels, labels[::-1])]
    first, second = (np.asarray(own.log_prob(x[[0, 0]])) for own in p)
    np.testing.assert_allclose(first, second[::-1], rtol=1e-5)
    assert first[0] != first[1]
    p = dataclasses.replace(p[0], stats={"inputs": {"mean": np.ones(9), "scale": np.float32(2)}})
    assert isinstance(p.likelihood, BernoulliLikelihood)
    inputs = dataclasses.replace(p, stats={}).given((x - 1) / 2).logits
    np.testing.assert_allclose(p.given(x).logits, inputs, rtol=1e-5)

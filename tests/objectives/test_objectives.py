"""One table of properties that every objective passes, with every gradient estimator it has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import mlp_spec
from tests.objectives.exact import hyper, spec
from vae_jax.models import make_model
from vae_jax.models.model import ModelSpec
from vae_jax.networks.network import NetworkSpec
from vae_jax.objectives import OBJECTIVES, objective
from vae_jax.objectives.corruption import CORRUPTIONS
from vae_jax.objectives.regularizers import REGULARIZERS, discriminator

X_BD = jax.random.bernoulli(jax.random.key(1), shape=(6, 30)).astype(jnp.float32)
LABELS = jnp.array([0, 1, 2, -1, -1, -1])

# What each objective can be: its estimators, and the choices that they ask for.
LANDING = {"gradient": "sticking_the_landing", "kl": "sampled"}
DOUBLY = {"gradient": "doubly_reparameterized"}
ROWS = {
    "elbo": [{}, {"kl": "sampled"}, LANDING],
    "iwae": [{}, DOUBLY, {"gradient": "wake_wake"}, {"gradient": "wake_sleep"}],
    "miwae": [{}, DOUBLY],
    "ciwae": [{}, DOUBLY],
    "piwae": [{}, DOUBLY],
    "renyi": [{}, DOUBLY],
    "m2": [{}, {"kl": "sampled"}],
}
TABLE = [(name, choices) for name, rows in ROWS.items() for choices in rows]


def setting(name):
    """(model, params): of labels for m2, without them elsewhere."""
    base = ModelSpec((3, 5, 2), 4, encoder=mlp_spec(8), decoder=mlp_spec(7, 8))
    if name == "m2":
        base = base._replace(name="m2", num_classes=3)
    model = make_model(base, label_b=LABELS if name == "m2" else None)
    return model, model.init(jax.random.key(0))


def test_every_objective_is_in_the_table():
    assert ROWS.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize(("name", "choices"), TABLE)
def test_terms_are_an_example_s_own_and_gradients_finite(name, choices):
    model, params = setting(name)
    for num_samples in (1, 4):
        own = spec(name, num_samples, num_groups=num_samples // 2 or 1, **choices)
        (loss, terms), gradients = jax.value_and_grad(objective, argnums=1, has_aux=True)(
            model, params, jax.random.key(2), X_BD, hyper(), own
        )
        assert loss.shape == ()
        assert all(term.shape == (6,) for term in terms)
        assert np.isfinite(loss)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients["encoder"]))
        np.testing.assert_allclose(terms.elbo, terms.reconstruction - terms.kl, rtol=1e-4)
        assert (terms.bound > terms.elbo - 1e-3).all()


@pytest.mark.parametrize(("name", "choices"), [row for row in TABLE if row[0] != "m2"])
def test_with_one_sample_and_beta_1_the_mean_loss_is_minus_the_mean_elbo(name, choices):
    """Over many draws: a bound of one sample is the ELBO, however its terms are written."""
    model, params = setting(name)
    keys = jax.random.split(jax.random.key(3), 2_000)
    losses, terms = jax.vmap(
        lambda key: objective(model, params, key, X_BD, hyper(), spec(name, 1, **choices))
    )(keys)
    difference = losses + terms.elbo.mean(axis=1)
    spread = difference.std() / np.sqrt(len(keys)) + 1e-4
    assert abs(difference.mean()) < 4.4 * spread


@pytest.mark.parametrize(("name", "choices"), TABLE)
def test_it_is_a_function_of_the_key(name, choices):
    model, params = setting(name)

    def loss(seed):
        own = spec(name, 2, **choices)
        return objective(model, params, jax.random.key(seed), X_BD, hyper(), own)[0]

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)


@pytest.mark.parametrize("regularizer", [name for name in REGULARIZERS if name != "none"])
@pytest.mark.parametrize("name", ["elbo", "iwae"])
def test_a_regulariser_is_added_to_any_bound_with_its_weight(name, regularizer):
    model, params = setting(name)
    network = NetworkSpec("mlp", (5,), "leaky_relu")
    params["discriminator"] = discriminator(network, 4).init(jax.random.key(9))
    own = spec(name, 2, regularizer=regularizer, dataset_size=50, discriminator=network)

    def loss(weight, regularized=True):
        numbers = hyper(regularizer_weight=weight)
        return objective(
            model, params, jax.random.key(2), X_BD, numbers, own, regularized=regularized
        )[0]

    none, one, three = loss(0), loss(1), loss(3)
    assert one != none
    np.testing.assert_allclose(three - none, 3 * (one - none), rtol=1e-3)
    assert np.isfinite(three)
    assert loss(5, regularized=False) == loss(0, regularized=False)


@pytest.mark.parametrize("corruption", [name for name in CORRUPTIONS if name != "none"])
@pytest.mark.parametrize("name", ["elbo", "iwae", "m2"])
def test_noise_reaches_the_encoder_and_not_the_target(name, corruption):
    """With a decoder that does not listen to z, the reconstruction is that without noise."""
    model, params = setting(name)
    own = spec(name, 2, corruption=corruption)
    plain = spec(name, 2)

    def terms(params, numbers, own):
        return objective(model, params, jax.random.key(2), X_BD, numbers, own)[1]

    noisy = terms(params, hyper(corruption=0.3), own)
    clean = terms(params, hyper(corruption=0.0), plain)
    assert not np.allclose(noisy.kl, clean.kl, rtol=1e-3)
    deaf = dict(params)
    first = params["decoder"]["hidden_0"]
    deaf["decoder"] = params["decoder"] | {"hidden_0": jax.tree.map(jnp.zeros_like, first)}
    noisy, clean = terms(deaf, hyper(corruption=0.3), own), terms(deaf, hyper(), plain)
    if name != "m2":  # whose classifier weighs the classes
        np.testing.assert_allclose(noisy.reconstruction, clean.reconstruction, rtol=1e-5)


def test_corruptions_do_what_they_say():
    x_bd = jnp.full((200, 50), 0.4)
    amount = jnp.float32(0.3)

    def corrupted(name, amount):
        return np.asarray(CORRUPTIONS[name](jax.random.key(0), x_bd, amount))

    noise = corrupted("gaussian", amount) - 0.4
    assert abs(noise.std() - 0.3) < 4.4 * 0.3 / np.sqrt(2 * noise.size)
    chance = 4.4 * np.sqrt(0.3 * 0.7 / x_bd.size)
    masked = corrupted("masking", amount)
    assert abs((masked == 0).mean() - 0.3) < chance
    assert (masked[masked != 0] == np.float32(0.4)).all()
    salted = corrupted("salt_and_pepper", amount)
    assert abs((salted == 0).mean() - 0.15) < chance
    assert abs((salted == 1).mean() - 0.15) < chance
    for name in ("gaussian", "masking", "salt_and_pepper"):
        np.testing.assert_array_equal(corrupted(name, jnp.float32(0)), x_bd)

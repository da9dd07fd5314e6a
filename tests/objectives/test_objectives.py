"""One table of properties that every objective passes, with every gradient estimator it has."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small import exact
from tests.small.exact import flat, objective, terms_and_gradient, value_and_terms
from tests.small.models import mlp_spec
from tests.small.rows import DOUBLY, ROWS
from vae_jax.models import ModelSpec
from vae_jax.models.m2 import M2
from vae_jax.models.vae import VAE
from vae_jax.objectives import OBJECTIVES, loss
from vae_jax.objectives.corruption import CORRUPTIONS
from vae_jax.objectives.regularizers import REGULARIZERS
from vae_jax.sections.declare import replace

X_BD = np.random.default_rng(1).integers(0, 2, (6, 30)).astype(np.float32)
LABELS = np.array([0, 1, 2, -1, -1, -1])

SLOW = pytest.mark.slow


def is_seen_of_one_sample(name, choices):
    """The ELBO's estimators, and those of the IWAE that take its gradient; others are its kin."""
    return name == "elbo" or (name == "iwae" and choices in ({}, DOUBLY))


def is_seen_of_several(name, choices):
    """Each bound, and the estimators that are not seen of one sample."""
    return not choices or (name == "iwae" and choices != DOUBLY)


def table(is_seen):
    """Every row, slow where it is not seen in every run."""
    return [
        pytest.param(
            name,
            choices,
            id="-".join([name, *choices.values()]),
            marks=() if is_seen(name, choices) else SLOW,
        )
        for name, row in ROWS.items()
        for choices in row.choices
    ]


TABLE, OF_ONE_SAMPLE = table(is_seen_of_several), table(is_seen_of_one_sample)


@cache
def setting(name):
    """(model, variables, labels): of labels for m2, without them elsewhere."""
    model = exact.model_of(
        ModelSpec(
            M2() if name == "m2" else VAE(), 4, mlp_spec(8), mlp_spec(7, 8),
            image_shape=(3, 5, 2), num_classes=3,
        )
    )  # fmt: skip
    return model, exact.variables_of(model), LABELS if name == "m2" else None


def objective_of(name, num_samples, choices):
    groups = {"num_groups": num_samples // 2 or 1} if name in ("miwae", "piwae") else {}
    return objective(OBJECTIVES[name](**groups | choices), num_samples)


def found_of(name, choices, seed=2):
    """(loss, terms), gradient of four samples."""
    model, variables, label_b = setting(name)
    own = objective_of(name, 4, choices)
    return terms_and_gradient(own, model, variables, jax.random.key(seed), X_BD, label_b)


@partial(jax.jit, static_argnums=1)
def of_one_sample(own, model, variables, keys_n, label_b):
    return jax.vmap(lambda key: terms_and_gradient(own, model, variables, key, X_BD, label_b))(
        keys_n
    )


@cache
def found_of_one(name, choices):
    """The same [n, ...], of one sample, 2,000 times."""
    model, variables, label_b = setting(name)
    keys_n = jax.random.split(jax.random.key(3), 2_000)
    own = objective_of(name, 1, dict(choices))
    return jax.device_get(of_one_sample(own, model, variables, keys_n, label_b))


def assert_sound(name, value, terms, gradients):
    """`value` of one minibatch, `terms` of its six examples."""
    assert value.shape == ()
    assert terms.parts.keys() == set(OBJECTIVES[name].terms)
    assert all(term.shape == (6,) for term in (terms.bound, *terms.parts.values()))
    assert np.isfinite(value)
    assert np.isfinite(flat(gradients)).all()
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients["encoder"]))
    elbo, reconstruction, kl = (terms.parts[part] for part in ("elbo", "reconstruction", "kl"))
    np.testing.assert_allclose(elbo, reconstruction - kl, rtol=1e-4)
    assert (terms.bound > elbo - 1e-3).all()


def test_every_objective_is_in_the_table():
    assert ROWS.keys() == {name for name, bound in OBJECTIVES.items() if not bound().compared}


@pytest.mark.parametrize(("name", "choices"), TABLE)
def test_terms_are_an_example_s_own_and_gradients_finite(name, choices):
    (value, terms), gradients = found_of(name, choices)
    assert_sound(name, value, terms, gradients)


@pytest.mark.parametrize(("name", "choices"), OF_ONE_SAMPLE)
def test_so_they_are_with_one_sample(name, choices):
    of_all = found_of_one(name, tuple(choices.items()))
    (value, terms), gradients = jax.tree.map(lambda leaf: leaf[0], of_all)
    assert_sound(name, value, terms, gradients)


@pytest.mark.parametrize(
    ("name", "choices"), [own for own in OF_ONE_SAMPLE if own.values[0] != "m2"]
)
def test_with_one_sample_and_beta_1_the_mean_loss_is_minus_the_mean_elbo(name, choices):
    """Over many samples: a bound of one sample is the ELBO, however its terms are written."""
    (losses, terms), _ = found_of_one(name, tuple(choices.items()))
    difference = losses + terms.parts["elbo"].mean(axis=1)
    spread = difference.std() / np.sqrt(len(losses)) + 1e-4
    assert abs(difference.mean()) < 4.4 * spread


@pytest.mark.parametrize(("name", "choices"), TABLE)
def test_it_is_a_function_of_the_key(name, choices):
    first, again, other = (found_of(name, choices, seed)[0][0] for seed in (2, 2, 1))
    assert first == again
    assert first != other


# Each regulariser, with what it takes beside its weight.
REGULARIZER_ROWS = {
    "dip_i": {},
    "dip_ii": {},
    "mmd": {},
    "total_correlation_adversarial": {"widths": (5,)},
    "total_correlation_stratified": {"train_size": 50},
    "total_correlation_weighted": {"train_size": 50},
}


def test_every_regulariser_is_in_the_table():
    assert REGULARIZER_ROWS.keys() == REGULARIZERS.keys() - {"none"}


@partial(jax.jit, static_argnums=1)
def with_and_without(own, model, variables, key):
    """The loss, and that of the bound alone."""
    return tuple(
        loss(own, model, variables, jax.random.clone(key), X_BD, None, 0, regularized=on).value
        for on in (True, False)
    )


@pytest.mark.parametrize(
    ("name", "regularizer"),
    [
        pytest.param(
            name, regularizer, marks=() if name == "elbo" or regularizer == "mmd" else SLOW
        )
        for name in ("elbo", "iwae")
        for regularizer in REGULARIZER_ROWS
    ],
)
def test_a_regulariser_is_added_to_any_bound_with_its_weight(name, regularizer):
    model, variables, _ = setting(name)
    own = REGULARIZERS[regularizer](weight=0.0, **REGULARIZER_ROWS[regularizer])
    plain = objective(OBJECTIVES[name](), 2, regularizer=own)
    players = {
        player: trained.init(jax.random.key(9))
        for player, trained in plain.players(ModelSpec(latent_size=4)).items()
    }
    variables = variables | {"players": players}

    def losses(weight):
        weighted = replace(plain, regularizer=replace(own, weight=float(weight)))
        return with_and_without(weighted, model, variables, jax.random.key(2))

    (none, alone), (one, _), (three, _), (_, alone_of_five) = (losses(w) for w in (0, 1, 3, 5))
    assert one != none
    np.testing.assert_allclose(three - none, 3 * (one - none), rtol=1e-3)
    assert np.isfinite(three)
    assert alone_of_five == alone


@pytest.mark.parametrize("corruption", [name for name in CORRUPTIONS if name != "none"])
@pytest.mark.parametrize(
    "name", ["elbo", *(pytest.param(name, marks=SLOW) for name in ("iwae", "m2"))]
)
def test_noise_reaches_the_encoder_and_not_the_target(name, corruption):
    """With a decoder that does not listen to z, the reconstruction is that without noise."""
    model, variables, label_b = setting(name)
    plain = objective(OBJECTIVES[name](), 2)
    own = replace(plain, corruption=CORRUPTIONS[corruption](0.3))

    def parts(own, variables):
        key = jax.random.key(2)
        return value_and_terms(own, model, variables, key, X_BD, label_b)[1].parts

    noisy, clean = parts(own, variables), parts(plain, variables)
    assert not np.allclose(noisy["kl"], clean["kl"], rtol=1e-3)
    params = variables["params"]
    silent = jax.tree.map(np.zeros_like, params["decoder"]["hidden_0"])
    decoder = params["decoder"] | {"hidden_0": silent}
    deaf = variables | {"params": params | {"decoder": decoder}}
    noisy, clean = parts(own, deaf), parts(plain, deaf)
    if name != "m2":  # whose classifier weighs the classes
        np.testing.assert_allclose(noisy["reconstruction"], clean["reconstruction"], rtol=1e-5)


def test_corruptions_do_what_they_say():
    x_bd = jnp.full((200, 50), 0.4)
    called = jax.jit(lambda corruption, key: corruption(key, x_bd))

    def corrupted(name, amount):
        return np.asarray(called(CORRUPTIONS[name](amount), jax.random.key(0)))

    noise = corrupted("gaussian", 0.3) - 0.4
    assert abs(noise.std() - 0.3) < 4.4 * 0.3 / np.sqrt(2 * noise.size)
    chance = 4.4 * np.sqrt(0.3 * 0.7 / x_bd.size)
    masked = corrupted("masking", 0.3)
    assert abs((masked == 0).mean() - 0.3) < chance
    assert (masked[masked != 0] == np.float32(0.4)).all()
    salted = corrupted("salt_and_pepper", 0.3)
    assert abs((salted == 0).mean() - 0.15) < chance
    assert abs((salted == 1).mean() - 0.15) < chance
    for name in ("gaussian", "masking", "salt_and_pepper"):
        np.testing.assert_array_equal(corrupted(name, 0.0), x_bd)

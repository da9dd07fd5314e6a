"""The semi-supervised bound against log p(x) and log p(x, y), known on a grid."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tests.small import exact
from tests.small.exact import objective, value_and_terms
from tests.small.models import mlp_spec
from tests.small.samples import sampled
from vae_jax.models import ModelSpec
from vae_jax.models.m2 import M2
from vae_jax.models.model import posterior_means
from vae_jax.objectives import loss
from vae_jax.objectives.m2 import M2Bound

CLASSES, N = 3, 2_000
X_BD = np.array([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], np.float32)
LABELS = np.array([2, 0, 1])
NONE = np.full(3, -1)
MODEL = exact.model_of(
    ModelSpec(M2(), 1, mlp_spec(6), mlp_spec(6), image_shape=(2, 2, 1), num_classes=CLASSES)
)
VARIABLES = sampled(MODEL)


def log_joint_cb(variables=VARIABLES):
    """log p(x, y) of every class [c, b], by a grid of z."""
    return np.stack(
        [
            exact.grid_log_prob(MODEL, variables, X_BD, 1, np.full(3, y)) - np.log(CLASSES)
            for y in range(CLASSES)
        ]
    )


@partial(jax.jit, static_argnums=1)
def log_classes(variables, model=MODEL):
    """log q(y | x) [b, c]."""
    return jax.nn.log_softmax(model.trace(variables, posterior_means, X_BD).y, axis=-1)


@jax.jit
def scores_of_many(own, label_b):
    """The bound [n, b], of n samples."""
    keys = jax.random.split(jax.random.key(0), N)
    return jax.vmap(lambda key: loss(own, MODEL, VARIABLES, key, X_BD, label_b, 0).terms.bound)(
        keys
    )


def mean_and_error(own, label_b):
    scores = np.asarray(scores_of_many(own, label_b))
    return scores.mean(axis=0), scores.std(axis=0) / np.sqrt(N)


def test_with_a_label_it_bounds_log_p_of_both():
    bound, error = mean_and_error(objective(M2Bound()), LABELS)
    log_p = log_joint_cb()[LABELS, np.arange(3)]
    assert (bound + 4.4 * error < log_p).all()
    conditional, _ = mean_and_error(objective(), LABELS)
    np.testing.assert_allclose(bound, conditional - np.log(CLASSES), rtol=1e-4)


def test_without_labels_it_bounds_log_p_of_x():
    bound, error = mean_and_error(objective(M2Bound()), NONE)
    log_p = np.logaddexp.reduce(log_joint_cb(), axis=0)
    assert (bound + 4.4 * error < log_p).all()


def test_the_gap_is_the_kl_of_the_classifier_where_the_rest_is_exact():
    """With a decoder that does not listen to z and q(z | x, y) = p(z), only q(y | x) is wrong."""
    params = sampled(MODEL)["params"]
    params["decoder"]["hidden_0"]["kernel"][CLASSES:] = 0  # the labels come first
    for head in ("mean", "log_scale"):
        params["encoder"][head] = jax.tree.map(np.zeros_like, params["encoder"][head])
    variables = {"params": params, "stats": {}}
    log_joint = log_joint_cb(variables)
    log_p = np.logaddexp.reduce(log_joint, axis=0)
    log_q = np.asarray(log_classes(variables)).T
    kl = (np.exp(log_q) * (log_q - (log_joint - log_p))).sum(axis=0)
    own, key = objective(M2Bound()), jax.random.key(0)
    _, terms = value_and_terms(own, MODEL, variables, key, X_BD, NONE)
    np.testing.assert_allclose(terms.bound, log_p - kl, rtol=1e-4, atol=1e-4)
    assert (kl > 1e-3).all()


def test_the_loss_adds_the_labelled_ones_cross_entropy():
    label_b = np.array([2, -1, 1])

    def value(weight):
        own, key = objective(M2Bound(classification_weight=weight)), jax.random.key(0)
        return value_and_terms(own, MODEL, VARIABLES, key, X_BD, label_b)

    log_q = log_classes(VARIABLES)
    expected = -(log_q[0, 2] + log_q[2, 1]) / 2
    (plain, terms), (weighted, _) = value(0.0), value(7.0)
    np.testing.assert_allclose(plain, -terms.bound.mean(), rtol=1e-5)
    np.testing.assert_allclose(weighted - plain, 7 * expected, rtol=1e-4)


def test_labels_that_are_not_given_are_the_most_likely():
    """Of a model that infers them, the latents are those of its own guess."""
    guess_b = np.argmax(log_classes(VARIABLES), axis=-1)

    @jax.jit
    def mean(label_b):
        (layer,) = MODEL.trace(VARIABLES, posterior_means, X_BD, label_b).layers
        return layer.q.mean_kbl

    np.testing.assert_array_equal(mean(None), mean(jnp.asarray(guess_b)))
    assert (mean(None) != mean((guess_b + 1) % CLASSES)).all()

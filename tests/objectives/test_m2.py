"""The semi-supervised bound against log p(x) and log p(x, y), known on a grid."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.conftest import mlp_spec
from tests.objectives import exact
from tests.objectives.exact import hyper, spec
from vae_jax.models import make_model
from vae_jax.models.model import ModelSpec
from vae_jax.objectives.elbo import elbo
from vae_jax.objectives.m2 import m2

CLASSES = 3
X_BD = np.array([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], np.float32)
LABELS = jnp.array([2, 0, 1])
NONE = jnp.full(3, -1)


def setting(label_b):
    base = ModelSpec((2, 2, 1), 1, mlp_spec(6), mlp_spec(6), name="m2", num_classes=CLASSES)
    model = make_model(base, label_b=label_b)
    params = model.init(jax.random.key(0))
    params["classifier"] = jax.tree.map(lambda leaf: 2 * leaf, params["classifier"])
    return model, params


def log_joint_cb(model, params):
    """log p(x, y) of every class [c, b], by a grid of z."""
    return np.stack(
        [
            exact.grid_log_prob(model.given(jnp.full(len(X_BD), y)), params, X_BD, 1)
            - np.log(CLASSES)
            for y in range(CLASSES)
        ]
    )


def mean_terms(label_b, n=2_000):
    model, params = setting(label_b)
    keys = jax.random.split(jax.random.key(0), n)
    terms = jax.vmap(lambda key: m2(model, params, key, X_BD, hyper(), spec("m2"))[1])(keys)
    return model, params, terms.bound.mean(axis=0), terms.bound.std(axis=0) / np.sqrt(n)


def test_with_a_label_it_bounds_log_p_of_both():
    model, params, bound, error = mean_terms(LABELS)
    log_p = log_joint_cb(model, params)[LABELS, np.arange(3)]
    assert (bound + 4.4 * error < log_p).all()
    given = model.given(LABELS)
    keys = jax.random.split(jax.random.key(0), 2_000)
    conditional = jax.vmap(lambda key: elbo(given, params, key, X_BD, hyper(), spec())[1].elbo)(
        keys
    )
    np.testing.assert_allclose(bound, conditional.mean(axis=0) - np.log(CLASSES), rtol=1e-4)


def test_without_labels_it_bounds_log_p_of_x():
    model, params, bound, error = mean_terms(NONE)
    log_p = np.logaddexp.reduce(log_joint_cb(model, params), axis=0)
    assert (bound + 4.4 * error < log_p).all()


def test_the_gap_is_the_kl_of_the_classifier_where_the_rest_is_exact():
    """With a decoder that does not listen to z and q(z | x, y) = p(z), only q(y | x) is wrong."""
    model, params = setting(NONE)
    decoder = params["decoder"]["hidden_0"]
    kernel = decoder["kernel"].at[CLASSES:].set(0.0)  # the labels come first
    params["decoder"] = params["decoder"] | {"hidden_0": decoder | {"kernel": kernel}}
    heads = {h: jax.tree.map(jnp.zeros_like, params["encoder"][h]) for h in ("mean", "log_scale")}
    params["encoder"] = params["encoder"] | heads
    log_joint = log_joint_cb(model, params)
    log_p = np.logaddexp.reduce(log_joint, axis=0)
    log_q = np.asarray(jax.nn.log_softmax(model.classify(params, X_BD), axis=-1)).T
    kl = (np.exp(log_q) * (log_q - (log_joint - log_p))).sum(axis=0)
    terms = m2(model, params, jax.random.key(0), X_BD, hyper(), spec("m2"))[1]
    np.testing.assert_allclose(terms.bound, log_p - kl, rtol=1e-4, atol=1e-4)
    assert (kl > 1e-3).all()


def test_the_loss_adds_the_labelled_ones_cross_entropy():
    label_b = jnp.array([2, -1, 1])
    model, params = setting(label_b)
    log_q = jax.nn.log_softmax(model.classify(params, X_BD), axis=-1)
    expected = -(log_q[0, 2] + log_q[2, 1]) / 2
    plain, terms, _ = m2(
        model, params, jax.random.key(0), X_BD, hyper(classification_weight=0), spec("m2")
    )
    weighted, _, _ = m2(
        model, params, jax.random.key(0), X_BD, hyper(classification_weight=7), spec("m2")
    )
    np.testing.assert_allclose(plain, -terms.bound.mean(), rtol=1e-5)
    np.testing.assert_allclose(weighted - plain, 7 * expected, rtol=1e-4)

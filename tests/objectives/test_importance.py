"""Bounds of several draws against a log p(x) that is known, and their gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.objectives import exact
from tests.objectives.exact import hyper, spec
from vae_jax.objectives import OBJECTIVES
from vae_jax.objectives.importance import BOUNDS, ESTIMATORS, importance

K, GROUPS = 6, 2
X_LINEAR = exact.linear_data()


def bound_spec(name, num_samples=K, **choices):
    groups = GROUPS if num_samples % GROUPS == 0 else 1
    return spec(name, num_samples, num_groups=groups, **choices)


def many(function, n, seed=0):
    """`function` of n keys."""
    return jax.jit(jax.vmap(function))(jax.random.split(jax.random.key(seed), n))


@pytest.mark.parametrize("name", BOUNDS)
def test_at_the_true_posterior_every_draw_gives_log_p_exactly(name):
    model, params = exact.linear()
    _, terms, _ = importance(model, params, jax.random.key(0), X_LINEAR, hyper(), bound_spec(name))
    np.testing.assert_allclose(terms.bound, exact.linear_log_prob(X_LINEAR), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BOUNDS)
def test_away_from_it_the_mean_is_below_log_p(name):
    """By more than chance: 4.4 standard errors, on the linear and on the nonlinear model."""
    linear_model, linear_params = exact.linear(posterior_shift=0.4)
    nonlinear_model, nonlinear_params, x_bd = exact.nonlinear()
    for model, params, x, log_p in (
        (linear_model, linear_params, X_LINEAR, exact.linear_log_prob(X_LINEAR)),
        (
            nonlinear_model,
            nonlinear_params,
            x_bd,
            exact.grid_log_prob(nonlinear_model, nonlinear_params, x_bd, 1),
        ),
    ):
        bounds = many(
            lambda key, m=model, p=params, x=x: (
                importance(m, p, key, x, hyper(), bound_spec(name))[1].bound
            ),
            4_000,
        )
        error = bounds.std(axis=0) / np.sqrt(len(bounds))
        assert (bounds.mean(axis=0) + 4.4 * error < log_p).all()


def test_iwae_rises_with_k_towards_log_p():
    model, params, x_bd = exact.nonlinear()
    log_p = exact.grid_log_prob(model, params, x_bd, 1)

    def gap(k):
        bounds = many(
            lambda key: importance(model, params, key, x_bd, hyper(), spec("iwae", k))[1].bound,
            4_000,
        )
        return (log_p - bounds.mean(axis=0)).max()

    gaps = [gap(k) for k in (1, 4, 16, 64)]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 8 * gaps[3] > 0
    assert gaps[3] < 0.05


def test_one_draw_makes_them_all_the_elbo():
    model, params, x_bd = exact.nonlinear()
    key = jax.random.key(3)
    of = {
        name: OBJECTIVES[name](
            model, params, key, x_bd, hyper(alpha=1.0), spec(name, 1, kl="sampled")
        )[1]
        for name in ("elbo", *BOUNDS)
    }
    for name, terms in of.items():
        np.testing.assert_allclose(terms.bound, of["elbo"].elbo, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(terms.elbo, of["elbo"].elbo, rtol=1e-5, err_msg=name)


def test_renyi_is_the_iwae_at_0_the_elbo_at_1_and_in_between_elsewhere():
    model, params, x_bd = exact.nonlinear()

    def value(name, **numbers):
        return importance(model, params, jax.random.key(3), x_bd, hyper(**numbers), spec(name, 8))[
            1
        ]

    elbo, iwae = value("iwae").elbo, value("iwae").bound
    np.testing.assert_allclose(value("renyi", alpha=0).bound, iwae, rtol=1e-5)
    np.testing.assert_allclose(value("renyi", alpha=1).bound, elbo, rtol=1e-5)
    half = value("renyi", alpha=0.5).bound
    assert ((elbo < half) & (half < iwae)).all()
    assert (value("renyi", alpha=2).bound < elbo).all()
    # The series around 1 meets the formula.
    at_seam = [value("renyi", alpha=1 + s).bound for s in (-1.01e-3, -0.99e-3, 0.99e-3, 1.01e-3)]
    np.testing.assert_allclose(at_seam[0], at_seam[1], atol=1e-3)
    np.testing.assert_allclose(at_seam[2], at_seam[3], atol=1e-3)


@pytest.mark.parametrize("t", [-1.0, 1e-4, 1e-3, 0.5])
@pytest.mark.parametrize("width", [1e-2, 1.0, 30.0, 1000.0])
def test_renyi_keeps_its_digits_for_weights_of_any_width(width, t):
    log_w_kb = -100 + width * np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    ours = BOUNDS["renyi"].value(jnp.array(log_w_kb), hyper(alpha=1 - t), 1)
    own_t = float(np.float32(1) - np.float32(1 - t))  # the t that float32 has
    exact_b = special.logsumexp(own_t * log_w_kb.astype(np.float64), axis=0) - np.log(50)
    np.testing.assert_allclose(ours, exact_b / own_t, rtol=2e-6, atol=1e-4 * width)


@pytest.mark.parametrize("name", BOUNDS)
def test_curvature_is_the_second_derivative(name):
    log_w_kb = jax.random.normal(jax.random.key(0), (K, 3))
    numbers = hyper(alpha=0.3, elbo_weight=0.2)

    def value(log_w_k):
        return BOUNDS[name].value(log_w_k[:, None], numbers, GROUPS)[0]

    exact_kb = jax.vmap(lambda w: jnp.diagonal(jax.hessian(value)(w)), in_axes=1, out_axes=1)(
        log_w_kb
    )
    ours = BOUNDS[name].curvature(log_w_kb, numbers, GROUPS)
    np.testing.assert_allclose(ours, exact_kb, rtol=1e-4, atol=1e-6)


def gradient(model, params, x_bd, spec, numbers, key):
    """d loss / d params."""
    return jax.grad(lambda p: importance(model, p, key, x_bd, numbers, spec)[0])(params)


def flat(tree) -> jnp.ndarray:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("beta", [1.0, 0.6])
@pytest.mark.parametrize("name", BOUNDS)
def test_the_doubly_reparameterised_gradient_has_the_plain_one_s_mean(name, beta):
    model, params, x_bd = exact.nonlinear()
    numbers, n = hyper(beta=beta, alpha=0.3, elbo_weight=0.2), 20_000

    def draws(estimator, seed):
        own = bound_spec(name, 4, gradient=estimator)
        return many(
            lambda key: flat(gradient(model, params, x_bd, own, numbers, key)["encoder"]), n, seed
        )

    plain, doubly = draws("reparameterized", 0), draws("doubly_reparameterized", 1)
    error = np.sqrt((plain.var(axis=0) + doubly.var(axis=0)) / n)
    z_scores = (plain.mean(axis=0) - doubly.mean(axis=0)) / np.maximum(error, 1e-7)
    assert np.abs(z_scores).max() < 4.8  # of 40 parameters; one key in ten thousand fails
    # The test can tell: the gradient of other weights is another.
    other = many(
        lambda key: flat(
            gradient(model, params, x_bd, bound_spec(name, 4), hyper(beta=2.0), key)["encoder"]
        ),
        n,
        2,
    )
    assert np.abs((plain.mean(axis=0) - other.mean(axis=0)) / np.maximum(error, 1e-7)).max() > 10


def test_doubly_reparameterised_signal_to_noise_grows_with_k_where_the_iwae_s_falls():
    model, params, x_bd = exact.nonlinear()

    def signal_to_noise(estimator, k):
        own = spec("iwae", k, gradient=estimator)
        draws = many(
            lambda key: flat(gradient(model, params, x_bd, own, hyper(), key)["encoder"]), 4_000
        )
        return np.median(np.abs(draws.mean(axis=0)) / draws.std(axis=0))

    plain = [signal_to_noise("reparameterized", k) for k in (1, 64)]
    doubly = [signal_to_noise("doubly_reparameterized", k) for k in (1, 64)]
    assert plain[1] < 0.6 * plain[0]
    assert doubly[1] > doubly[0]


@pytest.mark.parametrize("name", BOUNDS)
def test_at_the_true_posterior_it_has_no_variance(name):
    model, params = exact.linear()
    zero = gradient(
        model, params, X_LINEAR, bound_spec(name, gradient="doubly_reparameterized"), hyper(),
        jax.random.key(0),
    )["encoder"]  # fmt: skip
    plain = gradient(model, params, X_LINEAR, bound_spec(name), hyper(), jax.random.key(0))
    assert np.abs(flat(zero)).max() < 2e-4
    assert np.abs(flat(plain["encoder"])).max() > 0.05


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_has_the_bound_s_value_and_the_model_s_own_gradient(estimator):
    """The same draws: the same bound, and the same climb of what the decoder does."""
    model, params, x_bd = exact.nonlinear()
    own, plain = spec("iwae", K, gradient=estimator), spec("iwae", K)

    def key():
        return jax.random.key(3)

    def key_of_draws():
        return jax.random.split(key(), 3)[0] if estimator == "wake_sleep" else key()

    loss, terms, _ = importance(model, params, key(), x_bd, hyper(), own)
    loss_there, terms_there, _ = importance(model, params, key_of_draws(), x_bd, hyper(), plain)
    np.testing.assert_allclose(loss, loss_there, rtol=1e-5)
    np.testing.assert_allclose(terms.bound, terms_there.bound, rtol=1e-5)
    ours = gradient(model, params, x_bd, own, hyper(), key())["decoder"]
    theirs = gradient(model, params, x_bd, plain, hyper(), key_of_draws())["decoder"]
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-3, atol=1e-5)


def test_piwae_climbs_iwae_with_the_decoder_and_miwae_with_the_encoder():
    model, params, x_bd = exact.nonlinear()
    of = {
        name: gradient(model, params, x_bd, bound_spec(name), hyper(), jax.random.key(3))
        for name in ("piwae", "iwae", "miwae")
    }
    close = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
    close(flat(of["piwae"]["decoder"]), flat(of["iwae"]["decoder"]))
    close(flat(of["piwae"]["encoder"]), flat(of["miwae"]["encoder"]))
    assert not np.allclose(flat(of["piwae"]["encoder"]), flat(of["iwae"]["encoder"]), atol=1e-3)


def test_wake_phase_climbs_the_weighted_log_q_of_its_draws():
    model, params, x_bd = exact.nonlinear()
    key = jax.random.key(3)
    q = model.encode(params, x_bd)
    z_kbl, log_q_kb = model.reparameterize(key, q, K)
    weights_kb = jax.nn.softmax(model.log_joint(params, x_bd, z_kbl) - log_q_kb, axis=0)

    def by_hand(encoder):
        q = model.encode({**params, "encoder": encoder}, x_bd)
        return -jnp.sum(weights_kb * model.posterior_log_prob(q, z_kbl)) / len(x_bd)

    ours = gradient(model, params, x_bd, spec("iwae", K, gradient="wake_wake"), hyper(), key)
    np.testing.assert_allclose(
        flat(ours["encoder"]), flat(jax.grad(by_hand)(params["encoder"])), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("estimator", ["wake_wake", "wake_sleep"])
def test_wake_sleep_s_encoder_rests_at_the_true_posterior_and_only_there(estimator):
    own = spec("iwae", 4, gradient=estimator)

    def z_scores(shift):
        model, params = exact.linear(shift)
        draws = many(
            lambda key: flat(
                gradient(model, params, X_LINEAR, own, hyper(), key)["encoder"]["mean"]["bias"]
            ),
            4_000,
        )
        return np.abs(draws.mean(axis=0) / (draws.std(axis=0) / np.sqrt(len(draws)))).max()

    assert z_scores(0.0) < 4.4
    assert z_scores(0.4) > 10


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_finite_when_every_weight_is_huge(small_spec, estimator):
    from vae_jax.models.vae import vae

    model = vae(small_spec)
    params = jax.tree.map(lambda leaf: 1e4 * jnp.ones_like(leaf), model.init(jax.random.key(0)))
    x_bd = jnp.ones((2, 30)).at[0].set(0.0)
    own = spec("iwae", 3, gradient=estimator)
    gradients = gradient(model, params, x_bd, own, hyper(), jax.random.key(1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))

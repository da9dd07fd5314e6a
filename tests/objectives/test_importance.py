"""Bounds of several samples against a log p(x) that is known, and their gradients."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.small import exact
from tests.small.exact import (
    flat,
    flat_of_many,
    gradient,
    many,
    objective,
    terms_and_gradient,
    value_and_terms,
)
from tests.small.rows import ROWS
from vae_jax.models.model import given, latents, log_joint, log_posterior, posterior_samples
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import BOUNDS, ESTIMATORS, IWAE, Renyi

K = 4
MANY = 20_000  # samples
X_LINEAR = exact.linear_data()

# One estimator serves them all, by their values and curvatures: of these two, where the encoder's
# bound is another or the order is between, that is seen in every run.
SOME = [
    pytest.param(name, marks=() if name in ("piwae", "renyi") else pytest.mark.slow)
    for name in BOUNDS
]


def bound_of(name, num_samples=K, beta=1.0, **choices):
    return objective(BOUNDS[name](**ROWS[name].numbers | choices), num_samples, beta=beta)


def iwae(num_samples, gradient="reparameterized"):
    return objective(IWAE(gradient), num_samples)


@cache
def linear_samples(own, shift):
    """Of the linear model, its posterior moved: the bound [n, b], the encoder's gradients."""
    return many(own, *exact.linear(shift), 4_000, jax.random.key(0), X_LINEAR)


@cache
def nonlinear_samples(own, n, seed=0):
    """Of the nonlinear model: the bound [n, b], the encoder's gradient [n, params]."""
    model, variables, x_bd = exact.nonlinear()
    bounds, gradients = many(own, model, variables, n, jax.random.key(seed), x_bd)
    return np.asarray(bounds), flat_of_many(gradients)


@cache
def nonlinear_log_prob():
    return exact.grid_log_prob(*exact.nonlinear(), 1)


@pytest.mark.parametrize("name", BOUNDS)
def test_at_the_true_posterior_every_sample_gives_log_p_exactly(name):
    bounds, _ = linear_samples(bound_of(name), 0.0)
    log_p = np.broadcast_to(exact.linear_log_prob(X_LINEAR), bounds.shape)
    np.testing.assert_allclose(bounds, log_p, rtol=1e-4, atol=1e-4)


def assert_mean_below(bounds, log_p):
    """By more than chance: 4.4 standard errors."""
    error = bounds.std(axis=0) / np.sqrt(len(bounds))
    assert (bounds.mean(axis=0) + 4.4 * error < log_p).all()


@pytest.mark.parametrize("name", BOUNDS)
def test_away_from_it_the_mean_is_below_log_p(name):
    bounds, _ = linear_samples(bound_of(name), 0.4)
    assert_mean_below(np.asarray(bounds), exact.linear_log_prob(X_LINEAR))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.slow
def test_of_a_nonlinear_model_the_mean_is_below_log_p(name):
    assert_mean_below(nonlinear_samples(bound_of(name), MANY)[0], nonlinear_log_prob())


@pytest.mark.slow
def test_iwae_rises_with_k_towards_log_p():
    def gap(k):
        bounds, _ = nonlinear_samples(iwae(k), 4_000)
        return (nonlinear_log_prob() - bounds.mean(axis=0)).max()

    gaps = [gap(k) for k in (1, 4, 16, 64)]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 8 * gaps[3] > 0
    assert gaps[3] < 0.05


@pytest.mark.parametrize("name", BOUNDS)
def test_one_sample_makes_it_the_elbo(name):
    model, variables, x_bd = exact.nonlinear()

    def terms(own):
        return value_and_terms(own, model, variables, jax.random.key(3), x_bd)[1]

    elbo = terms(objective(Elbo(kl="sampled"))).parts["elbo"]
    # One sample is one group; and Renyi's of order 1, beside the others' own numbers.
    own = {"num_groups": 1} if "num_groups" in ROWS[name].numbers else {}
    own |= {"alpha": 1.0} if name == "renyi" else {}
    found = terms(bound_of(name, 1, **own))
    np.testing.assert_allclose(found.bound, elbo, rtol=1e-5)
    np.testing.assert_allclose(found.parts["elbo"], elbo, rtol=1e-5)


def test_renyi_is_the_iwae_at_0_the_elbo_at_1_and_in_between_elsewhere():
    model, variables, x_bd = exact.nonlinear()

    def terms(bound):
        own = objective(bound, K)
        return value_and_terms(own, model, variables, jax.random.key(3), x_bd)[1]

    def renyi(alpha):
        return terms(Renyi(alpha=float(alpha))).bound

    of_iwae = terms(IWAE())
    elbo, top = of_iwae.parts["elbo"], of_iwae.bound
    np.testing.assert_allclose(renyi(0), top, rtol=1e-5)
    np.testing.assert_allclose(renyi(1), elbo, rtol=1e-5)
    half = renyi(0.5)
    assert ((elbo < half) & (half < top)).all()
    assert (renyi(2) < elbo).all()
    # The series around 1 meets the formula.
    at_seam = [renyi(1 + s) for s in (-1.01e-3, -0.99e-3, 0.99e-3, 1.01e-3)]
    np.testing.assert_allclose(at_seam[0], at_seam[1], atol=1e-3)
    np.testing.assert_allclose(at_seam[2], at_seam[3], atol=1e-3)


value = jax.jit(lambda bound, log_w_kb: bound.value(log_w_kb))


@pytest.mark.parametrize("t", [-1.0, 1e-4, 1e-3, 0.5])
@pytest.mark.parametrize("width", [1e-2, 1.0, 30.0, 1000.0])
def test_renyi_keeps_its_digits_for_weights_of_any_width(width, t):
    log_w_kb = -100 + width * np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    ours = value(Renyi(alpha=1 - t), log_w_kb)
    own_t = float(np.float32(1) - np.float32(1 - t))  # the t that float32 has
    exact_b = special.logsumexp(own_t * log_w_kb.astype(np.float64), axis=0) - np.log(50)
    np.testing.assert_allclose(ours, exact_b / own_t, rtol=2e-6, atol=1e-4 * width)


@pytest.mark.parametrize("name", BOUNDS)
def test_curvature_is_the_second_derivative(name):
    bound = bound_of(name).bound

    @jax.jit
    def both(log_w_kb):
        second = jax.hessian(lambda log_w_k: bound.value(log_w_k[:, None])[0])
        exact_kb = jax.vmap(lambda w: jnp.diagonal(second(w)), in_axes=1, out_axes=1)(log_w_kb)
        return bound.curvature(log_w_kb), exact_kb

    ours, exact_kb = both(jax.random.normal(jax.random.key(0), (K, 3)))
    np.testing.assert_allclose(ours, exact_kb, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 0.6])
@pytest.mark.parametrize("name", SOME)
def test_the_doubly_reparameterised_gradient_has_the_plain_one_s_mean(name, beta):
    n = MANY
    _, plain = nonlinear_samples(bound_of(name, K, beta), n)
    _, doubly = nonlinear_samples(bound_of(name, K, beta, gradient="doubly_reparameterized"), n, 1)
    error = np.sqrt((plain.var(axis=0) + doubly.var(axis=0)) / n)
    z_scores = (plain.mean(axis=0) - doubly.mean(axis=0)) / np.maximum(error, 1e-7)
    assert np.abs(z_scores).max() < 4.8  # of 40 parameters; one key in ten thousand fails
    # The test can tell: the gradient of other weights is another.
    _, other = nonlinear_samples(bound_of(name, K, beta=2.0), n, 2)
    assert np.abs((plain.mean(axis=0) - other.mean(axis=0)) / np.maximum(error, 1e-7)).max() > 10


@pytest.mark.slow
def test_doubly_reparameterised_signal_to_noise_grows_with_k_where_the_iwae_s_falls():
    def signal_to_noise(estimator, k):
        _, gradients = nonlinear_samples(iwae(k, estimator), 4_000)
        return np.median(np.abs(gradients.mean(axis=0)) / gradients.std(axis=0))

    plain = [signal_to_noise("reparameterized", k) for k in (1, 64)]
    doubly = [signal_to_noise("doubly_reparameterized", k) for k in (1, 64)]
    assert plain[1] < 0.6 * plain[0]
    assert doubly[1] > doubly[0]


@pytest.mark.parametrize("name", SOME)
def test_at_the_true_posterior_it_has_no_variance(name):
    def largest(**choices):
        _, gradients = linear_samples(bound_of(name, **choices), 0.0)
        return np.abs(flat_of_many(gradients)).max(axis=1)

    assert largest(gradient="doubly_reparameterized").max() < 2e-4
    assert largest().min() > 0.05


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_has_the_bound_s_value_and_the_model_s_own_gradient(estimator):
    """The same samples of z: the same bound, and the same climb of what the decoder does."""
    model, variables, x_bd = exact.nonlinear()
    own, plain = iwae(K, estimator), iwae(K)

    def key():
        return jax.random.key(3)

    def key_of_samples():
        return jax.random.split(key(), 3)[0] if estimator == "wake_sleep" else key()

    (value, terms), ours = terms_and_gradient(own, model, variables, key(), x_bd)
    (value_there, terms_there), theirs = terms_and_gradient(
        plain, model, variables, key_of_samples(), x_bd
    )
    np.testing.assert_allclose(value, value_there, rtol=1e-5)
    np.testing.assert_allclose(terms.bound, terms_there.bound, rtol=1e-5)
    ours, theirs = ours["decoder"], theirs["decoder"]
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_piwae_climbs_iwae_with_the_decoder_and_miwae_with_the_encoder():
    model, variables, x_bd = exact.nonlinear()
    of = {
        name: gradient(bound_of(name), model, variables, jax.random.key(3), x_bd)
        for name in ("piwae", "iwae", "miwae")
    }
    close = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
    close(flat(of["piwae"]["decoder"]), flat(of["iwae"]["decoder"]))
    close(flat(of["piwae"]["encoder"]), flat(of["miwae"]["encoder"]))
    assert not np.allclose(flat(of["piwae"]["encoder"]), flat(of["iwae"]["encoder"]), atol=1e-3)


def test_wake_phase_climbs_the_weighted_log_q_of_its_samples():
    model, variables, x_bd = exact.nonlinear()

    @jax.jit
    def by_hand(params, key):
        trace = model.trace(variables, posterior_samples(model, key, K), x_bd)
        weights_kb = jax.nn.softmax(log_joint(trace, x_bd) - log_posterior(trace), axis=0)

        def loss_of(encoder):
            moved = variables | {"params": params | {"encoder": encoder}}
            log_q_kb = log_posterior(model.trace(moved, given(latents(trace)), x_bd))
            return -jnp.sum(weights_kb * log_q_kb) / len(x_bd)

        return jax.grad(loss_of)(params["encoder"])

    ours = gradient(iwae(K, "wake_wake"), model, variables, jax.random.key(3), x_bd)
    np.testing.assert_allclose(
        flat(ours["encoder"]),
        flat(by_hand(variables["params"], jax.random.key(3))),
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize("estimator", ["wake_wake", "wake_sleep"])
@pytest.mark.slow
def test_wake_sleep_s_encoder_rests_at_the_true_posterior_and_only_there(estimator):
    def z_scores(shift):
        _, gradients = linear_samples(iwae(K, estimator), shift)
        bias = np.asarray(gradients["mean"]["bias"])
        return np.abs(bias.mean(axis=0) / (bias.std(axis=0) / np.sqrt(len(bias)))).max()

    assert z_scores(0.0) < 4.4
    assert z_scores(0.4) > 10


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_finite_when_every_weight_is_huge(estimator):
    model, _, x_bd = exact.nonlinear()
    x_bd[:2] = [[0], [1]]
    variables = exact.huge_variables(model)
    gradients = gradient(iwae(K, estimator), model, variables, jax.random.key(1), x_bd)
    assert np.isfinite(flat(gradients)).all()

"""The ELBO against log p(x), its numbers by hand, its gradients."""

from functools import partial
from typing import ClassVar

import jax
import numpy as np
import pytest

from tests.small import exact
from tests.small.exact import (
    L,
    gradient,
    linear,
    linear_data,
    linear_log_prob,
    many,
    nonlinear,
    objective,
    terms_and_gradient,
    value_and_terms,
)
from vae_jax.models import make_model
from vae_jax.models.model import (
    given,
    kl_by_unit,
    log_joint,
    log_posterior,
    posterior_mean,
    posterior_means,
    posterior_samples,
)
from vae_jax.objectives import (
    annealed_step,
    is_the_bound,
    loss,
    validation_score,
    weights_at,
)
from vae_jax.objectives.elbo import Elbo, cost_loss, cost_needs, cost_score, kl_key
from vae_jax.objectives.importance import IWAE
from vae_jax.objectives.interface import Bound
from vae_jax.objectives.terms import elbo_terms
from vae_jax.sections.checks import number
from vae_jax.sections.declare import section, traced

X_BD = linear_data()


@section
class Hinge(Bound):
    """The objective of docs/own_parts.md."""

    kl: str = kl_key()
    target: float = traced(2.0, number(0), "nats of the KL that cost nothing")

    is_constrained: ClassVar = True
    gradient: ClassVar = "reparameterized"
    loss, validation_score, needs = cost_loss, cost_score, cost_needs

    def cost(self, kl, step):
        return jax.numpy.maximum(kl, self.target)


SAMPLED = objective(Elbo(kl="sampled"))
LANDING = objective(Elbo(kl="sampled", gradient="sticking_the_landing"))


def test_at_the_true_posterior_every_sample_gives_log_p_exactly():
    model, variables = linear()

    @jax.jit
    def log_weights(variables, key):
        trace = model.trace(variables, posterior_samples(model, key, 20), X_BD)
        return log_joint(trace, X_BD) - log_posterior(trace)

    np.testing.assert_allclose(
        log_weights(variables, jax.random.key(0)),
        np.broadcast_to(linear_log_prob(X_BD), (20, 5)),
        rtol=1e-4,
        atol=1e-4,
    )
    _, sampled = value_and_terms(SAMPLED, model, variables, jax.random.key(0), X_BD)
    np.testing.assert_allclose(sampled.parts["elbo"], linear_log_prob(X_BD), rtol=1e-4, atol=1e-4)


K = 20_000


@partial(jax.jit, static_argnums=0)
def elbo_of_many(model, variables):
    terms = elbo_terms(model, variables, jax.random.key(0), X_BD, K)
    return terms.parts["elbo"]


def test_at_the_true_posterior_the_elbo_is_log_p():
    # log p(x | z) under the posterior spreads over about two nats; 4.4 standard errors.
    np.testing.assert_allclose(
        elbo_of_many(*linear()), linear_log_prob(X_BD), atol=4.4 * 2 / np.sqrt(K)
    )


def test_away_from_it_the_elbo_is_below_by_the_kl_to_the_true_posterior():
    shift = 0.5
    model, moved = linear(shift)
    elbo = elbo_of_many(model, moved)
    scale_l = np.exp(moved["params"]["encoder"]["log_scale"]["bias"])  # of any x
    gap = 0.5 * (shift / scale_l) ** 2  # KL of two Gaussians of one scale
    np.testing.assert_allclose(elbo, linear_log_prob(X_BD) - gap.sum(), atol=4.4 * 3 / np.sqrt(K))
    assert (elbo < linear_log_prob(X_BD)).all()


def gradients_of_many(own, model, variables):
    """By the bias of the mean [n, l], n = 4,000."""
    _, gradients = many(own, model, variables, 4_000, jax.random.key(0), X_BD)
    return np.asarray(gradients["mean"]["bias"])


@pytest.mark.parametrize("own", [objective(), SAMPLED], ids=["analytic", "sampled"])
def test_the_gradient_at_the_true_model_s_posterior_vanishes(own):
    """The ELBO is stationary in q at the true posterior; the estimate is zero within its error."""
    gradients = gradients_of_many(own, *linear())
    z_scores = gradients.mean(axis=0) / (gradients.std(axis=0) / np.sqrt(len(gradients)))
    assert np.abs(z_scores).max() < 4.4


def test_sticking_the_landing_has_no_variance_at_the_true_posterior():
    assert np.abs(gradients_of_many(LANDING, *linear())).max() < 1e-4
    assert gradients_of_many(SAMPLED, *linear()).std(axis=0).min() > 0.05


def test_sticking_the_landing_has_the_plain_gradient_s_mean():
    away = linear(posterior_shift=0.4)
    plain, landing = gradients_of_many(SAMPLED, *away), gradients_of_many(LANDING, *away)
    error = np.sqrt((plain.var(axis=0) + landing.var(axis=0)) / len(plain))
    z_scores = (plain.mean(axis=0) - landing.mean(axis=0)) / error
    assert np.abs(z_scores).max() < 4.4
    assert np.abs(plain.mean(axis=0) / error).max() > 10  # and it is not zero there


def test_terms_are_kept_apart_and_beta_weighs_the_kl_alone():
    model, variables = linear()
    own = objective(num_samples=2, beta=3.0)
    loss, terms = value_and_terms(own, model, variables, jax.random.key(0), X_BD)
    elbo, reconstruction, kl = (terms.parts[name] for name in ("elbo", "reconstruction", "kl"))
    np.testing.assert_allclose(elbo, reconstruction - kl, rtol=1e-5)
    np.testing.assert_array_equal(terms.bound, elbo)
    np.testing.assert_allclose(loss, np.mean(-reconstruction + 3 * kl), rtol=1e-5)
    assert kl.shape == (5,)


@pytest.mark.parametrize("group", [2, *(pytest.param(g, marks=pytest.mark.slow) for g in (0, 1))])
def test_free_bits_are_free(group):
    """By hand; and where a group's KL is below them, its units have no gradient of the KL."""
    model, variables, x_bd = nonlinear(latent_size=4)
    of_units = jax.jit(lambda own: kl_by_unit(model.trace(own, posterior_means, x_bd)))
    kl_l = np.mean(of_units(variables), axis=0)
    in_groups = kl_l.reshape(-1, group or 4).sum(axis=1)
    bits = float(np.sort(in_groups)[len(in_groups) // 2]) + 1e-3

    def value(free_bits):
        own = objective(Elbo(free_bits=free_bits, free_bits_group=group))
        return value_and_terms(own, model, variables, jax.random.key(0), x_bd)

    loss, terms = value(bits)
    expected = np.maximum(in_groups, bits).sum()
    reconstruction = terms.parts["reconstruction"].mean()
    np.testing.assert_allclose(loss, -reconstruction + expected, rtol=1e-5)

    # The reconstruction's share is lost in it.
    own = objective(Elbo(free_bits=bits, free_bits_group=group), beta=1e4)
    slopes = gradient(own, model, variables, jax.random.key(0), x_bd)["encoder"]["mean"]["bias"]
    slope = np.abs(slopes).reshape(-1, group or 4).sum(axis=1)
    assert (slope[in_groups < bits] < 10).all()
    assert (slope[in_groups > bits] > 100).all()
    np.testing.assert_allclose(value(0.0)[0], -terms.parts["elbo"].mean(), rtol=1e-5)


def value_and_parts(own, step=0):
    model, variables, x_bd = nonlinear(latent_size=2)
    value, terms = value_and_terms(own, model, variables, jax.random.key(0), x_bd, None, step)
    return value, terms.parts["reconstruction"].mean(), terms.parts["kl"].mean()


@pytest.mark.parametrize("capacity", [0.1, 5.0])
def test_capacity_is_where_the_kl_is_drawn_to(capacity):
    own = objective(Elbo(capacity=capacity), beta=30.0)
    value, reconstruction, kl = value_and_parts(own)
    np.testing.assert_allclose(value, -reconstruction + 30 * abs(kl - capacity), rtol=1e-5)


@pytest.mark.parametrize(
    ("steps", "step", "expected"), [(0, 0, 8), (10, 0, 0), (10, 5, 4), (10, 50, 8)]
)
def test_capacity_rises_linearly(steps, step, expected):
    # The reconstruction's share is lost in it.
    own = objective(Elbo(capacity=8.0, capacity_steps=float(steps)), beta=1e6)
    value, reconstruction, kl = value_and_parts(own, step)
    np.testing.assert_allclose(value, -reconstruction + 1e6 * abs(kl - expected), rtol=1e-6)


@pytest.mark.parametrize("target", [0.1, 500.0])
def test_a_cost_of_the_kl_of_one_s_own(target):
    own = objective(Hinge(target=target), beta=3.0)
    value, reconstruction, kl = value_and_parts(own)
    np.testing.assert_allclose(value, -reconstruction + 3 * max(kl, target), rtol=1e-5)
    assert not own.is_unit_by_unit  # lanes of it are not padded, unless it says so


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_gradients_are_finite_when_every_weight_is_huge(kl):
    model, _, x_bd = nonlinear(latent_size=4)
    variables = exact.huge_variables(model)
    x_bd[:2] = [[0], [1]]
    own, key = objective(Elbo(kl=kl)), jax.random.key(1)
    (value, _), gradients = terms_and_gradient(own, model, variables, key, x_bd)
    assert np.isfinite(value)
    assert np.isfinite(exact.flat(gradients)).all()


weights = jax.jit(weights_at)


@pytest.mark.parametrize(
    ("warmup_steps", "step", "expected"),
    [(0, 0, 2.0), (0, 9, 2.0), (10, 0, 0.0), (10, 5, 1.0), (10, 10, 2.0), (10, 99, 2.0)],
)
def test_beta_rises_linearly(warmup_steps, step, expected):
    own = objective(beta=2.0, warmup_steps=float(warmup_steps))
    np.testing.assert_allclose(weights(own, step).beta, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.0), (5, 1.0), (15, 2.0), (39, 2.0), (40, 0.0), (45, 1.0), (85, 1.0)],
)
def test_beta_rises_again_in_every_cycle(step, expected):
    own = objective(beta=2.0, warmup_steps=10.0, warmup_cycle=40.0)
    np.testing.assert_allclose(weights(own, step).beta, expected, rtol=1e-6)


def test_the_linear_model_is_the_one_it_is_said_to_be():
    """Its exact posterior: q's moments are those of samples of p(z | x) by Bayes on a grid."""
    model, variables = linear()
    axis = np.linspace(-4, 4, 201, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 1, L)
    z = np.broadcast_to(points, (len(points), len(X_BD), L))

    @jax.jit
    def found(variables, z):
        log_p = exact.log_joint_of(model, variables, X_BD, z)
        return jax.nn.softmax(log_p, axis=0), posterior_mean(model, variables, X_BD)

    weights, mean = found(variables, z)
    np.testing.assert_allclose(
        np.einsum("nb,nl->bl", np.asarray(weights), points[:, 0]), mean, atol=1e-3
    )


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"bound": Elbo(capacity=3.0, capacity_steps=4.0), "beta": 9.0},
        *(
            pytest.param(own, marks=pytest.mark.slow)
            for own in (
                {"beta": 4.0, "warmup_steps": 5.0},
                {"bound": Elbo(free_bits=0.7, free_bits_group=2)},
                {"bound": IWAE(), "num_samples": 3, "beta": 2.0},
                {"bound": Hinge(target=100.0)},
                {"bound": Hinge(target=0.5), "beta": 2.0},
            )
        ),
    ],
)
def test_the_validation_score_is_the_objective_of_the_whole_split_at_its_end(small_spec, own):
    """One batch of everything has that loss; the score is made of means of single examples."""
    model, whole, total_steps = make_model(small_spec), objective(**own), 20
    variables = jax.tree.map(lambda leaf: 3 * leaf, exact.variables_of(model))
    x_bd = np.random.default_rng(0).integers(0, 2, (6, 30)).astype(np.float32)
    z_kbl = jax.random.normal(jax.random.key(0), (whole.num_samples, 6, 4))

    def at_the_end(x_bd, z_kbl):
        def trace(variables, take, x_bd, label_b=None):
            return model.trace(variables, given([z_kbl]), x_bd, label_b)

        fixed, end = model._replace(trace=trace), total_steps - 1
        return loss(whole, fixed, variables, jax.random.key(1), x_bd, None, end)

    found = at_the_end(x_bd, z_kbl)
    parts = [at_the_end(x_bd[i : i + 1], z_kbl[:, i : i + 1]) for i in range(6)]
    means = {"loss": np.mean([part.value for part in parts])}
    means["bound"] = np.mean([part.terms.bound[0] for part in parts])
    for name in parts[0].terms.parts:
        means[name] = np.mean([part.terms.parts[name][0] for part in parts])
    units = [part.terms.kl_bu for part in parts]
    kl_u = None if units[0] is None else np.mean(units, axis=0)[0]
    score = validation_score(whole, means, kl_u, total_steps)
    assert score == pytest.approx(-float(found.value), rel=1e-4)
    assert is_the_bound(whole, total_steps) == (own == {})
    if own == {}:
        assert score == means["bound"]


@pytest.mark.parametrize(
    ("own", "step"),
    [
        ({}, 0),
        ({"warmup_steps": 30.0}, 30),
        ({"warmup_steps": 300.0}, 100),
        ({"warmup_steps": 10.0, "warmup_cycle": 25.0}, 85),
        ({"bound": Elbo(capacity=2.0, capacity_steps=40.0), "warmup_steps": 3.0}, 40),
        ({"bound": Elbo(capacity=0.0, capacity_steps=40.0)}, 0),
    ],
)
def test_when_the_objective_is_annealed(own, step):
    assert annealed_step(objective(**own), 100) == step

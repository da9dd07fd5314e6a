"""log p(x) by annealed importance sampling, against a log p(x) that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small import exact
from vae_jax.evaluation.annealed_importance_sampling import (
    Annealing,
    annealed_importance_sampling,
    bracket,
    inverse_temperatures,
)
from vae_jax.models.model import prior_samples

SPEC = Annealing(chains=8, temperatures=60, leapfrog_steps=4)
N = 10


def of_each(function, n=N):
    """`function` of n keys and as many of the linear model's x, one after another in one batch."""
    x_nd = np.resize(exact.linear_data(N), (n, exact.D))
    keys = jax.random.split(jax.random.key(7), n)
    return jax.device_get(jax.jit(jax.vmap(function))(keys, x_nd[:, None])), x_nd


def test_temperatures_go_from_0_to_1_slowly_at_both_ends():
    betas = inverse_temperatures(100)
    assert betas[0] == 0
    assert betas[-1] == 1
    steps = np.diff(betas)
    assert (steps > 0).all()
    assert steps[0] < 0.2 * steps[50] > steps[-1]


def test_it_agrees_with_the_exact_value_within_its_own_error():
    model, variables = exact.linear()
    found, x_nd = of_each(
        lambda key, x: annealed_importance_sampling(model, variables, key, x, SPEC), 40
    )
    ess = found.effective_sample_size[:, 0]
    error = np.sqrt(np.maximum(1 / ess - 1 / SPEC.chains, 0))
    z_scores = (found.log_likelihood[:, 0] - exact.linear_log_prob(x_nd)) / (error + 0.02)
    assert np.abs(z_scores).max() < 4.4
    assert abs(z_scores.mean()) < 4.4 / np.sqrt(40)
    assert (ess > 0.5 * SPEC.chains).mean() > 0.8
    # The pilot's step sizes bring the acceptance near what is aimed for.
    assert 0.5 < found.acceptance.mean() < 0.9


@pytest.mark.slow
def test_the_bracket_holds_the_exact_value_and_narrows_with_more_temperatures():
    model, variables = exact.linear()

    def of(spec):
        found, _ = of_each(lambda key, x: bracket(model, variables, key, spec), 60)
        log_p = exact.linear_log_prob(found.x[:, 0])
        return found.lower[:, 0] - log_p, found.upper[:, 0] - log_p

    gaps = []
    for temperatures in (6, 120):
        below, above = of(SPEC._replace(temperatures=temperatures, chains=4))
        assert below.mean() < 4.4 * below.std() / np.sqrt(60)
        assert above.mean() > -4.4 * above.std() / np.sqrt(60)
        gaps.append((above - below).mean())
    assert gaps[1] < 0.5 * gaps[0]
    assert gaps[1] < 0.3


def test_without_moves_it_is_plain_importance_sampling_from_the_prior():
    """One temperature: the weight is p(x | z) of a sample of the prior."""
    model, variables, x_bd = exact.nonlinear()
    spec = Annealing(chains=5, temperatures=1, leapfrog_steps=1)

    @jax.jit
    def both(key):
        found = annealed_importance_sampling(model, variables, key, x_bd[:1], spec)
        start = jax.random.split(jax.random.clone(key), 4)[2]
        prior = model.trace(variables, prior_samples(model, start, 5))
        return found, jnp.exp(prior.x.log_prob(x_bd[None, :1])[:, 0])

    found, w_k = both(jax.random.key(0))
    np.testing.assert_allclose(found.log_likelihood[0], np.log(w_k.mean()), rtol=1e-5)


def test_without_blackjax_it_says_what_to_install(monkeypatch):
    import sys

    from vae_jax.errors import UserError

    monkeypatch.setitem(sys.modules, "blackjax.mcmc", None)
    model, variables, x_bd = exact.nonlinear()
    with pytest.raises(UserError, match="needs blackjax: pip install blackjax "):
        jax.eval_shape(
            lambda key: annealed_importance_sampling(model, variables, key, x_bd[:1], SPEC),
            jax.random.key(0),
        )

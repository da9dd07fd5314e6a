"""The contract of a model carries more than the models there are: each of these is one section.

A ladder of three layers that shares its top-down path, under every way to take a KL and under the
IWAE's bound; a codebook that is a moving average, with a loss of its own.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.models import Codebook, D, Ladder
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import (
    NO_START,
    generate,
    given,
    kl_by_unit,
    latents,
    log_joint,
    log_posterior,
    log_prior,
    names_of_layers,
    posterior_samples,
    reconstruct,
)
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import IWAE
from vae_jax.sections.declare import replace
from vae_jax.training.optimizer import Optimizer
from vae_jax.training.spec import Spec, Training
from vae_jax.training.step import Batch, init_state, train_step
from vae_jax.training.streams import run_keys, step_keys

# Binary images of three parts that are on or off together.
DATA = np.repeat(np.random.default_rng(5).integers(0, 2, (64, 3)), D // 3, axis=1).astype("f")


def spec_of(kind, bound, num_samples=1):
    return Spec(
        model=ModelSpec(kind=kind, latent_size=3, image_shape=(D, 1, 1), num_classes=0),
        objective=Objective(bound=bound, num_samples=num_samples),
        optimizer=Optimizer(learning_rate=1e-2),
        training=Training(batch_size=64),
        train_size=64,
        dynamic=False,
        chunk_steps=1,
    )


CASES = {
    "a ladder": spec_of(Ladder(), Elbo()),
    "a ladder, sampled KL": spec_of(Ladder(), Elbo(kl="sampled")),
    "a ladder, sticking the landing": spec_of(
        Ladder(), Elbo(kl="sampled", gradient="sticking_the_landing")
    ),
    "a ladder, IWAE": spec_of(Ladder(), IWAE(), 5),
    "a ladder, doubly reparameterised": spec_of(Ladder(), IWAE("doubly_reparameterized"), 5),
    "a codebook": spec_of(Codebook(), Elbo(kl="sampled")),
}


SLOW = (
    "a ladder",
    "a ladder, IWAE",
    "a ladder, doubly reparameterised",
    "a ladder, sampled KL",
    "a ladder, sticking the landing",
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]
)
def test_one_train_step_is_for_all(name):
    spec, batch = CASES[name], Batch(jnp.asarray(DATA), None)
    model = make_model(spec.model)

    @jax.jit
    def trained(seeds):
        def lane(seed):
            keys = run_keys(seed)

            def body(state, _):
                key = step_keys(keys, state.step).objective
                state, metrics = train_step(spec, state, key, batch)
                return state, metrics.totals

            start = init_state(spec, keys, NO_START)
            state, totals = jax.lax.scan(body, start, None, 100)
            made = generate(model, state.variables, keys.evaluation, 5)
            return start, state, totals, made, reconstruct(model, state.variables, DATA)

        return jax.vmap(lane)(seeds)

    start, state, totals, made, reconstructed = trained(np.arange(2))
    assert (state.diverged_step == -1).all()
    bound = totals["bound"] / 64
    assert bound.shape == (2, 100)
    assert (bound[:, -10:].mean(axis=1) > bound[:, :10].mean(axis=1) + 1).all()
    if "commitment" in totals:
        first, last = (own.variables["stats"]["book"] for own in (start, state))
        assert not np.allclose(first[0], last[0])
        assert (totals["commitment"] >= 0).all()
    assert made.shape == (2, 5, D)
    assert reconstructed.shape == (2, 64, D)


def test_codes_that_are_never_used_stay_finite():
    """Their counts are 0 from about step 830 on: 0 / 0 was no code, and the lane diverged there."""
    spec, batch = spec_of(Codebook(codes=16), Elbo(kl="sampled")), Batch(jnp.asarray(DATA), None)

    @jax.jit
    def trained(seed):
        keys = run_keys(seed)

        def body(state, _):
            key = step_keys(keys, state.step).objective
            return train_step(spec, state, key, batch)[0], None

        return jax.lax.scan(body, init_state(spec, keys, NO_START), None, 1_200)[0]

    state = trained(0)
    assert state.diverged_step == -1
    stats = state.variables["stats"]
    assert (stats["count"] == 0).any()
    assert np.isfinite(stats["book"]).all()


@cache
def ladder():
    model = make_model(CASES["a ladder"].model)
    return model, jax.device_get(jax.jit(model.init)(jax.random.key(0)))


def test_layers_without_names_have_their_numbers():
    model, _ = ladder()
    assert model.layer_names == ()
    assert names_of_layers(model) == ("0", "1", "2")


def test_samples_that_are_scored_again_have_the_same_density():
    model, variables = ladder()

    @jax.jit
    def traces(key):
        trace = model.trace(variables, posterior_samples(model, key, 7), DATA)
        again = model.trace(variables, given(latents(trace)), DATA)
        return latents(trace), *((log_posterior(t), log_joint(t, DATA)) for t in (trace, again))

    z, found, again = traces(jax.random.key(1))
    assert [own.shape for own in z] == [(7, 64, 3)] * 3
    np.testing.assert_allclose(again[0], found[0], atol=1e-4)
    np.testing.assert_allclose(again[1], found[1], rtol=1e-5)


def test_the_kl_of_a_ladder_in_closed_form_is_the_mean_of_the_sampled_one():
    model, variables = ladder()

    @jax.jit
    def kls(key):
        trace = model.trace(variables, posterior_samples(model, key, 4_000), DATA[:4])
        return jnp.sum(kl_by_unit(trace), axis=-1), log_posterior(trace) - log_prior(trace)

    kl_b, sampled_kb = kls(jax.random.key(1))
    off_b = np.abs(kl_b - sampled_kb.mean(axis=0))
    assert (off_b < 5 * sampled_kb.std(axis=0) / np.sqrt(len(sampled_kb))).all()


@pytest.mark.slow
def test_sticking_the_landing_has_the_mean_of_the_plain_gradient():
    model, variables = ladder()

    def mean_gradient(gradient):
        objective = CASES["a ladder, sampled KL"].objective
        objective = replace(objective, bound=replace(objective.bound, gradient=gradient))

        def one(key):
            def loss_of(params):
                own = variables | {"params": params}
                return loss(objective, model, own, key, DATA[:8], None, 0).value

            return jax.grad(loss_of)(variables["params"])["layer_1"]["q"]["w"]

        found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 2_000))
        return found.mean(axis=0), found.std(axis=0) / np.sqrt(len(found))

    (plain, plain_se), (landing, landing_se) = map(
        mean_gradient, ("reparameterized", "sticking_the_landing")
    )
    off = np.abs(plain - landing) / np.sqrt(plain_se**2 + landing_se**2)
    assert off.max() < 5

"""The contract of a model carries more than the models there are: each of these is one section.

A ladder of three layers that shares its top-down path, under every way to take a KL and under the
IWAE's bound; a codebook that is a moving average, with a loss of its own.
"""

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.keys import replace, section, static
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import (
    NO_START,
    Abilities,
    Layer,
    Model,
    Trace,
    generate,
    given,
    kl_by_unit,
    latents,
    log_joint,
    log_posterior,
    log_prior,
    posterior_samples,
    reconstruct,
)
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import IWAE
from vae_jax.probability import gaussian
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.training.optimizer import Optimizer
from vae_jax.training.spec import Spec, Training
from vae_jax.training.step import Batch, init_state, train_step
from vae_jax.training.streams import run_keys, step_keys

D, HIDDEN = 12, 16
ABLE = Abilities(
    num_layers=1,
    posterior_type=None,
    prior_type=None,
    has_density=True,
    has_closed_form=False,
    can_be_masked=False,
    reads_labels=False,
    infers_labels=False,
    examples=0,
)


def dense(key, inputs, outputs):
    return {
        "w": jax.random.normal(key, (inputs, outputs)) / math.sqrt(inputs),
        "b": jnp.zeros((1, 1, outputs)),
    }


def affine(params, h_kbf):
    return h_kbf @ params["w"] + params["b"]


def gaussian_of(params, h_kbf):
    mean, log_scale = jnp.split(affine(params, h_kbf), 2, axis=-1)
    return DiagonalGaussian(mean, gaussian.clipped(log_scale))


@section
class Ladder:
    """q and p of each layer share one top-down state (Sonderby et al. 2016)."""

    layers: int = static(3, lambda key, value: value, "layers of latents")

    @property
    def abilities(self) -> Abilities:
        return ABLE._replace(num_layers=self.layers, has_closed_form=True)

    def model(self, spec) -> Model:
        size, likelihood = spec.latent_size, spec.likelihood

        def init(key, start=NO_START):
            keys = iter(jax.random.split(key, 2 + 4 * self.layers))
            params = {"up": dense(next(keys), D, HIDDEN), "out": dense(next(keys), HIDDEN, D)}
            for i in range(self.layers):
                params[f"layer_{i}"] = {
                    "p": dense(next(keys), HIDDEN, 2 * size),
                    "q": dense(next(keys), 2 * HIDDEN, 2 * size),
                    "z": dense(next(keys), size, HIDDEN),
                    "state": dense(next(keys), HIDDEN, HIDDEN),
                }
            return {"params": params, "stats": {}}

        def trace(variables, take, x_bd=None, label_b=None):
            params = variables["params"]
            up = None if x_bd is None else jnp.tanh(affine(params["up"], x_bd[None]))
            state, found = jnp.zeros((1, 1, HIDDEN)), []
            for i in range(self.layers):
                own, q = params[f"layer_{i}"], None
                p = gaussian_of(own["p"], state)
                if up is not None:
                    shape = (len(state), up.shape[1], HIDDEN)
                    both = [jnp.broadcast_to(h, shape) for h in (state, up)]
                    q = gaussian_of(own["q"], jnp.concatenate(both, axis=-1))
                z_kbl, log_q_kb = take(i, q, p)
                found.append(Layer(z_kbl, log_q_kb, q, p))
                from_z, from_state = affine(own["z"], z_kbl), affine(own["state"], state)
                state = jnp.tanh(from_z + jnp.broadcast_to(from_state, from_z.shape))
            raw = affine(params["out"], state)[..., None]
            return Trace(tuple(found), likelihood.distribution({}, raw), stats=variables["stats"])

        return Model(init, trace, num_layers=self.layers)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Point:
    """All at one value; its log density is 0, by the counting measure."""

    at_1bl: Any

    def sample(self, key, k):
        z_kbl = jnp.broadcast_to(self.at_1bl, (k, *self.at_1bl.shape[1:]))
        return z_kbl, self.log_prob(z_kbl)

    def log_prob(self, z_kbl):
        return jnp.zeros(z_kbl.shape[:2])

    def mean(self):
        return self.at_1bl


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UniformCode:
    """One of the codes at each place, all as likely."""

    places: int = field(metadata={"static": True})
    codes: int = field(metadata={"static": True})

    def sample(self, key, k):
        code = jax.random.randint(key, (k, 1, self.places), 0, self.codes)
        z_kbl = jax.nn.one_hot(code, self.codes).reshape(k, 1, -1)
        return z_kbl, self.log_prob(z_kbl)

    def log_prob(self, z_kbl):
        return jnp.full(z_kbl.shape[:2], -self.places * math.log(self.codes))

    def mean(self):
        return jnp.full((1, 1, self.places * self.codes), 1 / self.codes)


@section
class Codebook:
    """The nearest code at each place, the book a moving average (van den Oord et al. 2017)."""

    places: int = static(2, lambda key, value: value, "places")
    codes: int = static(4, lambda key, value: value, "codes in the book")
    DECAY: ClassVar = 0.9

    @property
    def abilities(self) -> Abilities:
        return ABLE._replace(losses=("commitment",))

    def model(self, spec) -> Model:
        size, likelihood = spec.latent_size, spec.likelihood

        def init(key, start=NO_START):
            keys = jax.random.split(key, 3)
            book = jax.random.normal(keys[2], (self.codes, size))
            return {
                "params": {
                    "in": dense(keys[0], D, self.places * size),
                    "out": dense(keys[1], self.places * size, D),
                },
                "stats": {"book": book, "count": jnp.ones((self.codes, 1)), "sum": book},
            }

        def trace(variables, take, x_bd=None, label_b=None):
            params, stats = variables["params"], variables["stats"]
            p, q, losses, after = UniformCode(self.places, self.codes), None, {}, stats
            if x_bd is not None:
                h = affine(params["in"], x_bd[None]).reshape(-1, self.places, 1, size)
                distance = jnp.sum(jnp.square(h - stats["book"][None, None]), axis=-1)
                near_bsc = jax.nn.one_hot(jnp.argmin(distance, axis=-1), self.codes)
                q = Point(near_bsc.reshape(1, len(x_bd), -1))
            z_kbl, log_q_kb = take(0, q, p)
            shape = (*z_kbl.shape[:2], self.places)
            code = z_kbl.reshape(*shape, self.codes) @ stats["book"]
            if x_bd is not None:
                h = h.reshape(1, *h.shape[:2], size)
                hard = jax.lax.stop_gradient(code)
                losses = {"commitment": jnp.sum(jnp.square(h - hard), axis=(0, 2, 3)) / len(code)}
                seen = jax.lax.stop_gradient(h[0])
                keep = self.DECAY
                count = keep * stats["count"] + (1 - keep) * near_bsc.sum((0, 1))[:, None]
                total = keep * stats["sum"] + (1 - keep) * jnp.einsum("bsc,bsl->cl", near_bsc, seen)
                after = {"book": total / count, "count": count, "sum": total}
                code = h + jax.lax.stop_gradient(code - h)  # straight through
            raw = affine(params["out"], code.reshape(*shape[:2], -1))[..., None]
            x = likelihood.distribution({}, raw)
            return Trace((Layer(z_kbl, log_q_kb, q, p),), x, losses=losses, stats=after)

        return Model(init, trace)


# Binary images of three parts that are on or off together.
DATA = np.repeat(np.random.default_rng(5).integers(0, 2, (64, 3)), D // 3, axis=1).astype("f")


def spec_of(kind, bound, num_samples=1):
    return Spec(
        model=ModelSpec(kind=kind, latent_size=3, image_shape=(D, 1, 1), num_classes=0),
        objective=Objective(bound=bound, num_samples=num_samples, warmup_cycle=np.inf),
        optimizer=Optimizer(learning_rate=1e-2, max_grad_norm=np.inf),
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


@cache
def ladder():
    model = make_model(CASES["a ladder"].model)
    return model, jax.device_get(jax.jit(model.init)(jax.random.key(0)))


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

"""Small models: those of a few lines that the contract of a model allows, and plain ones."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vae_jax.models.interface import ModelSection
from vae_jax.models.model import (
    NO_START,
    Abilities,
    Layer,
    Model,
    Trace,
)
from vae_jax.networks import MLP
from vae_jax.probability import gaussian
from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.sections.declare import section, static


def mlp_spec(*widths: int, activation: str = "tanh") -> MLP:
    return MLP(widths, activation)


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
class Ladder(ModelSection):
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
class Codebook(ModelSection):
    """The nearest code at each place, the book a moving average (van den Oord et al. 2017)."""

    places: int = static(2, lambda key, value: value, "places")
    codes: int = static(4, lambda key, value: value, "codes in the book")
    DECAY: ClassVar = 0.9
    LEAST: ClassVar = 1e-5  # of a count, in examples

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
                # A code that is not used stays where it was: its count goes to 0.
                is_used = count > self.LEAST
                book = jnp.where(is_used, total / jnp.where(is_used, count, 1), stats["book"])
                after = {"book": book, "count": count, "sum": total}
                code = h + jax.lax.stop_gradient(code - h)  # straight through
            raw = affine(params["out"], code.reshape(*shape[:2], -1))[..., None]
            x = likelihood.distribution({}, raw)
            return Trace((Layer(z_kbl, log_q_kb, q, p),), x, losses=losses, stats=after)

        return Model(init, trace)

"""The evidence lower bound."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.models.model import (
    Model,
    Trace,
    Variables,
    given,
    kl_by_layer,
    kl_by_unit,
    latents,
    log_posterior,
    posterior_samples,
)
from vae_jax.objectives.discrete import GRADIENTS as OF_DISCRETE
from vae_jax.objectives.discrete import (
    estimated,
    gradient_needs,
    temperature_at,
    temperature_idle,
    temperature_key,
    temperature_start_key,
    temperature_steps_key,
)
from vae_jax.objectives.interface import Bound
from vae_jax.objectives.objective import KL_OF_LAYER, TERMS, Loss, Scalar, Terms, Weights, ramp
from vae_jax.objectives.terms import elbo_terms as elbo_terms
from vae_jax.objectives.terms import reconstruction, sampled_kl, terms_of, with_own_losses
from vae_jax.sections.checks import no_effect, number, several, whole
from vae_jax.sections.declare import (
    as_numbers,
    choice,
    in_steps,
    replace,
    section,
    static,
    traced,
)

MOST_UNITS = 10_000  # whose KL is kept by unit, for each example of the validation set
KLS = {"analytic": "in closed form", "sampled": "estimated with the samples of the reconstruction"}
GRADIENTS = {
    "reparameterized": "through the samples z(q, noise) (Kingma and Welling 2014)",
    "sticking_the_landing": "log q(z | x) has a gradient only through z (Roeder et al. 2017)",
    **OF_DISCRETE,
}


def kl_key() -> Any:
    """The key of how the KL is computed."""
    return choice(KLS, "analytic", "how the KL is computed")


def kl_needs(kl: str, config: Any) -> Iterator[str]:
    """What is wrong with the choice of a KL in closed form."""
    if kl == "analytic" and not config.model.abilities.has_closed_form:
        yield (
            f"objective.kl = 'analytic' has no closed form for {config.model.named()}; it should "
            "be 'sampled'"
        )


def free(kl_bu: Float[Array, "b u"], free_bits: Scalar, group: int) -> Float[Array, ""]:
    """sum_groups max(free_bits, mean_b KL of the group): no gradient below free_bits.

    References: Kingma et al. 2016, equation 15.
    """
    kl_u = jnp.mean(kl_bu, axis=0)
    kl_g = jnp.sum(kl_u.reshape(-1, group or len(kl_u)), axis=-1)
    return jnp.sum(jnp.maximum(kl_g, free_bits))


def parts_of(
    bound: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Any,
    k: int,
) -> tuple[Terms, Trace]:
    """The terms of an ELBO by k samples, and their trace.

    `bound.kl` and, of a sampled KL, `bound.gradient` say how the KL is computed.
    """
    trace = model.trace(variables, posterior_samples(model, key, k), x_bd, label_b)
    reconstruction_b = reconstruction(trace, x_bd)
    if bound.kl == "analytic":
        kl_bu = kl_by_unit(trace)
        assert kl_bu is not None, "this KL has no closed form: take kl='sampled'"
    elif bound.gradient == "sticking_the_landing":
        fixed = jax.lax.stop_gradient(variables)
        again = model.trace(fixed, given(latents(trace)), x_bd, label_b)
        kl_bu = sampled_kl(trace, log_posterior(again))
    else:
        kl_bu = sampled_kl(trace, log_posterior(trace))
    terms = terms_of(reconstruction_b, jnp.sum(kl_bu, axis=-1), trace)
    return terms._replace(kl_bu=kl_bu), trace


def loss_of(terms: Terms, trace: Trace, beta: Any, cost: Any) -> Loss:
    """-mean_b reconstruction + beta times the cost of the KL + the model's own losses."""
    value = jnp.mean(-terms.parts["reconstruction"]) + beta * cost
    return Loss(with_own_losses(value, trace), terms, trace)


def score_of(means: Mapping[str, float], cost: float) -> float:
    """-`loss_of` of a whole split, whose mean terms these are, nats."""
    of_losses = (
        name
        for name in means
        if name not in (*TERMS, "loss", "bound") and not name.startswith(KL_OF_LAYER)
    )
    others = sum(means[name] for name in of_losses)
    return means["bound"] - (cost - means["kl"]) - others


# The methods of an objective that is the ELBO with another cost of the KL. Its section has
#
#     kl: str = kl_key()
#     cost(kl, step)    the cost of the mean KL of a minibatch or a split, nats, before beta


def cost_loss(
    bound: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Any,
    weights: Weights,
) -> Loss:
    """loss = -mean_b reconstruction + beta cost(mean_b KL)."""
    terms, trace = parts_of(bound, model, variables, key, x_bd, label_b, weights.num_samples)
    cost = bound.cost(jnp.mean(terms.parts["kl"]), weights.step)
    return loss_of(terms, trace, weights.beta, cost)


def cost_score(bound: Any, means: Mapping[str, float], kl_u: Any, weights: Weights) -> float:
    """-loss of a whole split, nats."""
    return score_of(means, float(weights.beta * np.float32(bound.cost(means["kl"], weights.step))))


def cost_needs(bound: Any, config: Any) -> Iterator[str]:
    """What is wrong with the choice of its KL."""
    yield from kl_needs(bound.kl, config)


@section
class Elbo(Bound):
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)) (Kingma and Welling 2014).

    loss = -mean_b reconstruction + beta |KL - capacity|, where KL is the mean over the batch, with
    free bits. The terms are those of the bound without beta, free bits or capacity. Of a model with
    several layers, each can have a beta, a warm-up and free bits of its own.

    With the gradient "sticking_the_landing", log q(z | x) has a gradient only through z. The mean
    of the estimator is unchanged; its variance is 0 where q(z | x) is the true posterior.

    References: beta: Higgins et al. 2017, equation 4; capacity: Burgess et al. 2018, equation 8;
    gradient: Roeder, Wu and Duvenaud 2017, algorithm 2.
    """

    kl: str = kl_key()
    gradient: str = choice(GRADIENTS, "reparameterized", "the gradient estimator")
    free_bits: float = traced(0.0, number(0), "nats of each group's KL that cost nothing")
    free_bits_group: int = static(1, whole(0), "latent units in such a group; 0: all of them")
    capacity: float = traced(0.0, number(0), "nats, the target of the KL; 0: the KL is minimised")
    capacity_steps: float = traced(
        0.0,
        number(0),
        "epochs over which it rises linearly from 0",
        key="capacity_epochs",
        to=in_steps,
    )

    temperature: float = temperature_key()
    temperature_start: float = temperature_start_key()
    temperature_steps: float = temperature_steps_key()

    # Infinite where lanes beside this one have numbers and this one has none.
    layer_free_bits: Any = traced(
        (),
        several(number(0)),
        "nats of each layer's KL that cost nothing, the top first; (): 0",
        to=as_numbers,
    )
    layer_beta: Any = traced(
        (),
        several(number(0)),
        "weight of each layer's KL, times beta, the top first; (): 1",
        to=as_numbers,
    )
    layer_warmup: Any = traced(
        (),
        several(number(0)),
        "epochs over which that weight rises linearly from 0; (): 0",
        key="layer_warmup_epochs",
        to=in_steps,
    )

    infers_labels, terms = False, TERMS

    def evaluated(self) -> "Elbo":
        """With exact samples, as many as there are asked for."""
        is_discrete = self.gradient in OF_DISCRETE and self.gradient != "exact"
        return replace(self, gradient="reparameterized") if is_discrete else self

    @property
    def by_layer(self) -> tuple[Any, ...]:
        """The three settings that have a number for each layer."""
        return self.layer_free_bits, self.layer_beta, self.layer_warmup

    @property
    def is_layered(self) -> bool:
        return any(np.shape(numbers)[-1] for numbers in self.by_layer)

    @property
    def is_unit_by_unit(self) -> bool:
        return self.free_bits == 0 and self.free_bits_group <= 1 and not self.is_layered

    @property
    def is_constrained(self) -> bool:
        return self.free_bits > 0 or self.capacity > 0 or self.is_layered

    @property
    def is_mean(self) -> bool:
        return not self.is_constrained

    @property
    def annealed_steps(self) -> Scalar:
        warm = [float(steps) for steps in self.layer_warmup if np.isfinite(steps)]
        return max(self.capacity_steps if self.capacity > 0 else 0.0, *warm, 0.0)

    def layered_cost(self, kl_g: Any, step: Any, xp: Any) -> Any:
        """sum_g beta_g max(free_bits_g, KL_g), of the mean KL of each layer, the top first."""
        free_g, beta_g, warm_g = (
            xp.where(xp.isinf(xp.asarray(numbers)), default, xp.asarray(numbers))
            if len(numbers)
            else xp.float32(default)
            for numbers, default in zip(self.by_layer, (0, 1, 0), strict=True)
        )
        return xp.sum(beta_g * ramp(step, warm_g, xp) * xp.maximum(kl_g, free_g))

    def loss(
        self,
        model: Model,
        variables: Variables,
        key: Key[Array, ""],
        x_bd: Float[Array, "b d"],
        label_b: Any,
        weights: Weights,
    ) -> Loss:
        k = weights.num_samples
        if self.gradient in OF_DISCRETE:
            temperature = temperature_at(self, weights.step)
            terms, trace = estimated(self, model, variables, key, x_bd, label_b, k, temperature)
        else:
            terms, trace = parts_of(self, model, variables, key, x_bd, label_b, k)
        kl_bu = terms.kl_bu
        assert kl_bu is not None
        kl = jnp.where(
            self.free_bits > 0,
            free(kl_bu, self.free_bits, self.free_bits_group),
            jnp.mean(terms.parts["kl"]),
        )
        if self.is_layered:
            kls = kl_by_layer(trace, model.layer_names, analytic=self.kl == "analytic")
            kl_g = jnp.stack([jnp.mean(kl_b) for kl_b in kls.values()])
            kl = self.layered_cost(kl_g, weights.step, jnp)
        capacity = self.capacity * ramp(weights.step, self.capacity_steps)
        away = jnp.where(capacity > 0, jnp.abs(kl - capacity), kl)
        return loss_of(terms, trace, weights.beta, away)

    def validation_score(self, means: Mapping[str, float], kl_u: Any, weights: Weights) -> float:
        """-loss of a whole split, whose mean terms these are, nats.

        free_bits and the capacity are of the mean KL of the split, as they are of a batch's.
        """
        kl = means["kl"]
        if self.free_bits > 0:
            kl_g = kl_u.reshape(-1, self.free_bits_group or len(kl_u)).sum(axis=-1)
            kl = np.maximum(kl_g, self.free_bits).sum()
        if self.is_layered:
            kls = [mean for name, mean in means.items() if name.startswith(KL_OF_LAYER)]
            kl = self.layered_cost(np.array(kls), weights.step, np)
        capacity = float(self.capacity * ramp(weights.step, self.capacity_steps, np))
        away = abs(kl - capacity) if capacity > 0 else kl
        return score_of(means, float(weights.beta) * away)

    def needs(self, config: Any) -> Iterator[str]:
        yield from kl_needs(self.kl, config)
        if self.gradient == "sticking_the_landing" and self.kl != "sampled":
            yield (
                "objective.gradient = 'sticking_the_landing' is about the sampled "
                "log q(z | x); objective.kl should be 'sampled'"
            )
        yield from gradient_needs(self, config)
        group = self.free_bits_group
        if self.kl == "sampled" and (group > 1 or (group and self.free_bits)):
            yield (
                "objective.free_bits of a sampled KL are for all latent units together; "
                "objective.free_bits_group should be 0"
            )
        if group and config.model.latent_size % group:
            yield (
                f"objective.free_bits_group = {group} should divide model.latent_size = "
                f"{config.model.latent_size}"
            )
        abilities = config.model.abilities
        layers = abilities.num_groups or abilities.num_layers
        for name, numbers in self.named_by_layer().items():
            if len(numbers) != layers or layers == 1:
                number_of = f"{layers} numbers, the top layer's first, or ()"
                yield (
                    f"{name} = {numbers} has {len(numbers)}, and {config.model.named()} has "
                    f"{layers} layer{'s' * (layers > 1)}; it should be "
                    f"{number_of if layers > 1 else '()'}"
                )
            for other in ("free_bits", "capacity"):
                if getattr(self, other):
                    yield (
                        f"{name} is the cost of each layer's KL, and objective.{other} = "
                        f"{getattr(self, other)} that of the KL of all; one of the two should be "
                        "left out"
                    )

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        by_unit = self.free_bits and self.free_bits_group and self.kl == "analytic"
        if by_unit and (units := config.model.num_units(data)) > MOST_UNITS:
            yield (
                f"objective.free_bits by unit is for at most {MOST_UNITS:,} latent units, and this "
                f"model has {units:,}; take objective.layer_free_bits"
            )

    def named_by_layer(self) -> dict[str, Any]:
        """{key: its numbers}: those of `by_layer` that are set."""
        names = ("layer_free_bits", "layer_beta", "layer_warmup_epochs")
        both = zip(names, self.by_layer, strict=True)
        return {f"objective.{name}": numbers for name, numbers in both if len(numbers)}

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        if self.capacity_steps and not self.capacity:
            yield no_effect("objective.capacity_epochs", self.capacity_steps, "objective.capacity")
        yield from temperature_idle(self)
        if self.free_bits_group != 1 and not self.free_bits:
            yield no_effect(
                "objective.free_bits_group", self.free_bits_group, "objective.free_bits"
            )
        if not config.objective.beta:
            for name in ("free_bits", "capacity"):
                if getattr(self, name):
                    yield no_effect(f"objective.{name}", getattr(self, name), "objective.beta")
            for name, numbers in self.named_by_layer().items():
                yield no_effect(name, numbers, "objective.beta")

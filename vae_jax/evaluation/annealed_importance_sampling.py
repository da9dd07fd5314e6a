"""log p(x) by annealed importance sampling, and a bracket around it where x is the model's own.

Chains go from the prior p(z) to the posterior p(z | x) by way of p(z) p(x | z)^beta, beta from 0
to 1, each step a Hamiltonian Monte Carlo move; run backwards from an exact sample of the posterior,
which an x that the model made comes with, they bound log p(x) from above.

References: Neal 2001, Annealed importance sampling; Wu, Burda, Salakhutdinov and Grosse 2017, On
the quantitative analysis of decoder-based generative models; Grosse, Ghahramani and Adams 2015,
Sandwiching the marginal likelihood using bidirectional Monte Carlo.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.errors import UserError
from vae_jax.models.model import (
    Model,
    Variables,
    given,
    joined,
    latents,
    layer_sizes,
    log_prior,
    parted,
    prior_samples,
    sample_prior,
)
from vae_jax.objectives.importance import log_mean_exp

TARGET = 0.65  # acceptance of the moves
PILOT_CHAINS = 4
RATE = 0.2  # of the log step size, a move


class Annealing(NamedTuple):
    """The static choice."""

    chains: int = 16
    temperatures: int = 1_000  # moves of each chain
    leapfrog_steps: int = 10  # of each move


class Annealed(NamedTuple):
    """Of examples [b], in nats."""

    log_likelihood: Float[Array, "*b"]  # below log p(x), in expectation
    effective_sample_size: Float[Array, "*b"]  # of the chains' weights, 1 to their number
    acceptance: Float[Array, "*b"]  # of the moves


class Bracket(NamedTuple):
    """Of examples [b] that the model made, in nats: around log p(x), in expectation."""

    lower: Float[Array, "*b"]
    upper: Float[Array, "*b"]
    x: Float[Array, "*b d"]


def inverse_temperatures(n: int) -> Float[np.ndarray, " n+1"]:
    """beta from 0 to 1, slow at both ends: a sigmoid from -4 to 4 (Wu et al. 2017, section 3.2)."""
    sigmoid = 1 / (1 + np.exp(-np.linspace(-4, 4, n + 1)))
    return ((sigmoid - sigmoid[0]) / (sigmoid[-1] - sigmoid[0])).astype(np.float32)


def hamiltonian_kernel() -> Any:
    """blackjax's HMC module.

    Raises:
      UserError: it is not installed.
    """
    try:
        from blackjax.mcmc import hmc
    except ImportError as error:
        raise UserError(
            "annealed importance sampling needs blackjax: pip install -e '.[evaluation]'"
        ) from error
    return hmc


def moved(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    z_kl: Float[Array, "k l"],
    spec: Annealing,
    step_sizes: Float[Array, " t"] | None,
    label_b: Any,
    *,
    backwards: bool = False,
) -> tuple[Float[Array, " k"], Float[Array, " t"], Float[Array, ""]]:
    """log weights of the chains that start at z, the step sizes they took, and their acceptance.

    Without `step_sizes`, these are adapted to TARGET on the way: then the weights are no estimate.
    """
    hmc = hamiltonian_kernel()
    kernel, unit = hmc.build_kernel(), jnp.ones(z_kl.shape[1])
    sizes = layer_sizes(model, variables, label_b)

    def trace_of(z_l):
        return model.trace(variables, given(parted(z_l[None, None], sizes)), None, label_b)

    def log_likelihood(z_l):
        return trace_of(z_l).x.log_prob(x_bd[None])[0, 0]

    def move(key, z_l, beta, step_size):
        def log_density(z_l):
            return log_prior(trace_of(z_l))[0, 0] + beta * log_likelihood(z_l)

        state, info = kernel(
            key, hmc.init(z_l, log_density), log_density, step_size, unit, spec.leapfrog_steps
        )
        return state.position, info.acceptance_rate

    def step(carry, at):
        z_kl, log_w_k, own_size = carry
        index, low, high, given_size = at
        step_size = own_size if step_sizes is None else given_size
        before_k = jax.vmap(log_likelihood)(z_kl)
        keys_k = jax.random.split(jax.random.fold_in(key, index), len(z_kl))
        z_kl, accepted_k = jax.vmap(move, (0, 0, None, None))(keys_k, z_kl, high, step_size)
        accepted = jnp.mean(accepted_k)
        if backwards:
            log_w_k -= (high - low) * jax.vmap(log_likelihood)(z_kl)
        else:
            log_w_k += (high - low) * before_k
        return (z_kl, log_w_k, step_size * jnp.exp(RATE * (accepted - TARGET))), (
            step_size,
            accepted,
        )

    betas = jnp.asarray(inverse_temperatures(spec.temperatures))
    told = jnp.zeros(spec.temperatures) if step_sizes is None else step_sizes
    schedule = (jnp.arange(spec.temperatures), betas[:-1], betas[1:], told)
    start = (z_kl, jnp.zeros(len(z_kl)), jnp.float32(0.3))
    (_, log_w_k, _), (taken, accepted) = jax.lax.scan(step, start, schedule, reverse=backwards)
    return log_w_k, taken, jnp.mean(accepted)


def forwards(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    spec: Annealing,
    label_b: Any,
) -> tuple[Annealed, Float[Array, " t"]]:
    """The estimate of one example [1], and the step sizes that a pilot run found for it."""
    pilot_key, pilot_start, start, key = jax.random.split(key, 4)
    pilot_kl = starts(model, variables, pilot_start, PILOT_CHAINS, label_b)
    _, step_sizes, _ = moved(model, variables, pilot_key, x_bd, pilot_kl, spec, None, label_b)
    z_kl = starts(model, variables, start, spec.chains, label_b)
    log_w_k, _, accepted = moved(model, variables, key, x_bd, z_kl, spec, step_sizes, label_b)
    weights_k = jax.nn.softmax(log_w_k)
    found = Annealed(
        log_likelihood=log_mean_exp(log_w_k)[None],
        effective_sample_size=1 / jnp.sum(jnp.square(weights_k))[None],
        acceptance=accepted[None],
    )
    return found, step_sizes


def starts(
    model: Model, variables: Variables, key: Key[Array, ""], k: int, label_b: Any
) -> Float[Array, "k l"]:
    """k samples of the prior, of one example."""
    trace = model.trace(variables, prior_samples(model, key, k), None, label_b)
    return joined(latents(trace))[:, 0]


def annealed_importance_sampling(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    spec: Annealing,
    label_b: Any = None,
) -> Annealed:
    """log (1/k) sum_k w_k of k chains from p(z) to p(z | x), for one example.

    The step sizes are those that a pilot run of other chains came to, so that the weights stay
    exact: E[w] = p(x).
    """
    return forwards(model, variables, key, x_bd, spec, label_b)[0]


def bracket(
    model: Model, variables: Variables, key: Key[Array, ""], spec: Annealing, label_b: Any = None
) -> Bracket:
    """One x that the model makes, and E[lower] <= log p(x) <= E[upper] of it."""
    z_key, x_key, forward_key, backward_key = jax.random.split(key, 4)
    trace = sample_prior(model, variables, z_key, 1, label_b)
    x_bd, z_bl = trace.x.sample(x_key)[0], joined(latents(trace))[0]
    found, step_sizes = forwards(model, variables, forward_key, x_bd, spec, label_b)
    z_kl = jnp.broadcast_to(z_bl, (spec.chains, z_bl.shape[1]))
    log_w_k, _, _ = moved(
        model, variables, backward_key, x_bd, z_kl, spec, step_sizes, label_b, backwards=True
    )
    return Bracket(found.log_likelihood, -log_mean_exp(log_w_k)[None], x_bd)

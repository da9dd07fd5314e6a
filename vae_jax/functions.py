"""A VAE as pure functions of a model, its variables and a key: `from vae_jax import encode, ...`

    q = encode(model, variables, x)          q(z | x)
    z = reparameterize(key, q, num_samples)  mean + scale * noise
    p = decode(model, variables, z)          p(x | z)
    elbo(model, variables, key, x)           E_q[log p(x | z)] - KL(q(z | x) || p(z))

All can be given to jax.jit, jax.vmap and jax.grad. What is not used is not computed under jax.jit.
Axes: k samples, b batch, l latent units, d = height * width * channels. x are floats; labels [b]
are for a model that reads them.

References: Kingma and Welling 2014, Auto-Encoding Variational Bayes; Rezende, Mohamed and
Wierstra 2014, Stochastic Backpropagation and Approximate Inference in Deep Generative Models.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from vae_jax.errors import UserError
from vae_jax.models.autoregressive import first_of
from vae_jax.models.model import (
    NO_START,
    Model,
    Params,
    Start,
    Variables,
    given,
    layer_sizes,
    parted,
    posterior_means,
    posterior_samples,
)
from vae_jax.objectives.terms import elbo_of, elbo_terms
from vae_jax.words import page

Labels = Int[Array, " b"] | None
State = tuple[Variables, Any]  # the variables, and the state of an optax optimiser


def init(model: Model, key: Key[Array, ""], start: Start = NO_START) -> Variables:
    """The variables before the first step: {"params": ..., "stats": ...}.

    Args:
      start: what they take from the training set, such as the decoder's output bias.
    """
    return model.init(key, start)


def encode(
    model: Model, variables: Variables, x_bd: Float[Array, "b d"], label_b: Labels = None
) -> Any:
    """q(z | x), a distribution; deterministic, so it takes no key.

    Returns:
      q: q.mean() and q.scale() [1, b, l], q.log_prob(z [k, b, l]) [k, b] in nats, and
      q.sample(key, k). Those of a flow have no scale and no log_prob of any z: they are None.

    Raises:
      UserError: the model has several layers of latents: the q of the upper ones depends on samples
        of the lower ones.

    References: Kingma and Welling 2014, equation 9; Rezende et al. 2014, section 4.1.
    """
    if model.num_layers > 1:
        raise UserError(
            f"encode() is for a model with one layer of latents, and this one has "
            f"{model.num_layers}; model.trace gives the q of every layer: {page('python')}"
        )
    return model.trace(variables, posterior_means, x_bd, label_b).layers[0].q


def reparameterize(key: Key[Array, ""], q: Any, num_samples: int = 1) -> Float[Array, "k b l"]:
    """z = mean + scale * noise, with noise from N(0, 1): samples of q, differentiable in q.

    The only function here that samples z. Of a full covariance, the scale is a matrix; a flow
    transforms the result; a mixture is reparameterised implicitly.

    References: Kingma and Welling 2014, section 2.4; Rezende et al. 2014, section 3.
    """
    z_kbl, _ = q.sample(key, num_samples)  # the other is log q(z | x)
    return z_kbl


def decode(
    model: Model,
    variables: Variables,
    z: Float[Array, "k b l"] | Float[Array, "b l"],
    label_b: Labels = None,
) -> Any:
    """p(x | z), a distribution.

    Args:
      z: of a model with several layers, the units of all, the bottom layer first.

    Returns:
      p: p.mean() [k, b, d], p.log_prob(x [k, b, d]) [k, b] in nats, p.sample(key) [k, b, d]; of
      z [b, l], the same without the axis k. Axes of size 1 are broadcast. One that is
      autoregressive has no p.mean(); p.picture(key) gives what is shown of either.

    References: Kingma and Welling 2014, appendix C.
    """
    z_kbl = z if jnp.ndim(z) == 3 else z[None]
    sizes = layer_sizes(model, variables, label_b) if model.num_layers > 1 else z_kbl.shape[-1:]
    p = model.trace(variables, given(parted(z_kbl, sizes)), None, label_b).x
    return p if jnp.ndim(z) == 3 else first_of(p)


def elbo(
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Labels = None,
    *,
    num_samples: int = 1,
) -> Float[Array, " b"]:
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)) of each example, nats; at most log p(x).

    The expectation is the mean over `num_samples` samples of z. The KL is exact where it has a
    closed form; elsewhere it is the mean over the same samples. The two terms are given by
    `elbo_terms` (vae_jax.objectives.elbo).

    References: Kingma and Welling 2014, equations 3, 7 and 10; Rezende et al. 2014, section 4.1.

    Raises:
      UserError: q(z | x) is a point, without a density.
    """
    return elbo_terms(model, variables, key, x_bd, num_samples, label_b).parts["elbo"]


def train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: State,
    key: Key[Array, ""],
    x_bd: Float[Array, "b d"],
    label_b: Labels = None,
    *,
    num_samples: int = 1,
) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One step of stochastic gradient descent on -ELBO, averaged over the minibatch x.

    It is what `vae-jax train` computes for the objective `elbo` with its default keys. A loss that
    is not finite is not treated apart: look at it in your loop. To compile it:
    `jax.jit(train_step, static_argnums=(0, 1))`.

    Args:
      optimizer: an optimiser of optax.
      state: (variables, opt_state); the first is (variables, optimizer.init(variables["params"])).
      key: of this step's samples of z; another for each step, as jax.random.fold_in(key, step).

    Returns:
      The next state, and the minibatch's means of "loss" (lower is better), "elbo",
      "reconstruction" and "kl", nats.

    References: Kingma and Welling 2014, algorithm 1; Rezende et al. 2014, algorithm 1.
    """
    variables, opt_state = state

    def loss(params: Params) -> tuple[Float[Array, ""], tuple[dict[str, Array], Params]]:
        own = variables | {"params": params}
        take = posterior_samples(model, key, num_samples)
        trace = model.trace(own, take, x_bd, label_b)
        terms = elbo_of(trace, x_bd).parts
        means = {name: jnp.mean(term) for name, term in terms.items()}
        value = jnp.mean(-terms["reconstruction"]) + means["kl"]
        value += sum(means[name] for name in trace.losses)  # the model's own, if it has any
        return value, (means, trace.stats)

    params = variables["params"]
    (value, (means, stats)), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    variables = variables | {"params": optax.apply_updates(params, updates), "stats": stats}
    return (variables, opt_state), {"loss": value} | means

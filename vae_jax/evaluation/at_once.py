"""How many examples are measured at once, where decoding one takes much memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import given, latents, posterior_samples

MOST_BYTES = 2**29  # of memory on a device, for the decodings of all examples at once


def fitting(spec: ModelSpec, at_once: int, draws: int, draws_with_gradient: int = 0) -> int:
    """At most `at_once` examples, 1 or more, whose decodings fit in MOST_BYTES.

    The compiled program of one example tells its bytes. Only an autoregressive decoder, and a
    model of its own maps, are asked: they have several maps of features for each decoding, where
    others have a few numbers.

    Args:
      spec: of one lane.
      draws: of z, decoded at once for an example.
      draws_with_gradient: the same, of those by which a gradient is taken.
    """
    if spec.kind.reads_networks and not spec.is_autoregressive(spec.image_shape):
        return at_once
    most = max(decoding_bytes(spec, draws), decoding_bytes(spec, draws_with_gradient, True))
    return max(1, min(at_once, MOST_BYTES // max(most, 1)))


def decoding_bytes(spec: ModelSpec, draws: int, with_gradient: bool = False) -> int:
    """The temporary memory of log p(x | z) of one x and so many z, or of its gradient by z."""
    if not draws:
        return 0
    model, key = make_model(spec), jax.random.key(0)
    x_bd = jnp.zeros((1, spec.image_shape[0] * spec.image_shape[1] * spec.image_shape[2]))
    label_b = jnp.zeros(1, int) if spec.abilities.reads_labels else None

    def drawn(variables: Any) -> Any:
        take = posterior_samples(model, key, draws)
        return latents(model.trace(variables, take, x_bd, label_b))

    def decoded(z: Any, variables: Any) -> Any:
        seen = x_bd if model.num_layers > 1 else None  # then q is computed for each draw too
        trace = model.trace(variables, given(z), seen, label_b)
        of_q = sum(jnp.sum(layer.log_q_kb) for layer in trace.layers if layer.log_q_kb is not None)
        return jnp.sum(trace.x.log_prob(x_bd[None])) + of_q

    variables = jax.eval_shape(lambda: model.init(key))
    z = jax.eval_shape(drawn, variables)
    return temporary_bytes(jax.grad(decoded) if with_gradient else decoded, z, variables)


def temporary_bytes(function: Callable[..., Any], *like: Any) -> int:
    """What the compiled function takes beside its arguments and results; 0 if XLA can't tell."""
    found = jax.jit(function).lower(*like).compile().memory_analysis()
    return int(getattr(found, "temp_size_in_bytes", 0))

"""p(x | z) of a decoder: the likelihood's own, or one whose values depend on those before them."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.errors import UserError
from vae_jax.models.inputs import likelihood_params, seen
from vae_jax.models.model import Params, Variables
from vae_jax.networks.interface import Decoder
from vae_jax.probability.interface import Likelihood


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Autoregressive:
    """p(x | z) = prod_i p(x_i | x_<i, z), each factor the likelihood's own.

    The params have no batch axes: a function that maps over all leaves is wrong here.
    """

    params: Params  # of the decoder
    features: Any  # of z [*batch, ...]
    likelihood: Likelihood
    likelihood_params: Params
    stats: Params  # of the model: how x is seen
    network: Callable[..., Any] = dataclasses.field(metadata={"static": True})  # Decoder.given
    size: int = dataclasses.field(metadata={"static": True})  # d
    axes: int = dataclasses.field(metadata={"static": True})  # of the batch: 2 for [k, b]
    inputs: str = dataclasses.field(metadata={"static": True})  # a name of INPUTS

    @property
    def batch(self) -> tuple[int, ...]:
        return jax.tree.leaves(self.features)[0].shape[: self.axes]

    def given(self, x: Float[Array, "*batch d"]) -> Any:
        """The distribution of each value given those before it, which are taken from x.

        Batch axes of size 1 are broadcast.
        """
        batch = jnp.broadcast_shapes(self.batch, x.shape[:-1])

        def rows(leaf: Array, own: tuple[int, ...]) -> Array:
            return jnp.broadcast_to(leaf, (*batch, *own)).reshape(-1, *own)

        features = jax.tree.map(lambda leaf: rows(leaf, leaf.shape[self.axes :]), self.features)
        x_nd = seen(self.inputs, self.stats, rows(x, (self.size,)))
        raw = self.network(self.params, features, x_nd)
        raw = raw.reshape(*batch, *raw.shape[1:])
        return self.likelihood.distribution(self.likelihood_params, raw)

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """sum_i log p(x_i | x_<i, z), by one pass of the network."""
        return self.given(x).log_prob(x)

    def mean(self) -> Array:
        """Raises UserError: it is a sum over all images."""
        raise UserError(
            "an autoregressive p(x | z) has no mean that can be computed; picture(key) gives the "
            "mean of each value given a sample's values before it, and sample(key) a sample"
        )

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*batch d"]:
        """A sample, the same as value by value."""
        return self._settled(lambda p: p.sample(jax.random.clone(key)))

    def picture(self, key: Key[Array, "*n"]) -> Float[Array, "*batch d"]:
        """The mean of each value given a sample's values before it: what is shown.

        Args:
          key: one for all rows of the batch, whose noise is then the same, so that they differ by z
            alone; or one for each [n].
        """

        def draw(p: Any) -> Array:
            rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[self.axes :]), p)
            over = None if key.ndim == 0 else 0
            own = jax.vmap(lambda row, key: row.sample(key), (0, over))(rows, jax.random.clone(key))
            return own.reshape(*self.batch, self.size)

        return self.given(self._settled(draw)).mean()

    def _settled(self, draw: Callable[[Any], Array]) -> Float[Array, "*batch d"]:
        """The fixed point of x -> draw(given(x)), the noise of which depends on the place alone.

        Pass i settles value i at the latest, and mostly many more: at most d passes.
        """

        def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            x, _, i = carry
            return draw(self.given(x)).astype(x.dtype), x, i + 1

        def is_moving(carry: tuple[Array, Array, Array]) -> Array:
            x, before, i = carry
            return (i < self.size) & jnp.any(x != before)

        # As a carry: of a constant image, XLA would compute convolutions while it compiles.
        start = jnp.zeros((*self.batch, self.size))
        x, _, _ = jax.lax.while_loop(is_moving, again, (start, start - 1, jnp.int32(0)))
        return x

    def first(self) -> "Autoregressive":
        """Without the first axis of the batch: of its first entry."""
        features = jax.tree.map(lambda leaf: leaf[0], self.features)
        return dataclasses.replace(self, features=features, axes=self.axes - 1)


def decoded(
    spec: Any,
    decoder: Decoder,
    variables: Variables,
    z_nl: Float[Array, "n l"],
    context: Any,
    batch: tuple[int, ...],
    log_size: Float[Array, "*batch 1"] | None = None,
) -> Any:
    """p(x | z) [*batch, d] of the rows z of the batch.

    `log_size`: of the examples, for a likelihood that learns it.
    """
    params, likelihood = variables["params"]["decoder"], spec.likelihood
    found = decoder.apply(params, z_nl, context)
    found = jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), found)
    network = getattr(decoder, "given", None)  # a user's own pair of functions has none
    own = likelihood_params(variables)
    if network is None:
        if context is not None:
            own = likelihood.in_context(own, context.reshape(*batch, -1))
        own = own if log_size is None else own | {"log_size": log_size}
        return likelihood.distribution(own, found)
    return Autoregressive(
        params=params,
        features=found,
        likelihood=likelihood,
        likelihood_params=own,
        stats=variables["stats"],
        network=network,
        size=math.prod(spec.image_shape),
        axes=len(batch),
        inputs=spec.inputs,
    )


def first_of(p: Any) -> Any:
    """p(x | z) without the first axis of its batch: of its first entry."""
    return p.first() if isinstance(p, Autoregressive) else jax.tree.map(lambda leaf: leaf[0], p)

"""What is shown of all lanes while they train, in one program."""

import functools
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Int, Key, Shaped

from vae_jax.data.binarization import scale
from vae_jax.devices.lanes import Layout, map_lanes
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import Variables, generate, posterior_mean, reconstruct

PICTURES = 16  # of the images, those that are reconstructed; and samples of p(x)


class Shown(NamedTuple):
    """What is shown of all lanes besides numbers."""

    inputs: Any  # [lanes, n, d], on the devices or on the host
    reconstructions: Any
    samples: Any
    codes: Any  # [lanes, b, l], posterior means


@functools.partial(jax.jit, static_argnums=0)
def shown_of_lanes(
    layout: Layout,
    spec: ModelSpec,
    variables: Variables,
    keys: Key[Array, " lanes"],
    images: Shaped[Array, "b d"],
    label_b: Int[Array, " b"] | None,
    label_n: Int[Array, " n"] | None,
) -> Shown:
    """Some validation images, their reconstructions, samples of p(x), and codes.

    The same images and the same noise at every call.
    """

    def lane(
        spec: ModelSpec,
        variables: Variables,
        key: Key[Array, ""],
        images: Shaped[Array, "b d"],
        label_b: Int[Array, " b"] | None,
        label_n: Int[Array, " n"] | None,
    ) -> Shown:
        model, x_bd = make_model(spec), scale(images)
        few, few_labels = x_bd[:PICTURES], None if label_b is None else label_b[:PICTURES]
        return Shown(
            few,
            reconstruct(model, variables, few, few_labels, jax.random.fold_in(key, 0)),
            generate(model, variables, key, PICTURES, label_n),
            posterior_mean(model, variables, x_bd, label_b),
        )

    return map_lanes(layout, lane, (spec, variables, keys), (images, label_b, label_n))

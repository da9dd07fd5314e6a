"""The functions of a trained model as programs for any batch size and several kinds of devices.

Each takes the params first, flat: {"params/encoder/output/bias": array, ...}, as model.safetensors
holds them. The weights are arguments, so that the folder has them once.

An example is computed as if it were alone, and all of a batch by jax.vmap: no example's result
depends on its batch, and only jax sees that the size of the batch is a symbol.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export as jax_export
from jaxtyping import Array, Float, Int, UInt32

from vae_jax.errors import UserError
from vae_jax.exports.folder import Shape
from vae_jax.functions import decode, elbo
from vae_jax.models.model import (
    Model,
    Variables,
    generate,
    joined,
    latents,
    picture,
    posterior_means,
)
from vae_jax.words import to_install

PLATFORMS = ("cpu", "cuda", "tpu")
GENERATOR = "threefry2x32"  # of random numbers: a key is two uint32
SHOWN = np.uint32(0)  # the seed of what is shown of an autoregressive p(x | z)

Label = Int[Array, ""] | None
Flat = Mapping[str, Any]  # of arrays, or their shapes


class Argument(NamedTuple):
    """An argument of a function: the axes after that of the batch, and its type."""

    name: str
    axes: tuple[str, ...]
    dtype: str


class Exportable(NamedTuple):
    """A function of one example, (model, variables, *arguments, label) -> arrays."""

    of_one: Callable[..., Any]
    arguments: tuple[Argument, ...]
    returns: dict[str, str]  # {name, or "" of a single array: axes and meaning}


X = Argument("x", ("d",), "float32")
Z = Argument("z", ("l",), "float32")
KEY = Argument("key", ("2",), "uint32")
LABEL = Argument("label", (), "int32")


def encode_one(
    model: Model, variables: Variables, x_d: Float[Array, " d"], label: Label
) -> dict[str, Float[Array, " l"]]:
    """E_q[z], and the sd of q(z | x) of a single layer that has one; the bottom layer first."""
    layers = model.trace(variables, posterior_means, x_d[None], one(label))
    mean_l = joined(latents(layers))[0, 0]
    scale = getattr(layers.layers[0].q, "scale", None) if model.num_layers == 1 else None
    return {"mean": mean_l} | ({} if scale is None else {"sd": scale()[0, 0]})


def decode_one(
    model: Model, variables: Variables, z_l: Float[Array, " l"], label: Label
) -> Float[Array, " d"]:
    """E[x | z], or what is shown in its place (`picture`), by the noise of seed 0."""
    p = decode(model, variables, z_l[None], one(label))
    return picture(p, jax.random.key(SHOWN, impl=GENERATOR))[0]


def generate_one(
    model: Model, variables: Variables, key_2: UInt32[Array, "2"], label: Label
) -> Float[Array, " d"]:
    """E[x | z] of a sample of the prior, or what is shown in its place."""
    return generate(model, variables, key_of(key_2), 1, one(label))[0]


def elbo_one(
    model: Model,
    variables: Variables,
    key_2: UInt32[Array, "2"],
    x_d: Float[Array, " d"],
    label: Label,
) -> Float[Array, ""]:
    """The ELBO by one sample of z, nats."""
    return elbo(model, variables, key_of(key_2), x_d[None], one(label))[0]


def one(label: Label) -> Int[Array, "1"] | None:
    """The label as a batch of one."""
    return None if label is None else label[None]


def key_of(key_2: UInt32[Array, "2"]) -> Any:
    """The random key of these two numbers; that of (0, seed) is jax.random.key(seed)."""
    return jax.random.wrap_key_data(key_2, impl=GENERATOR)


FUNCTIONS = {
    "encode": Exportable(
        encode_one,
        (X,),
        {"mean": "[b, l] E_q[z]", "sd": "[b, l] the standard deviation of q(z | x)"},
    ),
    "decode": Exportable(decode_one, (Z,), {"": "[b, d] E[x | z]"}),
    "generate": Exportable(generate_one, (KEY,), {"": "[b, d] E[x | z], z from the prior"}),
    "elbo": Exportable(elbo_one, (KEY, X), {"": "[b] nats: a bound on log p(x), by one z"}),
}


def flattened(variables: Variables) -> dict[str, np.ndarray]:
    """The arrays by their paths, such as "params/encoder/output/bias", in order of the names."""
    return {name: np.ascontiguousarray(leaf) for name, leaf in by_path(variables).items()}


def by_path(tree: Any) -> dict[str, Any]:
    """The leaves by their paths, in order of the names."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    flat = {"/".join(map(part_of, path)): leaf for path, leaf in leaves}
    assert len(flat) == len(leaves), "two leaves have one name"
    return dict(sorted(flat.items()))


def shapes_of(flat: Flat) -> dict[str, Shape]:
    """The sizes and types of arrays, as config.json has them."""
    return {n: {"shape": [*leaf.shape], "dtype": leaf.dtype.name} for n, leaf in flat.items()}


def part_of(entry: Any) -> str:
    """The name of a place in a tree: of a dict, a field, or a sequence."""
    return str(next(getattr(entry, n) for n in ("key", "name", "idx") if hasattr(entry, n)))


def unflattened(flat: Flat, like: Variables) -> Variables:
    """The inverse of `flattened`; `like` has the structure of the result."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree.unflatten(structure, [flat["/".join(map(part_of, path))] for path, _ in paths])


class Program(NamedTuple):
    """A function that was exported: the bytes of jax.export, and the shapes of what it returns."""

    serialized: bytes
    returns: dict[str, str]


def of_batch(name: str, model: Model, like: Variables, *, reads_labels: bool) -> Callable[..., Any]:
    """A function of (params, arrays [b, ...]).

    like: variables of the model, or their shapes.
    """
    what = FUNCTIONS[name]
    n = len(what.arguments)

    def function(params: Flat, *examples: Array) -> Any:
        own = unflattened(params, like)

        def of_one(*example: Array) -> Any:
            label = example[n] if reads_labels else None
            return what.of_one(model, own, *example[:n], label)

        return jax.vmap(of_one)(*examples)

    function.__name__ = name
    return function


def exported(
    name: str, model: Model, variables: Variables, sizes: Mapping[str, int], *, reads_labels: bool
) -> Program:
    """A function of the model, for any batch size and all PLATFORMS.

    Args:
      sizes: of the axes d and l.

    Raises:
      UserError: it has no meaning for this model; or a package is missing.
    """
    refuse_without_packages()
    what = FUNCTIONS[name]
    function = of_batch(name, model, variables, reads_labels=reads_labels)
    (b,) = jax_export.symbolic_shape("b")
    shapes = [
        jax.ShapeDtypeStruct((b, *(sizes[axis] for axis in own.axes)), own.dtype)
        for own in (*what.arguments, *([LABEL] if reads_labels else []))
    ]
    params = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in flattened(variables).items()}
    # The check takes the keys of a batch that are split for one that is used twice.
    with without_locations(), jax.debug_key_reuse(False):
        found = jax_export.export(jax.jit(function), platforms=PLATFORMS)(params, *shapes)
        serialized = bytes(found.serialize())
    given = jax.tree.unflatten(found.out_tree, found.out_avals)
    kept = given if isinstance(given, dict) else {"": given}
    return Program(serialized, {name: what.returns[name] for name in kept})


@contextlib.contextmanager
def without_locations() -> Iterator[None]:
    """In this context, programs do not say which files and lines they are from.

    They are then the same from any folder, and name none.
    """
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def refuse_without_packages() -> None:
    """Raises UserError if the packages of the extra are not here."""
    try:
        import flatbuffers  # noqa: F401 (by jax.export, which says it less plainly)
        import safetensors  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"an export needs safetensors and flatbuffers: {to_install('export')}"
        ) from error

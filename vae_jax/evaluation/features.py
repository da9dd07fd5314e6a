"""A feature space for images of any kind, that needs no download: a small network trained here.

Where images have labels, the last hidden layer of a classifier; where not, the bottleneck of an
autoencoder. Features have no unit: a distance in one space says nothing about one in another.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, Shaped

from vae_jax.data import binarization
from vae_jax.errors import UserError
from vae_jax.models.model import Params
from vae_jax.networks import MLP
from vae_jax.networks.network import Decoder, Encoder

HIDDEN, LINEAR = MLP((256,), "relu"), MLP((), "relu")
# What the checksum of a file says of them; it stays the same, so that files of before can be read.
ARCHITECTURE = (
    "NetworkSpec(name='mlp', widths=(256,), activation='relu', norm='none'), "
    "NetworkSpec(name='mlp', widths=(), activation='relu', norm='none')"
)
SIZES = {"classifier": 64, "autoencoder": 32}  # features
LEARNING_RATE = 2e-3  # at first; by a cosine, 0 at the end
BATCH = 1_000  # images at a time once it is trained


class FeatureSpec(NamedTuple):
    """What is static about a feature space."""

    image_shape: tuple[int, int, int]
    num_classes: int  # 0: an autoencoder

    @property
    def kind(self) -> str:
        return "classifier" if self.num_classes else "autoencoder"


class FeatureSpace(NamedTuple):
    """params: {"input": the mean and scale that x is standardised by, "encoder", "decoder"}."""

    spec: FeatureSpec
    params: Params


def networks(spec: FeatureSpec) -> tuple[Encoder, Decoder]:
    """x [b, d] -> features [b, f]; features -> a logit for every class, or x again, [b, ., 1]."""
    size = SIZES[spec.kind]
    encoder = HIDDEN.encoder(spec.image_shape, (("features", size),))
    if spec.kind == "classifier":
        return encoder, LINEAR.decoder((1, 1, spec.num_classes), 1, size)
    return encoder, HIDDEN.decoder(spec.image_shape, 1, size)


def encode(spec: FeatureSpec, params: Params, x_bd: Float[Array, "b d"]) -> Float[Array, "b f"]:
    """The features of standardised x."""
    h_bf = networks(spec)[0].apply(params["encoder"], x_bd)["features"]
    return jax.nn.relu(h_bf) if spec.kind == "classifier" else h_bf


def decode(spec: FeatureSpec, params: Params, h_bf: Float[Array, "b f"]) -> Float[Array, "b o"]:
    """What the features are trained to tell: logits of the classes, or the standardised x."""
    return networks(spec)[1].apply(params["decoder"], h_bf)[..., 0]


def loss(
    spec: FeatureSpec, params: Params, x_bd: Float[Array, "b d"], labels_b: Int[Array, " b"] | None
) -> Float[Array, ""]:
    """The cross entropy of the labels, nats; or the mean squared error of standardised x."""
    outputs = decode(spec, params, encode(spec, params, x_bd))
    if labels_b is None:
        return jnp.mean(jnp.square(outputs - x_bd))
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels_b))


def standardised(params: Params, x_bd: Float[Array, "b d"]) -> Float[Array, "b d"]:
    return (x_bd - params["input"]["mean"]) / params["input"]["scale"]


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def trained(
    spec: FeatureSpec,
    steps: int,
    batch_size: int,
    binarize: bool,
    key: Key[Array, ""],
    images: Shaped[Array, "n d"],
    labels: Int[Array, " n"] | None,
) -> Params:
    """The params after so many steps of Adam, each on images picked at random."""
    encoder_key, decoder_key, steps_key = jax.random.split(key, 3)
    some = binarization.scale(images[:: max(1, len(images) // 1_000)])
    spread = jnp.std(some)
    standard = {"mean": jnp.mean(some), "scale": jnp.where(spread > 0, spread, 1.0)}
    encoder, decoder = networks(spec)
    params = {"encoder": encoder.init(encoder_key), "decoder": decoder.init(decoder_key)}
    adam = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    def step(i, state):
        params, opt_state = state
        rows_key, pixels_key = jax.random.split(jax.random.fold_in(steps_key, i))
        rows_b = jax.random.randint(rows_key, (batch_size,), 0, len(images))
        x_bd = binarization.scale(images[rows_b])
        if binarize:
            x_bd = binarization.sample(pixels_key, x_bd)
        x_bd = standardised({"input": standard}, x_bd)
        labels_b = None if labels is None else labels[rows_b]
        gradients = jax.grad(loss, argnums=1)(spec, params, x_bd, labels_b)
        updates, opt_state = adam.update(gradients, opt_state)
        return optax.apply_updates(params, updates), opt_state

    params, _ = jax.lax.fori_loop(0, steps, step, (params, adam.init(params)))
    return {"input": standard, **params}


def train_features(
    key: Key[Array, ""],
    images: Shaped[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"] | None,
    image_shape: tuple[int, int, int],
    *,
    binarize: bool,
    steps: int = 3_000,
    batch_size: int = 256,
) -> FeatureSpace:
    """A classifier of the images whose labels are not hidden (-1), or an autoencoder of all.

    The latter where there are no labels, or of fewer than two classes. A function of its arguments
    alone. On two cores, MNIST takes about 10 s; of binarised test images 98% are classified right.

    Args:
      images: as a data set stores them, uint8 or floats.
      binarize: whether they are grey and the model's x is not: pixels are sampled for every step.
    """
    if labels is not None and len(np.unique(labels[labels >= 0])) > 1:
        if labels.min() < 0:
            images, labels = images[labels >= 0], labels[labels >= 0]
        num_classes, labels = int(labels.max()) + 1, labels.astype(np.int32)
    else:
        num_classes, labels = 0, None
    spec = FeatureSpec(image_shape, num_classes)
    params = trained(spec, steps, batch_size, binarize, key, images, labels)
    return FeatureSpace(spec, jax.device_get(params))


@partial(jax.jit, static_argnums=0)
def features_of(
    spec: FeatureSpec, params: Params, images: Shaped[Array, "b d"]
) -> Float[Array, "b f"]:
    """The features of stored images."""
    return encode(spec, params, standardised(params, binarization.scale(images)))


def features(space: FeatureSpace, images: Shaped[np.ndarray, "n d"]) -> Float[np.ndarray, "n f"]:
    """The features of stored images, float32, a batch at a time."""
    n = len(images)
    size = min(BATCH, n)
    starts = range(0, n, size)
    # The last batch is as long as the others.
    batches = (images[np.minimum(np.arange(start, start + size), n - 1)] for start in starts)
    return np.concatenate([np.asarray(features_of(*space, batch)) for batch in batches])[:n]


def accuracy(
    space: FeatureSpace, images: Shaped[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]
) -> float | None:
    """How many labels, of those not hidden, the classifier gets right; None: an autoencoder."""
    if space.spec.kind == "autoencoder":
        return None
    shown = labels >= 0
    logits = decode(*space, jnp.asarray(features(space, images[shown])))
    return float(np.mean(np.argmax(logits, axis=1) == labels[shown]))


def named(params: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array, by name, in the order of names: "encoder/hidden_0/kernel"."""
    for name, child in sorted(params.items()):
        if isinstance(child, dict):
            yield from named(child, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", np.asarray(child)


def nested(arrays: dict[str, np.ndarray]) -> Params:
    """What `named` names."""
    params: dict[str, Any] = {}
    for name, array in arrays.items():
        *folders, leaf = name.split("/")
        inner = params
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[leaf] = array
    return params


def checksum(space: FeatureSpace) -> str:
    """The first 16 hexadecimal digits of the sha256: numbers in spaces of equal ones compare."""
    return checksum_of(space.spec, dict(named(space.params)))


def checksum_of(spec: FeatureSpec, arrays: dict[str, np.ndarray]) -> str:
    """Of what the space is, and of every array's name, type, shape and bytes."""
    digest = hashlib.sha256(f"({spec!r}, {ARCHITECTURE})".encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def save(path: Path | str, space: FeatureSpace) -> None:
    """Writes an .npz, the whole file or nothing of it."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    arrays = {"checksum": checksum(space), **space.spec._asdict(), **dict(named(space.params))}
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)


def load(path: Path | str, image_shape: tuple[int, int, int]) -> FeatureSpace:
    """What `save` wrote.

    Raises:
      UserError: the file can't be read, is damaged, or is for images of another shape.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
            arrays = dict(npz)
        shape, num_classes = arrays.pop("image_shape").tolist(), arrays.pop("num_classes").item()
        spec, told = FeatureSpec(tuple(shape), num_classes), str(arrays.pop("checksum"))
    except Exception as error:  # of a damaged file, zipfile and numpy raise whatever comes up
        what = getattr(error, "strerror", None) or "it is no whole .npz of one"
        raise UserError(f"{path} can't be read as a feature space ({what})") from error
    if told != checksum_of(spec, arrays):
        raise UserError(
            f"{path} is damaged, or of another version of vae_jax: its checksum is not {told}; "
            "without it a feature space is trained anew"
        )
    if spec.image_shape != tuple(image_shape):
        raise UserError(
            f"{path} holds features of images of shape {spec.image_shape}, and these are "
            f"{tuple(image_shape)}; it should be a file for these"
        )
    return FeatureSpace(spec, nested(arrays))

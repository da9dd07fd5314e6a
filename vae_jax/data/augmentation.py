"""Random changes of training images, drawn anew for each minibatch.

To add one, write a section with `changed`, and list it. Its result depends on the key and the
images alone, and has their shape, their type and values that such images may have. Validation and
test images are never changed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

from vae_jax import threefry
from vae_jax.data.interface import Augmentation
from vae_jax.sections.checks import number, whole
from vae_jax.sections.declare import section, static


def needs_of_images(name: str, data: Any) -> Iterator[str]:
    """What is wrong with vectors for what moves pixels."""
    if data.is_vectors:
        yield (
            f"dataset.augmentation = {name!r} is for images, and these data are vectors; leave it "
            "out: --config.dataset.augmentation=()"
        )


@section
class Flip(Augmentation):
    """Each image is mirrored left to right with probability one half."""

    def changed(
        self, key: Key[Array, ""], images: Shaped[Array, "b height width channels"]
    ) -> Shaped[Array, "b height width channels"]:
        mirrored = threefry.bits(key, (len(images),)) % 2 == 1
        return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from needs_of_images("flip", data)


@section
class Shift(Augmentation):
    """Each image is moved up or down and left or right; what is uncovered repeats the edge.

    Each of the two distances is uniform on the whole numbers from -pixels to pixels.
    """

    pixels: int = static(2, whole(1), "the most pixels in each direction", key="shift")

    def changed(
        self, key: Key[Array, ""], images: Shaped[Array, "b height width channels"]
    ) -> Shaped[Array, "b height width channels"]:
        p = self.pixels
        # Of 2^32 values, those of one distance are at most one more than those of another.
        corners = (threefry.bits(key, (len(images), 2)) % (2 * p + 1)).astype(jnp.int32)
        wider = jnp.pad(images, ((0, 0), (p, p), (p, p), (0, 0)), mode="edge")

        def cut(image: Array, corner: Int[Array, "2"]) -> Array:
            return jax.lax.dynamic_slice(image, (*corner, 0), images.shape[1:])

        return jax.vmap(cut)(wider, corners)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from needs_of_images("shift", data)
        smaller = min(data.image_shape[:2])
        if self.pixels >= smaller:
            yield (
                f"dataset.shift = {self.pixels} should be below {smaller}, the smaller side of "
                "the images; or leave 'shift' out of dataset.augmentation"
            )


@section
class Crop(Augmentation):
    """A part of each image, of the same proportions, is enlarged to the whole.

    The part's sides are uniform from `least` to 1, in units of the image's, and it is anywhere in
    the image. Its pixels are interpolated between the nearest four.
    """

    least: float = static(
        0.8, number(0, 1, open_low=True), "the least side of the part", key="crop"
    )

    def changed(
        self, key: Key[Array, ""], images: Shaped[Array, "b height width channels"]
    ) -> Shaped[Array, "b height width channels"]:
        uniform = threefry.bits(key, (3, len(images))).astype(jnp.float32) / 2.0**32
        side = 1 - (1 - self.least) * uniform[0]
        moved = images.astype(jnp.float32)
        for axis, place in ((1, uniform[1]), (2, uniform[2])):
            moved = interpolated(moved, axis, (1 - side) * place, side)
        if images.dtype == jnp.uint8:
            moved = jnp.clip(jnp.round(moved), 0, 255)
        return moved.astype(images.dtype)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from needs_of_images("crop", data)
        if data.binary and not data.dynamic:
            yield (
                "dataset.augmentation = 'crop' gives values between those of the pixels, and these "
                "images are 0 or 1; leave it out"
            )


def interpolated(
    images: Float[Array, "b height width channels"],
    axis: int,
    start: Float[Array, " b"],
    side: Float[Array, " b"],
) -> Float[Array, "b height width channels"]:
    """The part of each image from `start` on, of that side, enlarged along an axis (1 or 2)."""
    n = images.shape[axis]
    places = (jnp.arange(n) + 0.5)[None] * side[:, None] + n * start[:, None] - 0.5
    places = jnp.clip(places, 0, n - 1)
    weights = jnp.maximum(1 - jnp.abs(places[:, :, None] - jnp.arange(n)[None, None]), 0)
    into = "bih,bhwc->biwc" if axis == 1 else "biw,bhwc->bhic"
    return jnp.einsum(into, weights, images, precision="highest")


AUGMENTATIONS: dict[str, type[Augmentation]] = {"crop": Crop, "flip": Flip, "shift": Shift}


def augmented(
    augmentations: Sequence[Augmentation],
    keys: Sequence[Key[Array, ""]],
    images: Shaped[Array, "b d"],
    image_shape: tuple[int, int, int],
) -> Shaped[Array, "b d"]:
    """The images of a minibatch, changed by one augmentation after the other, a key for each."""
    batch = images.reshape(-1, *image_shape)
    for augmentation, key in zip(augmentations, keys, strict=True):
        batch = augmentation.changed(key, batch)
    return batch.reshape(images.shape)

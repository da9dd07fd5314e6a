"""Random changes of training images, drawn anew for each minibatch.

To add one, write a section with `changed`, and list it. Its result depends on the key and the
images alone, and has their shape, their type and values that such images may have. Validation and
test images are never changed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Shaped

from vae_jax import threefry
from vae_jax.data.interface import Augmentation
from vae_jax.sections.checks import whole
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


AUGMENTATIONS: dict[str, type[Augmentation]] = {"flip": Flip, "shift": Shift}


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

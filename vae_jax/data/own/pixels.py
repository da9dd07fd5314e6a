"""The pixels of one image file, and the scale that all files of a folder share."""

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from vae_jax.errors import Unreadable, UserError
from vae_jax.memory import host_memory
from vae_jax.words import count, reason

# Pillow's formats of images of pixels.
FORMATS = {
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI",
    "TGA", "TIFF", "WEBP",
}  # fmt: skip
DEPTHS = (8, 10, 12, 14, 16, 24, 31)  # bits that whole numbers may have
LEAST_UPPER = 64  # the upper 8 bits of 14: colours of 16 bits use more
GROUND = (255, 255, 255)  # of transparent pixels
COPIES = 2  # of all images that are in memory at a time, at least
MPO = "MPO"  # photographs with a small copy of themselves, which is no page


class Encoded(NamedTuple):
    """An image file that is a part of another, such as a row of a table."""

    name: str
    content: Callable[[], bytes]

    def __str__(self) -> str:
        return self.name


ImageFile = Path | Encoded


class Look(NamedTuple):
    """What a file says of its image before it is decoded."""

    depth: str  # "8 bits", "whole" (numbers of more bits) or "floats"
    cut: bool  # colours of 16 bits, of which Pillow reads the upper 8
    pages: int
    height: int
    width: int


class Scale(NamedTuple):
    """How the values of all files become pixels."""

    depth: str
    shift: int = 0  # bits of whole numbers that are dropped
    cut: ImageFile | None = None  # a file with colours of 16 bits

    def refuse_dark(self, images: np.ndarray) -> None:
        """Raises UserError if colours of 16 bits hold small numbers, which are lost."""
        if self.cut is not None and images.max() < LEAST_UPPER:
            raise UserError(
                f"{self.cut} has colours of 16 bits, of which the upper 8 are read, and these are "
                f"at most {images.max()}; save the images with 8 bits a colour, scaled to 0 to 255"
            )


class Survey(NamedTuple):
    """What the files of a folder have in common."""

    looks: list[Look]  # of each file; [] where they were decoded at once
    scale: Scale
    notes: list[str]  # sentences on the scale
    left_out: list[str]  # and on what is not read


@functools.cache
def endings() -> set[str]:
    """The endings of the files that are read: what this build of Pillow opens."""
    return {
        ending
        for ending, name in Image.registered_extensions().items()
        if name in FORMATS and name in Image.OPEN
    }


@contextlib.contextmanager
def open_image(file: ImageFile) -> Iterator[Image.Image]:
    """The image of a file.

    Raises:
      Unreadable: the file is no image, is damaged, or is far larger than a photograph.
    """
    with far_too_large_is_an_error(), open_in_a_thread(file) as image:
        yield image


@contextlib.contextmanager
def far_too_large_is_an_error() -> Iterator[None]:
    """In this context, Pillow raises for an image that is far larger than a photograph.

    For all threads: it is one setting of the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def open_in_a_thread(file: ImageFile) -> Iterator[Image.Image]:
    """As `open_image`, for several threads in the context of `far_too_large_is_an_error`."""
    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file.content())) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        most = Image.MAX_IMAGE_PIXELS or 0
        raise Unreadable(
            f"{file} has more than {most:,} pixels, the most that are read; make it smaller"
        ) from error
    except UserError:
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise Unreadable(
            f"{file} can't be read as an image ({reason(error)}); mend or remove it"
        ) from error


def look_at(file: ImageFile) -> Look:
    """What a file says of its image, which is not decoded."""
    with open_image(file) as image:
        return look_of(image)


def look_of(image: Image.Image) -> Look:
    """The same, of an open file."""
    mode = image.mode
    depth = "whole" if mode.startswith("I") else "floats" if mode == "F" else "8 bits"
    cut = depth == "8 bits" and any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))
    pages = 1 if image.format == MPO else getattr(image, "n_frames", 1)
    return Look(depth, cut, pages, image.height, image.width)


def survey_of(files: Sequence[ImageFile]) -> Survey:
    """What all files have in common.

    Raises:
      UserError: they differ in depth, or hold negative whole numbers.
    """
    looks = [look_at(file) for file in files]
    first = looks[0].depth
    for file, look in zip(files, looks, strict=True):
        refuse_other_depth(files[0], first, file, look.depth)
    many = [file for file, look in zip(files, looks, strict=True) if look.pages > 1]
    cut = [file for file, look in zip(files, looks, strict=True) if look.cut]
    notes, left_out = said_of_files(many, cut)
    scale = Scale(first, cut=cut[0] if cut else None)
    if first == "whole":
        scale, more = scale_of_whole(files)
        notes.append(more)
    elif first == "floats":
        notes.append("the pixels are floats, which stay as they are")
    return Survey(looks, scale, notes, left_out)


def refuse_other_depth(first: ImageFile, depth: str, file: ImageFile, other: str) -> None:
    """Raises UserError if a file has another depth than the first."""
    if other != depth:
        raise UserError(
            f"{first} holds {depth_name(depth)} a pixel and {file} {depth_name(other)}; give all "
            "files one depth"
        )


def said_of_files(
    many: Sequence[ImageFile], cut: Sequence[ImageFile]
) -> tuple[list[str], list[str]]:
    """Sentences on the scale, and on what is not read.

    Args:
      many: the files of several pages.
      cut: those with colours of 16 bits.
    """
    notes = [f"of {count(len(cut), 'file')} with 16 bits a colour, 8 are read"] if cut else []
    left_out = (
        [f"only the first page is read of {count(len(many), 'file')}, such as {many[0]}"]
        if many
        else []
    )
    return notes, left_out


def depth_name(depth: str) -> str:
    """A depth in words."""
    return {"whole": "whole numbers of more than 8 bits"}.get(depth, depth)


def scale_of_whole(files: Sequence[ImageFile]) -> tuple[Scale, str]:
    """The scale that holds the whole numbers of all files, and a sentence about it."""
    low, high = 0, 0
    for file in files:
        with open_image(file) as image:
            values = np.asarray(image)
        if values.min() < 0:
            raise UserError(
                f"{file} holds whole numbers from {values.min()} to {values.max()}; they should "
                "be at least 0 (save real numbers as floats)"
            )
        low, high = min(low, int(values.min())), max(high, int(values.max()))
    bits = next(depth for depth in DEPTHS if high < 2**depth)
    scaled = f" (0 to {2**bits - 1:,}) and scaled to 0 to 255" if bits > 8 else ""
    return (
        Scale("whole", bits - 8),
        f"the pixels are whole numbers up to {high:,}, taken as {bits} bits{scaled}",
    )


def bytes_of(files: Sequence[ImageFile], size: Sequence[int]) -> int:
    """The bytes of all images in colour, by the size of the first."""
    look = look_at(min(files, key=str))
    height, width = size or (look.height, look.width)
    channels = 3 if look.depth == "8 bits" else 4  # bytes a pixel
    return len(files) * height * width * channels


def refuse_too_large(files: Sequence[ImageFile], survey: Survey, size: Sequence[int]) -> None:
    """Raises UserError if the images need more memory than the machine has."""
    height, width = size or survey.looks[0][3:5]
    channels = 3 if survey.scale.depth == "8 bits" else 4  # bytes a pixel
    needed, memory = len(files) * height * width * channels, host_memory()
    if COPIES * needed > memory:
        raise UserError(
            f"{count(len(files), 'image')} of {height} x {width} pixels take {needed / 1e9:,.0f} "
            f"GB, and {COPIES} times that with copies; this machine has {memory / 1e9:,.0f} GB: "
            "make dataset.image_size smaller, or give fewer images"
        )


def refuse_other_size(
    first: ImageFile, shape: tuple[int, ...], file: ImageFile, other: tuple[int, ...], how: str
) -> None:
    """Raises UserError if an image has another size than the first.

    `how`: what the user can give so that all have one size.
    """
    if other != shape:
        one, its = ("{} x {}".format(*sides[:2]) for sides in (shape, other))
        raise UserError(
            f"{first} has {one} pixels and {file} has {its}; give one size, to which all are cut: "
            f"{how}"
        )


def pixels(file: ImageFile, size: Sequence[int], scale: Scale) -> tuple[np.ndarray, bool]:
    """The image, upright, and whether it has transparent pixels, which become white.

    Of 8 bits: uint8 [height, width, 3]. Of more: uint8, and floats: float32 [height, width, 1].

    Raises:
      Unreadable: the file is no image, or is damaged.
    """
    with open_image(file) as image:
        return pixels_of(image, size, scale)


def pixels_of(image: Image.Image, size: Sequence[int], scale: Scale) -> tuple[np.ndarray, bool]:
    """The same, of an open file."""
    ImageOps.exif_transpose(image, in_place=True)  # of most images, nothing is copied
    upright, transparent = image, False
    if scale.depth == "whole":
        upright = Image.fromarray((np.asarray(upright) >> scale.shift).astype(np.uint8))
    elif scale.depth == "8 bits":
        upright, transparent = on_ground(upright)
    if size:
        height, width = size
        upright = ImageOps.fit(upright, (width, height), Image.Resampling.BOX)
    return np.atleast_3d(np.asarray(upright)), transparent


def on_ground(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image as RGB, with its transparent pixels on GROUND; whether it has any."""
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB"), False
    seen = image.convert("RGBA")
    if seen.getchannel("A").getextrema()[0] == 255:
        return seen.convert("RGB"), False
    ground = Image.new("RGBA", seen.size, (*GROUND, 255))
    return Image.alpha_composite(ground, seen).convert("RGB"), True

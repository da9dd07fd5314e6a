"""The user's own images, from a folder of image files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vae_jax.data.source import Source, Unreadable, checked_source
from vae_jax.errors import UserError

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
SEED = 0  # of the order, and so of which images are the test set
TEST_PART = 10  # one image in ten


def load(path: str, size: Sequence[int] = ()) -> Source:
    """Reads all image files of a folder, with those in its subfolders.

    If there are subfolders, the one that an image is in is its class. With the subfolders `train`
    and `test`, those are the two sets; without, a tenth of the images are the test set.

    Args:
      size: (height, width) that every image is scaled and cut to, around its centre; (): they are
        taken as they are.

    Raises:
      UserError: there are too few images, one can't be read, or they differ in size.
    """
    folder = Path(path)
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        train, test = (files_in(folder / part) for part in ("train", "test"))
        tops = (folder / "train", folder / "test")
    else:
        files, tops = files_in(folder), (folder, folder)
        if len(files) < 2:
            raise UserError(f"{path} has {len(files)} image files; it should have at least 2")
        order = np.random.default_rng(SEED).permutation(len(files))
        split = max(1, len(files) // TEST_PART)
        test, train = ([files[i] for i in part] for part in (order[:split], order[split:]))
    images = read([*train, *test], size)
    if is_grey(images):
        images = images[..., :1]
    labels = [
        np.array([class_of(file, top) for file in files])
        for files, top in zip((train, test), tops, strict=True)
    ]
    labelled = bool(labels[0].all() and labels[1].all())
    return checked_source(
        images[: len(train)],
        labels[0] if labelled else None,
        images[len(train) :],
        labels[1] if labelled else None,
        name=path,
    )._replace(name=folder.name)


def files_in(folder: Path) -> list[Path]:
    """Its image files, at any depth, in alphabetical order."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not files:
        raise UserError(f"{folder} has no image files ({', '.join(sorted(ENDINGS))})")
    return files


def class_of(file: Path, top: Path) -> str:
    """The name of the subfolder of `top` that the file is in; "" if it is in none."""
    first, *rest = file.relative_to(top).parts
    return first if rest else ""


def decoded(file: Path, size: Sequence[int]) -> np.ndarray:
    """The image, upright, uint8 [height, width, 3].

    Raises:
      Unreadable: the file is no image, or is damaged.
    """
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
                upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
            upright = upright.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        problem = f"{file} can't be read as an image ({error}); mend or remove it"
        raise Unreadable(problem) from error
    if size:
        height, width = size
        upright = ImageOps.fit(upright, (width, height), Image.Resampling.BOX)
    return np.asarray(upright)


def read(files: list[Path], size: Sequence[int]) -> np.ndarray:
    """The images, uint8 [n, height, width, 3]."""
    first = decoded(files[0], size)
    images = np.empty((len(files), *first.shape), np.uint8)
    for own, file in zip(images, files, strict=True):
        image = decoded(file, size)
        if image.shape != first.shape:
            one, other = ("{} x {}".format(*shape[:2]) for shape in (first.shape, image.shape))
            raise UserError(
                f"{files[0]} has {one} pixels and {file} has {other}; give one size, to which all "
                "are cut: --config.dataset.image_size=HEIGHT,WIDTH"
            )
        own[:] = image
    return images


def is_grey(images: np.ndarray) -> bool:
    """Whether red, green and blue are equal in every pixel."""
    return bool((images == images[..., :1]).all())

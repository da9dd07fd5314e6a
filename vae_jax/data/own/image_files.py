"""The user's own images, from a folder of image files."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_jax.data.in_memory import said_of_memory, stays_in_memory
from vae_jax.data.own.broken import REFUSE, SKIP, broken_files
from vae_jax.data.own.decoded import Decoded, key_of, read_decoded
from vae_jax.data.own.pixels import (
    ImageFile,
    Scale,
    bytes_of,
    endings,
    pixels,
    refuse_other_size,
    refuse_too_large,
    survey_of,
)
from vae_jax.data.source import Source, checked_source
from vae_jax.data.units import BLOCK
from vae_jax.errors import Unreadable, UserError
from vae_jax.words import as_name, count

SEED = 0  # of the order, and so of which images are the test set
TEST_PART = 10  # one image in ten

# {set: the subfolders that hold it}, in small letters.
SETS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
ROLES = {"train": "", "validation": ", the validation set", "test": ", the test set"}
MACOS = "__MACOSX"  # what an archive of macOS holds beside the files
HOW = "--config.dataset.image_size=HEIGHT,WIDTH"  # what makes all images of one size
MOST_ENDINGS = 4  # that are said


class Part(NamedTuple):
    """The image files of one set, at any depth of a folder; subfolders are classes."""

    top: Path
    files: list[Path]


def load(path: str, size: Sequence[int] = (), choice: str = "yes", broken: str = REFUSE) -> Source:
    """Reads all image files of a folder, with those in its subfolders; not the hidden ones.

    If there are subfolders, the one that an image is in is its class. Subfolders `train`, `val` and
    `test` are the three sets. Without `test`, `val` is the test set; without both, a tenth of the
    images are.

    Args:
      size: (height, width) that every image is scaled and cut to, around its centre; (): they are
        taken as they are.
      choice: whether the training images are in memory, of in_memory.IN_MEMORY, or AUTO.
      broken: what becomes of a file that can't be read, of broken.BROKEN.

    Raises:
      UserError: there are too few images, one can't be read, they differ in size or depth, or need
        more memory than there is.
    """
    folder = Path(path)
    parts, sets, used = parts_of(folder)
    skipped = ""
    if broken == SKIP:
        parts, skipped = without_broken(folder, parts)
    train, validation, _ = parts
    files = [file for part in parts for file in part.files]
    num_train = len(train.files) + len(validation.files)
    found, streamed = read_files(
        files, num_train, size, choice, lambda: key_of(folder, files, num_train, size)
    )
    classes = [[class_of(file, part.top) for file in part.files] for part in parts]
    labels = [np.array([*classes[0], *classes[1]]), np.array(classes[2])]
    labelled = all(all(names) for names in classes)
    source = checked_source(
        found.train_images,
        labels[0] if labelled else None,
        found.test_images,
        labels[1] if labelled else None,
        name=path,
    )
    notes = [
        f"read: {listed(sorted(files, key=str))}; {sets}",
        streamed,
        skipped,
        "; ".join([*left_out(folder, used), *found.survey.left_out]),
        "; ".join([*found.survey.notes, *ground(found.transparent)]),
        "" if labelled else no_labels(parts, classes),
    ]
    return source._replace(
        name=folder.name,
        validation_size=len(validation.files),
        notes=tuple(note for note in notes if note),
    )


class FolderImages(NamedTuple):
    """The images of a folder, in the order of their paths.

    The images are [n, height, width] where all are grey, or [n, height, width, 3]: uint8, or the
    floats that the files hold.
    """

    images: np.ndarray
    labels: np.ndarray | None  # [n], the subfolder that each is in; None if some are in none
    files: list[Path]  # the path of each


def read_folder(
    path: Path, size: Sequence[int] = (), how: str = "size=(height, width)"
) -> FolderImages:
    """All image files of a folder, read as `load` reads them; of its sets, one after another.

    `how`: as in `read`.

    Raises:
      UserError: as `load`; it is no folder.
    """
    if not path.is_dir():
        raise Unreadable(f"{path} is no folder; give the path of a folder of image files")
    sets = set_folders(path)
    parts = [files_in(folder) for folder in sets.values()] or [files_in(path)]
    files = [file for part in parts for file in part.files]
    survey = survey_of(files)
    refuse_too_large(files, survey, size)
    images, _ = read(files, size, survey.scale, how)
    labels = [class_of(file, part.top) for part in parts for file in part.files]
    images = images[..., 0] if images.shape[-1] == 1 else images
    return FolderImages(images, np.array(labels) if all(labels) else None, files)


def parts_of(folder: Path) -> tuple[tuple[Part, Part, Part], str, set[Path]]:
    """The training, validation and test files, a sentence about them, and all files in use.

    Raises:
      UserError: a set is there twice, or has no images.
    """
    folders = set_folders(folder)
    if len(folders) > 1:
        if "test" not in folders:
            folders["test"] = folders.pop("validation")
        by_set = {name: files_in(subfolder) for name, subfolder in folders.items()}
        sets = "sets: " + ", ".join(
            f"{part.top.name} ({count(len(part.files), 'image')}{ROLES[name]})"
            for name, part in by_set.items()
        )
        empty = Part(folder, [])
        parts = by_set["train"], by_set.get("validation", empty), by_set["test"]
        return parts, sets, {file for part in parts for file in part.files}
    whole = folders.get("train", folder)
    files = files_in(whole).files
    if len(files) < 2:
        raise UserError(f"{folder} has {len(files)} image files; it should have at least 2")
    train, test = ([files[i] for i in rows] for rows in a_tenth_apart(len(files)))
    parts = Part(whole, train), Part(whole, []), Part(whole, test)
    return parts, f"test set: {len(test):,} of these", set(files)


def a_tenth_apart(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the training and of the test images, of n that are one set."""
    order = np.random.default_rng(SEED).permutation(n)
    split = max(1, n // TEST_PART)
    return order[split:], order[:split]


def without_broken(
    folder: Path, parts: tuple[Part, Part, Part]
) -> tuple[tuple[Part, Part, Part], str]:
    """The parts without the files that can't be read, and a sentence about these.

    Raises:
      UserError: no file of a set can be read.
    """
    found = broken_files(folder, [file for part in parts for file in part.files])
    train, validation, test = (
        Part(part.top, [file for file in part.files if file not in found]) for part in parts
    )
    for before, after in zip(parts, (train, validation, test), strict=True):
        if before.files and not after.files:
            raise UserError(f"{folder}: none of {count(len(before.files), 'file')} can be read")
    said = f"skipped: {count(len(found), 'file')} that can't be read"
    said += f", such as {min(found)}" if found else ""
    return (train, validation, test), said if found else ""


def set_folders(folder: Path) -> dict[str, Path]:
    """The subfolders that are its sets: {"train": ..., "test": ...}; {}: it has none.

    Raises:
      UserError: a set is there twice; the folder can't be read.
    """
    try:
        subfolders = sorted(
            path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)
        )
    except OSError as error:
        raise Unreadable(f"{folder} can't be read ({error.strerror})") from error
    by_set = {
        name: [path for path in subfolders if path.name.lower() in names]
        for name, names in SETS.items()
    }
    if by_set["train"] and (by_set["validation"] or by_set["test"]):
        for paths in by_set.values():
            if len(paths) > 1:
                raise UserError(
                    f"{folder} has {paths[0].name} and {paths[1].name}, which name one set; make "
                    "them one folder"
                )
        return {name: paths[0] for name, paths in by_set.items() if paths}
    alone = len(subfolders) == 1 and subfolders == by_set["train"]  # without another set
    return {"train": subfolders[0]} if alone else {}


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or beside the files of an archive."""
    return name.startswith(".") or name == MACOS


def visible(folder: Path) -> list[Path]:
    """The files of a folder at any depth, without hidden ones, in alphabetical order."""
    found: list[str] = []
    for top, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        found += [os.path.join(top, name) for name in names if not is_hidden(name)]
    # As paths are sorted, which takes a second for 20,000 of them.
    found.sort(key=lambda file: file.split(os.sep))
    return [Path(file) for file in found if os.path.isfile(file)]


def is_image(file: Path) -> bool:
    """Whether a file has the ending of an image that can be read."""
    return file.suffix.lower() in endings()


def files_in(folder: Path) -> Part:
    """The image files of a folder.

    Raises:
      UserError: there are none.
    """
    files = visible(folder)
    images = [file for file in files if is_image(file)]
    if not images:
        others = f"; it has {listed(files)}" if files else ""
        raise UserError(f"{folder} has no image files, such as .png or .jpg{others}")
    return Part(folder, images)


def listed(files: list[Path]) -> str:
    """How many files of each ending there are."""
    counts = Counter(file.suffix.lower() or "without an ending" for file in files).most_common()
    said = [f"{number:,} {ending}" for ending, number in counts[:MOST_ENDINGS]]
    others = sum(number for _, number in counts[MOST_ENDINGS:])
    return ", ".join([*said, *([f"{others:,} others"] if others else [])])


def left_out(folder: Path, used: set[Path]) -> list[str]:
    """A sentence about the files of a folder that are not used, and are not hidden."""
    others = [file for file in visible(folder) if file not in used]
    return [f"left out: {listed(others)}, such as {others[0]}"] if others else []


def ground(transparent: int) -> list[str]:
    """A sentence about images that were put on a ground."""
    files = count(transparent, "file")
    return [f"the transparent pixels of {files} are white"] if transparent else []


def class_of(file: Path, top: Path) -> str:
    """The name of the subfolder of `top` that the file is in; "" if it is in none."""
    first, *rest = file.relative_to(top).parts
    return as_name(first) if rest else ""


def no_labels(parts: Sequence[Part], classes: Sequence[list[str]]) -> str:
    """Why there are no labels, where some files have a class and some have none."""
    pairs = [
        pair
        for part, names in zip(parts, classes, strict=True)
        for pair in zip(part.files, names, strict=True)
    ]
    beside = [file for file, name in pairs if not name]
    if len(beside) == len(pairs):
        return ""
    files = count(len(beside), "file")
    return f"no labels, because {files} beside the class folders have none, such as {beside[0]}"


def read_files(
    files: Sequence[ImageFile],
    num_train: int,
    size: Sequence[int],
    choice: str,
    key: Callable[[], str],
) -> tuple[Decoded, str]:
    """The images of the files, the first `num_train` of which are the training set; and, where
    these stay on disk, a sentence that says so.

    `key`: of the files and what is made of them, for those that stay on disk.
    """
    if not stays_in_memory(choice, needed := bytes_of(files, size)):
        found = read_decoded(key(), files, num_train, size, HOW)
        return found, said_of_memory(choice, needed, str(found.train_images.path.parent))
    survey = survey_of(sorted(files, key=str))
    refuse_too_large(files, survey, size)
    images, transparent = read(files, size, survey.scale)
    return Decoded(images[:num_train], images[num_train:], transparent, survey), ""


def read(
    files: Sequence[ImageFile],
    size: Sequence[int],
    scale: Scale,
    how: str = HOW,
) -> tuple[np.ndarray, int]:
    """The images [n, height, width, 1 or 3], and how many of them have transparent pixels.

    `how`: what the user can give so that all have one size.
    """
    first, _ = pixels(files[0], size, scale)
    images = np.empty((len(files), *first.shape), first.dtype)
    transparent = 0
    for row, file in zip(images, files, strict=True):
        image, is_transparent = pixels(file, size, scale)
        transparent += is_transparent
        refuse_other_size(files[0], first.shape, file, image.shape, how)
        row[:] = image
    scale.refuse_dark(images)
    return (images[..., :1] if is_grey(images) else images), transparent


def is_grey(images: np.ndarray) -> bool:
    """Whether red, green and blue are equal in every pixel."""
    blocks = (images[i : i + BLOCK] for i in range(0, len(images), BLOCK))
    return all((block == block[..., :1]).all() for block in blocks)

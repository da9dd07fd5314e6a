"""Image datasets of tensorflow-datasets, prepared as ArrayRecord; no TensorFlow needed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.data.cached import made_once, refuse_full_disk, write_header
from vae_jax.data.in_memory import said_of_memory, stays_in_memory
from vae_jax.data.own.decoded import key_of
from vae_jax.data.own.npy_folder import read_npy
from vae_jax.data.source import Source, checked_source
from vae_jax.data.stored import BLOCK_BYTES, Images, open_stored
from vae_jax.errors import UserError
from vae_jax.words import count

SPLITS = TRAIN, TEST = "train", "test"
Pair = tuple[Images, np.ndarray | None]  # images and labels


def load(name: str, data_dir: str, choice: str) -> Source:
    """The `train` and `test` splits of the dataset `name`, from `data_dir` (empty: TFDS's own).

    `choice`: whether the training images are in memory, of in_memory.IN_MEMORY, or AUTO.

    Raises:
      UserError: the dataset is unknown, is not prepared, or lacks those splits or the features
        `image` and, if labelled, `label`.
    """
    if not name:
        raise UserError(
            "dataset.tfds_name is empty; dataset.name = 'tfds' needs one, such as 'fashion_mnist'"
        )
    if ":" in name:  # TFDS would fetch code from the network and run it
        raise UserError(
            f"dataset.tfds_name = {name!r} is a dataset of a community, whose code is not run "
            "here; it should be a name of tensorflow-datasets itself, such as 'fashion_mnist'"
        )
    builder = open_builder(name, data_dir)
    test_images, test_labels = read_split(builder, name, TEST)
    needed = len(data_source(builder, name, TRAIN)) * test_images[:1].nbytes
    notes = []
    if stays_in_memory(choice, needed):
        train_images, train_labels = read_split(builder, name, TRAIN)
    else:
        train_images, train_labels = stored_split(builder, name, TRAIN)
        notes += [said_of_memory(choice, needed, str(train_images.path.parent))]
    features = builder.info.features
    names = getattr(features["label"], "names", None) or () if "label" in features else ()
    source = checked_source(
        train_images, train_labels, test_images, test_labels, name, tuple(names)
    )
    others = sorted(set(builder.info.splits) - set(SPLITS))
    notes += [f"left out: the splits {', '.join(others)}"] if others else []
    return source._replace(notes=tuple(notes))


def open_builder(name: str, data_dir: str) -> Any:
    """The builder of a dataset that is prepared.

    Raises:
      UserError: as `load`.
    """
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir or None)
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        raise UserError(
            f"dataset.tfds_name = {name!r} is no dataset of tensorflow-datasets, nor prepared in "
            f"{data_dir or 'its default folder'}"
        ) from error
    except Exception as error:
        problem = str(error).strip().split("\n")[0]
        raise UserError(f"tensorflow-datasets can't load {name!r} ({problem})") from error
    features = builder.info.features or {}
    if "image" not in features:
        raise UserError(f"tfds dataset {name!r} has no feature 'image'; only image datasets do")
    if not builder.info.splits:
        raise UserError(
            f"tfds dataset {name!r} is not prepared in {builder.data_dir}; prepare it (this step "
            f"needs TensorFlow): tfds build {name} --file_format=array_record"
            + (f" --data_dir={data_dir}" if data_dir else "")
        )
    missing = set(SPLITS) - set(builder.info.splits)
    if missing:
        raise UserError(
            f"tfds dataset {name!r} has the splits {', '.join(builder.info.splits)}; "
            f"it should have train and test"
        )
    return builder


def data_source(builder: Any, name: str, split: str) -> Any:
    """The examples of a split, by number.

    Raises:
      UserError: it is prepared in another form.
    """
    try:
        return builder.as_data_source(split)
    except NotImplementedError as error:
        raise UserError(
            f"tfds dataset {name!r} is prepared, but not for reading at random; prepare it "
            f"again: tfds build {name} --file_format=array_record --overwrite"
        ) from error


def read_split(builder: Any, name: str, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of a split, and its labels if it has any.

    Raises:
      UserError: it is prepared in another form, or the images have several sizes.
    """
    examples = list(data_source(builder, name, split))
    images = stacked(examples, name)
    has_labels = "label" in builder.info.features
    return images, np.array([e["label"] for e in examples]) if has_labels else None


def stacked(examples: list[Any], name: str) -> np.ndarray:
    """The images of some examples."""
    try:
        return np.stack([example["image"] for example in examples])
    except ValueError as error:
        raise UserError(
            f"tfds dataset {name!r} has images of several sizes ({error}); all should have one"
        ) from error


def stored_split(builder: Any, name: str, split: str) -> tuple[Any, np.ndarray | None]:
    """As `read_split`, of images that stay on disk: in .npy files, which the cache keeps."""
    examples = data_source(builder, name, split)
    folder = Path(os.fspath(builder.data_path))
    key = key_of(folder, sorted(folder.iterdir()), len(examples), [])
    has_labels = "label" in builder.info.features

    def read(into: Path) -> tuple[Any, np.ndarray | None] | None:
        try:
            images = open_stored(into / "images.npy", "images", key)
            labels = read_npy(into, "labels")
        except UserError:
            return None
        whole = len(images) == len(examples) and has_labels == (labels is not None)
        return (images, labels) if whole else None

    def write(into: Path) -> None:
        first = examples[0]["image"]
        refuse_full_disk(into, len(examples) * first.nbytes, count(len(examples), "image"))
        labels = []
        with open(into / "images.npy", "wb") as file:
            write_header(file, (len(examples), *first.shape), first.dtype)
            for block in blocks(examples, max(1, BLOCK_BYTES // first.nbytes)):
                images = stacked(block, name)
                if images.shape[1:] != first.shape:
                    raise UserError(
                        f"tfds dataset {name!r} has images of {first.shape} and of "
                        f"{images.shape[1:]}; all should have one size"
                    )
                file.write(images.data)
                labels += [example["label"] for example in block] if has_labels else []
        if has_labels:
            np.save(into / "labels.npy", np.array(labels))

    return made_once(key, f"decoding {count(len(examples), 'image')}", read, write)


def blocks(examples: Any, rows: int) -> Iterator[list[Any]]:
    """The examples in turn, some at a time."""
    for start in range(0, len(examples), rows):
        yield [examples[i] for i in range(start, min(start + rows, len(examples)))]

"""A dataset of images that Hugging Face's `datasets` saved in a folder."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.own.decoded import key_of
from vae_jax.data.own.image_files import SETS, a_tenth_apart, ground, read_files
from vae_jax.data.own.pixels import Encoded
from vae_jax.data.source import Source, checked_source
from vae_jax.errors import Unreadable, UserError
from vae_jax.words import as_name, count, reason, to_install


class Columns(NamedTuple):
    """The columns that are read."""

    image: str
    label: str  # "": there are no labels
    class_names: tuple[str, ...]  # of the labels 0, 1, ...; (): not known


def load(path: str, image: str, label: str, size: Sequence[int], choice: str) -> Source:
    """The images of a folder that `save_to_disk` wrote, and their labels.

    The splits train, validation and test are the three sets. Without `test`, `validation` is the
    test set; without both, a tenth of the images are.

    Args:
      image: the column of the images; "": the only one.
      label: the column of the labels; "": the only one of classes, if there is one.
      size: (height, width) that every image is scaled and cut to; (): they are taken as they are.
      choice: whether the training images are in memory, of in_memory.IN_MEMORY, or AUTO.

    Raises:
      UserError: `datasets`, the folder or a column is missing, an image can't be read, or they
        differ in size.
    """
    splits, left_out = sets_of(opened(path), path)
    columns = columns_of(splits["train"], image, label, path)
    files: dict[str, list[Encoded]] = {}
    labels: dict[str, Any] = {}
    for name, table in splits.items():
        files[name] = rows_of(table, columns.image, f"{path}: {name}")
        labels[name] = np.asarray(table.with_format(None)[columns.label]) if columns.label else None
    note = f"sets: {', '.join(f'{name} ({len(own):,})' for name, own in files.items())}"
    if len(splits) == 1:
        every, of_every = files["train"], labels["train"]
        for name, rows in zip(("train", "test"), a_tenth_apart(len(every)), strict=True):
            files[name] = [every[i] for i in rows]
            labels[name] = None if of_every is None else of_every[rows]
        note = f"test set: {count(len(files['test']), 'image')} of these"
    validation = files.get("validation", [])
    train = files["train"] + validation

    def key() -> str:
        on_disk = sorted(file for file in Path(path).rglob("*") if file.is_file())
        return key_of(Path(path), on_disk, len(train), [*size, str(columns)])

    found, streamed = read_files(train + files["test"], len(train), size, choice, key)
    of_training = [labels[name] for name in ("train", "validation") if name in labels]
    source = checked_source(
        found.train_images,
        np.concatenate(of_training) if columns.label else None,
        found.test_images,
        labels["test"],
        path,
        columns.class_names,
    )
    left_out = "; ".join(said for said in (left_out, *found.survey.left_out) if said)
    notes = [note, streamed, left_out, *found.survey.notes, *ground(found.transparent)]
    return source._replace(
        name=as_name(Path(path).name),
        validation_size=len(validation),
        notes=tuple(said for said in notes if said),
    )


def opened(path: str) -> Any:
    """The Dataset or DatasetDict of a folder."""
    if not path:
        raise UserError(
            "dataset.path is empty; dataset.name = 'hugging_face' needs a folder that "
            "save_to_disk of Hugging Face's datasets wrote"
        )
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"such folders are read by datasets: {to_install('hugging_face')}"
        ) from error
    try:
        return datasets.load_from_disk(path)
    except Exception as error:  # of datasets, pyarrow or the system
        raise Unreadable(
            f"{path} can't be read as a dataset of Hugging Face ({reason(error)}); it should be a "
            "folder that save_to_disk wrote"
        ) from error


def sets_of(data: Any, path: str) -> tuple[dict[str, Any], str]:
    """The tables of "train", "test" and, if there is one, "validation"; of a single one "train"
    alone. And a sentence about what is left out."""
    if not isinstance(data, dict):
        if len(data) < 2:
            raise UserError(f"{path} has {count(len(data), 'row')}; it should have at least 2")
        return {"train": data}, ""
    found = {
        name: next((key for key in data if key.lower() in names), None)
        for name, names in SETS.items()
    }
    if found["test"] is None:
        found["test"], found["validation"] = found["validation"], None
    if found["train"] is None:
        raise UserError(f"{path} has the splits {', '.join(data)}; one should be named train")
    others = [key for key in data if key not in found.values()]
    left_out = f"left out: the splits {', '.join(others)}" if others else ""
    return {name: data[key] for name, key in found.items() if key is not None}, left_out


def columns_of(table: Any, image: str, label: str, path: str) -> Columns:
    """The columns of images and labels.

    Raises:
      UserError: a column is missing, or holds no images; it isn't clear which.
    """
    import datasets

    features = table.features
    for key, name in (("image_column", image), ("labels", label)):
        if name and name not in features:
            raise UserError(
                f"{path} has no column {name!r} (it has: {', '.join(features)}); dataset.{key} "
                "should be one of them, or ''"
            )
    images = [name for name in features if isinstance(features[name], datasets.Image)]
    if image and image not in images:
        raise UserError(
            f"dataset.image_column = {image!r} holds no images; of {path} these do: "
            f"{', '.join(images) or 'none'}"
        )
    if not image and len(images) != 1:
        raise UserError(
            f"{path} has {count(len(images), 'column')} of images"
            + (f"; set dataset.image_column to one of {', '.join(images)}" if images else "")
        )
    classes = [name for name in features if isinstance(features[name], datasets.ClassLabel)]
    label = label or (classes[0] if len(classes) == 1 else "")
    names = features[label].names if label in classes else ()
    return Columns(image or images[0], label, tuple(names))


def rows_of(table: Any, column: str, name: str) -> list[Encoded]:
    """The image file of each row, which is read when it is asked for."""
    import datasets

    encoded = table.with_format(None).cast_column(column, datasets.Image(decode=False))
    encoded = encoded.select_columns([column])

    def content(row: int) -> bytes:
        held = encoded[row][column]
        if held is None:
            raise ValueError("there is none")
        return held["bytes"] if held["bytes"] is not None else Path(held["path"]).read_bytes()

    return [Encoded(f"{name}[{row}]", partial(content, row)) for row in range(len(encoded))]

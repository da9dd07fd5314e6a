"""Image datasets of tensorflow-datasets, prepared as ArrayRecord; no TensorFlow needed."""

from typing import Any

import numpy as np

from vae_jax.data.source import Source, checked_source
from vae_jax.errors import UserError

SPLITS = ("train", "test")


def load(name: str, data_dir: str) -> Source:
    """The `train` and `test` splits of the dataset `name`, from `data_dir` (empty: TFDS's own).

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
    (train_images, train_labels), (test_images, test_labels) = (
        read_split(builder, name, split) for split in SPLITS
    )
    features = builder.info.features
    names = getattr(features["label"], "names", None) or () if "label" in features else ()
    source = checked_source(
        train_images, train_labels, test_images, test_labels, name, tuple(names)
    )
    others = sorted(set(builder.info.splits) - set(SPLITS))
    return source._replace(notes=(f"left out: the splits {', '.join(others)}",) if others else ())


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


def read_split(builder: Any, name: str, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of a split, and its labels if it has any.

    Raises:
      UserError: it is prepared in another form, or the images have several sizes.
    """
    try:
        examples = list(builder.as_data_source(split))
        images = np.stack([example["image"] for example in examples])
    except NotImplementedError as error:
        raise UserError(
            f"tfds dataset {name!r} is prepared, but not for reading at random; prepare it "
            f"again: tfds build {name} --file_format=array_record --overwrite"
        ) from error
    except ValueError as error:
        raise UserError(
            f"tfds dataset {name!r} has images of several sizes ({error}); all should have one"
        ) from error
    has_labels = "label" in builder.info.features
    return images, np.array([e["label"] for e in examples]) if has_labels else None

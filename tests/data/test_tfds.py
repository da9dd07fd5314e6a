"""A dataset prepared here as ArrayRecord, read back without TensorFlow."""

import io

import numpy as np
import PIL.Image
import pytest

from vae_jax.data.sets import tfds
from vae_jax.data.stored import Stored
from vae_jax.errors import UserError

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")


def digits(n):
    rng = np.random.default_rng(n)
    return rng.integers(0, 256, (n, 4, 6, 1), dtype=np.uint8), np.arange(n) % 3


class ToyDigits(tensorflow_datasets.core.GeneratorBasedBuilder):
    VERSION = tensorflow_datasets.core.Version("1.0.0")
    SPLITS = ("train", "test")
    FEATURES = (("image", (4, 6, 1)), ("label", None))

    def _info(self):
        features = {
            name: tensorflow_datasets.features.Image(shape=shape, encoding_format="png")
            if shape
            else tensorflow_datasets.features.ClassLabel(num_classes=3)
            for name, shape in self.FEATURES
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
        )

    def _split_generators(self, manager):
        return {split: self._generate_examples(9 - i) for i, split in enumerate(self.SPLITS)}

    def _generate_examples(self, n):
        for i, (image, label) in enumerate(zip(*digits(n), strict=True)):
            png = io.BytesIO()  # encoded here: TFDS would need TensorFlow for it
            PIL.Image.fromarray(image[..., 0]).save(png, format="png")
            png.seek(0)
            example = {"image": png, "label": int(label)}
            yield i, {name: example[name] for name, _ in self.FEATURES}


class ToyUnlabelled(ToyDigits):
    FEATURES = (("image", (4, 6, 1)),)


class ToyOnlyTrain(ToyDigits):
    SPLITS = ("train",)


class ToyNumbers(ToyDigits):
    FEATURES = (("label", None),)


def prepared(builder, folder):
    builder(data_dir=str(folder), file_format="array_record").download_and_prepare()
    return str(folder)


def test_a_prepared_dataset_is_read_exactly(tmp_path):
    source = tfds.load("toy_digits", prepared(ToyDigits, tmp_path), "yes")
    for n, images, labels in (
        (9, source.train_images, source.train_labels),
        (8, source.test_images, source.test_labels),
    ):
        # TFDS shuffles as it prepares, by a hash of the example's key.
        found = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        exact = {image.tobytes(): label for image, label in zip(*digits(n), strict=True)}
        assert found == exact


def test_images_that_stay_on_disk_are_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tfds, "BLOCK_BYTES", 60)  # of more than one block
    folder = prepared(ToyDigits, tmp_path)
    capsys.readouterr()
    source, stored = (tfds.load("toy_digits", folder, choice) for choice in ("yes", "no"))
    assert "decoding 9 images once" in capsys.readouterr().out
    assert isinstance(stored.train_images, Stored)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(stored, name)[:], getattr(source, name))
    again = tfds.load("toy_digits", folder, "no")
    assert capsys.readouterr().out == ""
    assert again.train_images.identity == stored.train_images.identity
    unlabelled = tfds.load("toy_unlabelled", prepared(ToyUnlabelled, tmp_path), "no")
    assert unlabelled.train_labels is None
    assert unlabelled.train_images.identity != stored.train_images.identity


def test_labels_are_optional(tmp_path):
    assert tfds.load("toy_unlabelled", prepared(ToyUnlabelled, tmp_path), "yes").test_labels is None


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match=r"'mnits' is no dataset of tensorflow-datasets"):
        tfds.load("mnits", str(tmp_path), "yes")
    with pytest.raises(UserError, match=r"tfds build mnist --file_format=array_record --data_dir="):
        tfds.load("mnist", str(tmp_path), "yes")
    with pytest.raises(UserError, match=r"no feature 'image'"):
        tfds.load("toy_numbers", prepared(ToyNumbers, tmp_path), "yes")
    with pytest.raises(UserError, match=r"has the splits train; it should have train and test"):
        tfds.load("toy_only_train", prepared(ToyOnlyTrain, tmp_path), "yes")
    with pytest.raises(UserError, match=r"'someone:digits' is a dataset of a community"):
        tfds.load("someone:digits", str(tmp_path), "yes")
    with pytest.raises(UserError, match=r"dataset.tfds_name is empty"):
        tfds.load("", str(tmp_path), "yes")

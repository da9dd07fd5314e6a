"""A folder that Hugging Face's `datasets` saved, beside the same images as files."""

import io

import numpy as np
import pytest
from PIL import Image

from vae_jax.data.own import hugging_face
from vae_jax.errors import UserError

datasets = pytest.importorskip("datasets")

NAMES = ["cat", "dog", "bird"]
SIZES = {"train": 20, "validation": 4, "test": 6}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def images_of(n, shape=(6, 5, 3)):
    return np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)


def table(n, labelled=True, **more):
    features = {"image": datasets.Image()}
    columns = {"image": [Image.fromarray(image) for image in images_of(n)]}
    if labelled:
        features["label"] = datasets.ClassLabel(names=NAMES)
        columns["label"] = [i % 3 for i in range(n)]
    for name, values in more.items():
        features[name] = datasets.Value("string")
        columns[name] = values
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@pytest.fixture
def pets(tmp_path):
    """The path of a folder of three splits."""
    data = datasets.DatasetDict({name: table(n) for name, n in SIZES.items()})
    data.save_to_disk(str(tmp_path / "pets"))
    return str(tmp_path / "pets")


def load(path, image="", label="", size=(), choice="yes"):
    return hugging_face.load(path, image, label, size, choice)


@pytest.mark.parametrize("choice", ["yes", "no"])
def test_the_splits_are_the_sets(pets, choice):
    source = load(pets, choice=choice)
    train = source.train_images[:]
    np.testing.assert_array_equal(train, np.concatenate([images_of(20), images_of(4)]))
    np.testing.assert_array_equal(source.test_images, images_of(6))
    assert source.validation_size == 4
    assert source.class_names == tuple(NAMES)
    assert source.train_labels.tolist() == [i % 3 for n in (20, 4) for i in range(n)]
    assert source.test_labels.tolist() == [i % 3 for i in range(6)]
    assert isinstance(source.train_images, np.ndarray) == (choice == "yes")
    assert any(note.startswith("streamed") for note in source.notes) == (choice == "no")


@pytest.mark.parametrize("choice", ["yes", "no"])
def test_that_only_a_first_page_is_read_is_said(tmp_path, choice):
    pages, held = [Image.fromarray(image) for image in images_of(2)], []
    for more in ([], pages[1:], []):
        file = io.BytesIO()
        pages[0].save(file, "TIFF", save_all=True, append_images=more)
        held.append({"bytes": file.getvalue(), "path": None})
    features = datasets.Features({"image": datasets.Image()})
    data = datasets.Dataset.from_dict({"image": held}, features=features)
    path = str(tmp_path / "pages")
    datasets.DatasetDict(train=data, test=data, extra=data).save_to_disk(path)
    said = "; ".join(load(path, choice=choice).notes)
    assert "left out: the splits extra; only the first page is read of 2 files" in said


def test_images_that_stay_on_disk_are_decoded_once(pets, capsys):
    first = load(pets, choice="no")
    assert capsys.readouterr().out.startswith("decoding 30 images once")
    again = load(pets, choice="no")
    assert capsys.readouterr().out == ""
    assert first.train_images.identity == again.train_images.identity
    smaller = load(pets, choice="no", size=(4, 4))
    assert smaller.train_images.shape == (24, 4, 4, 3)
    assert smaller.train_images.identity != first.train_images.identity


def test_without_splits_a_tenth_is_the_test_set(tmp_path):
    table(20).save_to_disk(str(tmp_path / "alone"))
    source = load(str(tmp_path / "alone"))
    assert (len(source.train_images), len(source.test_images)) == (18, 2)
    pairs = zip(images_of(20), [i % 3 for i in range(20)], strict=True)
    exact = {image.tobytes(): label for image, label in pairs}
    images = np.concatenate([source.train_images, source.test_images])
    labels = np.concatenate([source.train_labels, source.test_labels])
    found = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert found == exact


def test_columns_are_found_or_named(tmp_path):
    folder = str(tmp_path / "named")
    table(10, labelled=False, kind=["a", "b"] * 5).save_to_disk(folder)
    assert load(folder).train_labels is None
    source = load(folder, label="kind")
    assert source.class_names == ("a", "b")
    for mistake, said in (
        ({"label": "sort"}, r"no column 'sort' \(it has: image, kind\); dataset.labels"),
        ({"image": "kind"}, r"'kind' holds no images; of .* these do: image"),
        ({"image": "photo"}, r"no column 'photo'"),
    ):
        with pytest.raises(UserError, match=said):
            load(folder, **mistake)


def test_mistakes_are_told(pets, tmp_path):
    with pytest.raises(UserError, match=r"should be a folder that save_to_disk wrote"):
        load(str(tmp_path))
    with pytest.raises(UserError, match=r"dataset.path is empty"):
        load("")
    table(1).save_to_disk(str(tmp_path / "one"))
    with pytest.raises(UserError, match=r"one has 1 row; it should have at least 2"):
        load(str(tmp_path / "one"))
    data = datasets.DatasetDict({"a": table(3), "b": table(3)})
    data.save_to_disk(str(tmp_path / "ab"))
    with pytest.raises(UserError, match=r"the splits a, b; one should be named train"):
        load(str(tmp_path / "ab"))
    two = datasets.Features({"one": datasets.Image(), "two": datasets.Image()})
    own = [Image.fromarray(image) for image in images_of(3)]
    datasets.Dataset.from_dict({"one": own, "two": own}, features=two).save_to_disk(
        str(tmp_path / "two")
    )
    with pytest.raises(UserError, match=r"2 columns of images; set dataset.image_column to one of"):
        load(str(tmp_path / "two"))


@pytest.mark.parametrize("choice", ["yes", "no"])
def test_a_broken_image_is_named(tmp_path, choice):
    broken = datasets.Features({"image": datasets.Image()})
    held = [{"bytes": b"no image", "path": None}] * 12
    data = datasets.Dataset.from_dict({"image": held}, features=broken)
    data.save_to_disk(str(tmp_path / "broken"))
    with pytest.raises(UserError, match=r"broken: train\[\d+\] can't be read as an image"):
        load(str(tmp_path / "broken"), choice=choice)

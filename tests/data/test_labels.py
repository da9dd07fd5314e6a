"""Labels of any kind become classes 0, 1, ..."""

import numpy as np
import pandas as pd
import pytest

from vae_jax.data.dataset import dataset, other_data, without_images
from vae_jax.data.labels import as_labels, in_order, number_classes
from vae_jax.data.source import Source, checked_source, checksum
from vae_jax.errors import UserError
from vae_jax.words import as_name

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 2, 3, 1), dtype=np.uint8)


def source(labels):
    return checked_source(IMAGES[:6], labels[:6], IMAGES[6:], labels[6:], name="mine")


def made(source):
    return dataset(source, validation_size=2, binarization="none", binarization_seed=0)


@pytest.mark.parametrize(
    ("labels", "classes", "names"),
    [
        ([0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 2, 0, 1, 2, 0, 1], ()),
        ([0, 10**6, 2 * 10**12] + [0] * 5, [0, 1, 2] + [0] * 5, ("0", "1000000", "2000000000000")),
        ([3, 1, 2] + [1] * 5, [2, 0, 1] + [0] * 5, ("1", "2", "3")),
        ([5, -1, 5] + [7] * 5, [0, -1, 0] + [1] * 5, ("5", "7")),
        ([-1, 1, 0] + [1] * 5, [-1, 1, 0] + [1] * 5, ()),
        ([-2, 2, -2] + [2] * 5, [0, 1, 0] + [1] * 5, ("-2", "2")),
        ([True, False] * 4, [1, 0] * 4, ()),
        (["10", "2", "1", "0"] * 2, [3, 2, 1, 0] * 2, ("0", "1", "2", "10")),
        (["b", "a", "10", "2"] * 2, [3, 2, 0, 1] * 2, ("10", "2", "a", "b")),
    ],
)
def test_labels_are_numbered_by_value_or_name(labels, classes, names):
    found = source(np.array(labels))
    own = np.concatenate([found.train_labels, found.test_labels])
    assert own.tolist() == classes
    assert found.class_names == names
    data = made(found)
    assert data.num_classes == max(classes[:6]) + 1
    assert data.class_names == names


def test_the_checksum_and_the_identity_of_earlier_folders_stay():
    """Their labels counted as they were given, and as many classes as the greatest and one."""
    ordinary, gaps = np.arange(8) % 3, np.array([0, 7, 3, -1, 0, 3, 7, 0])
    for labels in (ordinary, gaps):
        before = Source("mine", IMAGES[:6], labels[:6], IMAGES[6:], labels[6:])
        assert checksum(source(labels)) == checksum(before)
    old = {
        key: value
        for key, value in made(source(gaps)).identity.items()
        if key not in ("units", "class_names")
    } | {"num_classes": 8}
    assert other_data(old, made(source(gaps)).identity) == []
    assert made(source(ordinary)).identity["num_classes"] == 3
    assert other_data(made(source(ordinary)).identity, made(source(gaps)).identity) != []


def test_a_run_folder_knows_its_classes_and_units():
    data = made(source(np.array(["cat", "dog"] * 4)))
    gone = without_images(data.identity)
    assert (gone.class_names, gone.num_classes) == (("cat", "dog"), 2)
    assert gone.units == data.units
    assert gone.train.labels is not None  # a model that reads labels can be made
    assert set(gone.train.labels) == {0, 1}
    old = {k: v for k, v in data.identity.items() if k not in ("units", "class_names")}
    assert without_images(old).class_names == ()
    assert without_images(old).units is None


def test_labels_as_people_have_them():
    for given in (["b", "a"], pd.Series(["b", "a"]), np.array(["b", "a"], object)):
        assert as_labels(given, "labels").tolist() == ["b", "a"]
    assert as_labels(np.array(["é".encode()]), "labels").tolist() == ["é"]
    for given in ([1, 2], pd.Series([1, 2]), np.array([1.0, 2.0]), pd.array([1, 2])):
        assert as_labels(given, "labels").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", 1], "some are texts, and some are not"),
        ([None, "a"], "labels should be whole numbers or names"),
        (pd.Series([1, None]), "not all whole numbers; they should be, and -1"),
        ([0.5], "not all whole numbers"),
        (np.array([b"\xff"]), "bytes that are no UTF-8"),
        ({1: 2}, "should be whole numbers or names"),
        ([[1], [1, 2]], "should be whole numbers or names"),
        (np.array([2**63], np.uint64), r"below 2\*\*63"),
    ],
)
def test_other_labels_are_one_line(labels, message):
    with pytest.raises(UserError, match=message) as error:
        as_labels(labels, "labels")
    assert "\n" not in str(error.value)


def test_names_beside_numbers_are_refused():
    with pytest.raises(UserError, match="some labels are names, and some are numbers"):
        number_classes(np.array(["a"]), np.array([0]), "mine")


def test_names_that_are_whole_numbers_are_in_their_order():
    assert in_order({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert in_order({"10", "9", "x"}) == ["10", "9", "x"]
    assert as_name("a\n\x1b[31mb") == r"a\n\x1b[31mb"


def test_a_dataset_s_own_names_are_of_its_numbers():
    """Of a class without images, the number is left out, not the name."""
    labels = np.array([0, 2, 2, 0, 2, 0, 2, 0])
    found = checked_source(
        IMAGES[:6], labels[:6], IMAGES[6:], labels[6:], "mine", ("no", "maybe", "yes")
    )
    assert found.train_labels is not None
    assert found.train_labels.tolist() == labels[:6].tolist()
    assert found.class_names == ("no", "maybe", "yes")

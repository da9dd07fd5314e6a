"""Other images, as the test set of a run's dataset."""

import numpy as np
import pytest
import scipy.sparse
from PIL import Image

from vae_jax.data.dataset import dataset
from vae_jax.data.others import Others, from_path, given, on_others
from vae_jax.data.own.arrays import checked_split
from vae_jax.data.source import checked_source
from vae_jax.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 6, 4), dtype=np.uint8)


def own(images, labels=None, binarization="none"):
    """The dataset of a run that was trained on these."""
    source = checked_source(**{"train_labels": None, "test_labels": None}
                            | checked_split(images, labels), name="own")  # fmt: skip
    return dataset(source, validation_size=4, binarization=binarization, binarization_seed=0)


def on(data, images, labels=None, support="real", *, reads_labels=False):
    return on_others(data, given(images, labels), support, reads_labels=reads_labels)


@pytest.mark.parametrize("binarization", ["none", "dynamic", "static", "threshold"])
def test_they_are_scaled_and_binarised_as_the_run_s_own_test_set(binarization):
    data = own(GREY, binarization=binarization)
    for images in (GREY[-4:], GREY[-4:] / 255, GREY[-4:, ..., None]):
        test = on(data, images).test.images
        np.testing.assert_array_equal(test, data.test.images)
        assert test.dtype == data.test.images.dtype
    assert on(data, GREY[:3]).train is data.train


def test_grey_images_are_no_binary_data():
    bits = np.where(GREY > 127, 255, 0).astype(np.uint8)
    data = own(bits)
    assert data.binary
    assert on(data, bits).binary
    assert not on(data, GREY).binary
    floats = own(GREY / np.float32(255))
    test = on(floats, GREY).test.images
    assert test.dtype == np.float32
    np.testing.assert_allclose(test, GREY.reshape(40, -1) / 255, atol=1e-7)


def test_levels_are_whole():
    data = own(GREY)
    assert on(data, GREY / 255, support="levels").test.images.dtype == np.uint8
    with pytest.raises(UserError, match="floats that are no levels, and the likelihood is one of"):
        on(data, RNG.random((3, 6, 4)), support="levels")


def test_grey_images_are_colour_images_too():
    colour = RNG.integers(0, 256, (40, 6, 4, 3), dtype=np.uint8)
    test = on(own(colour), GREY[:2]).test.images.reshape(2, 6, 4, 3)
    np.testing.assert_array_equal(test, np.stack([GREY[:2]] * 3, axis=-1))
    with pytest.raises(
        UserError,
        match="and 3 channels, and the model is of 6 x 4 pixels and 1 channel;",
    ):
        on(own(GREY), colour)


def test_labels_are_classes_of_the_run():
    data = own(GREY, np.arange(40) % 2 * 5 + 3)  # 3 and 8
    assert data.class_names == ("3", "8")
    for labels in ([8, 3, 8], ["8", "3", "8"]):
        assert on(data, GREY[:3], labels).test.labels.tolist() == [1, 0, 1]
    with pytest.raises(UserError, match="label 0 is no class"):
        on(data, GREY[:1], [0])
    beside = given(GREY[:1], [0])._replace(must_have_labels=False)
    left_out = on_others(data, beside, "real", reads_labels=False)
    assert left_out.test.labels is None
    assert "are left out: label 0 is no class" in left_out.notes[0]
    with pytest.raises(UserError, match="label 0 is no class"):
        on_others(data, beside, "real", reads_labels=True)
    with pytest.raises(UserError, match="the model reads labels, and the images have none"):
        on(data, GREY[:1], reads_labels=True)
    with pytest.raises(UserError, match="the run was trained without labels"):
        on(own(GREY), GREY[:1], [0])


def test_the_checksum_is_of_images_and_labels():
    one = given(GREY, np.arange(40))
    assert one.checksum == given(GREY[..., None], list(map(str, range(40)))).checksum
    assert one.checksum != given(GREY).checksum
    assert one.checksum != given(GREY, np.arange(40)[::-1]).checksum
    assert given(GREY).checksum != given(GREY[::-1]).checksum
    assert one._replace(name="../../etc").folder_name == f"etc_{one.checksum[:8]}"
    assert one._replace(name="...").folder_name == f"images_{one.checksum[:8]}"
    assert one._replace(name="Été 1.npz").folder_name == f"Été_1_{one.checksum[:8]}"


def test_files_are_cut_as_the_run_s_own_were(tmp_path):
    (tmp_path / "photos" / "val" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "train").mkdir(parents=True)
    for i, size in enumerate(((20, 30), (9, 8))):
        Image.fromarray(np.full(size, 100, np.uint8)).save(
            tmp_path / "photos" / "val" / "a" / f"{i}.png"
        )
    Image.fromarray(GREY[0]).save(tmp_path / "photos" / "train" / "0.png")
    found = from_path(tmp_path / "photos", (6, 4), (6, 4, 1))
    assert found.images.shape == (2, 6, 4)
    assert found.labels.tolist() == ["a", "a"]
    with pytest.raises(UserError, match="give one size, to which all are cut: 6 x 4, as the model"):
        from_path(tmp_path / "photos", (), (6, 4, 1))


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("a.npz", {"foo": GREY}, "has no array 'test_images' or 'images' .it has: foo."),
        ("a.npz", {"images": GREY, "labels": [1]}, r"labels have shape \(1,\), and images"),
        ("a.npy", None, "holds one array; give an .npz"),
        ("a.txt", None, "a.txt can't be read as an .npz"),
        ("gone.npz", None, "gone.npz does not exist"),
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path, name, arrays, message):
    path = tmp_path / name
    if arrays:
        np.savez(path, **arrays)
    elif name != "gone.npz":
        path.write_bytes(b"something")
    with pytest.raises(UserError, match=message):
        from_path(path, (), (6, 4, 1))


def test_test_images_come_before_images(tmp_path):
    np.savez(tmp_path / "a.npz", images=GREY, test_images=GREY[:3], labels=np.arange(40))
    found = from_path(tmp_path / "a.npz", (), (6, 4, 1))
    assert isinstance(found, Others)
    assert len(found.images) == 3
    assert found.labels is None


def test_a_folder_of_npy_files(tmp_path):
    """Its test set, or `images`; labels where there are some."""
    np.save(tmp_path / "test_images.npy", GREY[:5])
    np.save(tmp_path / "train_images.npy", GREY)
    found = from_path(tmp_path, (), (6, 4, 1))
    np.testing.assert_array_equal(found.images, GREY[:5])
    assert found.labels is None
    np.save(tmp_path / "test_labels.npy", np.arange(5))
    np.testing.assert_array_equal(from_path(tmp_path, (), (6, 4, 1)).labels, np.arange(5))
    other = tmp_path / "other"
    other.mkdir()
    np.save(other / "images.npy", GREY[:2])
    assert len(from_path(other, (), (6, 4, 1)).images) == 2


def test_counts_and_sparse_matrices(tmp_path):
    counts = RNG.poisson(9.0, (30, 7))
    data = own(counts)
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csr_matrix(counts[:4].astype(float)))
    for others in (given(counts[:4]), from_path(tmp_path / "x.npz", (), (1, 7, 1))):
        test = on_others(data, others, "counts", reads_labels=False).test.images
        np.testing.assert_array_equal(test, counts[:4])
    with pytest.raises(UserError, match="give whole numbers from 0 upwards"):
        on(data, counts[:4] / 3, support="counts")

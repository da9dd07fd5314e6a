import numpy as np
import pytest

from vae_jax.data import arrays
from vae_jax.errors import UserError


def saved(tmp_path, **content):
    path = tmp_path / "data.npz"
    np.savez(path, **content)
    return str(path)


def grey(n=4, shape=(3, 5)):
    return np.linspace(0, 1, n * int(np.prod(shape))).reshape(n, *shape)


def test_floats_and_bytes_with_and_without_channels_and_labels(tmp_path):
    source = arrays.load(saved(tmp_path, train_images=grey(), test_images=grey(2)))
    assert source.train_images.shape == (4, 3, 5, 1)
    assert source.train_images.dtype == np.float32
    assert source.train_labels is None
    content = (255 * grey(shape=(3, 5, 2))).astype(np.uint8)
    source = arrays.load(
        saved(
            tmp_path,
            train_images=content,
            test_images=content[:2],
            train_labels=np.arange(4),
            test_labels=np.arange(2),
        )
    )
    np.testing.assert_array_equal(source.train_images, content)
    np.testing.assert_array_equal(source.test_labels, [0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": grey(shape=(3,))}, r"shape \(4, 3\); it should be \(n, height, width\)"),
        ({"train_images": np.zeros((0, 3, 5))}, "none of them zero"),
        ({"train_images": np.full((4, 3, 5), np.nan)}, "NaN or infinite"),
        ({"train_images": grey().astype(np.int32)}, "holds int32; it should hold uint8"),
        ({"test_images": grey(shape=(5, 3))}, r"\(3, 5, 1\) and test_images \(5, 3, 1\)"),
        ({"test_images": np.zeros((2, 3, 5), np.uint8)}, "both should have one type"),
        ({"train_labels": np.arange(3)}, r"integers of shape \(4,\)"),
        ({"train_labels": np.linspace(0, 1, 4)}, "float64 of shape"),
    ],
)
def test_wrong_arrays_are_told_by_name(tmp_path, change, message):
    path = saved(tmp_path, **({"train_images": grey(), "test_images": grey(2)} | change))
    with pytest.raises(UserError, match=message) as error:
        arrays.load(path)
    assert next(iter(change)) in str(error.value)
    assert path in str(error.value)


def test_missing_arrays_files_and_damage_are_told(tmp_path):
    with pytest.raises(UserError, match=r"no array 'test_images' \(it has: train_images\)"):
        arrays.load(saved(tmp_path, train_images=grey()))
    with pytest.raises(UserError, match=r"dataset.path is empty"):
        arrays.load("")
    with pytest.raises(UserError, match=r"nowhere.npz can't be read"):
        arrays.load(str(tmp_path / "nowhere.npz"))
    path = saved(tmp_path, train_images=grey(), test_images=grey(2))
    content = (tmp_path / "data.npz").read_bytes()
    for damaged in (content[: len(content) // 2], b"not an archive", b""):
        (tmp_path / "data.npz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"can't be read as an .npz"):
            arrays.load(path)
    np.save(tmp_path / "one.npy", grey())
    with pytest.raises(UserError, match=r"can't be read as an .npz"):
        arrays.load(str(tmp_path / "one.npy"))

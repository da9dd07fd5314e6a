"""A feature space: it learns, is a function of its arguments alone, and is kept as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.runs import write_tiny_npz
from vae_jax.data import binarization
from vae_jax.data.dataset import dataset
from vae_jax.data.own import arrays
from vae_jax.data.sets import mnist
from vae_jax.errors import UserError
from vae_jax.evaluation import features as module
from vae_jax.evaluation.features import (
    FeatureSpace,
    accuracy,
    checksum,
    decode,
    features,
    load,
    save,
    standardised,
    train_features,
)
from vae_jax.networks import MLP


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    source = arrays.load(str(write_tiny_npz(tmp_path_factory.mktemp("data") / "tiny.npz")))
    return dataset(source, validation_size=50, binarization="dynamic", binarization_seed=0)


def trained(data, labels="all", images=None, seed=0, binarize=True) -> FeatureSpace:
    return train_features(
        jax.random.key(seed),
        data.train.images if images is None else images,
        data.train.labels if isinstance(labels, str) else labels,
        data.image_shape,
        binarize=binarize,
        steps=60,
        batch_size=32,
    )


@pytest.fixture(scope="module")
def classifier(data):
    return trained(data)


@pytest.fixture(scope="module")
def autoencoder(data):
    return trained(data, labels=None)


def test_the_classifier_learns(data, classifier):
    assert (classifier.spec.kind, classifier.spec.num_classes) == ("classifier", 3)
    found = accuracy(classifier, data.test.images, data.test.labels)
    assert isinstance(found, float)
    assert found > 0.95


def test_accuracy_is_of_the_labels_that_are_not_hidden(data, classifier):
    labels = np.where(np.arange(50) < 20, (data.test.labels + 1) % 3, -1)
    assert accuracy(classifier, data.test.images, labels) < 0.05


def test_the_features_of_one_class_are_close(data, classifier):
    found = features(classifier, data.test.images)
    assert (found.shape, found.dtype) == ((50, 64), np.float32)
    means = np.stack([found[data.test.labels == label].mean(axis=0) for label in range(3)])
    within = np.linalg.norm(found - means[data.test.labels], axis=1).mean()
    between = np.linalg.norm(means[0] - means[1])
    assert between > 2 * within


def test_the_autoencoder_learns(data, autoencoder):
    assert autoencoder.spec.kind == "autoencoder"
    found = features(autoencoder, data.test.images)
    assert (found.shape, found.dtype) == ((50, 32), np.float32)
    x_bd = standardised(autoencoder.params, binarization.scale(data.test.images))
    made = decode(*autoencoder, jnp.asarray(found))
    assert np.mean((made - x_bd) ** 2) < 0.5 * np.var(x_bd)
    assert accuracy(autoencoder, data.test.images, data.test.labels) is None


@pytest.mark.parametrize("labels", [-1, 1])
def test_labels_of_fewer_than_two_classes_are_none(data, autoencoder, labels):
    space = trained(data, np.full(len(data.train.images), labels))
    assert checksum(space) == checksum(autoencoder)


def test_hidden_labels_are_left_out(data):
    labels = np.where(np.arange(len(data.train.images)) % 5 > 0, -1, data.train.labels)
    shown = slice(None, None, 5)
    alone = trained(data, data.train.labels[shown], data.train.images[shown])
    assert checksum(trained(data, labels)) == checksum(alone)


@pytest.mark.slow
def test_one_key_gives_one_file(data, classifier, tmp_path):
    jax.clear_caches()
    save(tmp_path / "one.npz", classifier)
    save(tmp_path / "again.npz", trained(data))
    save(tmp_path / "other.npz", trained(data, seed=1))
    one, again, other = (
        (tmp_path / f"{name}.npz").read_bytes() for name in ("one", "again", "other")
    )
    assert one == again
    assert one != other


def test_grey_images_are_sampled_and_binary_ones_are_as_they_are(data, classifier):
    assert checksum(trained(data, binarize=False)) != checksum(classifier)
    binary = binarization.threshold(data.train.images)
    sampled, stored = (trained(data, images=binary, binarize=flag) for flag in (True, False))
    sampled, stored = (features(space, data.test.images) for space in (sampled, stored))
    np.testing.assert_allclose(sampled, stored, rtol=1e-4, atol=1e-4)


def test_numbers_of_any_scale(data):
    wide = [
        (300 * binarization.scale(split.images) - 1_000).astype(np.float32)
        for split in (data.train, data.test)
    ]
    space = trained(data, images=wide[0], binarize=False)
    assert accuracy(space, wide[1], data.test.labels) > 0.95


def test_images_all_the_same(data):
    space = trained(data, images=np.full_like(data.train.images, 7))
    assert np.isfinite(features(space, data.test.images)).all()


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_batches_do_not_change_the_features(data, classifier, batch, monkeypatch):
    whole = features(classifier, data.test.images)
    monkeypatch.setattr(module, "BATCH", batch)
    np.testing.assert_allclose(features(classifier, data.test.images), whole, rtol=1e-5, atol=1e-5)


def test_bytes_and_floats_of_one_image_have_the_same_features(data, classifier):
    made = (data.test.images / 255).astype(np.float32)
    found = features(classifier, made)
    np.testing.assert_allclose(found, features(classifier, data.test.images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["classifier", "autoencoder"])
def test_saved_and_loaded(kind, data, tmp_path, request):
    space = request.getfixturevalue(kind)
    save(tmp_path / "space.npz", space)
    assert [path.name for path in tmp_path.iterdir()] == ["space.npz"]
    loaded = load(tmp_path / "space.npz", data.image_shape)
    assert loaded.spec == space.spec
    assert len(checksum(space)) == 16
    assert checksum(loaded) == checksum(space)
    one, other = (features(s, data.test.images) for s in (space, loaded))
    np.testing.assert_array_equal(one, other)


def refusal(path, image_shape=(6, 6, 1)) -> str:
    with pytest.raises(UserError) as error:
        load(path, image_shape)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_damaged_file_is_refused(classifier, tmp_path):
    path = tmp_path / "space.npz"
    save(path, classifier)
    content = path.read_bytes()
    kernel = classifier.params["encoder"]["hidden_0"]["kernel"]
    start = content.index(kernel.tobytes())
    for position in (0, 1, 1_000, kernel.nbytes - 1):
        flipped = bytearray(content)
        flipped[start + position] ^= 1
        path.write_bytes(flipped)
        assert "can't be read" in refusal(path)
    for length in (0, 1, 1_000, len(content) - 1):
        path.write_bytes(content[:length])
        assert "can't be read" in refusal(path)


def test_other_numbers_than_were_saved_are_refused(classifier, tmp_path):
    path = tmp_path / "space.npz"
    save(path, classifier)
    with np.load(path) as npz:
        kept = dict(npz)
    kept["encoder/hidden_0/bias"][3] += 1e-6
    np.savez(path, **kept)
    assert "its checksum is not" in refusal(path)


def test_a_file_that_is_not_there_or_not_ours(tmp_path, tiny_npz):
    assert "can't be read" in refusal(tmp_path / "none.npz")
    assert "can't be read" in refusal(tiny_npz)
    (tmp_path / "text.npz").write_text("text")
    assert "can't be read" in refusal(tmp_path / "text.npz")


def test_another_image_shape(classifier, tmp_path):
    save(tmp_path / "space.npz", classifier)
    assert "of shape (6, 6, 1), and these are (4, 9, 1)" in refusal(
        tmp_path / "space.npz", (4, 9, 1)
    )


def test_another_version_of_the_networks(classifier, tmp_path, monkeypatch):
    save(tmp_path / "space.npz", classifier)
    other = module.ARCHITECTURE.replace("256", "128")
    monkeypatch.setattr(module, "ARCHITECTURE", other)
    assert "another version" in refusal(tmp_path / "space.npz")


def test_the_version_says_what_the_networks_are():
    networks = (module.HIDDEN, module.LINEAR)
    assert all(type(network) is MLP for network in networks)
    expected = ", ".join(
        f"NetworkSpec(name='mlp', widths={n.widths}, activation={n.activation!r}, norm='none')"
        for n in networks
    )
    assert expected == module.ARCHITECTURE


@pytest.mark.slow
def test_mnist():
    data = dataset(mnist.load(), validation_size=5_000, binarization="dynamic", binarization_seed=0)
    space = train_features(
        jax.random.key(0), data.train.images, data.train.labels, data.image_shape, binarize=True
    )
    assert accuracy(space, data.test.images, data.test.labels) > 0.97

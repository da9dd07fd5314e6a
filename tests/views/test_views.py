"""What is shown of a lane is what its model gives, by programs that all share."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.stats import norm

from tests.small.models import mlp_spec
from vae_jax.data.binarization import scale, scaled
from vae_jax.data.dataset import Dataset, Split
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.hierarchy import Ladder
from vae_jax.models.model import Take, generate, posterior_mean, reconstruct
from vae_jax.networks.pixelcnn import PixelCNN
from vae_jax.objectives.corruption import NoCorruption
from vae_jax.views import lane, points
from vae_jax.views.compiled import compiled
from vae_jax.views.lane import LaneViews

N, SHAPE = 23, (3, 4, 1)


@pytest.fixture(scope="module")
def views() -> LaneViews:
    """Of a VAE of two units that is not trained, and 23 test images, 10 at a time."""
    spec = ModelSpec(
        latent_size=2, encoder=mlp_spec(8), decoder=mlp_spec(8), image_shape=SHAPE, num_classes=0
    )
    images = np.random.default_rng(0).integers(0, 256, (N, 12)).astype(np.uint8)
    split = Split(images, None)
    data = Dataset(
        split, split, split, SHAPE, dynamic=False, binary=False, identity={}, in_unit=True
    )
    variables = make_model(spec).init(jax.random.key(0))
    return LaneViews(spec, lambda: variables, data, NoCorruption(), batch_size=10, seed=0)


def test_images_are_scaled_on_the_host_to_the_same_bits():
    levels = np.arange(256, dtype=np.uint8)[None]
    assert isinstance(scaled(levels), np.ndarray)
    np.testing.assert_array_equal(scaled(levels), scale(jax.numpy.asarray(levels)))
    floats = np.float32([[0.3]])
    assert scaled(floats) is floats


def test_codes_and_reconstructions_are_those_of_the_model(views):
    model, x = make_model(views.spec), scaled(views.data.test.images)
    np.testing.assert_allclose(views.codes, posterior_mean(model, views.variables, x), rtol=1e-5)
    inputs, outputs = views.reconstructions()
    assert inputs.shape == outputs.shape == (2, 10, *SHAPE)
    np.testing.assert_array_equal(inputs.reshape(20, -1), x[:20])
    expected = reconstruct(model, views.variables, x[:20])
    np.testing.assert_allclose(outputs.reshape(20, -1), expected, rtol=1e-5)


@pytest.mark.parametrize("n", [1, lane.DECODED, lane.DECODED + 3])
def test_padding_does_not_change_what_is_decoded(views, n):
    z = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
    found = views.decoded(z, 0)
    assert found.shape == (n, 12)
    one = compiled(views.spec).decode(views.variables, z[-1:], None)
    np.testing.assert_allclose(found[-1:], one, rtol=1e-5)


def test_all_decode_by_one_program(views):
    views.manifold(), views.traversals(), views.interpolations()
    before = views.functions.decode._cache_size()
    views.manifold(), views.traversals(), views.interpolations()
    views.decoded(np.zeros((7, 2), np.float32), 0)
    assert views.functions.decode._cache_size() == before
    assert compiled(views.spec) is views.functions


def test_samples_of_z_depend_on_the_seed_alone(views):
    again = LaneViews(views.spec, views.load, views.data, views.corruption, 10, seed=0)
    other = LaneViews(views.spec, views.load, views.data, views.corruption, 10, seed=1)
    for mine, same, another in zip(
        views.samples_of_z, again.samples_of_z, other.samples_of_z, strict=True
    ):
        assert mine.shape == (N, 2)
        np.testing.assert_array_equal(mine, same)
        assert not np.allclose(mine, another)
    assert views.limit >= 1.05 * np.abs(np.concatenate([views.codes, *views.samples_of_z])).max()


def test_images_of_the_manifold_are_where_its_axes_say(views):
    images, values = views.manifold()
    model_image = views.decoded(np.array([[values[3], values[-1]]], np.float32), 0)
    np.testing.assert_allclose(images[0, 3].ravel(), model_image[0], rtol=1e-5)


def test_points():
    values = points.quantiles(5)
    np.testing.assert_allclose(values, norm.ppf(np.linspace(0.02, 0.98, 5)), rtol=1e-6, atol=1e-7)
    assert values.dtype == np.float32
    z = points.traversals(np.array([1.0, 2.0, 3.0]), [2, 0], np.array([-1.0, 5.0]))
    assert z.tolist() == [[[1, 2, -1], [1, 2, 5]], [[-1, 2, 3], [5, 2, 3]]]
    line = points.between(np.zeros((1, 2)), np.array([[2.0, 4.0]]), 3)
    assert line.tolist() == [[[0, 0], [1, 2], [2, 4]]]
    assert points.by_use(np.array([[0.0, 5, 1], [0, -5, 2]])).tolist() == [1, 2, 0]
    assert points.by_kl(None, 3).tolist() == [0, 1, 2]
    assert points.by_kl(np.array([0.1, 3.0]), 2).tolist() == [1, 0]


@pytest.fixture(scope="module")
def views_of_layers() -> LaneViews:
    """Of a ladder of three layers that is not trained, and 12 test images."""
    spec = ModelSpec(
        kind=Ladder((3, 2), (4, 4)),
        latent_size=5,
        encoder=mlp_spec(8),
        decoder=mlp_spec(8),
        image_shape=SHAPE,
        num_classes=0,
    )
    images = np.random.default_rng(0).integers(0, 256, (12, 12)).astype(np.uint8)
    split = Split(images, None)
    data = Dataset(
        split, split, split, SHAPE, dynamic=False, binary=False, identity={}, in_unit=True
    )
    variables = make_model(spec).init(jax.random.key(0))
    return LaneViews(spec, lambda: variables, data, NoCorruption(), batch_size=10, seed=0)


def test_all_layers_are_the_reconstruction_and_the_first_ones_are_followed_by_means(
    views_of_layers,
):
    views = views_of_layers
    shown = views.first_layers()
    assert shown.shape == (4, 10, *SHAPE)
    x = scaled(views.data.test.images[:10])
    np.testing.assert_array_equal(shown[0].reshape(10, -1), x)
    whole = reconstruct(make_model(views.spec), views.variables, x)
    np.testing.assert_allclose(shown[3].reshape(10, -1), whole, rtol=1e-4)

    def from_top(variables, z_top):  # z of the top layer, and means below it
        take = Take(lambda own, q, p: (p.mean() if own is None else own, None), (z_top, None, None))
        return make_model(views.spec).trace(variables, take).x.mean()[0]

    expected = from_top(views.variables, views.codes[None, :10, 8:])
    np.testing.assert_allclose(shown[1].reshape(10, -1), expected, rtol=1e-4)
    assert np.abs(shown[3] - shown[1]).max() > 1e-3


def test_temperatures_go_from_the_samples_to_one_image(views_of_layers):
    views = views_of_layers
    shown = views.temperatures()
    assert shown.shape == (len(lane.TEMPERATURES), 10, *SHAPE)
    hot = generate(make_model(views.spec), views.variables, jax.random.key(0), 10)
    np.testing.assert_allclose(shown[0].reshape(10, -1), hot, rtol=1e-4)
    np.testing.assert_array_equal(shown[-1], np.broadcast_to(shown[-1, :1], shown[-1].shape))
    spread = shown.std(axis=1).mean(axis=(1, 2, 3))
    assert (np.diff(spread) < 0).all()


def test_labels_say_what_is_shown_of_an_autoregressive_decoder(views):
    assert views.shown == "E[x | z]"
    decoder = PixelCNN(widths=(4,), layers=1, features=2, kernel_size=3)
    spec = dataclasses.replace(views.spec, decoder=decoder)
    own = dataclasses.replace(views, spec=spec)
    assert own.shown == "means given a sample's pixels before"

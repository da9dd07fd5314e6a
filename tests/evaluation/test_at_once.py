"""How many examples are measured at once."""

import jax.numpy as jnp

from tests.small.models import mlp_spec
from vae_jax.evaluation import at_once
from vae_jax.models import ModelSpec
from vae_jax.models.top_down import TopDown
from vae_jax.networks.pixelcnn import PixelCNN


def spec_of(decoder):
    return ModelSpec(latent_size=2, encoder=mlp_spec(), decoder=decoder, image_shape=(3, 3, 1))


def test_examples_are_fewer_where_decoding_takes_more_than_there_is(monkeypatch):
    small = spec_of(PixelCNN((), "elu", 1, 4, 3))
    assert at_once.fitting(small, 7, 2, 1) == 7
    one = at_once.decoding_bytes(small, 2)
    assert one >= 2 * 9 * 4 * 4  # a map of features of each draw
    monkeypatch.setattr(at_once, "MOST_BYTES", 3 * one)
    assert at_once.fitting(small, 7, 2) == 3
    assert at_once.fitting(spec_of(mlp_spec(6)), 7, 2) == 7


def test_the_bytes_are_those_beside_arguments_and_results():
    def function(x):
        return jnp.sum(jnp.sort(x))

    assert at_once.temporary_bytes(function, jnp.ones(1_000)) >= 4_000


def test_a_model_of_maps_is_asked_too(monkeypatch):
    kind = TopDown((1, 1), latents=1, width=4, bottleneck=2)
    small = ModelSpec(kind=kind, image_shape=(4, 4, 1), num_classes=0)
    one = at_once.decoding_bytes(small, 2)
    assert one > 0
    monkeypatch.setattr(at_once, "MOST_BYTES", 3 * one)
    assert at_once.fitting(small, 7, 2) == 3
